//! How many strangers may stand at the door, and how often they may knock: part of the section
//! `limits`, where 0 is "no limit".
//!
//! What the numbers mean is in `server/admission/`.

use super::Subnet;
use super::listeners::read_subnets;
use super::problem::Report;
use super::section::Section;

/// Limits of what comes from one address, and of what has not authenticated yet. Each is
/// inclusive. An IPv6 address stands for its network of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Connections of one address at once.
    pub connections_per_address: usize,
    /// New connections of one address, a second, over ten seconds.
    pub connection_rate_per_address: u32,
    /// Connections at once that have not authenticated yet.
    pub unauthenticated: usize,
    /// Of these, those of one address.
    pub unauthenticated_per_address: usize,
    /// Logins that may fail with one user name from one address, before the next has to wait.
    pub failed_logins: u32,
    /// Logins that may fail from one address.
    pub failed_logins_per_address: u32,
    /// Logins that may fail with one user name, before strangers are answered late.
    pub failed_logins_per_user: u32,
    /// Whose connections and logins are not limited by all this.
    pub exempt_addresses: Vec<Subnet>,
}

impl Default for Admission {
    fn default() -> Admission {
        let loopback = ["127.0.0.0/8", "::1"].map(|text| text.parse().expect("a subnet"));
        Admission {
            connections_per_address: 1_000,
            connection_rate_per_address: 100,
            unauthenticated: 10_000,
            unauthenticated_per_address: 200,
            failed_logins: 5,
            failed_logins_per_address: 50,
            failed_logins_per_user: 50,
            exempt_addresses: loopback.into(),
        }
    }
}

impl Admission {
    /// No limits at all.
    pub fn unlimited() -> Admission {
        Admission {
            connections_per_address: usize::MAX,
            connection_rate_per_address: u32::MAX,
            unauthenticated: usize::MAX,
            unauthenticated_per_address: usize::MAX,
            failed_logins: u32::MAX,
            failed_logins_per_address: u32::MAX,
            failed_logins_per_user: u32::MAX,
            exempt_addresses: Vec::new(),
        }
    }
}

/// Reads whose addresses are exempt, in the section `limits`.
pub(super) fn read_exempt(section: &mut Section<'_>, report: &mut Report) -> Option<Vec<Subnet>> {
    let entry = section.value("exempt-addresses", report)?;
    Some(read_subnets(&entry, report))
}
