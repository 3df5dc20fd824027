//! The HTTP shell of every service: what is the same whatever the endpoints do.

mod access;
mod arriving;
pub mod auth;
pub mod client;
mod connections;
pub mod described;
pub mod extract;
pub mod healthcheck;
mod operations;
pub mod page;
mod probes;
pub mod readiness;
pub mod server;
pub mod shell;
mod state;
mod timely;
pub mod timestamp;

pub use auth::OperatorOnly;
pub use client::RenewedClient;
pub use extract::{Json, OptionalJson, Path, Query};
pub use page::{List, Page};
pub use readiness::{Check, NotReady, Readiness};
pub use server::serve;
pub use shell::Shell;
pub use timestamp::Timestamp;

/// The largest body that is read, in bytes.
pub const BODY_LIMIT: usize = 64 * 1024;
