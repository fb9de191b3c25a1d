//! Where a listener accepts connections: at an address of the network, or at a file that only
//! programs on this machine can open.
//!
//! Only text: nothing is opened here. Addresses are in `bind.rs`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Bind, BindError};

/// Where a listener accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(Bind),
    /// A Unix socket.
    Unix(UnixSocket),
}

/// A socket that is a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// The file. It is made when the broker starts and removed when it stops.
    pub path: PathBuf,
    /// Its permissions: who may write to it may connect.
    pub mode: u32,
}

impl UnixSocket {
    /// Who may connect where nothing is said: the user and the group that the broker runs as.
    pub const DEFAULT_MODE: u32 = 0o660;
}

impl Endpoint {
    /// The Unix socket, if it is one.
    pub fn unix(&self) -> Option<&UnixSocket> {
        match self {
            Endpoint::Tcp(_) => None,
            Endpoint::Unix(socket) => Some(socket),
        }
    }

    /// Whether two listeners cannot both have it. Port 0 is another one each time.
    pub(super) fn is_exclusive(&self) -> bool {
        !matches!(self, Endpoint::Tcp(bind) if bind.port == 0)
    }
}

impl FromStr for Endpoint {
    type Err = BindError;

    /// Reads `unix:PATH`, and everything that [`Bind`] reads.
    fn from_str(text: &str) -> Result<Endpoint, BindError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(BindError::NoPath),
            Some(path) => {
                let (path, mode) = (PathBuf::from(path), UnixSocket::DEFAULT_MODE);
                Ok(Endpoint::Unix(UnixSocket { path, mode }))
            }
            None => text.parse().map(Endpoint::Tcp),
        }
    }
}

impl From<Bind> for Endpoint {
    fn from(bind: Bind) -> Endpoint {
        Endpoint::Tcp(bind)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(bind) => bind.fmt(f),
            Endpoint::Unix(socket) => write!(f, "unix:{}", socket.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_or_a_path() {
        for (text, want) in [
            (":1884", Ok("*:1884")),
            ("unix:/run/mqtt.sock", Ok("unix:/run/mqtt.sock")),
            ("unix:mqtt.sock", Ok("unix:mqtt.sock")),
            ("unix:", Err(BindError::NoPath)),
            ("/run/mqtt.sock", Err(BindError::UnixSocket)),
            ("a:b", Err(BindError::Port)),
        ] {
            let got = text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
            assert_eq!(got, want.map(str::to_owned), "{text:?}");
        }
    }
}
