//! TCP, and what the operating system says of the process.
//!
//! Socket options are set here and nowhere else. `sockets.rs` makes a network of it. Knows
//! nothing of MQTT.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

use super::load::Usage;

/// Connections that the kernel holds for us while we are busy.
pub(super) const BACKLOG: i32 = 4_096;
/// Idle time after which the kernel asks whether the peer is still there. For clients that
/// turned MQTT's own keep alive off.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(300);
/// Time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// Descriptors that are kept for files and the runtimes: a quarter, but at least and at most so many.
const KEPT: (usize, usize) = (32, 1_024);

/// Lets the process have as many descriptors as the system allows. Returns how many that are.
///
/// # Errors
/// The operating system refuses.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    rlimit::increase_nofile_limit(rlimit::INFINITY)
}

/// What to tell the operator if the system gives fewer descriptors than this number of connections
/// takes, so that it is not in force. Without a number in force there is nothing to tell.
pub fn descriptor_shortage(connections: usize) -> Option<String> {
    shortage(descriptor_limit(), connections)
}

fn shortage(limit: usize, connections: usize) -> Option<String> {
    let room = room_below(limit);
    if room >= connections || connections == usize::MAX {
        return None;
    }
    let wanted = connections + (connections / 3 + 1).clamp(KEPT.0, KEPT.1);
    Some(format!(
        "limits.connections is {connections}, but the system's limit of open files, {limit}, has \
         room for {room} connections only: above them one that is not let in makes room, or more \
         are closed at once; raise it to {wanted} \
         (`LimitNOFILE` of a systemd unit, `ulimit -n` in a shell), or lower limits.connections"
    ))
}

/// Descriptors that connections may have.
pub(super) fn descriptors_for_connections() -> usize {
    room_below(descriptor_limit())
}

fn descriptor_limit() -> usize {
    let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(rlimit::INFINITY);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn room_below(limit: usize) -> usize {
    limit.saturating_sub((limit / 4).clamp(KEPT.0, KEPT.1))
}

/// Memory and processor time, where the system has Linux's `/proc`.
pub(super) fn usage() -> Usage {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    Usage { memory_bytes: memory_bytes(&status), cpu_millis: cpu_millis(&stat) }
}

/// The line `VmRSS:   1234 kB`.
fn memory_bytes(status: &str) -> u64 {
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Fields 14 and 15 (user and system), in hundredths of a second. The second field is a name in
/// parentheses, in which anything may stand.
fn cpu_millis(stat: &str) -> u64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10
}

/// IPv4 and IPv6 on one port. A machine without IPv6 is served by IPv4 alone.
pub(super) fn bind_all_interfaces(port: u16) -> io::Result<Vec<TcpListener>> {
    let v4 = listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
    let port = v4.local_addr()?.port();
    match listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Ok(v6) => Ok(vec![v4, v6]),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![v4]),
    }
}

/// Every address of a host that this machine has: a name may have several, as `localhost` has for
/// IPv4 and IPv6. All on one port, whichever the system chooses for the first.
pub(super) fn bind_host(
    addresses: impl Iterator<Item = SocketAddr>,
) -> io::Result<Vec<TcpListener>> {
    let mut bound: Vec<TcpListener> = Vec::new();
    let mut known = Vec::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for mut address in addresses {
        if known.contains(&address) {
            continue; // some systems name it twice
        }
        known.push(address);
        if let (0, Some(first)) = (address.port(), bound.first()) {
            address.set_port(first.local_addr()?.port());
        }
        match listen(address) {
            Ok(listener) => bound.push(listener),
            // Somebody else would have half of the clients.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => failure = error,
        }
    }
    if bound.is_empty() { Err(failure) } else { Ok(bound) }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?; // IPv4 has a socket of its own
    }
    #[cfg(unix)] // elsewhere the option means that a port can be stolen
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Connections have the options of the socket that accepts them, without a call for each.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&keepalive)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[test]
    fn usage_is_read_from_the_lines_of_proc() {
        assert_eq!(memory_bytes("VmHWM:\t  99 kB\nVmRSS:\t    1234 kB\n"), 1234 * 1024);
        let stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 13";
        assert_eq!(cpu_millis(stat), 1_750);
        assert_eq!((memory_bytes(""), cpu_millis("")), (0, 0));
    }

    #[test]
    fn a_limit_of_open_files_that_is_too_low_is_told_with_one_that_is_not() {
        for (limit, connections, want) in [
            (64, 32, None),
            (
                64,
                33,
                Some(
                    "room for 32 connections only: above them one that is not let in makes room, \
                     or more are closed at once; raise it to 65 ",
                ),
            ),
            (1_000, 751, Some("limit of open files, 1000, has room for 750 connections only")),
            (1_002, 751, None),
            (20_000, 100_000, Some("raise it to 101024 ")),
            (101_024, 100_000, None),
            (101_023, 100_000, Some("limits.connections is 100000, but")),
            (64, usize::MAX, None),
        ] {
            let told = shortage(limit, connections);
            let is_so = match (&told, want) {
                (Some(told), Some(want)) => told.contains(want),
                (told, want) => told.is_none() && want.is_none(),
            };
            assert!(is_so, "{limit} {connections}: {told:?}");
        }
        for connections in 1..10_000 {
            let told = shortage(0, connections).expect("there are none");
            let (_, rest) = told.split_once("raise it to ").expect("it says how far");
            let wanted = rest.split(' ').next().expect("a number").parse().expect("a number");
            assert_eq!(shortage(wanted, connections), None);
        }
    }

    #[tokio::test]
    async fn a_connection_has_the_options_of_its_listener() {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let _client = std::net::TcpStream::connect(address).expect("somebody listens");
        let (accepted, _) = listener.accept().await.expect("somebody connects");
        let socket = SockRef::from(&accepted);
        assert!(accepted.nodelay().expect("a socket") && socket.keepalive().expect("a socket"));
        let (idle, interval) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        assert_eq!(idle.expect("a socket"), KEEPALIVE_IDLE);
        assert_eq!(interval.expect("a socket"), KEEPALIVE_INTERVAL);
    }

    #[test]
    fn every_address_of_a_host_that_this_machine_has_is_bound_once_on_one_port() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _runtime = runtime.as_ref().expect("a runtime").enter();
        let [one, two] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(|ip| SocketAddr::from((ip, 0)));
        // Of a network that is for documentation (RFC 5737).
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        let bound = bind_host([one, one, elsewhere, two].into_iter()).expect("a free port");
        let addresses = bound.iter().map(|listener| listener.local_addr().expect("bound"));
        let addresses: Vec<SocketAddr> = addresses.collect();
        let port = addresses[0].port();
        let with = |mut address: SocketAddr| {
            address.set_port(port);
            address
        };
        assert_eq!(addresses, [with(one), with(two)]);
        let free = SocketAddr::from(([127, 0, 0, 3], port));
        let taken = bind_host([free, with(two)].into_iter()).expect_err("in use");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let nowhere = bind_host([elsewhere].into_iter()).expect_err("not ours");
        assert_eq!(nowhere.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn all_interfaces_are_ipv4_and_ipv6_on_one_port() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _runtime = runtime.as_ref().expect("a runtime").enter();
        let bound = bind_all_interfaces(0).expect("a free port");
        let ports: Vec<u16> =
            bound.iter().map(|listener| listener.local_addr().expect("bound").port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        let taken = bind_all_interfaces(ports[0]).expect_err("in use");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
