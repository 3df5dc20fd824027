//! Certificate authorities of a server, from a PEM file that a setting names.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// A bundle of every public authority has a quarter of this.
const MAX_BYTES: u64 = 1 << 20;

/// The authorities of one PEM file, read and checked at start. They count for the server that the
/// setting belongs to and for nothing else. Parsed from the file's path.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    file: PathBuf,
    pem: Arc<[u8]>,
}

/// Why a file is no bundle of authorities.
#[derive(Debug, thiserror::Error)]
pub enum BadAuthorities {
    /// It is missing, or not readable by this process.
    #[error("can't read {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// It is readable and of no use.
    #[error("{} {why}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Authorities {
    /// Reads and checks `file`.
    pub fn read(file: &Path) -> Result<Self, BadAuthorities> {
        let unreadable = |error| BadAuthorities::Unreadable { file: file.to_owned(), error };
        let mut pem = Vec::new();
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(MAX_BYTES + 1).read_to_end(&mut pem).map_err(unreadable)?;
        match check(&pem) {
            Ok(()) => Ok(Self { file: file.to_owned(), pem: pem.into() }),
            Err(why) => Err(BadAuthorities::Unusable { file: file.to_owned(), why }),
        }
    }

    /// The PEM text.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// Where it was read from.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

fn check(pem: &[u8]) -> Result<(), String> {
    if pem.len() as u64 > MAX_BYTES {
        return Err("is larger than 1 MiB".to_owned());
    }
    let mut authorities = RootCertStore::empty();
    for (place, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let number = place + 1;
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        authorities
            .add(certificate)
            .map_err(|error| format!("has no valid X.509 certificate at place {number}: {error}"))?;
    }
    if authorities.is_empty() {
        return Err("holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(())
}

impl FromStr for Authorities {
    type Err = BadAuthorities;

    fn from_str(file: &str) -> Result<Self, BadAuthorities> {
        Self::read(Path::new(file))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.file.display())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn reading(text: &str) -> (Result<Authorities, BadAuthorities>, String) {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        (Authorities::read(file.path()), file.path().display().to_string())
    }

    fn pem(label: &str, base64: &str) -> String {
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    }

    #[test]
    fn a_bad_file_is_named_with_what_is_wrong() {
        for (text, why) in [
            (String::new(), "holds no certificate"),
            (pem("PRIVATE KEY", "aHVzaA=="), "holds no certificate"),
            (pem("CERTIFICATE", "bm9uZQ=="), "no valid X.509 certificate at place 1"),
            ("-----BEGIN CERTIFICATE-----\nbm9u".to_owned(), "is not PEM"),
            ("x".repeat(1 << 20) + "y", "larger than 1 MiB"),
        ] {
            let (read, file) = reading(&text);
            let message = read.expect_err(why).to_string();
            assert!(message.contains(why) && message.contains(&file), "{message}");
            assert!(!message.contains("hush") && !message.contains("aHVzaA"), "{message}");
        }
        let missing = "/nowhere/ca.pem".parse::<Authorities>().expect_err("it is missing").to_string();
        assert!(missing.contains("can't read /nowhere/ca.pem"), "{missing}");
    }
}
