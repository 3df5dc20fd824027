//! Who wants to hear of what, where and how.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use messaging::Ladder;
use runtime::duration::HumanDuration;
use runtime::validation::{Invalid, Violations, text};
use url::Url;
use uuid::Uuid;

use super::endpoint::{Endpoint, RequestTimeout, SigningSecret};
use super::webhook_url::parse_url;
use super::{AckRule, EventPattern, Schedule};

/// The most event types one subscription may name.
pub const MAX_EVENT_TYPES: usize = 50;
/// The most headers one subscription may add.
pub const MAX_HEADERS: usize = 20;
/// The longest name, in characters.
pub const MAX_NAME: usize = 64;
/// The longest note, in characters.
pub const MAX_DESCRIPTION: usize = 500;
/// The longest name of a header.
pub const MAX_HEADER_NAME: usize = 64;
/// The longest value of a header.
pub const MAX_HEADER_VALUE: usize = 1024;
/// The most attempts that may be under way at once.
pub const MAX_IN_FLIGHT: u32 = 1000;
/// The most attempts that may start a second.
pub const MAX_RATE: u32 = 10_000;

/// Headers that are ours or the connection's to set. Those of the standard begin with `webhook-`.
const RESERVED_HEADERS: [&str; 16] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// A subscription's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub Uuid);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a subscription's notifications go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionState {
    /// They do.
    Active,
    /// Its owner holds them back.
    Paused,
    /// They are held back until someone makes it active again.
    Disabled {
        /// Why.
        reason: String,
    },
}

impl SubscriptionState {
    /// What [`SubscriptionState::as_str`] says of each.
    pub const WORDS: [&'static str; 3] = ["active", "paused", "disabled"];

    /// `active`, `paused` or `disabled`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled { .. } => "disabled",
        }
    }

    /// Why it is disabled, where it is.
    pub fn disabled_reason(&self) -> Option<&str> {
        match self {
            Self::Disabled { reason } => Some(reason),
            Self::Active | Self::Paused => None,
        }
    }

    /// Reads what [`SubscriptionState::as_str`] and [`SubscriptionState::disabled_reason`] wrote.
    pub fn parse(state: &str, reason: Option<String>) -> Option<Self> {
        match state {
            "active" => Some(Self::Active),
            "paused" => Some(Self::Paused),
            "disabled" => Some(Self::Disabled { reason: reason.unwrap_or_default() }),
            _ => None,
        }
    }
}

/// What an owner may choose, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its name, unique per merchant.
    pub name: String,
    /// Where webhooks go.
    pub url: String,
    /// Which events are asked for.
    pub event_types: Vec<String>,
    /// A note for people.
    pub description: Option<String>,
    /// The ladder.
    pub schedule: Schedule,
    /// What counts as acknowledgement.
    pub ack: AckRule,
    /// How long one exchange may take.
    pub timeout: HumanDuration,
    /// How many attempts may be under way at once.
    pub max_in_flight: u32,
    /// How many attempts may start a second.
    pub rate_limit: Option<u32>,
    /// Headers sent with every webhook.
    pub headers: BTreeMap<String, String>,
}

impl Draft {
    /// A draft with the defaults for all that need not be chosen.
    pub fn new(name: impl Into<String>, url: impl Into<String>, event_types: Vec<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            event_types,
            description: None,
            schedule: Schedule::default(),
            ack: AckRule::default(),
            timeout: HumanDuration(RequestTimeout::default().get()),
            max_in_flight: 32,
            rate_limit: None,
            headers: BTreeMap::new(),
        }
    }

    /// Checks every rule; names every field that breaks one.
    pub fn check(self) -> Result<Definition, Invalid> {
        let mut violations = Violations::new();
        violations.take(text("name", &self.name, MAX_NAME));
        if let Some(description) = &self.description {
            violations.take(text("description", description, MAX_DESCRIPTION));
        }
        let url = violations.take(parse_url(&self.url));
        let event_types = violations.take(parse_event_types(&self.event_types));
        let ladder = violations.take(self.schedule.ladder());
        violations.take(self.ack.check());
        let timeout = violations.take(RequestTimeout::new(self.timeout));
        let in_flight = (1..=MAX_IN_FLIGHT).contains(&self.max_in_flight);
        violations.require(in_flight, "max_in_flight", format!("must be 1 to {MAX_IN_FLIGHT}"));
        let rate = self.rate_limit.is_none_or(|rate| (1..=MAX_RATE).contains(&rate));
        violations.require(rate, "rate_limit", format!("must be 1 to {MAX_RATE} per second, or null"));
        violations.take(check_headers(&self.headers));
        let checked = url.zip(event_types).zip(ladder.zip(timeout));
        violations.finish()?;
        let ((url, event_types), (ladder, timeout)) =
            checked.expect("each is missing only with a violation recorded");
        Ok(Definition { url, event_types, ladder, timeout, draft: self })
    }
}

