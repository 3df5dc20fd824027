//! Accounts.

use std::fmt;

use chrono::{DateTime, Utc};
use runtime::validation::{Invalid, Violations, text};

use super::money::Currency;

/// Names an account: 1 to 64 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNo(String);

impl AccountNo {
    /// The longest account number, in characters.
    pub const MAX_CHARS: usize = 64;

    /// Takes a well-formed account number.
    pub fn parse(value: impl Into<String>) -> Result<Self, Invalid> {
        let value = value.into();
        text("account_no", &value, Self::MAX_CHARS)?;
        Ok(Self(value))
    }

    /// The number as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An account as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccount {
    /// Its number.
    pub account_no: AccountNo,
    /// Whose it is, for people: 1 to 200 characters.
    pub account_name: String,
    /// What it holds.
    pub currency: Currency,
}

impl NewAccount {
    /// The longest name, in characters.
    pub const MAX_NAME_CHARS: usize = 200;

    /// Checks both texts; the account will hold yuan.
    pub fn new(account_no: String, account_name: String) -> Result<Self, Invalid> {
        let mut violations = Violations::new();
        let account_no = violations.take(AccountNo::parse(account_no));
        violations.take(text("account_name", &account_name, Self::MAX_NAME_CHARS));
        violations.finish()?;
        let account_no = account_no.expect("a bad number was recorded as a violation");
        Ok(Self { account_no, account_name, currency: Currency::CNY })
    }
}

/// An account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub account_no: AccountNo,
    /// Whose it is.
    pub account_name: String,
    /// What it holds.
    pub currency: Currency,
    /// The sum of its credits, in minor units; never negative.
    pub balance: i64,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
}

/// What became of the wish to open an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is new.
    Created(Account),
    /// The same account had been opened before.
    Existing(Account),
    /// The number belongs to an account of another name.
    Conflict,
}

impl Opened {
    /// Judges the wish against the account that already has the number.
    pub fn again(wish: &NewAccount, account: Account) -> Self {
        if wish.account_name == account.account_name { Self::Existing(account) } else { Self::Conflict }
    }
}
