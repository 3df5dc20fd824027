//! Opening databases, and the one error that stores answer with.

mod bounded;
mod error;
mod lists;
mod outage;
mod postgres;
mod postgres_url;
mod primary;
mod session;
mod sqlite;
mod trust;
mod url;

pub use bounded::bounded;
use error::read_only;
pub use error::{StoreError, StoreResult};
pub use lists::{hex, hex_list, list};
pub use postgres::{Postgres, open_postgres, takes_writes};
pub use postgres_url::PostgresUrl;
pub use sqlite::{Proven, Sqlite, open_sqlite};
pub use url::{BadDatabaseUrl, DatabaseUrl};
