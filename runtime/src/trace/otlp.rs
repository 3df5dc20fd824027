//! The exporter of the `OpenTelemetry` protocol over HTTP.

use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter, SpanLinks};

use super::export::POST_TIMEOUT;
use super::{Kind, Span};

/// The exporter can't be made of these settings.
#[derive(Debug, thiserror::Error)]
pub enum NoExporter {
    /// No HTTP client.
    #[error("OTLP_ENDPOINT: no HTTP client can be made")]
    Client(#[from] reqwest::Error),
    /// The library refuses its own environment variables, or the endpoint.
    #[error("OTLP_ENDPOINT: no exporter can be made")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Posts spans of one service to one collector.
pub(super) struct Exporter(Otlp);

impl Exporter {
    pub(super) fn new(endpoint: &str, service: &'static str) -> Result<Self, NoExporter> {
        // The collector is the one that is named: no proxy variable of the environment changes that.
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(POST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let exporter = Otlp::builder().with_http().with_http_client(client.build()?).with_endpoint(endpoint);
        let mut exporter = exporter.build()?;
        exporter.set_resource(&Resource::builder_empty().with_service_name(service).build());
        Ok(Self(exporter))
    }

    /// Posts `spans`, all or none.
    pub(super) async fn export(&self, spans: Vec<Span>) -> Result<(), String> {
        let spans = spans.into_iter().map(SpanData::from).collect();
        self.0.export(spans).await.map_err(|error| error.to_string())
    }
}

impl From<Span> for SpanData {
    fn from(span: Span) -> Self {
        let context = &span.context;
        let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let attributes = span.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let error = span.error.map(|class| KeyValue::new("error.type", class));
        Self {
            span_context: SpanContext::new(
                context.trace_id().into(),
                context.span_id().into(),
                flags,
                false,
                TraceState::NONE,
            ),
            parent_span_id: span.parent.map_or(0, |parent| parent.span_id()).into(),
            parent_span_is_remote: span.parent.is_some(),
            span_kind: match span.kind {
                Kind::Producer => SpanKind::Producer,
                Kind::Consumer => SpanKind::Consumer,
                Kind::Client => SpanKind::Client,
            },
            name: span.name.into(),
            start_time: span.started_at.into(),
            end_time: span.ended_at.max(span.started_at).into(),
            attributes: attributes.chain(error).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("ringback").build(),
        }
    }
}
