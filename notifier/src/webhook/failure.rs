//! Why no answer came, told from the HTTP client's error.

use std::error::Error;
use std::io;

use hyper::StatusCode;

use crate::domain::FailureClass;

use super::address_policy::Blocked;
use super::progress::Phase;

/// An error of whatever kind.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// See [`Blocked`].
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// The name has no address, or its name servers don't say.
    #[error("the host's name can't be resolved")]
    Unresolved(#[source] AnyError),
    /// None of the addresses answers.
    #[error("no connection")]
    Unreachable(#[source] AnyError),
    /// The egress proxy answered that none of the addresses does.
    #[error("no connection: the egress proxy answered {0}")]
    UnreachableByProxy(StatusCode),
    /// The egress proxy can't be reached, or what it speaks is no HTTP.
    #[error("the egress proxy can't be used")]
    ProxyDown(#[source] AnyError),
    /// The egress proxy does not want to.
    #[error("the egress proxy refused: it answered {0}")]
    ProxyRefused(StatusCode),
    /// The other side speaks no TLS, or is not who it should be.
    #[error("the TLS handshake failed")]
    Tls(#[source] AnyError),
    /// The attempt's time ended in this phase.
    #[error("out of time")]
    OutOfTime(Phase),
}

impl ConnectError {
    /// Whether the egress proxy itself does not work, whoever the receiver is.
    pub fn is_of_proxy(&self) -> bool {
        matches!(self, Self::ProxyDown(_) | Self::OutOfTime(Phase::ReachingProxy))
    }

    fn class(&self) -> FailureClass {
        match self {
            Self::Blocked(_) => FailureClass::BlockedTarget,
            Self::Unresolved(_) => FailureClass::Dns,
            Self::Unreachable(_) | Self::UnreachableByProxy(_) => FailureClass::Connect,
            Self::ProxyDown(_) | Self::ProxyRefused(_) => FailureClass::Proxy,
            Self::Tls(_) => FailureClass::Tls,
            Self::OutOfTime(phase) => phase.out_of_time().0,
        }
    }

    fn explain(&self) -> String {
        match self {
            Self::OutOfTime(phase) => phase.out_of_time().1.into(),
            Self::Blocked(_) | Self::UnreachableByProxy(_) | Self::ProxyRefused(_) => self.to_string(),
            Self::Unresolved(_) | Self::Unreachable(_) | Self::ProxyDown(_) | Self::Tls(_) => {
                format!("{self}: {}", innermost(self))
            }
        }
    }
}

/// The class of an exchange that brought no answer, and a text for people. The text has no URL in
/// it: that may hold a subscriber's token.
pub fn classify(error: &(dyn Error + 'static)) -> (FailureClass, String) {
    if let Some(error) = find::<ConnectError>(error) {
        return (error.class(), error.explain());
    }
    if chain(error).any(is_tls) {
        // In TLS 1.3 the other side may refuse after the handshake has ended for us.
        return (FailureClass::Tls, format!("TLS failed: {}", innermost(error)));
    }
    (FailureClass::Protocol, format!("no HTTP answer: {}", innermost(error)))
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some()
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
