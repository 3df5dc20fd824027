//! The networks that are not the public internet, and what each of them is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 networks that are not the public internet (IANA's special-purpose registry, RFC 6890 and
/// its successors), and the cloud metadata address that lies outside of them.
const REFUSED_V4: [(Ipv4Net, Kind); 17] = [
    (v4([0, 0, 0, 0], 8), Kind::Unspecified),
    (v4([10, 0, 0, 0], 8), Kind::Private),
    (v4([100, 64, 0, 0], 10), Kind::CarrierNat),
    (v4([127, 0, 0, 0], 8), Kind::Loopback),
    (v4([168, 63, 129, 16], 32), Kind::Metadata),
    (v4([169, 254, 0, 0], 16), Kind::LinkLocal),
    (v4([172, 16, 0, 0], 12), Kind::Private),
    (v4([192, 0, 0, 0], 24), Kind::Reserved),
    (v4([192, 0, 2, 0], 24), Kind::Documentation),
    (v4([192, 88, 99, 0], 24), Kind::Reserved),
    (v4([192, 168, 0, 0], 16), Kind::Private),
    (v4([198, 18, 0, 0], 15), Kind::Benchmarking),
    (v4([198, 51, 100, 0], 24), Kind::Documentation),
    (v4([203, 0, 113, 0], 24), Kind::Documentation),
    (v4([224, 0, 0, 0], 4), Kind::Multicast),
    (v4([255, 255, 255, 255], 32), Kind::Broadcast),
    (v4([240, 0, 0, 0], 4), Kind::Reserved),
];

/// All that is handed out of IPv6 for the public internet; whatever lies outside is refused.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// IPv6 networks with a name of their own: exceptions inside of [`GLOBAL_V6`], and those outside of
/// it whose refusal is worth explaining.
const REFUSED_V6: [(Ipv6Net, Kind); 14] = [
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Kind::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Kind::Loopback),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), Kind::Embedded),
    (v6([0, 0, 0, 0, 0, 0xFFFF, 0, 0], 96), Kind::Embedded),
    (v6([0, 0, 0, 0, 0xFFFF, 0, 0, 0], 96), Kind::Embedded),
    (v6([0x64, 0xFF9B, 1, 0, 0, 0, 0, 0], 48), Kind::Embedded),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), Kind::Embedded),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), Kind::Embedded),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Kind::Reserved),
    (v6([0x2001, 0xDB8, 0, 0, 0, 0, 0, 0], 32), Kind::Documentation),
    (v6([0x3FFF, 0, 0, 0, 0, 0, 0, 0], 20), Kind::Documentation),
    (v6([0xFC00, 0, 0, 0, 0, 0, 0, 0], 7), Kind::Private),
    (v6([0xFE80, 0, 0, 0, 0, 0, 0, 0], 10), Kind::LinkLocal),
    (v6([0xFF00, 0, 0, 0, 0, 0, 0, 0], 8), Kind::Multicast),
];

/// NAT64's well-known prefix (RFC 6052): what a network without IPv4 reaches the IPv4 internet by.
const NAT64: Ipv6Net = v6([0x64, 0xFF9B, 0, 0, 0, 0, 0, 0], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), prefix)
}

const fn v6(groups: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_segments(groups), prefix)
}

/// What a refused address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// "This host".
    Unspecified,
    /// The machine itself.
    Loopback,
    /// A private or unique local network.
    Private,
    /// The shared network between a provider and its customers (RFC 6598).
    CarrierNat,
    /// The wire the machine hangs on; cloud metadata lives there too.
    LinkLocal,
    /// A cloud's metadata service.
    Metadata,
    /// Many machines.
    Multicast,
    /// Every machine of the wire.
    Broadcast,
    /// For examples in documents.
    Documentation,
    /// For benchmarks of network equipment.
    Benchmarking,
    /// An IPv6 address with an IPv4 address inside (mapped, compatible, translated, NAT64, 6to4, Teredo): a way
    /// around the rules for IPv4.
    Embedded,
    /// Not handed out for the public internet.
    Reserved,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "an unspecified",
            Self::Loopback => "a loopback",
            Self::Private => "a private",
            Self::CarrierNat => "a shared (carrier NAT)",
            Self::LinkLocal => "a link-local",
            Self::Metadata => "a cloud metadata",
            Self::Multicast => "a multicast",
            Self::Broadcast => "a broadcast",
            Self::Documentation => "a documentation",
            Self::Benchmarking => "a benchmarking",
            Self::Embedded => "an IPv4-in-IPv6",
            Self::Reserved => "a reserved",
        })
    }
}

/// What `address` is, where it is not one of the public internet.
pub fn special_purpose(address: IpAddr) -> Option<Kind> {
    match address {
        IpAddr::V4(ip) => named(&REFUSED_V4, |net| net.contains(&ip)),
        // Translated, it is a connection to the IPv4 address inside.
        IpAddr::V6(ip) if NAT64.contains(&ip) => {
            let [.., a, b, c, d] = ip.octets();
            special_purpose(Ipv4Addr::new(a, b, c, d).into()).map(|_| Kind::Embedded)
        }
        IpAddr::V6(ip) => named(&REFUSED_V6, |net| net.contains(&ip))
            .or_else(|| (!GLOBAL_V6.contains(&ip)).then_some(Kind::Reserved)),
    }
}

fn named<N>(networks: &[(N, Kind)], contains: impl Fn(&N) -> bool) -> Option<Kind> {
    networks.iter().find(|(net, _)| contains(net)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(address: &str) -> Option<Kind> {
        special_purpose(address.parse().expect(address))
    }

    #[test]
    fn only_the_public_internet_is_reached() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2400:3200::1",
            "2003::1",
            "3ffe::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(verdict(address), None, "{address}");
        }
    }

    #[test]
    fn every_network_that_is_not_public_is_refused_by_name() {
        for (kind, addresses) in [
            (Kind::Unspecified, &["0.0.0.0", "0.255.255.255", "::"][..]),
            (Kind::Loopback, &["127.0.0.1", "127.255.255.255", "::1"]),
            (Kind::Private, &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0"]),
            (Kind::Private, &["192.168.255.255", "fc00::1", "fd00:ec2::254", "fdff::1"]),
            (Kind::CarrierNat, &["100.64.0.0", "100.127.255.255", "100.100.100.200"]),
            (Kind::LinkLocal, &["169.254.0.0", "169.254.169.254", "fe80::1", "febf::1"]),
            (Kind::Metadata, &["168.63.129.16"]),
            (Kind::Multicast, &["224.0.0.1", "239.255.255.255", "ff02::1"]),
            (Kind::Broadcast, &["255.255.255.255"]),
            (Kind::Documentation, &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"]),
            (Kind::Benchmarking, &["198.18.0.0", "198.19.255.255"]),
            (Kind::Embedded, &["::ffff:8.8.8.8", "::ffff:127.0.0.1", "::8.8.8.8", "64:ff9b::a00:1"]),
            (
                Kind::Embedded,
                &["64:ff9b::169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::"],
            ),
            (Kind::Embedded, &["2002::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"]),
            (Kind::Reserved, &["192.0.0.192", "192.88.99.1", "240.0.0.1", "255.255.255.254"]),
            (Kind::Reserved, &["2001:2::1", "100::1", "1fff::1", "4000::1", "5f00::1", "fec0::1"]),
        ] {
            for address in addresses {
                assert_eq!(verdict(address), Some(kind), "{address}");
            }
        }
    }
}
