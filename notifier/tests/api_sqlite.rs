//! The API on `SQLite`.

#[path = "api/sqlite.rs"]
mod backend;

mod api;
