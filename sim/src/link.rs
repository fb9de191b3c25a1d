//! What the two ends of a connection share beside turmoil's stream: how much is on its way, and
//! whether the connection is dead, reset, or torn at a byte.
//!
//! Turmoil's own flow control counts writes, and what it calls a partition kills streams only
//! if something was sent meanwhile. Here a window of bytes bounds what nobody has read, as TCP's
//! does; a dead connection takes bytes until its window is full and says nothing; a reset is
//! heard by both ends at once. `network.rs` makes links; faults reach them through [`Links`];
//! `link/stream.rs` is one end, with its bytes.

mod lane;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stormpetrel::server::Effect;

use self::lane::Lane;
pub use self::stream::Linked;
use crate::dice::Dice;
use crate::history::Digest;

/// Bytes that may be on their way to one end.
const WINDOWS: [usize; 5] = [2 << 10, 2 << 10, 2 << 10, 16 << 10, 256 << 10];
/// Writes that may be on their way: fewer than turmoil takes, because there a FIN that finds no
/// room is lost, and a writer that waits for room is not woken by a reset.
const SEGMENTS_MAX: usize = 3_000;

/// Bytes that a PINGREQ or its answer may be, in whatever it travels in: each byte of it in a
/// fragment and a TLS record of its own, with a ping and a pong of WebSocket.
const SIGN_BYTES: usize = 200;

/// The two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Client,
    Broker,
}

/// A connection, as its ends and the faults see it.
#[derive(Clone, Debug)]
pub(crate) struct Link(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    client: SocketAddr,
    /// The number of the connection, once its client has said it.
    number: Option<u64>,
    /// When the broker heard of its end, or ended it.
    ended_at: Option<u64>,
    window: usize,
    is_dead: bool,
    is_reset: bool,
    /// What its client sends is MQTT in something else.
    is_wrapped: bool,
    /// The lives that the broker had had when it was made.
    life: u64,
    /// The client closed with bytes unread: what is sent to it is refused, as soon as all that it
    /// sent itself has come.
    is_refused: bool,
    /// Since when the broker has had something to send and the client has taken nothing.
    stalled_since: Option<u64>,
    /// When an end last took in part of more than a sign of life.
    carried_at: Option<u64>,
    /// What is on its way to the client, and to the broker.
    lanes: [Lane; 2],
}

/// All connections of a run.
#[derive(Clone, Debug)]
pub(crate) struct Links(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    dice: Dice,
    /// By the client's address, until the broker's end is gone: the client's may be gone before
    /// the broker has accepted.
    links: BTreeMap<SocketAddr, Link>,
    /// Hosts that nothing reaches and that reach nobody.
    cut_off: BTreeSet<IpAddr>,
    /// Hosts whose connections do not let that end read.
    held: BTreeSet<(IpAddr, End)>,
    /// Bytes that one write of the broker's hands over at most, if there is a bound.
    pull_bytes_max: Option<usize>,
    /// Whether the broker ever had more to send than that.
    has_pulled_in_parts: bool,
    /// Everything that left the broker.
    sent: Digest,
    /// What the broker's ends came to since somebody asked.
    progress: Vec<Progress>,
    /// Milliseconds since the run began.
    now: u64,
    /// How often the broker was told to stop, or died.
    lives: u64,
    /// A connection that ended without the goodbye that its client's was to be answered with.
    rude: Option<u64>,
    /// A connection with a goodbye of the broker's that nobody may say so: the rule, and what was said.
    misspoken: Option<(u64, &'static str, String)>,
}

/// What the broker's end of a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Of what came, so many more packets took effect.
    TookIn { connection: u64, packets: usize },
    /// It is over.
    Ended { connection: u64 },
    /// It is over, and so many bytes from the beginning had come to the broker's host, which did
    /// not read them all.
    Unread { connection: u64, bytes: usize },
}

impl Links {
    /// Those of a run with this seed.
    pub(crate) fn new(seed: u64) -> Links {
        Links(Arc::new(Mutex::new(Table {
            dice: Dice::new(seed, "windows", 0),
            links: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            held: BTreeSet::new(),
            pull_bytes_max: None,
            has_pulled_in_parts: false,
            sent: Digest::default(),
            progress: Vec::new(),
            now: 0,
            lives: 0,
            rude: None,
            misspoken: None,
        })))
    }