/// What an owner chose, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    url: Url,
    event_types: Vec<EventPattern>,
    ladder: Ladder,
    timeout: RequestTimeout,
    draft: Draft,
}

impl Definition {
    /// Where webhooks go.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Which events are asked for.
    pub fn event_types(&self) -> &[EventPattern] {
        &self.event_types
    }

    /// The choices as they were made.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }
}

/// A subscription. Its secrets are kept apart, so that they show only where they are meant to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is. `None`: the operator's; it hears of all merchants' events and of nobody's.
    pub merchant: Option<String>,
    /// What its owner chose.
    pub definition: Definition,
    /// Whether its notifications go out.
    pub state: SubscriptionState,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl Subscription {
    /// Whether what was held against the endpoint as it was `before` says nothing of it any more: it
    /// is another one, or somebody has made the subscription active again.
    pub fn starts_over_from(&self, before: &Self) -> bool {
        let resumed = self.state == SubscriptionState::Active && before.state != SubscriptionState::Active;
        resumed || self.definition.url() != before.definition.url()
    }

    /// What delivery needs to know, with `secrets` newest first.
    pub fn endpoint(&self, secrets: Vec<SigningSecret>) -> Endpoint {
        let Definition { url, ladder, timeout, draft, .. } = &self.definition;
        Endpoint {
            subscription: self.id,
            url: url.clone(),
            headers: draft.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            timeout: *timeout,
            ack: draft.ack.clone(),
            ladder: ladder.clone(),
            max_in_flight: draft.max_in_flight,
            rate_limit: draft.rate_limit,
            secrets,
        }
    }
}

/// What is to change; `None` leaves a choice as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// A new name.
    pub name: Option<String>,
    /// A new address.
    pub url: Option<String>,
    /// Other events.
    pub event_types: Option<Vec<String>>,
    /// Another note; `Some(None)` removes it.
    pub description: Option<Option<String>>,
    /// Another ladder; applies from the next failure on.
    pub schedule: Option<Schedule>,
    /// Another acknowledgement.
    pub ack: Option<AckRule>,
    /// Another timeout.
    pub timeout: Option<HumanDuration>,
    /// Another bound.
    pub max_in_flight: Option<u32>,
    /// Another rate; `Some(None)` removes it.
    pub rate_limit: Option<Option<u32>>,
    /// Other headers, replacing all.
    pub headers: Option<BTreeMap<String, String>>,
    /// Another state.
    pub state: Option<SubscriptionState>,
}

impl Patch {
    /// The names of the fields that it changes.
    pub fn fields(&self) -> Vec<String> {
        let fields = [
            ("name", self.name.is_some()),
            ("url", self.url.is_some()),
            ("event_types", self.event_types.is_some()),
            ("description", self.description.is_some()),
            ("ladder", self.schedule.is_some()),
            ("ack", self.ack.is_some()),
            ("timeout", self.timeout.is_some()),
            ("max_in_flight", self.max_in_flight.is_some()),
            ("rate_limit", self.rate_limit.is_some()),
            ("headers", self.headers.is_some()),
            ("state", self.state.is_some()),
        ];
        fields.into_iter().filter(|(_, named)| *named).map(|(name, _)| name.to_owned()).collect()
    }

