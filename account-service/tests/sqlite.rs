//! The suite on `SQLite`.

mod suite;
mod support;

run_suite!(crate::support::database::Database::sqlite);
