//! A request's body that tells its connection when the service waits for more of it; otherwise the service
//! works, and the connection does not wait for its peer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::state::State;

/// The body of a request on the connection of `state`.
pub(super) struct Arriving {
    body: Incoming,
    state: Arc<State>,
    waits_since: Option<u64>,
}

impl Arriving {
    pub(super) fn new(body: Incoming, state: Arc<State>) -> Self {
        Self { body, state, waits_since: None }
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
        if frame.is_pending() {
            self.waits_since = Some(self.state.waits_for_body(self.waits_since));
        } else if !self.state.works() {
            // The connection gives way, and this request ends with it before it has begun.
            return Poll::Pending;
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
