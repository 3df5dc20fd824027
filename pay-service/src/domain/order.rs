//! What a merchant asks for: the content of a recharge that never changes.

use runtime::validation::{self, Invalid, Violations};

use super::{Amount, Channel, Currency};

/// The longest `attach`, in bytes.
pub const MAX_ATTACH_BYTES: usize = 1024;
/// The longest account number, in characters.
pub const MAX_ACCOUNT_NO: usize = 64;
/// The longest order number, in characters.
pub const MAX_ORDER_NO: usize = 64;

/// The merchant's own number of an order, unique per merchant: 1 to 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderNo(String);

impl OrderNo {
    /// Refuses what is empty, too long, or not visible ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        if (1..=MAX_ORDER_NO).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text));
        }
        Err(Invalid::field("merchant_order_no", "must have 1 to 64 visible ASCII characters, no spaces"))
    }

    /// The number.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses an account number that is empty, longer than 64 characters, or holds control characters.
pub fn account_no(text: &str) -> Result<(), Invalid> {
    validation::text("account_no", text, MAX_ACCOUNT_NO)
}

/// An order as it was sent, unchecked.
#[derive(Debug, Clone)]
pub struct OrderDraft {
    /// Whose order it is; already known to be a merchant's name.
    pub merchant: String,
    /// See [`OrderNo`].
    pub merchant_order_no: String,
    /// The account to recharge.
    pub account_no: String,
    /// Minor units.
    pub amount: i64,
    /// CNY when it is not said.
    pub currency: Option<String>,
    /// `instant` when it is not said.
    pub channel: Option<String>,
    /// The merchant's own text.
    pub attach: Option<String>,
}

/// A valid order. Two orders are the same when all of it is: that is what makes a repeated request
/// a repetition and not a contradiction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Whose order it is.
    pub merchant: String,
    /// The merchant's own number.
    pub merchant_order_no: OrderNo,
    /// The account to recharge.
    pub account_no: String,
    /// How much.
    pub amount: Amount,
    /// In which currency.
    pub currency: Currency,
    /// How it is paid.
    pub channel: Channel,
    /// The merchant's own text; comes back untouched.
    pub attach: Option<String>,
}

impl Order {
    /// Checks every field and names all that are wrong.
    pub fn new(draft: OrderDraft) -> Result<Self, Invalid> {
        let mut violations = Violations::new();
        let merchant_order_no = violations.take(OrderNo::new(draft.merchant_order_no));
        violations.take(account_no(&draft.account_no));
        let amount = violations.take(Amount::new(draft.amount));
        let currency = draft.currency.as_deref().map_or(Ok(Currency::CNY), Currency::parse);
        let currency = violations.take(currency);
        let channel = draft.channel.as_deref().map_or(Ok(Channel::Instant), Channel::parse);
        let channel = violations.take(channel);
        violations.take(draft.attach.as_deref().map_or(Ok(()), attach));
        violations.finish()?;
        let (Some(merchant_order_no), Some(amount), Some(currency), Some(channel)) =
            (merchant_order_no, amount, currency, channel)
        else {
            unreachable!("a field that is missing was recorded as a violation");
        };
        Ok(Self {
            merchant: draft.merchant,
            merchant_order_no,
            account_no: draft.account_no,
            amount,
            currency,
            channel,
            attach: draft.attach,
        })
    }
}

/// NUL is the one character that a Postgres text can't hold.
fn attach(text: &str) -> Result<(), Invalid> {
    let mut violations = Violations::new();
    let bytes = text.len();
    violations.require(
        bytes <= MAX_ATTACH_BYTES,
        "attach",
        format!("must have at most {MAX_ATTACH_BYTES} bytes, has {bytes}"),
    );
    violations.require(!text.contains('\0'), "attach", "must not contain the NUL character");
    violations.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> OrderDraft {
        OrderDraft {
            merchant: "shop".into(),
            merchant_order_no: "order-1".into(),
            account_no: "6222".into(),
            amount: 1000,
            currency: None,
            channel: None,
            attach: None,
        }
    }

    #[test]
    fn an_order_is_in_yuan_and_instant_unless_it_says_otherwise() {
        let order = Order::new(draft()).expect("valid");
        assert_eq!((order.currency, order.channel), (Currency::CNY, Channel::Instant));
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let wrong = OrderDraft {
            merchant_order_no: "a b".into(),
            account_no: String::new(),
            amount: 0,
            currency: Some("yuan".into()),
            channel: Some("cash".into()),
            attach: Some("长".repeat(342)),
            ..draft()
        };
        let Invalid(errors) = Order::new(wrong).expect_err("invalid");
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["merchant_order_no", "account_no", "amount", "currency", "channel", "attach"]);
        assert!(errors[4].message.contains("instant, sandbox, alipay, wechatpay"));
    }

    #[test]
    fn attach_is_measured_in_bytes_and_any_text_but_nul() {
        let with = |attach: String| Order::new(OrderDraft { attach: Some(attach), ..draft() });
        for attach in ["长".repeat(341), "\u{1}\n\"'\\🎈".into(), String::new(), "x".repeat(1024)] {
            assert_eq!(with(attach.clone()).map(|order| order.attach), Ok(Some(attach)));
        }
        assert!(with("x".repeat(1025)).is_err());
        assert!(with("\0".into()).is_err());
    }
}
