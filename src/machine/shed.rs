//! Who was turned away before the machine saw anything of it: the reasons, and how often.
//!
//! Only counts, for `$SYS`: the shell turns away (`server/admission/`).

/// Why somebody was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Shed {
    /// A connection: far above the limit of connections, and nobody is silent.
    Connections,
    /// A connection: its address has too many.
    AddressConnections,
    /// A connection: those of its address come too fast.
    AddressRate,
    /// A connection: too many have not authenticated yet.
    Unauthenticated,
    /// A connection: too many of its address have not authenticated yet.
    AddressUnauthenticated,
    /// A login: too many have failed before it.
    Logins,
    /// A connection: the system has no descriptors for as many as there may be.
    Descriptors,
    /// A connection: it was silent, or told to go, when there was no room for another.
    Silent,
}

impl Shed {
    /// Every reason, in the order of the enum.
    pub const ALL: [Shed; 8] = [
        Shed::Connections,
        Shed::AddressConnections,
        Shed::AddressRate,
        Shed::Unauthenticated,
        Shed::AddressUnauthenticated,
        Shed::Logins,
        Shed::Descriptors,
        Shed::Silent,
    ];

    /// A name for counters, topics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Shed::Connections => "connections",
            Shed::AddressConnections => "address-connections",
            Shed::AddressRate => "address-rate",
            Shed::Unauthenticated => "unauthenticated",
            Shed::AddressUnauthenticated => "address-unauthenticated",
            Shed::Logins => "logins",
            Shed::Descriptors => "descriptors",
            Shed::Silent => "silent",
        }
    }
}

/// How many were turned away, for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sheds([u64; Shed::ALL.len()]);

impl Sheds {
    /// One more.
    pub fn count(&mut self, reason: Shed) {
        self.0[reason as usize] += 1;
    }

    /// How many for this reason.
    pub fn get(&self, reason: Shed) -> u64 {
        self.0[reason as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
