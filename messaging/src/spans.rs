//! The spans of an event on its way over the broker.

use chrono::{DateTime, Utc};
use runtime::trace::{Kind, Span, Spans};
use uuid::Uuid;

use crate::broker::EXCHANGE;
use crate::event::Event;

/// A time that something took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: DateTime<Utc>,
}

/// `event` was published and confirmed under the lease `token`. Where the event has no trace of its
/// own, this is the first span of the one that is made for it.
pub(crate) fn published(spans: &Spans, event: &Event, token: Uuid, took: Took) {
    let of_event = spans.context_of(event.traceparent.as_deref(), &event.id);
    if !spans.wants(&of_event) {
        return;
    }
    let (context, parent) = if of_event.is_derived() {
        (of_event, None)
    } else {
        (of_event.child(&[b"publish", token.as_bytes(), event.id.as_bytes()]), Some(of_event))
    };
    let Took { started_at, ended_at } = took;
    let attributes = vec![
        ("messaging.destination.name", EXCHANGE.into()),
        ("messaging.message.id", event.id.clone().into()),
        ("event.type", event.kind.clone().into()),
    ];
    spans.finish(Span {
        name: "publish",
        kind: Kind::Producer,
        context,
        parent,
        started_at,
        ended_at,
        attributes,
        error: None,
    });
}

/// Of those of `events` whose trace is kept: the spans of handling them together, from `started_at`
/// on, by the worker `name`, as they came from `queue`. They are still to be ended and handed in.
pub(crate) fn handling(
    spans: &Spans,
    events: &[Event],
    (name, queue): (&'static str, &'static str),
    started_at: DateTime<Utc>,
) -> Vec<Span> {
    let size = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let micros = started_at.timestamp_micros().to_be_bytes();
    let span = |event: &Event| {
        let parent = spans.context_of(event.traceparent.as_deref(), &event.id);
        spans.wants(&parent).then(|| Span {
            name,
            kind: Kind::Consumer,
            context: parent.child(&[name.as_bytes(), &micros, event.id.as_bytes()]),
            parent: Some(parent),
            started_at,
            ended_at: started_at,
            attributes: vec![
                ("messaging.destination.name", queue.into()),
                ("messaging.message.id", event.id.clone().into()),
                ("messaging.batch.message_count", size.into()),
                ("event.type", event.kind.clone().into()),
            ],
            error: None,
        })
    };
    events.iter().filter_map(span).collect()
}
