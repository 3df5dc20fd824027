//! Every test of the service on `SQLite`.

#[path = "backend/sqlite.rs"]
mod backend;
mod suite;
mod support;
