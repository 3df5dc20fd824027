//! A socket from which no more is read than an answer may have, and whose answer is read though the
//! request could not be written to its end.
//!
//! HTTP lets a server send any number of informational answers (1xx) before the real one, and TLS
//! has messages of its own without end. Time alone would let a receiver keep a core busy until the
//! attempt's timeout.
//!
//! A receiver that answers 413 or 401 without reading the request closes the connection, and the next
//! write fails. What it answered may have arrived already, so a failed write is reported only when
//! nothing is left to read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::{Socket, Unwritable};

/// The most that is read for one request, in bytes: the longest head and body that are looked at,
/// and as much again for TLS and for chunks.
const MAX_READ: usize = 256 * 1024;

/// The socket, and what has been read since the last write.
pub struct Bounded<S> {
    socket: S,
    read: usize,
    /// Why nothing more can be written. What is written all the same is discarded.
    unwritable: Option<io::Error>,
    /// The same for the HTTP client, to the end of the connection.
    noted: Unwritable,
}

impl<S: Socket> Bounded<S> {
    /// Bounds what is read of `socket`; `noted` gets to know of a write that fails.
    pub fn new(socket: S, noted: Unwritable) -> Self {
        Self { socket, read: 0, unwritable: None, noted }
    }

    /// The outcome of writing some of `length` bytes. A request begins: its answer may have the whole bound.
    fn note_written(&mut self, written: Poll<io::Result<usize>>, length: usize) -> Poll<io::Result<usize>> {
        match ready!(written) {
            Ok(count) => {
                if count > 0 {
                    self.read = 0;
                }
                Poll::Ready(Ok(count))
            }
            Err(error) => {
                self.noted.note();
                self.unwritable = Some(error);
                Poll::Ready(Ok(length))
            }
        }
    }
}

impl<S: Socket> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read >= MAX_READ {
            return Poll::Ready(Err(io::Error::other("the answer has no end")));
        }
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut self.socket).poll_read(context, buffer));
        let read = buffer.filled().len() - before;
        self.read += read;
        match self.unwritable.take_if(|_| outcome.is_err() || read == 0) {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(outcome),
        }
    }
}

impl<S: Socket> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unwritable.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.note_written(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bytes.iter().map(|slice| slice.len()).sum();
        if self.unwritable.is_some() {
            return Poll::Ready(Ok(length));
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, bytes);
        self.note_written(written, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unwritable.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_write_that_fails_is_noted_although_the_answer_is_still_read() {
        let answers = half_closed(b"HTTP/1.1 413 Too Large");
        let noted = Unwritable::default();
        let mut socket = Bounded::new(answers, noted.clone());
        assert!(!noted.is_noted());
        socket.write_all(b"a request").await.expect("discarded");
        assert!(noted.is_noted());
        socket.read_exact(&mut [0; 12]).await.expect("the answer");
        assert!(noted.is_noted(), "to the end of the connection");
    }

    /// A socket that has `answer` to read and takes nothing.
    fn half_closed(answer: &'static [u8]) -> impl Socket {
        tokio::io::join(answer, Closed)
    }

    struct Closed;

    impl AsyncWrite for Closed {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