    /// Changes `subscription`, or refuses and leaves it as it was.
    pub fn apply(&self, subscription: &mut Subscription, now: DateTime<Utc>) -> Result<(), Invalid> {
        let mut draft = subscription.definition.draft.clone();
        replace(&mut draft.name, self.name.as_ref());
        replace(&mut draft.url, self.url.as_ref());
        replace(&mut draft.event_types, self.event_types.as_ref());
        replace(&mut draft.description, self.description.as_ref());
        replace(&mut draft.schedule, self.schedule.as_ref());
        replace(&mut draft.ack, self.ack.as_ref());
        replace(&mut draft.timeout, self.timeout.as_ref());
        replace(&mut draft.max_in_flight, self.max_in_flight.as_ref());
        replace(&mut draft.rate_limit, self.rate_limit.as_ref());
        replace(&mut draft.headers, self.headers.as_ref());
        subscription.definition = draft.check()?;
        replace(&mut subscription.state, self.state.as_ref());
        subscription.updated_at = now;
        Ok(())
    }
}

fn replace<T: Clone>(place: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn parse_event_types(texts: &[String]) -> Result<Vec<EventPattern>, Invalid> {
    if texts.is_empty() || texts.len() > MAX_EVENT_TYPES {
        return Err(Invalid::field("event_types", format!("must have 1 to {MAX_EVENT_TYPES} entries")));
    }
    let parsed: Result<Vec<_>, _> = texts.iter().map(|text| text.parse()).collect();
    parsed
        .map_err(|error: super::pattern::NotAPattern| Invalid::field("event_types", format!("each {error}")))
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Invalid> {
    let mut violations = Violations::new();
    violations.require(
        headers.len() <= MAX_HEADERS,
        "headers",
        format!("must have at most {MAX_HEADERS} entries"),
    );
    let mut seen = std::collections::HashSet::new();
    for (name, value) in headers.iter().take(MAX_HEADERS) {
        let lower = name.to_ascii_lowercase();
        let reserved = lower.starts_with("webhook-") || RESERVED_HEADERS.contains(&lower.as_str());
        violations.require(is_header_name(name), "headers", "each name must be 1 to 64 token characters");
        violations.require(
            !reserved,
            "headers",
            format!("`{}` is not yours to set", runtime::repeated::name(&lower)),
        );
        violations.require(is_header_value(value), "headers", "each value must be up to 1024 visible ASCII");
        violations.require(seen.insert(lower), "headers", "the same name must not come twice");
    }
    violations.finish()
}

/// A token of RFC 9110, section 5.6.2.
fn is_header_name(name: &str) -> bool {
    (1..=MAX_HEADER_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_header_value(value: &str) -> bool {
    value.len() <= MAX_HEADER_VALUE
        && value.trim() == value
        && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft::new("orders", "https://shop.example/hook", vec!["recharge.*".into()])
    }

    fn wrong_field(change: impl FnOnce(&mut Draft)) -> String {
        let mut draft = draft();
        change(&mut draft);
        draft.check().expect_err("refused").0[0].field.clone()
    }

    #[test]
    fn headers_of_ours_and_illegal_ones_are_refused() {
        for (name, value) in
            [("Webhook-Id", "x"), ("HOST", "x"), ("a b", "x"), ("", "x"), ("x", "a\r\nb"), ("x", "é")]
        {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(wrong_field(|draft| draft.headers = headers), "headers", "{name}: {value}");
        }
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let bad = Draft { max_in_flight: 0, rate_limit: Some(0), event_types: vec![], ..draft() };
        let fields: Vec<_> = bad.check().expect_err("refused").0.into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["event_types", "max_in_flight", "rate_limit"]);
    }

    #[test]
    fn a_refused_patch_changes_nothing() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut subscription = Subscription {
            id: SubscriptionId(Uuid::nil()),
            merchant: None,
            definition: draft().check().expect("valid"),
            state: SubscriptionState::Active,
            created_at: now,
            updated_at: now,
        };
        let before = subscription.clone();
        let patch = Patch { name: Some("new".into()), url: Some("nowhere".into()), ..Patch::default() };
        assert!(patch.apply(&mut subscription, now).is_err());
        assert_eq!(subscription, before);
    }
}
