//! The network address of a listener, in every form that amqtt takes and a few that it should have.
//!
//! Only text: no name is looked up and no socket opened here.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// An address of the network where a listener accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// An address or a host name, IPv6 without brackets; none: all interfaces, IPv4 and IPv6.
    pub host: Option<String>,
    /// The TCP port; 0: the system chooses one.
    pub port: u16,
}

/// Why a text is not a [`Bind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The part after the last colon is not a port.
    #[error("the port is not a number from 0 to 65535")]
    Port,
    /// The part before the port is neither an address nor a host name.
    #[error("the host is neither an IP address nor a host name")]
    Host,
    /// A bracket is missing, or what is in the brackets is not an IPv6 address.
    #[error("the brackets do not hold an IPv6 address")]
    Brackets,
    /// A path, which is no address: an [`Endpoint`](super::Endpoint) may be one.
    #[error("a path is written as `unix:PATH`")]
    UnixSocket,
    /// A Unix socket without its path.
    #[error("the path of the Unix socket is missing")]
    NoPath,
}

impl Bind {
    /// MQTT's registered port.
    pub const DEFAULT_PORT: u16 = 1883;
    /// Where amqtt serves WebSocket if no port is given, encrypted or not.
    pub const DEFAULT_PORT_OF_WEBSOCKET: u16 = 8883;

    /// Whether `text`, which can be read, says the port.
    pub(super) fn gives_port(text: &str) -> bool {
        let (_, port) = split(text).unwrap_or_default();
        !port.is_empty()
    }

    /// Whether `text` could be an IPv6 address as well as one with a port: `::1:1883`. It is
    /// read as an address with a port, as in amqtt.
    pub(super) fn is_ambiguous(text: &str) -> bool {
        is_ipv6(text) && split_ipv6_port(text).is_some()
    }
}

impl FromStr for Bind {
    type Err = BindError;

    /// Reads `host:port`, `host`, `host:`, `:port`, `port`, `[v6]:port`, `[v6]`, `v6:port`,
    /// `v6`, `*` and the empty text. A missing or empty host, and `*`, is all interfaces.
    fn from_str(text: &str) -> Result<Bind, BindError> {
        if text.starts_with("unix:") || text.starts_with('/') {
            return Err(BindError::UnixSocket);
        }
        let (host, port) = split(text)?;
        Ok(Bind { host: parse_host(host)?, port: parse_port(port)? })
    }
}

/// The host and the port, without brackets and colon; empty: not given.
fn split(text: &str) -> Result<(&str, &str), BindError> {
    if let Some(bracketed) = text.strip_prefix('[') {
        return split_bracketed(bracketed);
    }
    Ok(match text.matches(':').count() {
        0 if is_number(text) => ("", text),
        0 => (text, ""),
        1 => text.split_once(':').unwrap_or((text, "")),
        _ => split_ipv6_port(text).unwrap_or((text, "")),
    })
}

/// Splits what follows the opening bracket: `::1]:1883` or `::1]`.
fn split_bracketed(text: &str) -> Result<(&str, &str), BindError> {
    let (host, rest) = text.split_once(']').ok_or(BindError::Brackets)?;
    if !is_ipv6(host) {
        return Err(BindError::Brackets);
    }
    match rest {
        "" => Ok((host, "")),
        rest => Ok((host, rest.strip_prefix(':').ok_or(BindError::Port)?)),
    }
}

/// Splits at the last colon if an IPv6 address stands before it and digits after it.
fn split_ipv6_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_ipv6(host) && is_port).then_some((host, port))
}

/// An IPv6 address, with or without a zone (`fe80::1%eth0`).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
    !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()
}

/// A number, which is no host's name also if it is no port's: -1.
fn is_number(text: &str) -> bool {
    text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_host(host: &str) -> Result<Option<String>, BindError> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match host {
        "" | "*" => Ok(None),
        host if host.starts_with('-') => Err(BindError::Host),
        host if is_ipv6(host) || host.bytes().all(is_name_byte) => Ok(Some(host.to_owned())),
        _ => Err(BindError::Host),
    }
}

