//! Prints the demo keys, which are payments-api's.

use std::io::{self, Write};
use std::net::SocketAddr;

use crate::demo::{self, DemoKeys};

/// Prints the keys and lines to try them with.
pub(crate) fn print(keys: &DemoKeys, [production, sandbox]: [SocketAddr; 2]) -> io::Result<()> {
    demo::print(keys, production, None)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "export GRPC={production}\n\
         export GRPC_SANDBOX={sandbox}\n\
         \n\
         and, with grpcurl:\n",
    )?;
    TRY.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    writeln!(out)
}

const TRY: &[&str] = &[
    r#"cd examples/payments-grpc/proto"#,
    r#"grpcurl -plaintext -proto payments/v1/payments.proto -H "x-api-key: $FULL" $GRPC payments.v1.Payments/ListAccounts"#,
    r#"grpcurl -plaintext -proto payments/v1/payments.proto -H "x-api-key: $REVOKED" $GRPC payments.v1.Payments/ListAccounts"#,
    r#"grpcurl -plaintext -proto payments/v1/payments.proto -H "x-api-key: $SANDBOX_KEY" $GRPC_SANDBOX payments.v1.Payments/ListAccounts"#,
    r#"grpcurl -plaintext -proto payments/v1/payments.proto -H "x-api-key: $FULL" $GRPC_SANDBOX payments.v1.Payments/ListAccounts"#,
];
