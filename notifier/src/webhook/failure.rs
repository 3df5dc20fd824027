//! Why no answer came, told from the HTTP client's error.

use std::error::Error;
use std::io;

use crate::domain::FailureClass;

use super::address_policy::Blocked;
use super::resolver::Unresolved;

/// The class of a failed exchange, and a text for people. The text has no URL in it: that may
/// hold a subscriber's token.
pub fn classify(error: reqwest::Error, https: bool) -> (FailureClass, String) {
    let error = error.without_url();
    let class = class_of(&error, https);
    (class, explain(class, &error))
}

fn class_of(error: &reqwest::Error, https: bool) -> FailureClass {
    if find::<Blocked>(error).is_some() {
        FailureClass::BlockedTarget
    } else if find::<Unresolved>(error).is_some() {
        FailureClass::Dns
    } else if error.is_timeout() {
        FailureClass::Timeout
    } else if error.is_connect() {
        // The operating system's own errors are about the connection; what else fails between
        // connecting and the request is the handshake.
        let handshake = https && find::<io::Error>(error).is_some_and(|e| e.raw_os_error().is_none());
        if handshake { FailureClass::Tls } else { FailureClass::Connect }
    } else {
        FailureClass::Protocol
    }
}

fn explain(class: FailureClass, error: &reqwest::Error) -> String {
    let cause = innermost(error);
    match class {
        FailureClass::BlockedTarget => cause,
        FailureClass::Dns => format!("the host's name can't be resolved: {cause}"),
        FailureClass::Connect => format!("no connection: {cause}"),
        FailureClass::Tls => format!("the TLS handshake failed: {cause}"),
        FailureClass::Timeout => "no answer in time".into(),
        _ => format!("no HTTP answer: {cause}"),
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref::<E>())
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
