//! A test that looks for leaks between companies, from outside and as a company would.
//!
//! Give it a service, its contract and a key of each of two companies. It learns from each company's
//! own answers what is that company's, and then calls every endpoint of the contract with the other
//! company's key: with foreign ids in paths and bodies, with claims to be the other company in
//! queries, headers and bodies, in places where claims are looked for and in places where a careless
//! handler may trust them, with `GET`, `HEAD` and everything that writes, and with broken bodies.
//!
//! A gRPC method is called like any other endpoint, of all four kinds, once
//! [`LeakTest::descriptor_set`] says what its messages look like. The fields of a message that hold
//! ids, `payment_id` or a list of `payment_ids`, take the place of a path's parameters; in a stream
//! the foreign message comes alone and behind messages of the caller's own. What came back is looked
//! for in messages, metadata, trailers, the message of the status and its details. A method that reads
//! may answer a foreign id and one of nobody with the same nothing. One that changes something is
//! called with a message of the company's own only after all attacks, so that nothing is gone before
//! them, unless its name begins with `Create`, `Add`, `Insert`, `Issue`, `Make` or `Register`.
//!
//! It reports
//!
//! | [`Kind`] | |
//! |---|---|
//! | `ForeignData` | an answer held something that only the other company was ever shown |
//! | `ForeignAccess` | a foreign id, or a claim to be the other company, was answered with success |
//! | `Distinguishable` | a foreign id was answered in another way than one that never existed |
//! | `Touched` | afterwards the other company's own data were not what they were |
//! | `Failed` | the service failed (5xx, no answer in time, or too many requests in the end), so nothing was shown |
//! | `Unreached` | no call of the endpoint's own company succeeded, so nothing was tested |
//! | `NothingKnown` | the readings of a company told nothing that is its alone, so nothing was looked for |
//!
//! Of each answer at most [`LeakTest::answer_bytes`] are read, for at most [`LeakTest::answer_time`]: an
//! answer that never ends, a stream of events for example, is searched as far as it came, and nothing is
//! learned from what of it is not whole. One that does not even begin in that time is a failure.
//!
//! Ids that are numbers, or short, are sent as foreign ids like all others. In answers they are looked
//! for under the name that they were shown under, since they stand everywhere else by chance.
//!
//! It is a test for a throw-away instance with made-up data: it creates, changes and deletes what
//! both companies have.
//!
//! Where two companies are shown the same, nothing tells whose it is, unless somebody says so. What is
//! a company's own, whoever else is shown it: what [`TestCompany::owns`] names, the ids that it was
//! given for the test, those in its bodies, and those of everything that it makes.
//!
//! ```
//! use bytes::Bytes;
//! use countersign_core::Endpoint;
//! use countersign_leak_test::{Kind, LeakTest, TestCompany};
//! use countersign_scope_guard::Contract;
//! use http::{Request, Response};
//! use http_body_util::Full;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A handler that forgets the company.
//! let service = tower::service_fn(async |_: Request<Full<Bytes>>| {
//!     let all = r#"[{"id":"acct_12","name":"Rent"},{"id":"acct_34","name":"Wages"}]"#;
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(all)))
//! });
//! let endpoint = Endpoint::get("/accounts").scope("accounts:read".parse()?);
//! let report = LeakTest::new(Contract::builder().endpoint(endpoint).build()?, service)
//!     .company(TestCompany::new("company_12".parse()?, "key of company_12").owns("acct_12"))
//!     .company(TestCompany::new("company_34".parse()?, "key of company_34").owns("acct_34"))
//!     .run()
//!     .await?;
//! assert!(report.findings().iter().any(|finding| finding.kind() == Kind::ForeignData));
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod company;
mod facts;
mod fill;
mod form;
mod grpc;
mod outcome;
mod read;
mod report;
mod run;
mod secrets;
mod test;

pub use company::TestCompany;
pub use report::{Finding, Kind, LeakReport};
pub use test::LeakTest;
