//! Secrets at rest: AES-256-GCM (NIST SP 800-38D) under keys that the configuration names.

mod keys;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};

pub use keys::{BadSecretKeys, SecretKeys};

use crate::identity::Entropy;
use crate::secret::Secret;

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key it is encrypted under; `None`: it is plain text.
    pub key_id: Option<String>,
    /// The nonce and what GCM made of the text; or the text.
    pub bytes: Vec<u8>,
}

/// A kept secret can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is encrypted under a key that is not configured.
    #[error("it is encrypted under the key `{0}`, which is not configured")]
    UnknownKey(String),
    /// It was changed, belongs to another place, or its key's id stands for another key than once.
    #[error("it does not fit its key and its place")]
    Altered,
}

/// What tells a key from others, and says nothing about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIdentity {
    /// Its id in the configuration.
    pub id: String,
    /// Differs where the same id stands for another key.
    pub fingerprint: String,
}

/// Keeps secrets under [`SecretKeys`]; without any it keeps plain text.
#[derive(Default)]
pub struct Vault {
    keys: Vec<(String, LessSafeKey)>,
    identities: Vec<KeyIdentity>,
    entropy: Option<Arc<dyn Entropy>>,
}

impl Vault {
    /// A vault with `keys`, which takes its nonces from `entropy`.
    pub fn new(keys: &SecretKeys, entropy: Arc<dyn Entropy>) -> Self {
        let identity =
            |(id, key): (&str, &[u8; 32])| KeyIdentity { id: id.to_owned(), fingerprint: fingerprint(key) };
        let identities = keys.iter().map(identity).collect();
        let keys = keys.iter().map(|(id, key)| {
            let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 has 32 bytes");
            (id.to_owned(), LessSafeKey::new(key))
        });
        Self { keys: keys.collect(), identities, entropy: Some(entropy) }
    }

    /// The key that encrypts; `None`: nothing is encrypted.
    pub fn first_key(&self) -> Option<&str> {
        self.keys.first().map(|(id, _)| id.as_str())
    }

    /// The keys that decrypt, the one that encrypts first.
    pub fn identities(&self) -> &[KeyIdentity] {
        &self.identities
    }

    /// The keys that decrypt.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    /// Seals `secret` for `place`: opened for another, it is refused.
    pub fn seal(&self, secret: &Secret, place: &[u8]) -> Sealed {
        let text = secret.expose().as_bytes();
        let (Some((id, key)), Some(entropy)) = (self.keys.first(), &self.entropy) else {
            return Sealed { key_id: None, bytes: text.to_vec() };
        };
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = text.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed)
            .expect("a secret is shorter than the 64 GiB that GCM takes");
        Sealed { key_id: Some(id.clone()), bytes: [&nonce, sealed.as_slice()].concat() }
    }

    /// What was sealed for `place`.
    pub fn open(&self, sealed: &Sealed, place: &[u8]) -> Result<Secret, Unreadable> {
        let Some(id) = &sealed.key_id else { return text(sealed.bytes.clone()) };
        let known = self.keys.iter().find(|(known, _)| known == id);
        let (_, key) = known.ok_or_else(|| Unreadable::UnknownKey(id.clone()))?;
        let (nonce, bytes) = sealed.bytes.split_first_chunk().ok_or(Unreadable::Altered)?;
        let mut bytes = bytes.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, Aad::from(place), &mut bytes);
        text(opened.map_err(|_| Unreadable::Altered)?.to_vec())
    }
}

/// The beginning of a hash that serves nothing else.
fn fingerprint(key: &[u8]) -> String {
    let hashed = digest(&SHA256, &[b"ringback secret key ", key].concat());
    let start = hashed.as_ref().iter().take(8);
    format!("{:016x}", start.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte)))
}

