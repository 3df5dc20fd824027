//! An attempt's place in its event's trace, which the receiver is told, and its span.

use runtime::trace::{Kind, Span, Spans, TraceContext};

use crate::domain::{Delivery, Exchange, FailureClass};

/// Where an attempt stands.
pub struct AttemptSpan {
    event: TraceContext,
    own: TraceContext,
}

impl AttemptSpan {
    /// The place of the attempt that is about to be made at `delivery`: below its event, with an id
    /// of its own, since its number and its lease are.
    pub fn of(delivery: &Delivery, spans: &Spans) -> Self {
        let message = &delivery.message;
        let event = spans.context_of(message.traceparent.as_deref(), &message.id);
        let (notification, token) = (delivery.notification.0, delivery.lease.token());
        let number = delivery.number.to_be_bytes();
        let own = event.child(&[b"attempt", notification.as_bytes(), token.as_bytes(), &number]);
        Self { event, own }
    }

    /// What the receiver is told: its own spans are below this attempt's.
    pub fn traceparent(&self) -> String {
        self.own.to_string()
    }

    /// Hands in the span of the attempt that ended with `exchange`. Of the URL it tells the host.
    pub fn finish(self, delivery: &Delivery, exchange: &Exchange, spans: &Spans) {
        if !spans.wants(&self.own) {
            return;
        }
        let endpoint = &delivery.endpoint;
        let mut attributes = vec![
            ("notification.id", delivery.notification.to_string().into()),
            ("subscription.id", endpoint.subscription.to_string().into()),
            ("messaging.message.id", delivery.message.id.clone().into()),
            ("attempt.number", i64::from(delivery.number).into()),
            ("attempt.outcome", exchange.outcome.as_str().into()),
            ("http.request.method", "POST".into()),
            ("server.address", endpoint.url.host_str().unwrap_or_default().to_owned().into()),
        ];
        if let Some(status) = exchange.http_status {
            attributes.push(("http.response.status_code", i64::from(status).into()));
        }
        spans.finish(Span {
            name: "attempt",
            kind: Kind::Client,
            context: self.own,
            parent: Some(self.event),
            started_at: exchange.started_at,
            ended_at: exchange.started_at + exchange.duration,
            attributes,
            error: exchange.outcome.failure_class().map(FailureClass::as_str),
        });
    }
}
