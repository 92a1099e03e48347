//! The demo keys of payments-api, and one for the sandbox.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign::{Actor, Clock, Environment, IssueRequest, KeyManager, KeyStore, SystemClock};
use serde::Serialize;

use crate::data::Data;
use crate::demo::{self, DemoKeys};

/// The raw keys of the demo.
#[derive(Serialize)]
pub(crate) struct Keys {
    #[serde(flatten)]
    live: DemoKeys,
    sandbox: Sandbox,
}

#[derive(Serialize)]
struct Sandbox {
    full: String,
}

/// Puts the companies, their data and fresh keys in place, and other data into the sandbox.
pub(crate) async fn seed(
    live: &Data,
    sandbox: &Data,
    store: &Arc<dyn KeyStore>,
    manager: &KeyManager,
) -> Result<Keys, Box<dyn Error>> {
    let keys = demo::seed(live, store, manager).await?;
    let company = "company_12".parse()?;
    sandbox.seed(&company, 99)?;
    let expiry = SystemClock.now().wall.saturating_add(DAY);
    let scopes = crate::contract::contract()?.scopes();
    let request = IssueRequest::new(company, Environment::Test, scopes, expiry);
    let request = request.label("demo sandbox").activate_now(true);
    let issued = manager.issue(&Actor::operator("demo")?, request).await?;
    let full = issued.key.expose().to_string();
    Ok(Keys {
        live: keys,
        sandbox: Sandbox { full },
    })
}

impl Keys {
    /// Prints the keys and lines to try them with.
    pub(crate) fn print(&self, [production, sandbox]: [SocketAddr; 2]) -> io::Result<()> {
        demo::print(&self.live, production)?;
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "export GRPC={production}\n\
             export SANDBOX={sandbox}\n\
             export SANDBOX_KEY={}\n\
             \n\
             and, with grpcurl:\n",
            self.sandbox.full
        )?;
        TRY.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        writeln!(out)
    }
}

const DAY: Duration = Duration::from_secs(86_400);

const TRY: &[&str] = &[
    r#"cd examples/payments-grpc/proto"#,
    r#"grpcurl -plaintext -proto payments/v1/payments.proto -H "x-api-key: $FULL" $GRPC payments.v1.Payments/ListAccounts"#,
    r#"grpcurl -plaintext -proto payments/v1/payments.proto -H "x-api-key: $REVOKED" $GRPC payments.v1.Payments/ListAccounts"#,
    r#"grpcurl -plaintext -proto payments/v1/payments.proto -H "x-api-key: $SANDBOX_KEY" $SANDBOX payments.v1.Payments/ListAccounts"#,
    r#"grpcurl -plaintext -proto payments/v1/payments.proto -H "x-api-key: $FULL" $SANDBOX payments.v1.Payments/ListAccounts"#,
];
