//! Money: an integer in minor units and a currency. Never a float.

use std::fmt;

use runtime::validation::Invalid;

/// An amount in minor units (fen, cents): 1 to 1 000 000 000 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(i64);

impl Amount {
    /// The largest amount of one recharge.
    pub const MAX: i64 = 1_000_000_000_000;

    /// Refuses what is out of bounds.
    pub fn new(minor_units: i64) -> Result<Self, Invalid> {
        if (1..=Self::MAX).contains(&minor_units) {
            return Ok(Self(minor_units));
        }
        Err(Invalid::field("amount", format!("must be 1 to {} in minor units", Self::MAX)))
    }

    /// In minor units.
    pub fn minor_units(self) -> i64 {
        self.0
    }
}

/// An active ISO 4217 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency(&'static str);

impl Currency {
    /// What a recharge is in when it does not say.
    pub const CNY: Self = Self("CNY");

    /// Refuses what is no active code.
    pub fn parse(code: &str) -> Result<Self, Invalid> {
        let known = ACTIVE.split_ascii_whitespace().find(|active| *active == code);
        known.map(Self).ok_or_else(|| {
            Invalid::field(
                "currency",
                "must be an active ISO 4217 code of three capital letters, such as CNY",
            )
        })
    }

    /// The code.
    pub fn code(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// ISO 4217 list one, 2026: the codes of circulating currencies; funds, metals and test codes are
/// left out, since nobody recharges an account in them.
pub const ACTIVE: &str = "
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
    CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS
    GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW
    KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR
    MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
    SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX
    USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_out_of_bounds_is_refused() {
        for amount in [i64::MIN, -1, 0, Amount::MAX + 1, i64::MAX] {
            assert!(Amount::new(amount).is_err(), "{amount}");
        }
        for amount in [1, Amount::MAX] {
            assert_eq!(Amount::new(amount).map(Amount::minor_units), Ok(amount));
        }
    }

    #[test]
    fn only_active_codes_in_capital_letters_are_currencies() {
        for code in ["CNY", "USD", "XOF"] {
            assert_eq!(Currency::parse(code).map(Currency::code), Ok(code));
        }
        for code in ["", "cny", "RMB", "XXX", "CNY USD", "C"] {
            assert!(Currency::parse(code).is_err(), "{code}");
        }
    }
}