fn parse_port(port: &str) -> Result<u16, BindError> {
    match port {
        "" => Ok(Bind::DEFAULT_PORT),
        port if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map_err(|_| BindError::Port)
        }
        _ => Err(BindError::Port),
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            None => write!(f, "*:{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, want) in [
            ("127.0.0.1:1883", "127.0.0.1:1883"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("localhost:0", "localhost:0"),
            ("my_broker-1.lan", "my_broker-1.lan:1883"),
            ("127.0.0.1", "127.0.0.1:1883"),
            ("127.0.0.1:", "127.0.0.1:1883"),
            ("", "*:1883"),
            ("*", "*:1883"),
            ("*:1884", "*:1884"),
            (":", "*:1883"),
            (":1884", "*:1884"),
            ("1884", "*:1884"),
            ("0", "*:0"),
            ("65535", "*:65535"),
            ("[::1]:1884", "[::1]:1884"),
            ("[::1]", "[::1]:1883"),
            ("[::1]:", "[::1]:1883"),
            ("[fe80::1%eth0]:1884", "[fe80::1%eth0]:1884"),
            ("::1:1884", "[::1]:1884"),
            (":::1884", "[::]:1884"),
            ("::", "[::]:1883"),
            ("::1", "[::1]:1883"),
            ("fe80::1", "[fe80::1]:1883"),
            ("2001:db8::1:1884", "[2001:db8::1]:1884"),
            ("2001:db8:0:0:0:0:0:1", "[2001:db8:0:0:0:0:0:1]:1883"),
            ("2001:db8:0:0:0:0:0:1:1884", "[2001:db8:0:0:0:0:0:1]:1884"),
        ] {
            let bind: Bind = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(bind.to_string(), want, "{text:?}");
            assert_eq!(bind.to_string().parse(), Ok(bind), "{text:?}, written and read again");
        }
    }

    #[test]
    fn an_address_gives_a_port_or_not() {
        for (text, want) in [
            ("127.0.0.1:1883", true),
            ("127.0.0.1", false),
            ("127.0.0.1:", false),
            ("", false),
            ("*", false),
            (":", false),
            ("1884", true),
            ("[::1]", false),
            ("[::1]:", false),
            ("[::1]:1", true),
            ("::1", false),
            ("::1:1884", true),
        ] {
            assert_eq!(Bind::gives_port(text), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, want) in [
            ("70000", BindError::Port),
            ("localhost:65536", BindError::Port),
            ("localhost:mqtt", BindError::Port),
            ("localhost:-1", BindError::Port),
            ("localhost:+1", BindError::Port),
            ("localhost: 1883", BindError::Port),
            ("::1:70000", BindError::Port),
            ("[::1]1883", BindError::Port),
            ("[::1:1883", BindError::Brackets),
            ("[localhost]:1883", BindError::Brackets),
            ("[]:1883", BindError::Brackets),
            ("mqtt://localhost:1883", BindError::Host),
            ("a:b:1883", BindError::Host),
            ("local host:1883", BindError::Host),
            ("local host", BindError::Host),
            ("-1 ", BindError::Host),
            ("-1", BindError::Port),
            ("-1883", BindError::Port),
            ("-", BindError::Port),
            ("-a", BindError::Host),
            ("-a:1883", BindError::Host),
            ("unix:/run/mqtt.sock", BindError::UnixSocket),
            ("/run/mqtt.sock", BindError::UnixSocket),
        ] {
            assert_eq!(text.parse::<Bind>(), Err(want), "{text:?}");
        }
    }

    #[test]
    fn only_an_address_that_can_be_read_twice_is_ambiguous() {
        for (text, want) in [
            ("::1:1883", true),
            ("2001:db8::1:8", true),
            ("::1", false),
            ("::", false),
            ("[::1]:1883", false),
            ("2001:db8:0:0:0:0:0:1:1884", false),
            ("127.0.0.1:1883", false),
        ] {
            assert_eq!(Bind::is_ambiguous(text), want, "{text}");
        }
    }
}
