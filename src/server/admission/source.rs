//! Whom the broker takes for one stranger: an IPv4 address, or a network of IPv6.
//!
//! Who has an IPv6 address has 2^64 of them, so that the first 64 bits count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plant::{self, Plant};

/// Where a connection comes from, as far as limits are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl From<IpAddr> for Source {
    /// IPv4 in IPv6's clothes counts as IPv4.
    fn from(address: IpAddr) -> Source {
        match address.to_canonical() {
            IpAddr::V4(v4) => Source::V4(v4),
            IpAddr::V6(v6) => {
                let skipped = if plant::is_on(Plant::NetworksByHost) { 0 } else { 64 };
                Source::V6((v6.to_bits() >> skipped) as u64)
            }
        }
    }
}

/// The address that stands for all that count as one.
pub(in crate::server) fn standing_for(address: IpAddr) -> IpAddr {
    match Source::from(address) {
        Source::V4(address) => address.into(),
        Source::V6(bits) => Ipv6Addr::from_bits(u128::from(bits) << 64).into(),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::V4(address) => address.fmt(f),
            Source::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*bits) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_source() {
        for (address, want) in [
            ("1.2.3.4", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ] {
            let source = Source::from(address.parse::<IpAddr>().expect("an address"));
            assert_eq!(source.to_string(), want);
            let standing = standing_for(address.parse().expect("an address"));
            assert_eq!(standing.to_string(), want.trim_end_matches("/64"));
        }
    }
}
