//! A log on a disk that is hardly larger than what lives in it: what is dead goes in time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::keeper::Keeper;
use super::super::{Local, shared_on};
use super::*;
use crate::machine::{Durability, Input, Machine, Outgoing};
use crate::mqtt::message::MessageProperties;
use crate::store::{Disk, Entry, Lock};

type Bytewise = Rc<RefCell<Vec<u8>>>;

/// Files in memory, on a disk of so many bytes.
#[derive(Clone, Default)]
struct Small {
    files: Rc<RefCell<BTreeMap<String, Bytewise>>>,
    bytes: Rc<Cell<u64>>,
    /// Whether it does not say how many of them are free.
    is_mute: Rc<Cell<bool>>,
    /// How many files that count were removed.
    removed: Rc<Cell<u32>>,
}

impl Small {
    fn left(&self) -> u64 {
        let used: u64 = self.files.borrow().values().map(|file| file.borrow().len() as u64).sum();
        self.bytes.get().saturating_sub(used)
    }

    fn find(&self, name: &str) -> io::Result<Bytewise> {
        self.files.borrow().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Small {
    type File = Bytewise;

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn lock(&self, _: Lock) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> Option<u64> {
        (!self.is_mute.get()).then(|| self.left())
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let entry = |(name, file): (&String, &Bytewise)| Entry {
            name: name.clone(),
            bytes: file.borrow().len() as u64,
        };
        Ok(self.files.borrow().iter().map(entry).collect())
    }

    fn create(&self, name: &str) -> io::Result<Bytewise> {
        self.files.borrow_mut().insert(name.to_owned(), Bytewise::default());
        self.find(name)
    }

    fn open(&self, name: &str) -> io::Result<Bytewise> {
        self.find(name)
    }

    fn read(&self, file: &Bytewise, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = file.borrow();
        let bytes = file.get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    async fn write(&self, file: &Bytewise, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        let length = file.borrow().len();
        if to.saturating_sub(length) as u64 > self.left() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = file.borrow_mut();
        file.resize(length.max(to), 0);
        file[from..to].copy_from_slice(bytes);
        Ok(())
    }

    async fn sync(&self, _: &Bytewise) -> io::Result<()> {
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.find(from)?;
        let mut files = self.files.borrow_mut();
        files.remove(from);
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.files.borrow_mut().remove(name);
        self.removed.set(self.removed.get() + u32::from(name.ends_with(".log")));
        Ok(())
    }
}

/// A program that publishes on a broker whose log is on that disk.
struct Life {
    local: Local<()>,
    shared: Arc<Shared<()>>,
    keeper: JoinHandle<()>,
    /// Seconds after which what it publishes is of no use.
    expiry: Option<u32>,
}

impl Life {
    fn begin(disk: &Small) -> Life {
        let clock = Clock::starting_at(Timestamp(1_000_000));
        let (durability, effort_max) = (Durability::Sync, 200);
        let config = Config { durability: Some(durability), effort_max, ..Config::default() };
        let (shared, keeper): (_, Keeper<Small>) =
            shared_on(disk.clone(), &config, Seed::default(), clock, 1).expect("it opens");
        let keeper = tokio::task::spawn_local(keeper.run(Arc::clone(&shared)));
        let local = Local::open(Arc::clone(&shared)).expect("there is room");
        Life { local, shared, keeper, expiry: None }
    }

    /// Publishes something retained. What the broker says to that.
    async fn retain(&mut self, topic: &str, bytes: usize) -> Reason {
        let properties = self.expiry.map(|secs| {
            Box::new(MessageProperties { expiry: Some(secs), ..MessageProperties::default() })
        });
        self.local.hand_in(Packet::Publish(Publish {
            delivery: Delivery::AtLeastOnce { id: PacketId::FIRST, dup: false },
            retain: true,
            topic: Some(TopicName::try_from(topic).expect("a valid name")),
            topic_alias: None,
            subscription_ids: Vec::new(),
            properties,
            payload: Bytes::from(vec![b'x'; bytes]),
        }));
        loop {
            match self.local.next().await {
                Some(Outgoing::Packet(Packet::PubAck(ack))) => return ack.reason,
                Some(_) => {}
                None => panic!("it is closed"),
            }
        }
    }

    /// Publishes nine hundred of so many bytes that stay.
    async fn retain_many(&mut self, bytes: usize) {
        for number in 0..900 {
            assert!(is_taken(self.retain(&format!("r/{number}"), bytes).await));
        }
    }

    /// Bytes that its machine keeps, and of those that are written anew.
    fn bytes(&self) -> (usize, u64) {
        let of =
            |machine: &mut Machine, _| (machine.ledger().held_bytes(), machine.rewritten_bytes());
        self.shared.visit_from_outside(of).expect("it works")
    }

    /// Another program finds what this one has left.
    fn kill(self, disk: &Small) -> Life {
        self.keeper.abort();
        Life::begin(disk)
    }

    async fn end(self) {
        drop(self.local);
        self.shared.close_log();
        self.keeper.await.expect("no panic");
    }
}

fn is_taken(reason: Reason) -> bool {
    !reason.is_error()
}

fn on_a_disk(bytes: u64, work: impl AsyncFnOnce(&Small)) {
    let disk = Small::default();
    disk.bytes.set(bytes);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(work(&disk));
}

#[test]
fn a_small_disk_never_fills_up_with_what_is_dead() {
    on_a_disk(16 << 20, async |disk| {
        let mut life = Life::begin(disk);
        life.retain_many(1_000).await;
        for number in 0..20_000 {
            assert!(is_taken(life.retain("t", 3_000).await), "{number}: of 60 MB 0.9 live");
        }
        assert!(disk.removed.get() < 20, "not again and again");
        life.end().await;
    });
}

#[test]
fn a_disk_full_of_what_lives_is_not_written_anew_and_is_of_use_again_when_that_is_gone() {
    on_a_disk(16 << 20, async |disk| {
        let mut life = Life::begin(disk);
        life.retain_many(1_000).await;
        life.expiry = Some(60);
        let mut count = 0;
        while is_taken(life.retain(&format!("e/{count}"), 10_000).await) {
            count += 1;
        }
        assert!(count > 500, "a third of it may live: {count}");
        let removed = disk.removed.get();
        for _ in 0..5_000 {
            assert!(!is_taken(life.retain("t", 3_000).await));
        }
        assert_eq!(disk.removed.get(), removed, "nothing is won by that");
        tokio::time::advance(Duration::from_secs(61)).await;
        for _ in 0..1_000 {
            let deadline = |machine: &mut Machine, now| machine.handle(Input::Deadline, now);
            life.shared.visit_from_outside(deadline);
            tokio::task::yield_now().await;
        }
        for number in 0..10_000 {
            assert!(is_taken(life.retain("t", 3_000).await), "{number}");
        }
        life.end().await;
    });
}

#[test]
fn room_that_others_leave_is_used_to_remove_what_is_dead() {
    on_a_disk(64 << 20, async |disk| {
        let mut life = Life::begin(disk);
        life.retain_many(1_000).await;
        for _ in 0..4_000 {
            assert!(is_taken(life.retain("t", 3_000).await), "there is plenty");
        }
        assert_eq!(disk.removed.get(), 0);
        disk.bytes.set(disk.bytes.get() - disk.left()); // somebody else takes all the rest
        while is_taken(life.retain("t", 3_000).await) {}
        assert_eq!(disk.removed.get(), 0, "what lives does not fit into the reserve");
        disk.bytes.set(disk.bytes.get() + (4 << 20));
        tokio::time::advance(Duration::from_secs(11)).await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(is_taken(life.retain("t", 3_000).await));
        assert!(disk.removed.get() > 0 && disk.left() > (12 << 20), "{} are free", disk.left());
        life.end().await;
    });
}

/// A disk has room for what lives twice and a little: begun anew with each start, it would find
/// none for all of it.
#[test]
fn a_log_is_written_anew_though_the_broker_is_killed_again_and_again_on_the_way() {
    on_a_disk(32 << 20, async |disk| {
        let mut life = Life::begin(disk);
        life.retain_many(10_000).await;
        assert!(is_taken(life.retain("t", 3_000).await));
        let (held, _) = life.bytes();
        let (mut kills, mut rewritten_before) = (0, 0);
        for number in 0..20_000 {
            assert!(is_taken(life.retain("t", 3_000).await), "{number}, killed {kills} times");
            let (_, rewritten) = life.bytes();
            rewritten_before = rewritten_before.min(rewritten); // another one may have begun
            if rewritten > rewritten_before + (1 << 20) {
                life = life.kill(disk);
                (kills, rewritten_before) = (kills + 1, rewritten);
            }
        }
        let removed = disk.removed.get();
        assert!(kills > 10 && removed > 4, "killed {kills} times, {removed} segments removed");
        life.end().await;
        let life = Life::begin(disk);
        assert_eq!(life.bytes().0, held);
        life.end().await;
    });
}

/// While the broker was down somebody else has taken the room that the rest needs.
#[test]
fn a_broker_that_finds_less_room_than_it_had_leaves_the_reserve_alone() {
    on_a_disk(64 << 20, async |disk| {
        let mut life = Life::begin(disk);
        life.retain_many(10_000).await;
        disk.bytes.set(disk.bytes.get() - disk.left() + (15 << 20));
        while life.bytes().1 == 0 {
            assert!(is_taken(life.retain("t", 3_000).await));
        }
        disk.bytes.set(disk.bytes.get() - disk.left() + (2 << 20));
        let before = disk.left();
        let mut life = life.kill(disk);
        let _ = life.retain("t", 3_000).await; // before anybody has looked
        assert!(!is_taken(life.retain("t", 3_000).await));
        assert!(disk.files.borrow().contains_key("reserve"), "that is for acknowledgements");
        assert!(disk.left() + (1 << 20) > before, "{} of {before} are left", disk.left());
        life.end().await;
    });
}

/// Where nobody knows how much is free, what is little is written anew when the disk is full.
#[test]
fn what_a_removed_segment_leaves_on_a_full_disk_is_of_use_at_once() {
    on_a_disk(16 << 20, async |disk| {
        disk.is_mute.set(true);
        let mut life = Life::begin(disk);
        let (begun, mut refused) = (Instant::now(), 0);
        for _ in 0..20_000 {
            refused += u32::from(!is_taken(life.retain("t", 3_000).await));
            tokio::task::yield_now().await;
        }
        assert!(disk.removed.get() > 0 && begun.elapsed() < Duration::from_secs(1));
        assert!(refused < 100, "{refused} were refused");
        life.end().await;
    });
}
