//! Traces: the W3C context that travels with an event, and spans on their way to an OTLP collector.

mod context;
mod export;
#[cfg_attr(not(feature = "otlp"), path = "no_otlp.rs")]
mod otlp;
mod settings;
mod span;

pub use context::TraceContext;
pub use export::{Posting, Spans};
pub use otlp::NoExporter;
pub use settings::{OtlpEndpoint, SampleRatio, TraceSettings};
pub use span::{Kind, Span};
