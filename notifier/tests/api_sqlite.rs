//! The API on `SQLite`.

#[path = "api/sqlite.rs"]
mod backend;

mod api;
#[path = "support/receiver.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod receiver;
