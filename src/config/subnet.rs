//! A part of the network, as text and as a question: is this address in it?
//!
//! Only numbers: no name is looked up here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    /// How many of its bits count, from the left.
    bits: u8,
}

/// Why a text is not a [`Subnet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither an IP address nor a network like 10.0.0.0/8")]
pub struct SubnetError;

impl Subnet {
    /// Whether the address is in it. IPv4 in IPv6's clothes counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, own_width) = number(self.address);
        let (other, other_width) = number(address.to_canonical());
        let free = own_width - u32::from(self.bits);
        own_width == other_width
            && own.checked_shr(free).unwrap_or(0) == other.checked_shr(free).unwrap_or(0)
    }
}

/// A network of IPv4 in IPv6's clothes as what it is, if it is one: clients' addresses are, too.
pub(super) fn unmapped(address: IpAddr, bits: u8) -> Option<(IpAddr, u8)> {
    let IpAddr::V6(address) = address else { return None };
    Some((address.to_ipv4_mapped()?.into(), bits.checked_sub(96)?))
}

/// The address as a number, and of how many bits.
fn number(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Reads `10.0.0.0/8`, `::1/128`, and an address alone.
    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| SubnetError)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => width,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| SubnetError)?
            }
            Some(_) => return Err(SubnetError),
        };
        if bits > width {
            return Err(SubnetError);
        }
        let (address, bits) = unmapped(address, bits).unwrap_or((address, bits));
        Ok(Subnet { address, bits })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_subnet_whose_bits_it_shares() {
        for (subnet, address, want) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fe80::1", true),
            ("::/0", "127.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("fe80::/10", "febf::1", true),
            ("fe80::/10", "fec0::1", false),
        ] {
            let subnet: Subnet = subnet.parse().expect("a subnet");
            assert_eq!(
                subnet.contains(address.parse().expect("an address")),
                want,
                "{subnet} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for text in
            ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10/8", "/8"]
        {
            assert_eq!(text.parse::<Subnet>(), Err(SubnetError), "{text:?}");
        }
    }
}
