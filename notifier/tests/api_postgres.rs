//! The API on Postgres.

#[path = "api/postgres.rs"]
mod backend;

mod api;
