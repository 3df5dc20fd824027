//! The keys of a vault, as they are configured.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::identity::Entropy;
use crate::secret::Secret;

const KEY_BYTES: usize = 32;
const MAX_KEYS: usize = 16;
const MAX_ID: usize = 32;

/// The keys that secrets are kept under: `2026a:BASE64OF32BYTES,2025z:…`. The first encrypts, all
/// decrypt. Printed, it shows the ids alone.
#[derive(Clone, Default)]
pub struct SecretKeys(Vec<(String, [u8; KEY_BYTES])>);

/// A list of keys that can't be read. Never shows a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecretKeys {
    /// An entry, counted from 1, is no key.
    #[error(
        "entry {0} must look like `ID:KEY`, with an id of 1 to 32 letters, digits, `-`, `_` or `.`, and the base64 of 32 bytes"
    )]
    Entry(usize),
    /// An entry, counted from 1, has the id or the key of one before it.
    #[error("entry {0} has an id or a key that an entry before it has")]
    Repeated(usize),
    /// More than anybody rotates through.
    #[error("must have at most {MAX_KEYS} entries")]
    TooMany,
}

impl SecretKeys {
    /// One fresh key.
    pub fn generate(id: impl Into<String>, entropy: &dyn Entropy) -> Self {
        let mut key = [0; KEY_BYTES];
        entropy.fill(&mut key);
        Self(vec![(id.into(), key)])
    }

    /// The text that [`SecretKeys::from_str`] reads, for the file that keeps it.
    pub fn expose(&self) -> Secret {
        let entry = |(id, key): &(String, [u8; KEY_BYTES])| format!("{id}:{}", STANDARD.encode(key));
        Secret::new(self.0.iter().map(entry).collect::<Vec<_>>().join(","))
    }

    /// These keys and then those of `others` that are not among them. An id must not stand for two
    /// keys: `Err` is the one that would.
    pub fn then(mut self, others: Self) -> Result<Self, String> {
        for (id, key) in others.0 {
            match self.0.iter().find(|(known, _)| *known == id) {
                None => self.0.push((id, key)),
                Some((_, known)) if verify_slices_are_equal(known, &key).is_ok() => {}
                Some(_) => return Err(id),
            }
        }
        Ok(self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8; KEY_BYTES])> {
        self.0.iter().map(|(id, key)| (id.as_str(), key))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for SecretKeys {
    type Err = BadSecretKeys;

    fn from_str(text: &str) -> Result<Self, BadSecretKeys> {
        let mut keys: Vec<(String, [u8; KEY_BYTES])> = Vec::new();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for (entry, number) in entries.zip(1..) {
            let (id, key) = read(entry).ok_or(BadSecretKeys::Entry(number))?;
            let same = |(known, of): &(String, [u8; KEY_BYTES])| {
                *known == id || verify_slices_are_equal(of, &key).is_ok()
            };
            if keys.iter().any(same) {
                return Err(BadSecretKeys::Repeated(number));
            }
            keys.push((id, key));
        }
        if keys.len() > MAX_KEYS { Err(BadSecretKeys::TooMany) } else { Ok(Self(keys)) }
    }
}

fn read(entry: &str) -> Option<(String, [u8; KEY_BYTES])> {
    let (id, key) = entry.split_once(':')?;
    let named = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let key = STANDARD.decode(key).ok()?.try_into().ok()?;
    (named && (1..=MAX_ID).contains(&id.len())).then(|| (id.to_owned(), key))
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(id, _)| (id, "[redacted]"))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The base64 of 32 bytes `number`.
    fn key(number: u8) -> String {
        STANDARD.encode([number; KEY_BYTES])
    }

    fn keys(text: &str) -> SecretKeys {
        text.parse().expect("keys")
    }

    #[test]
    fn a_bad_list_is_refused_by_its_entry_without_showing_a_key() {
        let (one, two) = (key(1), key(2));
        let long = "x".repeat(MAX_ID + 1);
        let short = STANDARD.encode([1; 31]);
        for (text, refused) in [
            ("a".to_owned(), BadSecretKeys::Entry(1)),
            (format!("a:{one},b"), BadSecretKeys::Entry(2)),
            (format!("a:{short}"), BadSecretKeys::Entry(1)),
            (format!("a:{}", &one[1..]), BadSecretKeys::Entry(1)),
            (format!(":{one}"), BadSecretKeys::Entry(1)),
            (format!("a b:{one}"), BadSecretKeys::Entry(1)),
            (format!("{long}:{one}"), BadSecretKeys::Entry(1)),
            (format!("a:{one},a:{two}"), BadSecretKeys::Repeated(2)),
            (format!("a:{one},b:{one}"), BadSecretKeys::Repeated(2)),
            (
                (0..17).map(|n| format!("k{n}:{}", key(n))).collect::<Vec<_>>().join(","),
                BadSecretKeys::TooMany,
            ),
        ] {
            let error = text.parse::<SecretKeys>().expect_err(&text);
            assert_eq!(error, refused, "{text}");
            assert!(!error.to_string().contains(&one), "{error}");
        }
        assert!(keys(" , ").is_empty());
    }

    #[test]
    fn other_keys_come_after_ones_own_and_no_id_stands_for_two() {
        let own = keys(&format!("a:{}", key(1)));
        let both = own.clone().then(keys(&format!("a:{},b:{}", key(1), key(2)))).expect("they agree");
        assert_eq!(both.expose().expose(), format!("a:{},b:{}", key(1), key(2)));
        assert_eq!(own.then(keys(&format!("a:{}", key(2)))).expect_err("they don't"), "a");
    }
}
