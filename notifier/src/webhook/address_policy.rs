//! Which addresses a webhook may be sent to.
//!
//! A subscriber chooses the URL, so without this rule anybody with a key could make the notifier
//! talk to machines that only it can reach. Names are judged by the addresses they resolve to when
//! the connection is made (see `connector.rs`), since a name can point elsewhere a moment later.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::networks::{Kind, special_purpose};

/// Whether anybody on the way can read along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `http`.
    Plain,
    /// `https`.
    Tls,
}

/// The target is one that webhooks must not reach. Names its kind alone, so that nobody can use
/// the notifier to find out what an internal name resolves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// Not the public internet.
    #[error("the target is {0} address, which webhooks reach only where ALLOW_PRIVATE_TARGETS lists it")]
    Address(Kind),
    /// Without TLS, and no network that the operator has listed.
    #[error("plain http goes to no public address unless ALLOW_HTTP_TARGETS is set: use an https:// URL")]
    PlainHttp,
}

/// The rule, and its exceptions.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
    plain_http: bool,
}

impl AddressPolicy {
    /// Only the public internet, over TLS, and the networks of `allowed` besides, over whatever
    /// the URL says.
    pub fn allowing(allowed: Vec<IpNet>) -> Self {
        Self { allowed: allowed.into_iter().map(canonical).collect(), plain_http: false }
    }

    /// Whether the public internet may be reached without TLS too.
    #[must_use]
    pub fn with_plain_http(self, plain_http: bool) -> Self {
        Self { plain_http, ..self }
    }

    /// Whether a connection to `address` may be made.
    pub fn check(&self, address: IpAddr, transport: Transport) -> Result<(), Blocked> {
        if contains(&self.allowed, address) {
            return Ok(());
        }
        match special_purpose(address) {
            Some(kind) => Err(Blocked::Address(kind)),
            None if transport == Transport::Plain && !self.plain_http => Err(Blocked::PlainHttp),
            None => Ok(()),
        }
    }

    /// Those of `addresses` that may be connected to; why not, where none may.
    ///
    /// The others are passed over and not held against the name: each connection is made to a
    /// judged address, so nothing is gained by refusing them all, and names with an address that
    /// is blocked are not rare (`localhost` with only one family allowed, DNS64, split horizons).
    pub fn permitted(&self, addresses: Vec<IpAddr>, transport: Transport) -> Result<Vec<IpAddr>, Blocked> {
        let mut refusal = None;
        let mut permitted = addresses;
        permitted.retain(|address| {
            let verdict = self.check(*address, transport);
            // Of several refusals the one that an https:// URL would cure says most.
            refusal = verdict.err().filter(|_| refusal != Some(Blocked::PlainHttp)).or(refusal);
            verdict.is_ok()
        });
        match refusal {
            Some(blocked) if permitted.is_empty() => Err(blocked),
            _ => Ok(permitted),
        }
    }
}

/// Whether one of `networks` (as [`canonical`] leaves them) has `address`. An IPv4-mapped address
/// is the IPv4 address, for that is where a connection to it goes.
pub fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// A network of IPv4-mapped addresses, written as the IPv4 network that it is.
pub fn canonical(network: IpNet) -> IpNet {
    let (IpAddr::V4(base), 96..) = (network.network().to_canonical(), network.prefix_len()) else {
        return network;
    };
    Ipv4Net::new(base, network.prefix_len() - 96).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str]) -> AddressPolicy {
        AddressPolicy::allowing(allowed.iter().map(|net| net.parse().expect("a network")).collect())
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn a_listed_network_is_reached_and_nothing_beside_it() {
        for (listed, reached, refused) in [
            ("10.1.0.0/16", ["10.1.2.3", "::ffff:10.1.2.3", "1.1.1.1"], ["10.2.0.1", "127.0.0.1", "::1"]),
            ("fd00:1::/64", ["fd00:1::7", "2606:4700::1", "1.1.1.1"], ["fd00:1:0:1::7", "fd00:2::1", "::1"]),
            (
                "::ffff:10.1.0.0/112",
                ["10.1.2.3", "::ffff:10.1.2.3", "1.1.1.1"],
                ["10.2.0.1", "::1", "10.0.0.1"],
            ),
            ("::1/128", ["::1", "1.1.1.1", "9.9.9.9"], ["127.0.0.1", "::ffff:127.0.0.1", "::2"]),
            // All of IPv6 is not IPv4 by another name.
            ("::/0", ["::1", "fe80::1", "fd00::1"], ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:127.0.0.1"]),
        ] {
            for (address, expected) in
                reached.map(|a| (a, true)).into_iter().chain(refused.map(|a| (a, false)))
            {
                let verdict = policy(&[listed]).check(address.parse().expect(address), Transport::Tls);
                assert_eq!(verdict.is_ok(), expected, "{address} with {listed} listed");
            }
        }
    }

    #[test]
    fn plain_http_reaches_listed_networks_alone_unless_it_is_allowed_everywhere() {
        let policy = policy(&["10.1.0.0/16", "9.9.9.0/24"]);
        for listed in addresses(&["10.1.0.1", "::ffff:10.1.0.1", "9.9.9.9"]) {
            assert_eq!(policy.check(listed, Transport::Plain), Ok(()));
        }
        for public in addresses(&["1.1.1.1", "2606:4700::1"]) {
            assert_eq!(policy.check(public, Transport::Plain), Err(Blocked::PlainHttp));
            assert_eq!(policy.check(public, Transport::Tls), Ok(()));
            assert_eq!(policy.clone().with_plain_http(true).check(public, Transport::Plain), Ok(()));
        }
        let everywhere = policy.with_plain_http(true);
        let private = addresses(&["10.2.0.1"])[0];
        assert_eq!(everywhere.check(private, Transport::Plain), Err(Blocked::Address(Kind::Private)));
    }

    #[test]
    fn of_a_names_addresses_the_permitted_ones_are_left_in_their_order() {
        let mixed = addresses(&["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1"]);
        let permitted = policy(&[]).permitted(mixed.clone(), Transport::Tls);
        assert_eq!(permitted, Ok(addresses(&["1.1.1.1", "2606:4700::1"])));
        assert_eq!(policy(&["::1/128"]).permitted(mixed.clone(), Transport::Plain), Ok(addresses(&["::1"])));
        assert_eq!(policy(&[]).permitted(mixed, Transport::Plain), Err(Blocked::PlainHttp));
        let inside = addresses(&["10.0.0.1", "127.0.0.1"]);
        assert!(matches!(policy(&[]).permitted(inside, Transport::Tls), Err(Blocked::Address(_))));
        assert_eq!(policy(&[]).permitted(Vec::new(), Transport::Tls), Ok(Vec::new()));
    }
}
