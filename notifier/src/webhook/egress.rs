//! How webhooks leave this machine, as its operator wants it.

use std::sync::Arc;

use ipnet::IpNet;
use rustls::RootCertStore;

use super::address_policy::{AddressPolicy, canonical};
use super::proxy::EgressProxy;

/// How webhooks leave this machine.
#[derive(Debug, Clone)]
pub struct Egress {
    pub(super) policy: AddressPolicy,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) proxy: Option<EgressProxy>,
    pub(super) proxy_bypass: Vec<IpNet>,
}

impl Egress {
    /// Straight to the addresses that `policy` permits, with `roots` to vouch for receivers.
    pub fn direct(policy: AddressPolicy, roots: Arc<RootCertStore>) -> Self {
        Self { policy, roots, proxy: None, proxy_bypass: Vec::new() }
    }

    /// The same by way of `proxy`, but for the addresses in the networks of `bypass`.
    #[must_use]
    pub fn through(self, proxy: EgressProxy, bypass: Vec<IpNet>) -> Self {
        let proxy_bypass = bypass.into_iter().map(canonical).collect();
        Self { proxy: Some(proxy), proxy_bypass, ..self }
    }
}
