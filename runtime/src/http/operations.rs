//! What every service answers beside its own endpoints, to anyone.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::Registry;
use serde::Serialize;
use utoipa::openapi::OpenApi as Description;
use utoipa::{OpenApi, ToSchema};

use super::described::QueryProblems;
use super::readiness::Strictness;
use super::{Json, Query, Readiness};
use crate::problem::Problem;
use crate::telemetry;

#[derive(OpenApi)]
#[openapi(
    paths(health, readiness, metrics, description_of_the_interface),
    tags((name = "service", description = "The service itself; needs no key"))
)]
struct Described;

/// Their part of the interface description.
pub fn description() -> Description {
    Described::openapi()
}

/// The endpoints.
pub fn routes(ready: Readiness, registry: Registry, openapi: Arc<str>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(readiness).with_state(ready))
        .route("/metrics", get(metrics).with_state(registry))
        .route("/openapi.json", get(description_of_the_interface).with_state(openapi))
}

/// The process runs.
#[derive(Serialize, ToSchema)]
struct Alive {
    /// `alive`
    #[schema(value_type = AliveWord)]
    status: &'static str,
}

/// What the service depends on.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready`, or `degraded` where it serves without one of its parts
    #[schema(value_type = ReadyWord)]
    pub status: &'static str,
    /// Each part: `ok`, or what is wrong with it
    #[schema(example = json!({ "database": "ok" }))]
    pub checks: BTreeMap<&'static str, String>,
    /// What an operator should change
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<&'static str>,
}

crate::described! {
    pub(crate) AliveWord as "AliveStatus" = super::described::words(["alive"]);
    pub(crate) ReadyWord as "ReadyStatus" = super::described::words(["ready", "degraded"]);
}

/// Whether the process runs
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "getHealth",
    tag = "service",
    responses((status = 200, description = "It does", body = Alive))
)]
async fn health() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Whether what the service depends on answers
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "getReadiness",
    tag = "service",
    params(Strictness),
    responses(
        (status = 200, description = "The service serves", body = Ready),
        (status = 503, description = "It does not; `errors` names what is missing", body = Problem, content_type = "application/problem+json"),
        QueryProblems,
    )
)]
async fn readiness(State(ready): State<Readiness>, Query(asked): Query<Strictness>) -> Response {
    ready.answer(asked).await
}

/// Metrics in Prometheus' text format
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "service",
    responses((status = 200, description = "All metrics", body = String, content_type = "text/plain"))
)]
async fn metrics(State(registry): State<Registry>) -> Response {
    telemetry::exposition(&registry)
}

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getDescription",
    tag = "service",
    responses((status = 200, description = "In OpenAPI 3.1", body = Object))
)]
async fn description_of_the_interface(State(openapi): State<Arc<str>>) -> Response {
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (json, openapi.to_string()).into_response()
}