    /// The link of the connection from that address. Dead from the start if its host is cut off.
    pub(crate) fn of(&self, client: SocketAddr) -> Link {
        let mut table = self.table();
        if let Some(link) = table.links.get(&client) {
            return link.clone();
        }
        let choice = usize::try_from(table.dice.below(WINDOWS.len() as u64)).expect("a few");
        let state = State {
            client,
            number: None,
            ended_at: None,
            window: WINDOWS[choice],
            is_dead: table.cut_off.contains(&client.ip()),
            is_reset: false,
            is_wrapped: false,
            life: table.lives,
            is_refused: false,
            stalled_since: None,
            carried_at: None,
            lanes: [End::Client, End::Broker].map(|end| Lane {
                is_held: table.held.contains(&(client.ip(), end)),
                ..Lane::default()
            }),
        };
        let link = Link(Arc::new(Mutex::new(state)));
        table.links.insert(client, link.clone());
        link
    }

    /// Everything from and to that host is lost from now on, and every connection it has is dead.
    pub(crate) fn cut_off(&self, host: IpAddr) {
        self.table().cut_off.insert(host);
        self.of_host(host).iter().for_each(Link::kill);
    }

    /// The host can be reached again. Its old connections stay dead.
    pub(crate) fn rejoin(&self, host: IpAddr) {
        self.table().cut_off.remove(&host);
    }

    /// Whether nothing reaches the host.
    pub(crate) fn is_cut_off(&self, host: IpAddr) -> bool {
        self.table().cut_off.contains(&host)
    }

    /// Nothing that is sent to that end arrives from now on, and nothing of it is lost; the other
    /// way all is as before.
    pub(crate) fn hold(&self, host: IpAddr, end: End) {
        self.table().held.insert((host, end));
        self.of_host(host).iter().for_each(|link| link.state().lanes[end as usize].is_held = true);
    }

    /// What was held arrives.
    pub(crate) fn release(&self, host: IpAddr, end: End) {
        self.table().held.remove(&(host, end));
        for link in self.of_host(host) {
            let lane = &mut link.state().lanes[end as usize];
            lane.is_held = false;
            lane.wake();
        }
    }

    /// From now on one write of the broker's hands over between 1 and so many bytes.
    pub(crate) fn bound_pulls(&self, bytes_max: Option<usize>) {
        self.table().pull_bytes_max = bytes_max;
    }

    /// Whether the broker ever had more to send than one write handed over.
    pub(crate) fn has_pulled_in_parts(&self) -> bool {
        self.table().has_pulled_in_parts
    }

    /// Ends all connections of the host; both ends hear of it.
    pub(crate) fn reset(&self, host: IpAddr) {
        self.of_host(host).iter().for_each(Link::reset);
    }

    /// Every connection that is dead is found out, at both ends.
    pub(crate) fn bury_the_dead(&self) {
        let links: Vec<Link> = self.table().links.values().cloned().collect();
        for link in links {
            let mut state = link.state();
            if std::mem::take(&mut state.is_dead) {
                state.is_reset = true;
                state.lanes.iter_mut().for_each(Lane::wake);
            }
        }
    }

    /// Says what time it is, in milliseconds since the run began.
    pub(crate) fn set_now(&self, now: u64) {
        self.table().now = now;
    }

    /// The broker is told to stop, or dies.
    pub(crate) fn lose_broker(&self) {
        self.table().lives += 1;
    }

    /// A connection ended without a goodbye in answer to its client's. If its broker had died, or
    /// had ended it before that was read, it could not say any.
    pub(crate) fn note_rude(&self, link: &Link) {
        let table = &mut *self.table();
        let state = link.state();
        let is_read = state.lanes[End::Broker as usize].bytes == 0;
        if state.life == table.lives && !state.is_reset && is_read {
            table.rude = table.rude.or(state.number);
        }
    }

    /// On a connection the broker said goodbye as nobody may.
    pub(crate) fn note_misspoken(&self, link: &Link, rule: &'static str, words: String) {
        let table = &mut *self.table();
        if let (None, Some(number)) = (&table.misspoken, link.state().number) {
            table.misspoken = Some((number, rule, words));
        }
    }

