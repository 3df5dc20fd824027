//! `GET /readyz`: whether what the service depends on answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::response::{IntoResponse, Response};

use super::Json;
use super::operations::Ready;
use crate::database::outage_class;
use crate::problem::{Chain, Problem};
use crate::recurring::Recurring;
use crate::validation::FieldError;

/// How long a dependency may take to answer before it counts as down.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// One dependency of a service.
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Asks the dependency for a sign of life.
    async fn check(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// An error of a check whose text says what an operator has to do, and so is shown to callers.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotReady(pub String);

/// A service's dependencies by name, such as `database` and `broker`.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<Part>,
    failures: Arc<Recurring>,
    warnings: Vec<&'static str>,
}

#[derive(Clone)]
struct Part {
    name: &'static str,
    check: Arc<dyn Check>,
    /// Whether the service serves without it.
    optional: bool,
}

/// What a caller of `/readyz` asks for.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Strictness {
    /// Whether a part that the service serves without counts like any other
    #[serde(default)]
    strict: bool,
}

impl Readiness {
    /// Depends on nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Depends on `check` under `name` as well.
    #[must_use]
    pub fn with(mut self, name: &'static str, check: Arc<dyn Check>) -> Self {
        self.checks.push(Part { name, check, optional: false });
        self
    }

    /// Serves, but says this of its configuration.
    #[must_use]
    pub fn with_warning(mut self, warning: &'static str) -> Self {
        self.warnings.push(warning);
        self
    }

    /// Serves without `check` under `name`, and says so.
    #[must_use]
    pub fn with_optional(mut self, name: &'static str, check: Arc<dyn Check>) -> Self {
        self.checks.push(Part { name, check, optional: true });
        self
    }

    /// 200 when every dependency answers or the service serves without it, which `degraded` says; else
    /// 503 naming those that don't. Strictly, 503 for either.
    pub async fn answer(&self, Strictness { strict }: Strictness) -> Response {
        let mut failures = Vec::new();
        let mut parts = BTreeMap::new();
        let mut status = "ready";
        for Part { name, check, optional } in &self.checks {
            match self.probe(name, check.as_ref()).await {
                Ok(()) => {
                    parts.insert(*name, "ok".to_owned());
                }
                Err(message) if *optional && !strict => {
                    status = "degraded";
                    parts.insert(*name, message);
                }
                Err(message) => failures.push(FieldError { field: (*name).to_owned(), message }),
            }
        }
        if failures.is_empty() {
            let answer = Ready { status, checks: parts, warnings: self.warnings.clone() };
            return Json(answer).into_response();
        }
        let names: Vec<&str> = failures.iter().map(|failure| failure.field.as_str()).collect();
        Problem::unavailable(&names.join(", "), Duration::from_secs(1)).with_errors(failures).into_response()
    }

    async fn probe(&self, name: &str, check: &dyn Check) -> Result<(), String> {
        match tokio::time::timeout(CHECK_TIMEOUT, check.check()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let error: &(dyn std::error::Error + 'static) = &*error;
                self.log(name, &Chain(error).to_string());
                Err(match error.downcast_ref::<NotReady>() {
                    Some(NotReady(text)) => text.clone(),
                    None => outage_class(error).map_or_else(
                        || "does not answer".to_owned(),
                        |class| format!("does not answer: {class}"),
                    ),
                })
            }
            Err(_) => Err(format!("did not answer within {} s", CHECK_TIMEOUT.as_secs())),
        }
    }

    fn log(&self, name: &str, error: &str) {
        if let Some(times) = self.failures.note(&format!("{name}: {error}")) {
            tracing::warn!(part = name, error, times, "readiness.failed");
        }
    }
}
