//! The request of one attempt, as the contract of "The webhook" lays it out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use messaging::webhook::{ID_HEADER, SIGNATURE_HEADER, SigningKey, TIMESTAMP_HEADER};
use runtime::trace::TraceContext;

use crate::domain::{Endpoint, Message};

use super::progress::Progress;

const AGENT: &str = concat!("Ringback/", env!("CARGO_PKG_VERSION"));

/// Names the subscription, for receivers that have several at one URL. Not signed.
const SUBSCRIPTION_HEADER: &str = "ringback-subscription-id";

/// The request can't be built from what is stored. Nothing a receiver does leads here.
#[derive(Debug, thiserror::Error)]
pub enum Unsendable {
    /// The URL is none that HTTP can carry.
    #[error("the URL can't be sent to")]
    Url(#[from] hyper::http::uri::InvalidUri),
    /// The event's id or a header of the subscription can't be part of a request.
    #[error("a header can't be sent")]
    Header(#[from] hyper::header::InvalidHeaderValue),
    /// A header of the subscription has no proper name.
    #[error("a header's name can't be sent")]
    HeaderName(#[from] hyper::header::InvalidHeaderName),
    /// There is no secret to sign with.
    #[error("the subscription has no live signing secret")]
    NoSecret,
}

/// The request of an attempt at `now`, which notes in `progress` when it is taken.
pub fn request(
    endpoint: &Endpoint,
    message: &Message,
    now: DateTime<Utc>,
    progress: Arc<Progress>,
) -> Result<Request<Payload>, Unsendable> {
    let mut request = Request::new(Payload { bytes: Full::new(message.body.clone()), progress });
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.url.as_str().parse::<Uri>()?;
    *request.headers_mut() = headers(endpoint, message, now)?;
    Ok(request)
}

/// The request's body.
pub struct Payload {
    bytes: Full<Bytes>,
    progress: Arc<Progress>,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // Asked for only by a connection that has the head already.
        self.progress.mark_sent();
        Pin::new(&mut self.bytes).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

/// The headers: the subscriber's own, then ours, which they can't replace.
fn headers(endpoint: &Endpoint, message: &Message, now: DateTime<Utc>) -> Result<HeaderMap, Unsendable> {
    let mut headers = HeaderMap::with_capacity(endpoint.headers.len() + 8);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for (name, value) in &endpoint.headers {
        headers.insert(name.parse::<HeaderName>()?, HeaderValue::from_str(value)?);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(SUBSCRIPTION_HEADER, HeaderValue::from_str(&endpoint.subscription.to_string())?);
    headers.insert(ID_HEADER, HeaderValue::from_str(&message.id)?);
    headers.insert(TIMESTAMP_HEADER, HeaderValue::from(now.timestamp()));
    headers.insert(SIGNATURE_HEADER, HeaderValue::from_str(&signatures(endpoint, message, now)?)?);
    let trace = TraceContext::of_event(message.traceparent.as_deref(), &message.id);
    headers.insert("traceparent", HeaderValue::from_str(&trace.to_string())?);
    Ok(headers)
}

/// One signature per live key, so that a receiver that still holds the old one during a
/// rotation finds its own.
fn signatures(endpoint: &Endpoint, message: &Message, now: DateTime<Utc>) -> Result<String, Unsendable> {
    let sign = |key: &SigningKey| key.sign(&message.id, now.timestamp(), &message.body);
    let signatures: Vec<_> = endpoint.live_keys(now).map(sign).collect();
    if signatures.is_empty() { Err(Unsendable::NoSecret) } else { Ok(signatures.join(" ")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::webhook_url::parse_url;

    proptest! {
        /// Else a subscription could be made whose every attempt fails before it begins.
        #[test]
        fn every_url_that_a_subscription_may_have_can_be_sent_to(
            host in r"[a-z0-9.\-_~!$&'()*+,;=|^`{}\[\]:@%é]{1,20}",
            rest in r"(/[ -~éü]{0,20})?(\?[ -~é]{0,20})?",
        ) {
            if let Ok(url) = parse_url(&format!("https://{host}{rest}")) {
                let uri = url.as_str().parse::<Uri>();
                let host = uri.as_ref().map(Uri::host).ok();
                prop_assert_eq!(host, Some(url.host_str()), "{}", url);
            }
        }
    }
}
