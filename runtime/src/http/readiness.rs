//! `GET /readyz`: whether what the service depends on answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Json;
use crate::problem::{Chain, Problem};
use crate::validation::FieldError;

/// How long a dependency may take to answer before it counts as down.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// One dependency of a service.
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Asks the dependency for a sign of life.
    async fn check(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// A service's dependencies by name, such as `database` and `broker`.
#[derive(Clone, Default)]
pub struct Readiness(Vec<(&'static str, Arc<dyn Check>)>);

impl Readiness {
    /// Depends on nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Depends on `check` under `name` as well.
    #[must_use]
    pub fn with(mut self, name: &'static str, check: Arc<dyn Check>) -> Self {
        self.0.push((name, check));
        self
    }

    /// 200 when every dependency answers, 503 naming those that don't.
    pub async fn answer(&self) -> Response {
        let mut failures = Vec::new();
        let mut parts = Map::new();
        for (name, check) in &self.0 {
            match probe(check.as_ref()).await {
                Ok(()) => {
                    parts.insert((*name).to_owned(), Value::from("ok"));
                }
                Err(message) => failures.push(FieldError { field: (*name).to_owned(), message }),
            }
        }
        if failures.is_empty() {
            return Json(json!({ "status": "ready", "checks": parts })).into_response();
        }
        let names: Vec<&str> = failures.iter().map(|failure| failure.field.as_str()).collect();
        Problem::unavailable(&names.join(", "), Duration::from_secs(1)).with_errors(failures).into_response()
    }
}

async fn probe(check: &dyn Check) -> Result<(), String> {
    match tokio::time::timeout(CHECK_TIMEOUT, check.check()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            let error: &(dyn std::error::Error + 'static) = &*error;
            tracing::warn!(error = %Chain(error), "readiness.failed");
            Err("does not answer".to_owned())
        }
        Err(_) => Err(format!("did not answer within {} s", CHECK_TIMEOUT.as_secs())),
    }
}