    /// A connection on which that happened, which rule it breaks, and what was said.
    pub(crate) fn misspoken(&self) -> Option<(u64, &'static str, String)> {
        self.table().misspoken.clone()
    }

    /// A connection that ended without a goodbye.
    pub(crate) fn rude(&self) -> Option<u64> {
        self.table().rude
    }

    /// How many the broker has, at most.
    pub(crate) fn count(&self) -> usize {
        self.table().links.len()
    }

    /// A connection that is over for the broker since before that time, and that it still has.
    pub(crate) fn kept_since(&self, before: u64) -> Option<u64> {
        self.find(|state| state.ended_at.is_some_and(|at| at < before))
    }

    /// A connection whose client has taken nothing since before that time, though there was
    /// something, and that the broker still has.
    pub(crate) fn stalled_since(&self, before: u64) -> Option<u64> {
        self.find(|state| state.stalled_since.is_some_and(|at| at < before))
    }

    /// Whether more is on its way on a connection than a sign of life, or was since that time:
    /// between two windows full of something large nothing is.
    pub(crate) fn is_carrying(&self, connection: u64, since: u64) -> bool {
        let is_it = |state: &State| {
            state.number == Some(connection)
                && (state.lanes.iter().any(|lane| lane.bytes > SIGN_BYTES)
                    || state.carried_at.is_some_and(|at| at >= since))
        };
        self.find(is_it).is_some()
    }

    fn find(&self, is_it: impl Fn(&State) -> bool) -> Option<u64> {
        let table = self.table();
        let mut states = table.links.values().map(|link| link.state());
        states.find(|state| is_it(state)).and_then(|state| state.number)
    }

    /// Something that came from that client took effect.
    pub(crate) fn take_effect(&self, client: SocketAddr, effect: Effect) {
        let table = &mut *self.table();
        let number = table.links.get(&client).and_then(|link| link.state().number);
        if let Some(connection) = number {
            table.progress.push(match effect {
                Effect::Packets(packets) => Progress::TookIn { connection, packets },
                Effect::End => Progress::Ended { connection },
            });
        }
    }

    /// What the broker's ends came to since the last time, in order.
    pub(crate) fn take_progress(&self) -> Vec<Progress> {
        std::mem::take(&mut self.table().progress)
    }

    /// Of everything that left the broker, in order.
    pub(crate) fn sent(&self) -> u64 {
        self.table().sent.finish()
    }

    /// So many bytes of the broker's, or fewer.
    fn bounded(&self, bytes: usize) -> usize {
        let table = &mut *self.table();
        let Some(max) = table.pull_bytes_max else { return bytes };
        let drawn = usize::try_from(table.dice.between(1, max.max(1) as u64)).unwrap_or(max);
        table.has_pulled_in_parts |= drawn < bytes;
        bytes.min(drawn)
    }

    fn of_host(&self, host: IpAddr) -> Vec<Link> {
        let table = self.table();
        let own = table.links.iter().filter(|(address, _)| address.ip() == host);
        own.map(|(_, link)| link.clone()).collect()
    }

    /// Nothing that can panic runs under this lock.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Nothing passes any more, and neither end hears of it.
    pub(crate) fn kill(&self) {
        self.state().is_dead = true;
    }

    /// Whether nothing passes any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Whether neither end has ended it.
    pub(crate) fn is_reset(&self) -> bool {
        self.state().is_reset
    }

    /// The connection ends, and both ends hear of it unless it is dead.
    pub(crate) fn reset(&self) {
        let mut state = self.state();
        state.is_reset = true;
        state.lanes.iter_mut().for_each(Lane::wake);
    }

    /// Says which connection it is. Before anything is sent.
    pub(crate) fn number(&self, connection: u64) {
        self.state().number = Some(connection);
    }

    /// The address of its client.
    pub(crate) fn client(&self) -> SocketAddr {
        self.state().client
    }

    /// Says that not every byte that its client sends is MQTT.
    pub(crate) fn wrap(&self) {
        self.state().is_wrapped = true;
    }

    /// Resets the connection as soon as that end has read so many bytes, and no more.
    pub(crate) fn tear(&self, end: End, bytes: usize) {
        self.state().lanes[end as usize].torn_at = Some(bytes);
    }

