//! The suite on Postgres, on the server of `TEST_POSTGRES_URL`.

mod suite;
mod support;

run_suite!(crate::support::database::Database::postgres);
