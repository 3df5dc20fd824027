//! A key as it is kept: its SHA-256, from which it can't be found again.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

const BYTES: usize = 32;
/// How many characters of a hash name a key in lists and errors.
const SHORT: usize = 12;

/// The SHA-256 of a key. Written as 64 hexadecimal digits.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; BYTES]);

/// A text that is no SHA-256. Never shows it: it may be the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the SHA-256 of a key: 64 hexadecimal digits, as `printf %s KEY | sha256sum` prints them")]
pub struct BadHash;

impl KeyHash {
    /// The hash of `key`.
    pub fn of(key: &str) -> Self {
        let hashed = digest(&SHA256, key.as_bytes());
        Self(hashed.as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// What names the key to people: the first digits of the hash.
    pub fn fingerprint(&self) -> String {
        self.to_string()[..SHORT].to_owned()
    }

    /// The first bytes, for finding candidates.
    pub(super) fn prefix(&self) -> u64 {
        self.0.iter().take(8).fold(0, |prefix, byte| (prefix << 8) | u64::from(*byte))
    }
}

/// Takes the same time whatever differs.
impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for KeyHash {}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl FromStr for KeyHash {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let digits = text.as_bytes();
        if digits.len() != 2 * BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadHash);
        }
        let mut bytes = [0; BYTES];
        for (byte, place) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[place..place + 2], 16).map_err(|_| BadHash)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_sha256sum_prints() {
        let printed = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyHash::of("abc").to_string(), printed);
        assert_eq!(printed.parse(), Ok(KeyHash::of("abc")));
        assert_eq!(printed.to_uppercase().parse(), Ok(KeyHash::of("abc")));
        assert_eq!(KeyHash::of("abc").fingerprint(), "ba7816bf8f01");
        assert_eq!(KeyHash::of("abc").prefix(), 0xba78_16bf_8f01_cfea);
    }

    #[test]
    fn what_is_no_hash_is_refused_and_not_shown() {
        let short = "0".repeat(63);
        for text in ["", "hush", &short, &format!("{short}g"), &format!("{short}é"), &format!("{short} ")] {
            let error = text.parse::<KeyHash>().expect_err(text).to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
