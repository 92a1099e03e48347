//! TLS to the server, always with its certificate verified.

use std::path::Path;
use std::sync::Arc;

use countersign_core::StoreError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::unavailable;

/// What makes TLS connections, trusting the authorities in `file`, or those of the system.
pub(crate) fn connector(file: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
    let roots = match file {
        Some(file) => from_file(file)?,
        None => from_system(),
    };
    // Named here, so that it does not matter what else in the process chose a provider.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unavailable)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn from_file(file: &Path) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(unavailable)? {
        let certificate = certificate.map_err(unavailable)?;
        roots.add(certificate).map_err(unavailable)?;
    }
    if roots.is_empty() {
        return Err(unavailable("sslrootcert holds no certificate"));
    }
    Ok(roots)
}

/// Those that can't be read are left out: a server whose authority is among them is refused.
#[cfg(feature = "native-roots")]
fn from_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(not(feature = "native-roots"))]
fn from_system() -> RootCertStore {
    RootCertStore::empty()
}
