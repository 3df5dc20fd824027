//! Money: whole minor units (fen, cents) of an ISO 4217 currency.

use std::fmt;
use std::str::FromStr;

use runtime::validation::Invalid;

/// What one recharge moves, in minor units: 1 to 1 000 000 000 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

impl Amount {
    /// The largest amount of one recharge.
    pub const MAX: i64 = 1_000_000_000_000;

    /// Takes an amount within the bounds.
    pub fn new(minor_units: i64) -> Result<Self, Invalid> {
        if (1..=Self::MAX).contains(&minor_units) {
            return Ok(Self(minor_units));
        }
        Err(Invalid::field("amount", format!("must be 1 to {} minor units", Self::MAX)))
    }

    /// The number of minor units.
    pub fn minor_units(self) -> i64 {
        self.0
    }
}

/// An ISO 4217 code: three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The yuan: what accounts hold.
    pub const CNY: Self = Self(*b"CNY");

    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only capital ASCII letters get in")
    }
}

impl FromStr for Currency {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(Invalid::field("currency", "must be an ISO 4217 code such as \"CNY\"")),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
