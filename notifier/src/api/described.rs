//! What the interface description says of the values that callers send and receive.

use std::time::Duration;

use messaging::event::MAX_TEXT;
use messaging::ladder::{MAX_STEP, MAX_STEPS, MIN_STEP, Preset};
use messaging::webhook::Scheme;
use runtime::http::described::{durations, integer, text, words};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, SchemaFormat, Type};

use crate::domain::attempt::{FailureClass, OUTCOMES};
use crate::domain::audit::Action;
use crate::domain::health::HealthState;
use crate::domain::notification::StateName;
use crate::domain::states::UNDELIVERED;
use crate::domain::subscription::{
    MAX_DESCRIPTION, MAX_EVENT_TYPES, MAX_HEADER_NAME, MAX_HEADER_VALUE, MAX_HEADERS, MAX_IN_FLIGHT,
    MAX_NAME, MAX_RATE,
};
use crate::domain::webhook_url::MAX_URL;
use crate::domain::{BulkAction, RequestTimeout, States, SubscriptionAction, SubscriptionState, WaitsFor};
use crate::usecases::MAX_REASON;
use crate::usecases::subscribe::MAX_OVERLAP;

runtime::described! {
    pub SubscriptionName as "SubscriptionName" = text(MAX_NAME)
        .description(Some("The name of a subscription, unique per merchant; no control characters"))
        .examples(["orders"]);
    pub SubscriptionNote as "SubscriptionDescription" = text(MAX_DESCRIPTION)
        .description(Some("A note for people; no control characters"))
        .examples(["the shop's orders"]);
    pub Url as "WebhookUrl" = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("uri".into())))
        .description(Some("An `http` or `https` URL without user and fragment, whose host can be looked up"))
        .pattern(Some(r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+(?:[/?][^\s#]*)?$"))
        .max_length(Some(MAX_URL))
        .examples(["https://shop.example/hooks"]);
    pub Pattern as "EventPattern" = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("An event type such as `recharge.succeeded`, a family such as `recharge.*`, or `*`"))
        .pattern(Some(r"^(?:\*|[A-Za-z0-9._-]{1,255}(?:\.\*)?)$"))
        .examples(["recharge.*"]);
    pub Patterns as "EventPatterns" = ArrayBuilder::new()
        .items(reference::<Pattern>())
        .description(Some("Which events are asked for"))
        .min_items(Some(1))
        .max_items(Some(MAX_EVENT_TYPES))
        .examples([json!(["recharge.*"])]);
    pub PresetName as "LadderPreset" = words(Preset::ALL.map(Preset::as_str))
        .description(Some("A ladder that has a name"));
    pub Step as "LadderStep" = durations(MIN_STEP, MAX_STEP)
        .description(Some("A wait, such as `30s`, `5m` or `10h`; `1h 30m` is understood as well"))
        .examples(["5m"]);
    pub Ladder as "Ladder" = OneOfBuilder::new()
        .item(reference::<PresetName>())
        .item(ArrayBuilder::new().items(reference::<Step>()).min_items(Some(1)).max_items(Some(MAX_STEPS)))
        .description(Some("The waits between attempts: the name of a preset, or one's own steps"))
        .examples([json!("standard"), json!(["1m", "5m"])]);
    pub Timeout as "Timeout" = durations(RequestTimeout::MIN, RequestTimeout::MAX)
        .description(Some("How long one exchange may take"))
        .examples(["10s"]);
    pub InFlight as "MaxInFlight" = integer(1, MAX_IN_FLIGHT.into())
        .description(Some("How many attempts may be under way at once"))
        .examples([32]);
    pub Rate as "RateLimit" = integer(1, MAX_RATE.into())
        .description(Some("How many attempts may start a second"))
        .examples([100]);
    pub Headers as "Headers" = headers();
    pub Signature as "SignatureScheme" = words([Scheme::V1, Scheme::V1a].map(Scheme::as_str))
        .description(Some("How webhooks are signed: `v1` (a shared secret) or `v1a` (a key pair)"))
        .examples(["v1"]);
    pub Overlap as "Overlap" = durations(Duration::ZERO, MAX_OVERLAP)
        .description(Some("How long the key before is signed with beside the new one"))
        .examples(["24h"]);
    pub State as "SubscriptionState" = words(SubscriptionState::WORDS)
        .description(Some("`paused` and `disabled` hold its notifications back"))
        .examples(["active"]);
    pub HealthWord as "HealthState" = words(HealthState::ALL.map(HealthState::as_str));
    pub NotificationWord as "NotificationState" = words(StateName::ALL.map(StateName::as_str));
    pub StateFilter as "NotificationStateFilter" =
        words(StateName::ALL.map(StateName::as_str).into_iter().chain([UNDELIVERED]))
            .description(Some("`undelivered` stands for all but `delivered` and `cancelled`"));
    pub Waits as "WaitsFor" = words(WaitsFor::ALL.map(WaitsFor::as_str));
    pub Failure as "FailureClass" = words(FailureClass::ALL.map(FailureClass::as_str));
    pub Outcome as "AttemptOutcome" = words(OUTCOMES.map(crate::domain::Outcome::as_str));
    pub ActionWord as "AuditAction" = words(Action::ALL.map(Action::as_str));
    pub SubscriptionActionWord as "SubscriptionAction" =
        words(SubscriptionAction::ALL.map(SubscriptionAction::as_str));
    pub Why as "AuditReason" = text(MAX_REASON)
        .description(Some("Why it is done; kept in the audit trail; no control characters"))
        .examples(["the receiver had lost it"]);
    pub PublishResult as "PublishResult" = words(["new", "known"]);
    pub BulkWord as "BulkState" = words(["running", "done"]);
    pub Subject as "Subject" = text(MAX_TEXT)
        .description(Some("What an event is about, such as a `tx_no`"));
    pub EventId as "EventId" = text(MAX_TEXT)
        .description(Some("The id of an event, which the receiver knows as `webhook-id`"));
    /// An attempt under way can't be resent, so `delivering` is taken beside other states and passed over.
    pub ReplayState as "ReplayState" = words(replayed());
    pub ReplayStates as "ReplayStates" = words_or_text::<ReplayState>(replayed());
    pub CancellableState as "CancellableState" = words(words_of(BulkAction::Cancellation.states()));
    pub CancellationStates as "CancellationStates" =
        words_or_text::<CancellableState>(words_of(BulkAction::Cancellation.states()));
    pub Failures as "FailureClasses" =
        words_or_text::<Failure>(FailureClass::ALL.into_iter().map(FailureClass::as_str));
}

/// A component that the description lists by itself.
pub(super) fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

fn words_of(states: States) -> impl Iterator<Item = &'static str> {
    states.iter().map(StateName::as_str)
}

fn replayed() -> impl Iterator<Item = &'static str> {
    words_of(BulkAction::Replay.states().without(StateName::Delivering)).chain([UNDELIVERED])
}

