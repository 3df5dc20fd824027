//! Schemas that more than one service uses.

use std::time::Duration;

use utoipa::openapi::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

use super::number_pattern::decimals;
use crate::http::page::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::keys::MAX_MERCHANT_NAME;

/// Any text without control characters, as [`crate::validation::text`] takes it.
const NO_CONTROL: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

crate::described! {
    /// A merchant's name.
    pub MerchantName as "MerchantName" = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The name of a merchant"))
        .pattern(Some(format!("^[A-Za-z0-9_.-]{{1,{MAX_MERCHANT_NAME}}}$")))
        .examples(["shop"]);
    /// How many items a page holds.
    pub Limit as "Limit" = integer(1, i64::from(MAX_LIMIT))
        .description(Some("How many items at most"))
        .default(Some(DEFAULT_LIMIT.into()))
        .examples([DEFAULT_LIMIT]);
    /// Where a page starts.
    pub Cursor as "Cursor" = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The `next_cursor` of the page before; opaque"))
        .format(Some(SchemaFormat::Custom("cursor".into())))
        .min_length(Some(1))
        .max_length(Some(64));
    /// A recharge's number in requests.
    pub TxNo as "TxNo" = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The number of a recharge: a UUID with or without its hyphens"))
        .pattern(Some("^[0-9A-Fa-f]{8}(?:[0-9A-Fa-f]{24}|(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$"))
        .examples(["019b76da-a800-7000-8000-000000000001"]);
}

/// A text of 1 to `max` characters, none of them a control character: what
/// [`crate::validation::text`] takes.
pub fn text(max: usize) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(max))
        .pattern(Some(NO_CONTROL))
}

/// One of these words.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.into_iter().collect::<Vec<_>>()))
}

/// A whole number from `min` to `max`.
pub fn integer(min: i64, max: i64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(min))
        .maximum(Some(max))
}

/// A duration from `min` to `max`, as services write them. More is understood, such as `1h 30m`.
pub fn durations(min: Duration, max: Duration) -> ObjectBuilder {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let alternatives = units.into_iter().filter_map(|(unit, millis)| {
        let whole = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (from, to) = (whole(min).div_ceil(millis), whole(max) / millis);
        (from <= to).then(|| format!("(?:{}){unit}", decimals(from, to)))
    });
    let pattern = format!("^(?:{})$", alternatives.collect::<Vec<_>>().join("|"));
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}