fn text(bytes: Vec<u8>) -> Result<Secret, Unreadable> {
    String::from_utf8(bytes).map(Secret::new).map_err(|_| Unreadable::Altered)
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vault").field(&self.key_ids().collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::testing::SeededEntropy;

    /// The base64 of 32 bytes `number`.
    fn key(number: u8) -> String {
        STANDARD.encode([number; 32])
    }

    fn keys(text: &str) -> SecretKeys {
        text.parse().expect("keys")
    }

    fn vault(text: &str) -> Vault {
        Vault::new(&keys(text), Arc::new(SeededEntropy::new(1)))
    }

    fn hush() -> Secret {
        Secret::new("whsec_hush")
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let (old, new) = (format!("a:{}", key(1)), format!("b:{}", key(2)));
        let sealed = vault(&old).seal(&hush(), b"here");
        assert_eq!(sealed.key_id.as_deref(), Some("a"));
        let both = vault(&format!("{new}, {old}"));
        assert_eq!(both.open(&sealed, b"here"), Ok(hush()));
        assert_eq!(both.seal(&hush(), b"here").key_id.as_deref(), Some("b"));
        assert_eq!(vault(&new).open(&sealed, b"here"), Err(Unreadable::UnknownKey("a".into())));
    }

    #[test]
    fn what_is_sealed_shows_nothing_is_never_the_same_twice_and_opens_in_its_place_alone() {
        let vault = vault(&format!("a:{}", key(1)));
        let sealed = vault.seal(&hush(), b"here");
        assert!(!String::from_utf8_lossy(&sealed.bytes).contains("hush"));
        assert_ne!(vault.seal(&hush(), b"here"), sealed);
        assert_eq!(vault.open(&sealed, b"there"), Err(Unreadable::Altered));
        for index in 0..sealed.bytes.len() {
            let mut altered = sealed.clone();
            altered.bytes[index] ^= 1;
            assert_eq!(vault.open(&altered, b"here"), Err(Unreadable::Altered), "byte {index}");
        }
        let cut = Sealed { bytes: sealed.bytes[..8].to_vec(), ..sealed };
        assert_eq!(vault.open(&cut, b"here"), Err(Unreadable::Altered));
    }

    #[test]
    fn an_id_that_stands_for_another_key_than_once_opens_nothing() {
        let sealed = vault(&format!("a:{}", key(1))).seal(&hush(), b"here");
        assert_eq!(vault(&format!("a:{}", key(2))).open(&sealed, b"here"), Err(Unreadable::Altered));
    }

    /// Test case 14 of the GCM specification: key, nonce and 16 bytes of text all zero.
    #[test]
    fn the_specifications_own_example_is_opened() {
        let vault = vault(&format!("a:{}", key(0)));
        let sealed =
            "000000000000000000000000cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919";
        let bytes = (0..sealed.len()).step_by(2).map(|at| u8::from_str_radix(&sealed[at..at + 2], 16));
        let bytes = bytes.collect::<Result<_, _>>().expect("hexadecimal");
        let opened = vault.open(&Sealed { key_id: Some("a".into()), bytes }, b"").expect("genuine");
        assert_eq!(opened.expose(), "\0".repeat(16));
    }

    #[test]
    fn without_a_key_plain_text_is_kept_and_still_read_once_there_is_one() {
        let plain = Vault::default().seal(&hush(), b"here");
        assert_eq!(plain, Sealed { key_id: None, bytes: b"whsec_hush".to_vec() });
        assert_eq!(vault(&format!("a:{}", key(1))).open(&plain, b"here"), Ok(hush()));
    }

    #[test]
    fn a_key_is_identified_by_its_id_and_by_what_it_is() {
        let of = |number, id: &str| vault(&format!("{id}:{}", key(number))).identities().to_vec();
        assert_eq!(of(1, "a"), of(1, "a"));
        assert_ne!(of(1, "a")[0].fingerprint, of(2, "a")[0].fingerprint);
        assert_eq!(of(1, "a")[0].fingerprint, of(1, "b")[0].fingerprint);
        assert_eq!(of(1, "a")[0].fingerprint.len(), 16);
    }

    #[test]
    fn keys_are_read_back_and_never_printed() {
        let made = SecretKeys::generate("fresh", &SeededEntropy::new(1));
        let text = made.expose();
        assert_eq!(keys(text.expose()).expose(), text);
        let (_, key) = text.expose().split_once(':').expect("an id and a key");
        for printed in [format!("{made:?}"), format!("{:?}", vault(text.expose()))] {
            assert!(printed.contains("fresh") && !printed.contains(key), "{printed}");
        }
    }
}
