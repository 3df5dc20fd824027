//! Resolves names and lets only permitted addresses through.
//!
//! This runs inside of the HTTP client, between the look-up and the connection: the addresses that
//! were judged are the ones that are connected to, so rebinding a name in between gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address_policy::AddressPolicy;

/// Looks names up.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of `name`, best first.
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The operating system's look-up.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// The name has no address at all.
#[derive(Debug, thiserror::Error)]
#[error("the name can't be resolved")]
pub struct Unresolved(#[source] pub Option<std::io::Error>);

/// A [`Lookup`] whose answers [`AddressPolicy`] has judged.
pub struct GuardedResolver {
    lookup: Arc<dyn Lookup>,
    policy: Arc<AddressPolicy>,
}

impl GuardedResolver {
    /// Lets through what `policy` permits of what `lookup` finds.
    pub fn new(lookup: Arc<dyn Lookup>, policy: Arc<AddressPolicy>) -> Self {
        Self { lookup, policy }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, policy) = (self.lookup.clone(), self.policy.clone());
        Box::pin(async move {
            let found = lookup.lookup(name.as_str()).await.map_err(|error| Unresolved(Some(error)))?;
            let mut refusal = None;
            let permitted: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| policy.check(*address).map_err(|blocked| refusal = Some(blocked)).is_ok())
                // Port 0 stands for the URL's own.
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            match (permitted.is_empty(), refusal) {
                (true, Some(blocked)) => Err(blocked.into()),
                (true, None) => Err(Unresolved(None).into()),
                (false, _) => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use runtime::background::RoundError;

    use super::*;
    use crate::webhook::address_policy::{Blocked, Kind};

    /// Answers each look-up with the next of its answers.
    struct Scripted(Mutex<Vec<Vec<&'static str>>>);

    #[async_trait]
    impl Lookup for Scripted {
        async fn lookup(&self, _name: &str) -> std::io::Result<Vec<IpAddr>> {
            let next = self.0.lock().expect("unpoisoned").remove(0);
            Ok(next.into_iter().map(|address| address.parse().expect(address)).collect())
        }
    }

    fn resolver(answers: &[&[&'static str]]) -> GuardedResolver {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        GuardedResolver::new(Arc::new(Scripted(Mutex::new(answers))), Arc::default())
    }

    async fn resolve(resolver: &GuardedResolver) -> Result<Vec<String>, RoundError> {
        let addresses = resolver.resolve("shop.example".parse().expect("a name")).await?;
        Ok(addresses.map(|address| address.ip().to_string()).collect())
    }

    #[tokio::test]
    async fn only_the_permitted_addresses_of_a_name_are_connected_to() {
        let resolver = resolver(&[&["10.0.0.1", "1.1.1.1", "::1"]]);
        assert_eq!(resolve(&resolver).await.ok(), Some(vec!["1.1.1.1".to_owned()]));
    }

    #[tokio::test]
    async fn a_name_that_comes_to_point_inside_is_refused_from_then_on() {
        let resolver = resolver(&[&["1.1.1.1"], &["169.254.169.254"]]);
        assert!(resolve(&resolver).await.is_ok());
        let error = resolve(&resolver).await.expect_err("refused");
        assert_eq!(error.downcast_ref::<Blocked>(), Some(&Blocked(Kind::LinkLocal)));
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_unresolved_not_blocked() {
        let error = resolve(&resolver(&[&[]])).await.expect_err("refused");
        assert!(error.is::<Unresolved>());
    }
}
