//! What a connection is made of: TCP, or a tunnel through the egress proxy, with TLS or without.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Something to speak HTTP over.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for T {}

/// A connection as the HTTP client has it.
pub struct Link {
    socket: Box<dyn Socket>,
    unwritable: Unwritable,
}

impl Link {
    /// `socket`, of which `unwritable` says whether a write to it failed.
    pub fn new(socket: Box<dyn Socket>, unwritable: Unwritable) -> Self {
        Self { socket, unwritable }
    }
}

/// Called once for each connection, when it is made.
impl Connection for Link {
    fn connected(&self) -> Connected {
        Connected::new().extra(MadeAt(Instant::now())).extra(self.unwritable.clone())
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Whether a write to the connection of an answer failed, so that no other request may go out on it; among the
/// answer's extensions.
#[derive(Debug, Clone, Default)]
pub struct Unwritable(Arc<AtomicBool>);

impl Unwritable {
    /// A write failed.
    pub fn note(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether a write failed.
    pub fn is_noted(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
