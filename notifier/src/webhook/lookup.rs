//! From a name to its addresses.

use std::io;
use std::net::IpAddr;

use async_trait::async_trait;

/// Looks names up.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of `name`, best first. The error's text is shown to subscribers.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}
