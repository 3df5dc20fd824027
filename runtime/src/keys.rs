//! Who is calling: the operator or one merchant, told by a bearer key.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};

use crate::secret::Secret;

/// The caller a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// May do everything.
    Operator,
    /// Sees and touches only what belongs to this merchant.
    Merchant(String),
}

impl Caller {
    /// The merchant this caller is confined to; `None` for the operator.
    pub fn merchant(&self) -> Option<&str> {
        match self {
            Self::Operator => None,
            Self::Merchant(name) => Some(name),
        }
    }

    /// Whether something owned by `merchant` is visible to this caller.
    pub fn may_see(&self, merchant: Option<&str>) -> bool {
        match self {
            Self::Operator => true,
            Self::Merchant(name) => merchant == Some(name),
        }
    }
}

/// How the caller is named in audit records: `operator` or `merchant:<name>`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
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

/// Whether `name` can name a merchant: 1 to 64 letters, digits, `-`, `_` or `.`.
pub fn is_merchant_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// All keys of a process, kept as digests so that comparison takes the same time whatever is sent.
pub struct Keyring(Vec<(Digest, Caller)>);

impl Keyring {
    /// The operator's key, where there is one, and the merchants'.
    pub fn new(operator: Option<&Secret>, merchants: &MerchantKeys) -> Self {
        let operator = operator.map(|key| (fingerprint(key.expose()), Caller::Operator));
        let merchants =
            merchants.0.iter().map(|(name, key)| (fingerprint(key.expose()), Caller::Merchant(name.clone())));
        Self(operator.into_iter().chain(merchants).collect())
    }

    /// Whether it holds no key, so that every caller is refused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key this is. Compares with every key, in constant time each.
    pub fn identify(&self, key: &str) -> Option<Caller> {
        let presented = fingerprint(key);
        self.0.iter().fold(None, |found, (known, caller)| {
            let same = verify_slices_are_equal(known.as_ref(), presented.as_ref()).is_ok();
            if same { Some(caller.clone()) } else { found }
        })
    }
}

fn fingerprint(key: &str) -> Digest {
    digest(&SHA256, key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_names_its_caller_and_no_other() {
        let merchants: MerchantKeys = "shop=k1,account-service=k2".parse().expect("well-formed");
        let ring = Keyring::new(Some(&Secret::new("op")), &merchants);
        assert_eq!(ring.identify("op"), Some(Caller::Operator));
        assert_eq!(ring.identify("k2"), Some(Caller::Merchant("account-service".into())));
        assert_eq!(ring.identify("k3"), None);
        assert_eq!(ring.identify(""), None);
    }

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
