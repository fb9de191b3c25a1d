//! The broker inside this process, on real sockets: one file for each thing that its users rely on.
//!
//! One program, because each would be built with all of a broker and its clients' libraries.

mod clients;
mod logins;
mod passwords;
mod reload;
mod topic_checks;
mod transports;
mod unix_sockets;
