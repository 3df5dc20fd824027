//! In place of the exporter where the feature `otlp` is off.

use super::Span;

/// This program has no exporter.
#[derive(Debug, thiserror::Error)]
#[error("OTLP_ENDPOINT: this program was built without an exporter; build it with `--features otlp`")]
pub struct NoExporter;

/// None can be made.
pub(super) enum Exporter {}

impl Exporter {
    pub(super) fn new(_endpoint: &str, _service: &'static str) -> Result<Self, NoExporter> {
        Err(NoExporter)
    }

    #[expect(clippy::unused_async, reason = "as the one that posts")]
    pub(super) async fn export(&self, _spans: Vec<Span>) -> Result<(), String> {
        match *self {}
    }
}
