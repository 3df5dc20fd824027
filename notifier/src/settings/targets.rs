//! Where webhooks may go, and on which way: settings that the `notifier` and the all-in-one process
//! share.

use std::str::FromStr;
use std::sync::Arc;

use clap::{ArgAction, Args};
use ipnet::IpNet;

use crate::webhook::{AddressPolicy, Egress, EgressProxy, tls};

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TargetSettings {
    /// Private networks that webhooks may reach all the same: `127.0.0.0/8,10.1.0.0/16`
    #[arg(long, env = "ALLOW_PRIVATE_TARGETS", value_name = "CIDRS", default_value = "")]
    pub allow_private_targets: Networks,
    /// Whether webhooks may go to public addresses over plain http too: `true` or `false`
    #[arg(long, env = "ALLOW_HTTP_TARGETS", value_name = "BOOL", default_value = "false")]
    #[arg(action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub allow_http_targets: bool,
    /// The proxy that webhooks go through: `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`
    #[arg(long, env = "EGRESS_PROXY", hide_env_values = true, value_name = "URL")]
    pub egress_proxy: Option<EgressProxy>,
    /// Networks that webhooks reach without the proxy: `10.1.0.0/16`
    #[arg(long, env = "EGRESS_PROXY_BYPASS", value_name = "CIDRS", default_value = "")]
    pub egress_proxy_bypass: Networks,
}

impl TargetSettings {
    /// The way out that the settings describe, with the certificate authorities of this machine.
    pub fn egress(&self) -> Egress {
        let policy = AddressPolicy::allowing(self.allow_private_targets.0.clone())
            .with_plain_http(self.allow_http_targets);
        let egress = Egress::direct(policy, Arc::new(tls::native_roots()));
        match &self.egress_proxy {
            Some(proxy) => egress.through(proxy.clone(), self.egress_proxy_bypass.0.clone()),
            None => egress,
        }
    }
}

/// Networks as CIDRs, separated by commas; none when empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(pub Vec<IpNet>);

/// An entry is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no network: write CIDRs such as `10.1.0.0/16`, separated by commas")]
pub struct NotANetwork(String);

impl FromStr for Networks {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let networks = entries.map(|entry| entry.parse().map_err(|_| NotANetwork(entry.to_owned())));
        networks.collect::<Result<_, _>>().map(Self)
    }
}
