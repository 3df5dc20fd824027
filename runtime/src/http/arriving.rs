//! A request's body that tells its connection when it has arrived whole: from then on the service
//! works, and the connection waits for its peer no more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::connections::State;

/// The body of a request on the connection of `state`.
pub(super) struct Arriving {
    body: Incoming,
    state: Arc<State>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, state: Arc<State>) -> Self {
        if body.is_end_stream() {
            state.works();
        }
        Self { body, state }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() && (self.body.is_end_stream() || matches!(frame, Poll::Ready(None))) {
            self.state.works();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
