//! Every test of the service on Postgres.

#[path = "backend/postgres.rs"]
mod backend;
mod suite;
mod support;
