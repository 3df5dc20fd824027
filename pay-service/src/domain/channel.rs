//! The channels a recharge can be paid through.

use runtime::validation::Invalid;

/// A way to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Settles inside the call that creates the recharge.
    Instant,
    /// Our own stand-in for a payment platform: settles by a signed callback.
    Sandbox,
    /// Alipay. Known, but its callbacks are not taken yet.
    Alipay,
    /// `WeChat` Pay. Known, but its callbacks are not taken yet.
    WechatPay,
}

impl Channel {
    /// Every channel, in the order they are listed to callers.
    pub const ALL: [Self; 4] = [Self::Instant, Self::Sandbox, Self::Alipay, Self::WechatPay];

    /// The name in requests, answers and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Sandbox => "sandbox",
            Self::Alipay => "alipay",
            Self::WechatPay => "wechatpay",
        }
    }

    /// The channel of this name; `None` when there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == name)
    }

    /// Reads a request's field; an unknown name is refused with the known ones.
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        Self::named(name).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Invalid::field("channel", format!("must be one of {known}"))
        })
    }

    /// Whether a recharge through it is final from the start.
    pub fn settles_at_once(self) -> bool {
        self == Self::Instant
    }
}
