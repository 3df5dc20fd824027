//! TLS towards receivers.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::load_native_certs;
use tokio_rustls::TlsConnector;

/// The certificate authorities that this machine trusts: those of the operating system, or of
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set.
///
/// There may be none at all, which is logged; no `https` endpoint can be reached then.
pub fn native_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let loaded = load_native_certs();
    let (_, unreadable) = roots.add_parsable_certificates(loaded.certs);
    for error in &loaded.errors {
        tracing::warn!(%error, "webhook.ca_certificates_unreadable");
    }
    if roots.is_empty() {
        tracing::warn!(unreadable, "webhook.no_ca_certificates");
    }
    roots
}

/// Handshakes for HTTP/1.1 with whoever `roots` vouch for.
pub fn connector(roots: Arc<RootCertStore>) -> TlsConnector {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider serves every version of TLS that rustls knows")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}
