//! Opening databases, and the one error that stores answer with.

mod bounded;
mod error;
mod lists;
mod postgres;
mod sqlite;
mod url;

pub use bounded::bounded;
pub use error::{StoreError, StoreResult};
pub use lists::{hex, hex_list, list};
pub use postgres::{Postgres, open_postgres};
pub use sqlite::{Sqlite, open_sqlite};
pub use url::{DatabaseUrl, UnknownScheme};
