//! What a connection is made of: TCP, or a tunnel through the egress proxy, with TLS or without.

use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// Something to speak HTTP over.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for T {}

/// Called once for each connection, when it is made.
impl Connection for Box<dyn Socket> {
    fn connected(&self) -> Connected {
        Connected::new().extra(MadeAt(Instant::now()))
    }
}

/// When the connection of an answer was made; among the answer's extensions.
#[derive(Debug, Clone, Copy)]
pub struct MadeAt(Instant);

impl MadeAt {
    /// How old the connection is.
    pub fn age(self) -> Duration {
        self.0.elapsed()
    }
}
