//! Opening databases, and the one error that stores answer with.

mod bounded;
mod error;
mod idle;
mod lease;
mod lists;
mod no_connection;
mod outage;
mod pool;
mod postgres;
mod postgres_url;
mod primary;
#[cfg(all(test, feature = "server-tests"))]
mod server_tests;
mod session;
mod sqlite;
mod transaction;
mod trust;
mod url;
mod usage;

pub use bounded::{bounded, bounded_upkeep};
use error::read_only;
pub use error::{StoreError, StoreResult};
pub use lease::Lease;
pub use lists::{hex, hex_list, list};
pub use no_connection::outage_class;
pub use pool::{PgPool, PgTransaction, Pool, SqlitePool, SqliteTransaction};
pub use postgres::{Postgres, open_postgres, takes_writes};
pub use postgres_url::PostgresUrl;
pub use sqlite::{Proven, Sqlite, open_sqlite};
pub use transaction::Transaction;
pub use url::{BadDatabaseUrl, DatabaseUrl};
