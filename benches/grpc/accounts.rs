//! The endpoint of the other benchmarks as a gRPC method: what tonic's generator would write.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use countersign::PeerAddr;
use http::{HeaderValue, Request, Response, Uri, Version};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic_prost::ProstCodec;
use tower::Service;

use crate::support::api;

/// The service without any protection.
pub(crate) fn bare() -> Routes {
    Routes::new(Accounts).prepare()
}

/// A call as a server hands it to the service, with an empty message.
pub(crate) fn call(key: &str) -> Request<Body> {
    let mut request = Request::new(Body::from(&[0; 5][..]));
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_static(URI);
    let headers = request.headers_mut();
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("user-agent", HeaderValue::from_static("partner/1.0"));
    headers.insert(
        api::X_API_KEY,
        HeaderValue::from_str(key).expect("a key is ASCII"),
    );
    let peer = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 7), 40_000));
    request.extensions_mut().insert(PeerAddr(peer));
    request
}

#[derive(Debug, Clone, Copy)]
struct Accounts;

impl NamedService for Accounts {
    const NAME: &'static str = "bench.v1.Accounts";
}

impl Service<Request<tonic::body::Body>> for Accounts {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(async {
            let mut grpc = Grpc::new(ProstCodec::<Answer, ()>::default());
            Ok(grpc.unary(List, request).await)
        })
    }
}

#[derive(Debug)]
struct List;

impl UnaryService<()> for List {
    type Response = Answer;
    type Future = Ready<Result<tonic::Response<Answer>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<()>) -> Self::Future {
        let account = |id: &str, currency: &str, balance| Account {
            id: id.to_owned(),
            currency: currency.to_owned(),
            balance,
        };
        let accounts = vec![
            account("acc_1", "EUR", 125_000),
            account("acc_2", "USD", 98_000),
        ];
        ready(Ok(tonic::Response::new(Answer { accounts })))
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, repeated, tag = "1")]
    accounts: Vec<Account>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Account {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    currency: String,
    #[prost(uint64, tag = "3")]
    balance: u64,
}

const URI: &str = "http://api.example.com/bench.v1.Accounts/List";
