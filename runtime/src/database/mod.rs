//! Opening databases, and the one error that stores answer with.

mod bounded;
mod error;
#[cfg(feature = "postgres")]
mod idle;
mod lease;
mod lists;
mod migrations;
mod no_connection;
mod outage;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_url;
#[cfg(feature = "postgres")]
mod primary;
mod refusal;
#[cfg(all(test, feature = "server-tests"))]
mod server_tests;
#[cfg(feature = "postgres")]
mod session;
mod sqlite;
mod sqlite_interrupt;
mod transaction;
mod trust;
mod url;
mod usage;

pub use bounded::{bounded, bounded_upkeep};
#[cfg(feature = "postgres")]
use error::read_only;
pub use error::{StoreError, StoreResult};
pub use lease::Lease;
pub use lists::{hex, hex_list, list};
pub use no_connection::outage_class;
#[cfg(feature = "postgres")]
pub use pool::{PgPool, PgTransaction};
pub use pool::{Pool, SqlitePool, SqliteTransaction};
#[cfg(feature = "postgres")]
pub use postgres::{Postgres, open_postgres, takes_writes};
#[cfg(feature = "postgres")]
pub use postgres_url::PostgresUrl;
pub use sqlite::{Proven, Sqlite, open_sqlite};
pub use sqlite_interrupt::EndsWithCaller;
pub use transaction::Transaction;
pub use url::{BadDatabaseUrl, DatabaseUrl};
