//! Looks names up at the name servers, without a thread per look-up.
//!
//! The operating system's own look-up (`getaddrinfo`) holds a thread until it is done, and can't be
//! given up before. The names of one subscriber whose name servers are dead would use up the
//! threads that everybody's look-ups wait for (law 7). Here a look-up is a few datagrams and ends
//! with the attempt that asked for it, so there are never more than attempts under way.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use tokio::time::timeout;

use super::lookup::Lookup;

/// Answers that are remembered, per family; not longer than their publisher says.
const CACHED: u64 = 1024;
/// Nor longer than this.
const MAX_TTL: Duration = Duration::from_mins(1);
/// And that there is none, not longer than this.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// Queries under way on one connection to a name server that answered too long for a datagram.
const MAX_ON_ONE_CONNECTION: usize = 1024;
/// How long the second family may take once the first has answered (RFC 8305, section 3): name
/// servers that swallow questions for one of them must not stop the other.
const GRACE: Duration = Duration::from_millis(50);

/// Asks the name servers of one configuration.
pub struct Dns {
    v4: TokioResolver,
    v6: TokioResolver,
}

impl Dns {
    /// Asks as `config` and `options` say, and the hosts file before.
    pub fn new(config: &ResolverConfig, options: &ResolverOpts) -> Result<Self, NetError> {
        let family = |strategy| {
            let mut options = options.clone();
            options.ip_strategy = strategy;
            options.cache_size = CACHED;
            options.positive_max_ttl = Some(MAX_TTL);
            options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
            options.max_active_requests = MAX_ON_ONE_CONNECTION;
            options.preserve_intermediates = false;
            let builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
            builder.with_options(options).build()
        };
        Ok(Self { v4: family(LookupIpStrategy::Ipv4Only)?, v6: family(LookupIpStrategy::Ipv6Only)? })
    }
}

#[async_trait]
impl Lookup for Dns {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let (v4, v6) = (Box::pin(ask(&self.v4, name)), Box::pin(ask(&self.v6, name)));
        let (first, second) = match select(v4, v6).await {
            Either::Left((v4, pending)) => settle(v4, pending).await,
            Either::Right((v6, pending)) => settle(v6, pending).await,
        };
        match (first, second) {
            (Ok(mut found), Ok(more)) => {
                found.extend(more);
                // More receivers are whole over IPv4; where it is not, IPv6 is tried beside it.
                found.sort_by_key(IpAddr::is_ipv6);
                Ok(found)
            }
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
            (Err(error), Err(_)) => Err(error),
        }
    }
}

type Found = io::Result<Vec<IpAddr>>;

/// Both families' answers, one of which is there.
async fn settle(first: Found, pending: impl Future<Output = Found>) -> (Found, Found) {
    let second = match &first {
        Ok(_) => timeout(GRACE, pending).await.unwrap_or_else(|late| Err(late.into())),
        Err(_) => pending.await,
    };
    (first, second)
}

/// At least one address, or why there is none.
async fn ask(resolver: &TokioResolver, name: &str) -> Found {
    let found: Vec<IpAddr> =
        resolver.lookup_ip(name).await.map_err(|error| explained(&error))?.iter().collect();
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

/// In words for subscribers: which servers were asked is none of their business.
fn explained(error: &NetError) -> io::Error {
    let text = match error {
        NetError::Timeout => {
            return io::Error::new(io::ErrorKind::TimedOut, "the name servers do not answer");
        }
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name servers answered: {code}"),
        error if error.is_nx_domain() => "there is no such name".to_owned(),
        error if error.is_no_records_found() => "the name has no address".to_owned(),
        NetError::Proto(_) => "it is no name that can be looked up".to_owned(),
        _ => "the name servers can't be asked".to_owned(),
    };
    io::Error::other(text)
}