    /// Nothing that can panic runs under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::Ipv4Addr;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use bytes::BytesMut;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

    use super::*;
    use crate::chaos::Arriving;

    impl Arriving for DuplexStream {
        fn take_arrived(&mut self, context: &mut Context<'_>) -> (BytesMut, bool) {
            let mut arrived = BytesMut::new();
            let mut buffer = [0; 64];
            let mut buffer = ReadBuf::new(&mut buffer);
            while Pin::new(&mut *self).poll_read(context, &mut buffer).is_ready() {
                if buffer.filled().is_empty() {
                    return (arrived, true);
                }
                arrived.extend_from_slice(buffer.filled());
                buffer.clear();
            }
            (arrived, false)
        }
    }

    const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7);

    /// The client's end and the broker's.
    fn pair(links: &Links) -> (Linked<DuplexStream>, Linked<DuplexStream>) {
        let (client, broker) = tokio::io::duplex(1 << 20);
        let end = |stream, end| Linked::new(stream, links.of(CLIENT), end, links.clone());
        (end(client, End::Client), end(broker, End::Broker))
    }

    fn poll_write(stream: &mut Linked<DuplexStream>, bytes: usize) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(stream).poll_write(&mut context, &vec![7; bytes])
    }

    fn poll_read(stream: &mut Linked<DuplexStream>) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(Waker::noop());
        let mut buffer = [0; 64];
        let mut buffer = ReadBuf::new(&mut buffer);
        let polled = Pin::new(stream).poll_read(&mut context, &mut buffer);
        polled.map_ok(|()| buffer.filled().len())
    }

    #[tokio::test]
    async fn what_nobody_reads_fills_the_window() {
        let links = Links::new(1);
        let (mut client, mut broker) = pair(&links);
        let Poll::Ready(Ok(window)) = poll_write(&mut broker, 1 << 20) else { panic!("empty") };
        assert!(WINDOWS.contains(&window), "{window}");
        assert!(poll_write(&mut broker, 1).is_pending());
        let mut buffer = vec![0; 100];
        client.read_exact(&mut buffer).await.expect("it is there");
        assert!(matches!(poll_write(&mut broker, 1_000), Poll::Ready(Ok(100))));
    }

    #[tokio::test]
    async fn more_is_on_its_way_between_two_windows() {
        let links = Links::new(1);
        let (mut client, mut broker) = pair(&links);
        links.of(CLIENT).number(3);
        assert!(poll_write(&mut broker, SIGN_BYTES + 1).is_ready());
        assert!(links.is_carrying(3, 9));
        links.set_now(7);
        let mut buffer = [0; SIGN_BYTES + 1];
        client.read_exact(&mut buffer).await.expect("it is there");
        assert!(links.is_carrying(3, 7) && !links.is_carrying(3, 8));
        assert!(!links.is_carrying(4, 7), "another connection");
    }

    #[tokio::test]
    async fn many_small_writes_fill_it_too() {
        let (_client, mut broker) = pair(&Links::new(1));
        let writes = (0..SEGMENTS_MAX + 1).filter(|_| poll_write(&mut broker, 1).is_ready());
        assert!(writes.count() <= SEGMENTS_MAX);
    }

    #[tokio::test]
    async fn a_dead_connection_takes_bytes_and_says_nothing() {
        let links = Links::new(1);
        let (client, mut broker) = pair(&links);
        links.cut_off(CLIENT.ip());
        drop(client);
        assert!(poll_read(&mut broker).is_pending(), "no end is heard");
        assert!(matches!(poll_write(&mut broker, 1), Poll::Ready(Ok(1))));
        while poll_write(&mut broker, 1 << 20).is_ready() {}
        links.bury_the_dead();
        assert!(matches!(poll_read(&mut broker), Poll::Ready(Err(_))), "it is found out");
    }

    #[tokio::test]
    async fn a_host_that_is_cut_off_has_only_dead_connections() {
        let links = Links::new(1);
        links.cut_off(CLIENT.ip());
        assert!(links.is_cut_off(CLIENT.ip()) && links.of(CLIENT).is_dead());
        links.rejoin(CLIENT.ip());
        let later = SocketAddr::new(CLIENT.ip(), 8);
        assert!(!links.is_cut_off(CLIENT.ip()) && !links.of(later).is_dead());
        assert!(links.of(CLIENT).is_dead(), "what was dead stays dead");
    }

    #[tokio::test]
    async fn what_is_held_one_way_passes_the_other_and_comes_in_the_end() {
        let links = Links::new(1);
        for (end, other) in [(End::Client, End::Broker), (End::Broker, End::Client)] {
            links.hold(CLIENT.ip(), end);
            let (client, broker) = pair(&links);
            let mut ends = [client, broker];
            for writer in &mut ends {
                assert!(matches!(poll_write(writer, 3), Poll::Ready(Ok(3))));
            }
            assert!(poll_read(&mut ends[end as usize]).is_pending());
            assert!(matches!(poll_read(&mut ends[other as usize]), Poll::Ready(Ok(3))));
            links.release(CLIENT.ip(), end);
            assert!(matches!(poll_read(&mut ends[end as usize]), Poll::Ready(Ok(3))));
        }
    }

    #[tokio::test]
    async fn the_broker_writes_no_more_at_once_than_it_is_asked_for() {
        let links = Links::new(1);
        let (mut client, mut broker) = pair(&links);
        links.bound_pulls(Some(5));
        let written: Vec<usize> = (0..100)
            .map(|_| match poll_write(&mut broker, 6) {
                Poll::Ready(Ok(bytes)) => bytes,
                other => panic!("there is room: {other:?}"),
            })
            .collect();
        assert!((1..=5).all(|bytes| written.contains(&bytes)) && !written.contains(&6));
        assert!(links.has_pulled_in_parts());
        assert!(matches!(poll_write(&mut client, 6), Poll::Ready(Ok(6))));
    }

    #[tokio::test]
    async fn a_reset_is_heard_by_both() {
        let links = Links::new(1);
        let (mut client, mut broker) = pair(&links);
        client.write_all(b"lost").await.expect("open");
        links.reset(CLIENT.ip());
        for end in [&mut client, &mut broker] {
            assert!(matches!(poll_read(end), Poll::Ready(Err(_))));
            assert!(matches!(poll_write(end, 1), Poll::Ready(Err(_))));
        }
    }

    #[tokio::test]
    async fn what_came_before_a_write_failed_is_read_or_known_to_be_left() {
        for is_read in [true, false] {
            let links = Links::new(1);
            let (mut client, mut broker) = pair(&links);
            broker.link().number(7);
            client.write_all(b"three").await.expect("open");
            assert!(poll_write(&mut broker, 1).is_ready());
            drop(client);
            assert!(matches!(poll_write(&mut broker, 1), Poll::Ready(Err(_))));
            if is_read {
                assert!(matches!(poll_read(&mut broker), Poll::Ready(Ok(5))));
                assert!(matches!(poll_read(&mut broker), Poll::Ready(Ok(0))));
            }
            drop(broker);
            let unread = Progress::Unread { connection: 7, bytes: 5 };
            assert_eq!(links.take_progress().contains(&unread), !is_read);
        }
    }

    #[tokio::test]
    async fn an_end_that_is_kept_is_seen() {
        let links = Links::new(1);
        let (client, mut broker) = pair(&links);
        broker.link().number(7);
        drop(client);
        links.set_now(10);
        assert!(matches!(poll_read(&mut broker), Poll::Ready(Ok(0))));
        assert_eq!((links.kept_since(10), links.kept_since(11)), (None, Some(7)));
        drop(broker);
        assert_eq!(links.kept_since(11), None);
    }

    #[tokio::test]
    async fn a_torn_connection_gives_so_many_bytes_and_no_more() {
        for bytes in [0, 1, 4] {
            let (mut client, mut broker) = pair(&Links::new(1));
            broker.link().tear(End::Broker, bytes);
            client.write_all(b"four and more").await.expect("open");
            let mut read = 0;
            while let Poll::Ready(Ok(some)) = poll_read(&mut broker) {
                read += some;
            }
            assert_eq!(read, bytes);
            assert!(matches!(poll_write(&mut client, 1), Poll::Ready(Err(_))));
        }
    }
}
