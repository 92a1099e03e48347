//! A bank over gRPC, with a leak of one's choice.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request as HttpRequest;
use axum::middleware::{self, Next};
use axum::response::Response as HttpResponse;
use countersign_company_scope::{CompanyScope, CompanyScopeLayer};
use countersign_core::{Denial, Edge, Environment, Identity, Reason, ScopeSet};
use countersign_scope_guard::{ACCESS_PROTO, Contract, ContractLayer};
use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// Where the bank forgets the company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leak {
    /// Nowhere.
    None,
    /// It shows every payment by its id.
    Show,
    /// It lists everybody's payments.
    List,
    /// It believes a field of the message that nobody checks.
    Field,
    /// It believes metadata that nobody checks.
    Metadata,
    /// It streams the payments of any account.
    Watch,
    /// It looks whose the first payment of a stream is, and no further.
    Later,
    /// Its refusal says whose the payment is: in the message of its status,
    StatusMessage,
    /// in its details,
    Details,
    /// in the metadata of a refusal,
    Trailer,
    /// in binary metadata of an answer.
    Binary,
    /// It refuses what is somebody else's with another code than what is not there.
    Oracle,
    /// It pays from any account.
    Create,
    /// It pays from any account, but for the first order of a stream.
    Import,
    /// It cancels any payment.
    Cancel,
    /// It cancels any payment and says that it did not find it.
    Quietly,
    /// It breaks over what is somebody else's.
    Fault,
}

