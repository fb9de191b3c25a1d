//! Where clients come from who come through a proxy, and how it says so.
//!
//! Each host has an address at which only the proxy knows it, and which rules name instead of its
//! own. What the proxy says is written by another hand than what the broker reads it with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::access::address_of;
use crate::dice::Dice;

/// All hosts of the simulated network: the broker believes them what they say of others.
pub(crate) const TRUSTED: &str = "192.168.0.0/24";
/// And what is behind the proxies, which it believes where they speak the PROXY protocol: nobody
/// there says of anybody else where he comes from.
pub(crate) const TRUSTED_BEHIND: [&str; 2] = ["10.0.0.0/24", "2001:db8::/48"];
/// What all IPv6 addresses behind proxies begin with; then comes the number of the host.
const BEHIND: [u16; 3] = [0x2001, 0xdb8, 0];
/// The type of what fills a header of the PROXY protocol up, and its bytes at most.
const NOTHING: u8 = 4;
const EXTRA_BYTES_MAX: u64 = 1_500;

/// The address behind the proxy of the host with that one: of every other host an IPv6 address in a
/// network of its own, all of which is one source (RFC 6177).
pub(crate) fn hidden(host: IpAddr) -> IpAddr {
    hidden_at(SocketAddr::new(host, 1)).ip()
}

/// The same for a connection of that host: in such a network each has another address.
pub(crate) fn hidden_at(client: SocketAddr) -> SocketAddr {
    let IpAddr::V4(host) = client.ip() else { return client };
    let number = host.octets()[3];
    let address = if number.is_multiple_of(2) {
        let [a, b, c] = BEHIND;
        IpAddr::from([a, b, c, number.into(), 0, 0, 0, client.port()])
    } else {
        IpAddr::from([10, 0, 0, number])
    };
    SocketAddr::new(address, client.port())
}

/// Which connection that is of those that the network knows, if a proxy has said where it comes
/// from.
pub(crate) fn on_the_network(client: SocketAddr) -> SocketAddr {
    let number = match client.ip() {
        IpAddr::V4(address) => {
            let [first, _, _, number] = address.octets();
            (first == 10).then_some(number)
        }
        IpAddr::V6(address) => {
            let [a, b, c, number, ..] = address.segments();
            u8::try_from(number).ok().filter(|_| [a, b, c] == BEHIND)
        }
    };
    let host = number.map(|number| Ipv4Addr::new(192, 168, 0, number));
    host.map_or(client, |host| SocketAddr::new(host.into(), client.port()))
}

/// The lines of a request that say where it comes from: as many as there are proxies, or one.
/// Whatever stands before that, anybody may have written. The port is always said, by which the
/// network knows the connection.
pub(crate) fn forwarded_for(client: SocketAddr, dice: &mut Dice) -> String {
    let other = hidden(address_of(dice.below(3) as usize));
    let lies = ["", "unknown", "_hidden", &other.to_string(), "[::1]:80"].map(str::to_owned);
    let proxies = ["", "192.168.0.250", "192.168.0.251:4711, 192.168.0.1"].map(str::to_owned);
    let said = [dice.one_of(&lies), client.to_string(), dice.one_of(&proxies)];
    let said: Vec<&str> = said.iter().map(String::as_str).filter(|it| !it.is_empty()).collect();
    if dice.chance(300) {
        return said.iter().map(|it| format!("X-Forwarded-For: {it}\r\n")).collect();
    }
    let between = dice.one_of(&[", ", ",", " , "]);
    format!("x-forwarded-for: {}\r\n", said.join(between))
}

/// What a proxy says first, in one of both versions of its protocol: that this is the client, or
/// that it speaks for itself, if it may be silent about others (haproxy's specification).
pub(crate) fn header(client: SocketAddr, may_be_silent: bool, dice: &mut Dice) -> Vec<u8> {
    let said = if may_be_silent { dice.below(4) } else { dice.below(2) };
    if said > 1 {
        let for_itself: [&[u8]; 2] = [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"];
        return dice.one_of(&for_itself).to_vec();
    }
    let (ip, port) = (client.ip(), client.port());
    let (family, broker) = match ip {
        IpAddr::V4(_) => (1, IpAddr::from([192, 0, 2, 1])),
        IpAddr::V6(_) => (2, IpAddr::from(Ipv6Addr::LOCALHOST)),
    };
    if said == 0 {
        let version = if family == 1 { 4 } else { 6 };
        return format!("PROXY TCP{version} {ip} {broker} {port} 1883\r\n").into_bytes();
    }
    let extra = extra(dice);
    let addresses = [octets(ip), octets(broker)].concat();
    let bytes = (addresses.len() + 4 + extra.len()) as u16;
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    header.push(family << 4 | 1);
    header.extend_from_slice(&bytes.to_be_bytes());
    header.extend_from_slice(&addresses);
    header.extend_from_slice(&port.to_be_bytes());
    header.extend_from_slice(&1_883_u16.to_be_bytes());
    header.extend_from_slice(&extra);
    header
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// What some proxies add, as the certificate that a client showed: here, what is to be skipped.
fn extra(dice: &mut Dice) -> Vec<u8> {
    let bytes = dice.between(1, EXTRA_BYTES_MAX) as u16;
    if !dice.chance(300) {
        return Vec::new();
    }
    let [high, low] = bytes.to_be_bytes();
    let mut extra = vec![NOTHING, high, low];
    extra.resize(extra.len() + usize::from(bytes), b'x');
    extra
}
