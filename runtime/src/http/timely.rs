//! A caller's connection on which an answer must be taken in time: a peer that reads nothing, or a
//! byte now and then, loses the connection instead of keeping it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::state::State;

/// How long the peer may take over an answer, from when it first makes us wait.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection whose writes are bounded in time, and which tells its state what arrives and what is sent.
pub(super) struct Timely {
    stream: TcpStream,
    state: Arc<State>,
    /// Runs from the first write that had to wait until everything is with the kernel.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Timely {
    pub(super) fn new(stream: TcpStream, state: Arc<State>) -> Self {
        Self { stream, state, deadline: None }
    }

    /// What a write came to; one that waits ends at the deadline.
    fn in_time<T>(&mut self, wrote: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            return wrote;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(ANSWER_TIMEOUT)));
        ready!(deadline.as_mut().poll(cx));
        // The peer learns by the reset that the answer is not whole, and the kernel keeps nothing of it.
        if let Err(error) = self.stream.set_zero_linger() {
            tracing::debug!(%error, "connection.linger_refused");
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was not taken in time")))
    }
}

impl AsyncRead for Timely {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.state.receives();
        }
        read
    }
}

impl AsyncWrite for Timely {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(wrote, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.in_time(wrote, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Asked for when hyper holds nothing more of an answer.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline = None;
        self.state.has_sent();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
