//! `docs/grpc.md`, and of other guides what they say of gRPC.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use countersign::leak_test::{LeakTest, TestCompany};
use countersign::{
    CompanyScope, Contract, Countersign, Denial, Dimension, Endpoint, Policies, Policy, Quota, routes,
};
use http::{Request as HttpRequest, Response as HttpResponse};
use tokio::net::TcpListener;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service};

type Done = Result<(), Box<dyn Error>>;

async fn serve(stack: Countersign, payments: Payments, address: SocketAddr) -> Done {
    Server::builder()
        .layer(stack)
        .add_service(PaymentsServer::new(payments))
        .serve(address)
        .await?;
    Ok(())
}

impl Payments {
    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<Payment>, Status> {
        let scope = CompanyScope::of_call(&request)?;
        let payment = self.data.payment(&scope, request.into_inner().id).await?;
        Ok(Response::new(payment.ok_or_else(Denial::not_found)?.into()))
    }
}

fn from_code() -> Done {
    let contract = Contract::builder()
        .endpoint(Endpoint::grpc("/payments.v1.Payments/GetPayment").scope("payments:read".parse()?))
        .build()?;
    Ok(())
}

fn from_descriptors() -> Done {
    let contract = Contract::builder().descriptor_set(DESCRIPTOR_SET)?.build()?;
    Ok(())
}

fn compared(payments: Payments, contract: Contract) {
    let routes = Routes::new(PaymentsServer::new(payments)).into_axum_router();
    routes::assert_same_with_services(&routes, &contract, DESCRIPTOR_SET);
}

fn limited(quota: Quota) -> Done {
    let stack = Countersign::builder()
        .limit_messages(Policies::new([Policy::new("messages", Dimension::Key, quota)])?);
    Ok(())
}

async fn one_port(http: axum::Router, payments: Payments, stack: Countersign, listener: TcpListener) -> Done {
    let calls = Routes::new(GrpcWebLayer::new().layer(PaymentsServer::new(payments)));
    let routes = http.merge(calls.into_axum_router()).layer(stack);
    axum::serve(listener, routes.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

async fn leaks(contract: Contract, routes: Routes, stack: Countersign, [company_12, company_34]: [TestCompany; 2]) -> Done {
    let (order_of_12, order_of_34) = (Order, Order);
    let report = LeakTest::new(contract, routes.into_axum_router().layer(stack))
        .descriptor_set(DESCRIPTOR_SET)?
        .company(company_12.message("/payments.v1.Payments/CreatePayment", order_of_12.encode_to_vec()))
        .company(company_34.message("/payments.v1.Payments/CreatePayment", order_of_34.encode_to_vec()))
        .run()
        .await?;
    Ok(())
}

// In the place of what a user has.

const DESCRIPTOR_SET: &[u8] = &[];

struct Payments {
    data: Data,
}

struct Data;

impl Data {
    async fn payment(&self, _: &CompanyScope, _: String) -> Result<Option<Payment>, Denial> {
        Ok(None)
    }
}

struct Payment;

struct GetPaymentRequest {
    id: String,
}

struct Order;

impl Order {
    fn encode_to_vec(&self) -> Vec<u8> {
        Vec::new()
    }
}

#[derive(Clone)]
struct PaymentsServer;

impl PaymentsServer {
    fn new(_: Payments) -> Self {
        Self
    }
}

impl NamedService for PaymentsServer {
    const NAME: &'static str = "payments.v1.Payments";
}

impl Service<HttpRequest<tonic::body::Body>> for PaymentsServer {
    type Response = HttpResponse<tonic::body::Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HttpRequest<tonic::body::Body>) -> Self::Future {
        ready(Ok(Status::unimplemented("").into_http()))
    }
}
