//! Who is calling: an operator or one merchant, identified by a bearer key. Keys come from the settings
//! and from a file of hashes (`KEYS_FILE`) that is read again when it changes.

mod follow;
mod hash;
mod keyring;
mod keys_file;
mod metrics;
mod reading;

use std::fmt;
use std::str::FromStr;

pub use follow::{FollowKeys, KeysCheck, follow};
pub use hash::{BadHash, KeyHash};
pub use keyring::{Keyring, Unidentified};
pub use keys_file::{BadKeysFile, Holder, KeysFile, Role, StoredKey};
pub use metrics::register_key_metrics;
pub use reading::{KeysFileError, read_keys_file};

use crate::secret::Secret;

/// The caller a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// May do everything. Operators of `KEYS_FILE` have names; the one of `RINGBACK_OPERATOR_KEY` has none.
    Operator(Option<String>),
    /// Sees and touches only what belongs to this merchant.
    Merchant(String),
}

impl Caller {
    /// The merchant this caller is confined to; `None` for an operator.
    pub fn merchant(&self) -> Option<&str> {
        match self {
            Self::Operator(_) => None,
            Self::Merchant(name) => Some(name),
        }
    }

    /// Whether something owned by `merchant` is visible to this caller.
    pub fn may_see(&self, merchant: Option<&str>) -> bool {
        match self {
            Self::Operator(_) => true,
            Self::Merchant(name) => merchant == Some(name),
        }
    }
}

/// How the caller is named in audit records: `operator`, `operator:<name>` or `merchant:<name>`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(None) => f.write_str("operator"),
            Self::Operator(Some(name)) => write!(f, "operator:{name}"),
            Self::Merchant(name) => write!(f, "merchant:{name}"),
        }
    }
}

/// The longest key; what carries it is a header.
const MAX_KEY: usize = 1024;

/// A text that can't be a key: a caller could never present it. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key must be 1 to {MAX_KEY} visible ASCII characters without blanks")]
pub struct BadKey;

/// `text` as a key, where a header can carry it unchanged.
pub fn key(text: &str) -> Result<Secret, BadKey> {
    let carried = (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if carried { Ok(Secret::new(text)) } else { Err(BadKey) }
}

/// The merchants' keys as configured: `shop=KEY1,account-service=KEY2`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MerchantKeys(pub Vec<(String, Secret)>);

/// A list of merchant keys that can't be read. Never shows a key.
#[derive(Debug, thiserror::Error)]
#[error(
    "entry {0} must look like `merchant=KEY`, with a merchant of 1 to 64 letters, digits, `-`, `_` or `.`, named once, and a key of 1 to {MAX_KEY} visible ASCII characters that no other has"
)]
pub struct BadMerchantKeys(usize);

impl MerchantKeys {
    /// The merchant whose key this is.
    pub fn owner_of(&self, key: &Secret) -> Option<&str> {
        self.0.iter().find(|(_, known)| known == key).map(|(name, _)| name.as_str())
    }
}

impl FromStr for MerchantKeys {
    type Err = BadMerchantKeys;

    fn from_str(text: &str) -> Result<Self, BadMerchantKeys> {
        let mut keys: Vec<(String, Secret)> = Vec::new();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for (index, entry) in entries.enumerate() {
            let bad = || BadMerchantKeys(index + 1);
            let (name, text) = entry.split_once('=').ok_or_else(bad)?;
            let key = key(text).map_err(|_| bad())?;
            let taken = |(known, of): &(String, Secret)| known == name || *of == key;
            if !is_merchant_name(name) || keys.iter().any(taken) {
                return Err(bad());
            }
            keys.push((name.to_owned(), key));
        }
        Ok(Self(keys))
    }
}

/// The longest name of a merchant or an operator.
pub const MAX_MERCHANT_NAME: usize = 64;

/// Whether `name` can name a merchant or an operator: 1 to 64 letters, digits, `-`, `_` or `.`.
pub fn is_merchant_name(name: &str) -> bool {
    (1..=MAX_MERCHANT_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_list_is_refused_without_showing_a_key() {
        for text in [
            "shop",
            "shop=",
            "=k",
            "a b=k",
            "shop=k1,shop=k2",
            "shop=k1,kiosk=k1",
            "shop= k1",
            "shop=k1 k1",
            "shop=schlüssel-k1",
            "shop =k1",
        ] {
            let error = text.parse::<MerchantKeys>().expect_err(text).to_string();
            assert!(!error.contains("k1"), "{error}");
        }
    }

    #[test]
    fn a_key_is_what_a_header_carries_unchanged() {
        assert_eq!(key("op_5-x=~"), Ok(Secret::new("op_5-x=~")));
        assert_eq!(key(&"x".repeat(MAX_KEY)).map(|key| key.expose().len()), Ok(MAX_KEY));
        for text in ["", " ", "key ", " key", "a key", "key\t", "key\n", "key\0", "schlüssel", "\u{feff}key"]
        {
            assert_eq!(key(text), Err(BadKey), "{text:?}");
        }
        assert_eq!(key(&"x".repeat(MAX_KEY + 1)), Err(BadKey));
    }
}