/// A list of words, each described by `W`, or a text of them separated by commas.
fn words_or_text<W: ToSchema>(choice: impl Iterator<Item = &'static str>) -> RefOr<Schema> {
    let choice: Vec<_> = choice.collect();
    let any = choice.join("|");
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The same, separated by commas"))
        .pattern(Some(format!("^(?:{any})(?:,(?:{any}))*$")));
    let list = ArrayBuilder::new().items(reference::<W>()).min_items(Some(1));
    OneOfBuilder::new().item(list).item(text).examples([json!([choice[0]])]).into()
}

/// Which names are Ringback's own to set, and that names differ by more than their case, no schema says.
fn headers() -> ObjectBuilder {
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(format!("^[A-Za-z0-9!#$%&'*+.^_`|~-]{{1,{MAX_HEADER_NAME}}}$")));
    let value = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(MAX_HEADER_VALUE))
        .pattern(Some("^(?:[!-~](?:[ -~]*[!-~])?)?$"));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(
            "Headers to send with every webhook. Those that begin with `webhook-` and those of the connection, \
             such as `host` and `content-type`, are refused, and so are two names that differ by case alone",
        ))
        .property_names(Some(name))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::from(value)))))
        .max_properties(Some(MAX_HEADERS))
        .examples([json!({ "x-shop": "7" })])
}
