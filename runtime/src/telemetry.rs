//! Logs and metrics.

use std::io::IsTerminal;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use clap::ValueEnum;
use prometheus::{Registry, TextEncoder};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// The crates whose own lines may be shown at every level: they never log a secret.
const OURS: [&str; 8] =
    ["account_service", "bench", "e2e", "messaging", "notifier", "pay_service", "ringback", "runtime"];

/// Starts logging to standard error. `RUST_LOG` refines what is shown (default `info`).
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn,sqlx_core::pool=off,lapin=error"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let harmless = filter_fn(is_harmless);
    match format {
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).finish().with(harmless).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().with(harmless).init(),
    }
}

/// Libraries write URLs with their passwords, headers and bodies below `info`; those lines are never
/// shown, whatever `RUST_LOG` asks for.
fn is_harmless(line: &Metadata<'_>) -> bool {
    let source = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::INFO || OURS.contains(&source)
}

/// The registry's metrics in the Prometheus text format.
pub fn exposition(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => crate::Problem::internal(&error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::log::Log;

    #[test]
    fn libraries_show_nothing_below_info_whatever_is_asked_for() {
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("trace,amq_protocol_tcp=trace"))
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        let guard = tracing::subscriber::set_default(subscriber.with(filter_fn(is_harmless)));
        tracing::trace!(target: "amq_protocol_tcp", uri = "amqp://ringback:hush@queue", "Connecting.");
        tracing::debug!(target: "hyper_util::client", header = "Bearer hush", "sent");
        tracing::info!(target: "lapin", "connected");
        tracing::trace!(target: "notifier::engine", "one of ours");
        drop(guard);
        let lines = log.take();
        assert!(lines.len() == 2 && lines.iter().all(|line| !line.contains("hush")), "{lines:?}");
    }
}
