//! `DATABASE_CA_FILE` with a real Postgres that has a certificate of a private authority.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runtime::Authorities;
use runtime::database::{DatabaseUrl, StoreError, open_postgres, takes_writes};
use runtime::problem::Chain;
use runtime::testing::servers::{PrivateServer, Program};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = pem("CERTIFICATE", params.self_signed(&key).expect("signed").der());
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its certificate as a file in `folder`.
    fn file(&self, folder: &Path, name: &str) -> PathBuf {
        let file = folder.join(name);
        std::fs::write(&file, &self.pem).expect("written");
        file
    }

    /// Gives the server of this data folder a certificate for 127.0.0.1.
    fn sign_for(&self, data: &Path) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let certificate = pem("CERTIFICATE", params.signed_by(&key, &self.issuer).expect("signed").der());
        std::fs::write(data.join("server.crt"), certificate).expect("written");
        std::fs::write(data.join("server.key"), pem("PRIVATE KEY", &key.serialize_der())).expect("written");
        private(&data.join("server.key"));
        let file = data.join("postgresql.conf");
        let settings = std::fs::read_to_string(&file).expect("it is there") + "ssl = on\n";
        std::fs::write(&file, settings).expect("written");
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("its owner may");
}

/// What a write-check of `url` answers when `authorities` are trusted.
async fn asked(url: &str, authorities: Option<&Path>) -> Result<(), String> {
    let authorities = authorities.map(|file| Authorities::read(file).expect("a certificate"));
    let url = url.parse::<DatabaseUrl>().and_then(|url| url.trusting(authorities));
    let DatabaseUrl::Postgres(url) = url.map_err(|error| error.to_string())? else { unreachable!() };
    let opened = open_postgres(&url, "test", 2).expect("its files are there");
    takes_writes(&opened.steady).await.map_err(|error| {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        Chain(&error).to_string()
    })
}

#[tokio::test]
async fn only_the_named_authority_vouches_for_the_server() {
    let mut server = PrivateServer::start(Program::Postgres).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (own, other) = (Authority::new(), Authority::new());
    let (right, wrong) = (own.file(folder.path(), "own.pem"), other.file(folder.path(), "other.pem"));
    let plain = asked(server.url(), Some(&right)).await.expect_err("it has no TLS yet");
    assert!(plain.contains("does not support TLS"), "{plain}");
    server.stop().await;
    own.sign_for(&server.state().join("data"));
    server.start_again().await;
    let url = server.url();
    asked(url, Some(&right)).await.expect("its authority is trusted");
    asked(&format!("{url}?sslmode=verify-full&sslrootcert={}", right.display()), None)
        .await
        .expect("the same");
    for (trusting, url) in [(Some(&*wrong), url.to_owned()), (None, format!("{url}?sslmode=verify-full"))] {
        let refused = asked(&url, trusting).await.expect_err("another authority");
        assert!(refused.contains("invalid peer certificate"), "{refused}");
    }
    let elsewhere = url.replace("127.0.0.1", "localhost");
    let refused = asked(&elsewhere, Some(&right)).await.expect_err("the certificate is for 127.0.0.1");
    assert!(refused.contains("not valid for name"), "{refused}");
    asked(&format!("{elsewhere}?sslmode=verify-ca"), Some(&right)).await.expect("the name is not checked");
    for weaker in ["require", "prefer", "disable"] {
        let refused = asked(&format!("{url}?sslmode={weaker}"), Some(&right)).await.expect_err(weaker);
        assert!(refused.contains("DATABASE_CA_FILE"), "{refused}");
    }
}