#[derive(Clone)]
pub(crate) struct Bank {
    leak: Leak,
    payments: Arc<Mutex<Vec<Payment>>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payment {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    account_id: String,
    #[prost(string, tag = "3")]
    note: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ask {
    #[prost(string, tag = "1")]
    pub(crate) payment_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Order {
    #[prost(string, tag = "1")]
    pub(crate) account_id: String,
    #[prost(string, tag = "2")]
    pub(crate) note: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Filter {
    #[prost(string, tag = "1")]
    account_id: String,
    #[prost(string, tag = "2")]
    company_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payments {
    #[prost(message, repeated, tag = "1")]
    payments: Vec<Payment>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Done {}

const SOURCE: &str = r#"
syntax = "proto3";
package bank.v1;
import "countersign/v1/access.proto";

service Bank {
  rpc ListPayments(Filter) returns (Payments) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (countersign.v1.access) = { scope: "bank:use" };
  }
  rpc GetPayment(Ask) returns (Payment) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (countersign.v1.access) = { scope: "bank:use" };
  }
  rpc WatchPayments(Filter) returns (stream Payment) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (countersign.v1.access) = { scope: "bank:use" };
  }
  rpc GetPayments(stream Ask) returns (stream Payment) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (countersign.v1.access) = { scope: "bank:use" };
  }
  rpc CreatePayment(Order) returns (Payment) {
    option (countersign.v1.access) = { scope: "bank:use" };
  }
  rpc ImportPayments(stream Order) returns (Payments) {
    option (countersign.v1.access) = { scope: "bank:use" };
  }
  rpc CancelPayment(Ask) returns (Done) {
    option (countersign.v1.access) = { scope: "bank:use" };
  }
}

message Payment { string id = 1; string account_id = 2; string note = 3; }
message Ask { string payment_id = 1; }
message Order { string account_id = 1; string note = 2; }
message Filter { string account_id = 1; string company_id = 2; }
message Payments { repeated Payment payments = 1; }
message Done {}
"#;

/// What a compiler makes of the source.
pub(crate) fn descriptor_set() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let access = directory.path().join("countersign/v1/access.proto");
    std::fs::create_dir_all(access.parent().unwrap()).unwrap();
    std::fs::write(access, ACCESS_PROTO).unwrap();
    std::fs::write(directory.path().join("bank.proto"), SOURCE).unwrap();
    let mut compiler = protox::Compiler::new([directory.path()]).unwrap();
    compiler.include_imports(true);
    compiler.open_file("bank.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

pub(crate) fn contract() -> Contract {
    let contract = Contract::builder().descriptor_set(&descriptor_set());
    contract.unwrap().build().unwrap()
}

/// The bank as a server has it, behind the layers that place a call.
pub(crate) fn router(leak: Leak) -> Router {
    let payment = |number: u32| Payment {
        id: format!("pay_{number}01"),
        account_id: format!("acct_{number}01"),
        note: "rent".to_owned(),
    };
    let payments = Arc::new(Mutex::new(vec![payment(12), payment(34)]));
    Routes::new(Bank { leak, payments })
        .into_axum_router()
        .layer(CompanyScopeLayer::new().claim_header("x-company-id".parse().unwrap()))
        .layer(middleware::from_fn(identify))
        .layer(ContractLayer::new(contract()))
}

/// In the place of a layer that verifies keys.
async fn identify(mut request: HttpRequest, next: Next) -> HttpResponse {
    let key = request.headers().get("x-api-key").unwrap();
    let company = key.to_str().unwrap().strip_prefix("key_of_").unwrap();
    let identity = Identity::new(company.parse().unwrap(), Environment::Test, ScopeSet::new());
    let entered = Edge::default().enter(&mut request);
    entered.context(&request).identify(identity).unwrap();
    next.run(request).await
}

type Answers = Pin<Box<dyn Stream<Item = Result<Payment, Status>> + Send>>;

impl Bank {
    async fn list(self, request: Request<Filter>) -> Result<Response<Payments>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let tenant = request.metadata().get("x-tenant-id");
        let tenant = tenant.map(|id| id.to_str().unwrap().to_owned());
        let filter = request.into_inner();
        let company = match (self.leak, tenant) {
            (Leak::Metadata, Some(tenant)) => tenant,
            (Leak::Field, _) if !filter.company_id.is_empty() => filter.company_id,
            _ => scope.company().to_string(),
        };
        let all = self.payments.lock().unwrap();
        let payments = all.iter().filter(|payment| {
            let own = self.leak == Leak::List || is_of(payment, &company);
            own && (filter.account_id.is_empty() || filter.account_id == payment.account_id)
        });
        let payments = payments.cloned().collect();
        Ok(Response::new(Payments { payments }))
    }

    async fn get(self, request: Request<Ask>) -> Result<Response<Payment>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let (found, is_own) = self.find(&scope, &request.into_inner().payment_id)?;
        let account = found.account_id.clone();
        match self.leak {
            _ if is_own => Ok(Response::new(found)),
            Leak::Show => Ok(Response::new(found)),
            Leak::StatusMessage => Err(Status::not_found(format!("It is {account}'s."))),
            Leak::Details => {
                let details = account.into_bytes().into();
                let code = tonic::Code::NotFound;
                Err(Status::with_details(code, "No such payment.", details))
            }
            Leak::Trailer => {
                let mut status = Status::from(Denial::not_found());
                let account = account.parse().unwrap();
                status.metadata_mut().insert("x-account", account);
                Err(status)
            }
            Leak::Oracle => Err(Status::permission_denied("No such payment.")),
            Leak::Fault => Err(Denial::new(Reason::HandlerFailed).into()),
            _ => Err(Denial::not_found().into()),
        }
    }

    async fn watch(self, request: Request<Filter>) -> Result<Response<Answers>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let filter = request.into_inner();
        let company = scope.company().to_string();
        let wanted: Vec<Payment> = self
            .payments
            .lock()
            .unwrap()
            .iter()
            .filter(|payment| match filter.account_id.as_str() {
                "" => is_of(payment, &company),
                account if self.leak == Leak::Watch => payment.account_id == account,
                account => payment.account_id == account && is_of(payment, &company),
            })
            .cloned()
            .collect();
        let answers = tokio_stream::iter(wanted.into_iter().map(Ok));
        let mut response = Response::new(Box::pin(answers) as Answers);
        if self.leak == Leak::Binary {
            let all = self.payments.lock().unwrap();
            let accounts: Vec<&str> = all.iter().map(|it| it.account_id.as_str()).collect();
            let value = tonic::metadata::MetadataValue::from_bytes(accounts.join(",").as_bytes());
            response.metadata_mut().insert_bin("x-accounts-bin", value);
        }
        Ok(response)
    }

    async fn get_many(self, request: Request<Streaming<Ask>>) -> Result<Response<Answers>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let mut number = 0;
        let answers = request.into_inner().map(move |asked| {
            number += 1;
            let (found, is_own) = self.find(&scope, &asked?.payment_id)?;
            match is_own || (self.leak == Leak::Later && number > 1) {
                true => Ok(found),
                false => Err(Denial::not_found().into()),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn create(self, request: Request<Order>) -> Result<Response<Payment>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let order = request.into_inner();
        let made = self.make(&scope, order, self.leak == Leak::Create)?;
        Ok(Response::new(made))
    }

    async fn import(
        self,
        request: Request<Streaming<Order>>,
    ) -> Result<Response<Payments>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let mut orders = request.into_inner();
        let mut payments = Vec::new();
        while let Some(order) = orders.message().await? {
            let forgets = self.leak == Leak::Import && !payments.is_empty();
            payments.push(self.make(&scope, order, forgets)?);
        }
        Ok(Response::new(Payments { payments }))
    }

    async fn cancel(self, request: Request<Ask>) -> Result<Response<Done>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let id = request.into_inner().payment_id;
        let (_, is_own) = self.find(&scope, &id)?;
        let forgets = matches!(self.leak, Leak::Cancel | Leak::Quietly);
        if is_own || forgets {
            self.payments.lock().unwrap().retain(|known| known.id != id);
        }
        if !is_own && self.leak != Leak::Cancel {
            return Err(Denial::not_found().into());
        }
        Ok(Response::new(Done {}))
    }

    /// The payment, and whether it is the company's.
    fn find(&self, scope: &CompanyScope, id: &str) -> Result<(Payment, bool), Status> {
        let payments = self.payments.lock().unwrap();
        let found = payments.iter().find(|known| known.id == id);
        let found = found.ok_or_else(Denial::not_found)?;
        Ok((found.clone(), is_of(found, scope.company().as_str())))
    }

    fn make(&self, scope: &CompanyScope, order: Order, forgets: bool) -> Result<Payment, Status> {
        let mut payments = self.payments.lock().unwrap();
        let mut made = Payment {
            id: String::new(),
            account_id: order.account_id,
            note: order.note,
        };
        let is_there = payments.iter().any(|it| it.account_id == made.account_id);
        let is_own = is_of(&made, scope.company().as_str());
        if !(is_own || forgets && is_there) {
            return Err(Denial::not_found().into());
        }
        let number = scope.company().as_str().strip_prefix("company_").unwrap();
        made.id = format!("pay_{number}{:02}", payments.len());
        payments.push(made.clone());
        Ok(made)
    }
}

/// The company's accounts begin with its number.
fn is_of(payment: &Payment, company: &str) -> bool {
    let number = company.strip_prefix("company_").unwrap_or("?");
    payment.account_id == format!("acct_{number}01")
}

impl NamedService for Bank {
    const NAME: &'static str = "bank.v1.Bank";
}

impl Service<axum::http::Request<Body>> for Bank {
    type Response = axum::http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// What tonic's generator would write.
    fn call(&mut self, request: axum::http::Request<Body>) -> Self::Future {
        macro_rules! answer {
            ($kind:ident, $method:ident, $answer:ty) => {{
                let bank = self.clone();
                let method = service_fn(move |request| bank.clone().$method(request));
                let mut grpc = Grpc::new(ProstCodec::<$answer, _>::default());
                Box::pin(async move { Ok(grpc.$kind(method, request).await) })
            }};
        }
        match request.uri().path().rsplit('/').next().unwrap() {
            "ListPayments" => answer!(unary, list, Payments),
            "GetPayment" => answer!(unary, get, Payment),
            "WatchPayments" => answer!(server_streaming, watch, Payment),
            "GetPayments" => answer!(streaming, get_many, Payment),
            "CreatePayment" => answer!(unary, create, Payment),
            "ImportPayments" => answer!(client_streaming, import, Payments),
            "CancelPayment" => answer!(unary, cancel, Done),
            other => panic!("{other} is not in the contract"),
        }
    }
}
