//! Failures while the log is in use: syncs that fail, disks that fill up, and the writer that
//! lives with both.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use stormpetrel::store::{Durability, Event, Inbox, Log, Lost, Lsn, Room, Settings, run};
use stormpetrel_sim::{DiskWeather, SimDisk, Survivors};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::sleep;

use crate::life::{block_on, content, keep, names, open, push, settings};

/// A writer at work on a disk, and what it said.
struct Office {
    inbox: Arc<Inbox<u64>>,
    said: Rc<RefCell<Vec<String>>>,
    last: u64,
    writer: JoinHandle<Result<(), Lost>>,
}

impl Office {
    /// Starts one; on a `LocalSet` only.
    fn open(disk: &SimDisk, settings: Settings, durability: Durability) -> Office {
        let (log, recovered) = Log::open(disk.boot(), settings, &mut |_| {}).expect("it opens");
        let inbox = Arc::new(Inbox::new(recovered.durable));
        let said = Rc::new(RefCell::new(Vec::new()));
        let heard = said.clone();
        let mut known = None;
        let report = move |event: Event| {
            if let Event::Room(room) = event
                && known.replace(room) == Some(room)
            {
                return; // as it says from time to time
            }
            heard.borrow_mut().push(match event {
                Event::Durable(_) => return,
                Event::Failing { retry, .. } => format!("failing {}", retry.as_secs()),
                Event::Working => "working".to_owned(),
                Event::Room(Room::Plenty) => "plenty".to_owned(),
                Event::Room(Room::Low) => "low".to_owned(),
                Event::Dropped { .. } => "dropped".to_owned(),
                Event::NotDropped(_) => "not dropped".to_owned(),
            });
        };
        let encode = |lsn: &u64, out: &mut Vec<u8>| out.extend(content(*lsn));
        let task = run(log, inbox.clone(), durability, encode, report);
        let writer = tokio::task::spawn_local(task);
        Office { inbox, said, last: recovered.last.0, writer }
    }

    /// Hands over so many records, as one batch.
    fn hand_over(&mut self, count: u64) {
        let mut records = (self.last + 1..=self.last + count).map(|lsn| (Lsn(lsn), lsn)).collect();
        self.last += count;
        self.inbox.hand_over(&mut records);
    }

    fn is_all_durable(&self) -> bool {
        self.inbox.durable().0 == self.last
    }

    /// What was said since the last time.
    fn said(&self) -> Vec<String> {
        self.said.take()
    }
}

fn in_office<T>(work: impl Future<Output = T>) -> T {
    block_on(LocalSet::new().run_until(work))
}

async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

#[test]
fn a_failed_sync_is_not_repeated_as_if_nothing_had_happened() {
    let disk = SimDisk::new(7, Default::default());
    let (mut log, _, _) = open(disk.boot());
    keep(&mut log, 2);
    push(&mut log, 1);
    block_on(async {
        log.write().await.expect("a disk that works");
        disk.change_weather(|weather| weather.bad_syncs = 1_000);
        log.sync().await.expect_err("the sync fails");
        disk.change_weather(|weather| weather.bad_syncs = 0);
        for _ in 0..2 {
            log.sync().await.expect_err("what it would make durable may be lost");
            log.write().await.expect_err("so may what is written behind it");
        }
        assert_eq!((log.durable(), log.has_failed()), (Lsn(2), true));
        log.reopen().await.expect("a disk that works");
        assert_eq!((log.durable(), log.has_failed()), (Lsn(3), false));
    });
    drop(log);
    disk.cut_power(Survivors::Nothing);
    let (_, _, seen) = open(disk.boot());
    assert_eq!(seen.records, [1, 2, 3]);
}

#[test]
fn the_writer_says_that_it_fails_tries_again_ever_later_and_loses_nothing() {
    let disk = SimDisk::new(7, Default::default());
    in_office(async {
        let mut office = Office::open(&disk, settings(), Durability::Sync);
        office.hand_over(3);
        seconds(1).await;
        assert!(office.is_all_durable());
        assert_eq!(office.said(), ["plenty"]);

        disk.change_weather(|weather| weather.bad_syncs = 1_000);
        office.hand_over(5);
        seconds(1).await;
        office.hand_over(2);
        seconds(299).await;
        assert_eq!(office.inbox.durable(), Lsn(3));
        let said = office.said();
        assert_eq!(said[..7], [0, 1, 2, 4, 8, 16, 30].map(|wait| format!("failing {wait}")));
        assert_eq!(said.last().map(String::as_str), Some("failing 30"));

        disk.change_weather(|weather| weather.bad_syncs = 0);
        seconds(31).await;
        assert!(office.is_all_durable());
        assert_eq!(office.said(), ["working"]);
        office.inbox.close();
        office.writer.await.expect("no panic").expect("it has written all");
    });
    disk.cut_power(Survivors::Nothing);
    let (_, recovered, seen) = open(disk.boot());
    assert_eq!(seen.records, (1..=10).collect::<Vec<_>>());
    assert!(recovered.is_whole());
    assert!(names(&disk).len() <= 6, "attempts that fail leave nothing: {:?}", names(&disk));
}

#[test]
fn what_could_not_be_removed_is_removed_later() {
    let disk = SimDisk::new(7, Default::default());
    let is_there = || disk.contents("0000000001-00000000000000000001.log").is_some();
    in_office(async {
        let mut office = Office::open(&disk, settings(), Durability::Sync);
        for _ in 0..8 {
            office.hand_over(3);
            seconds(1).await;
        }
        disk.change_weather(|weather| weather.bad_removes = 1_000);
        office.inbox.drop_before(Lsn(office.last));
        seconds(1).await;
        assert_eq!(office.said(), ["plenty", "not dropped"]);
        seconds(10).await;
        assert_eq!(office.said(), ["not dropped"], "it tries again, and not all the time");
        assert!(is_there());
        disk.change_weather(|weather| weather.bad_removes = 0);
        seconds(10).await;
        assert_eq!(office.said(), ["dropped"]);
        assert!(!is_there());
        seconds(20).await;
        assert_eq!(office.said(), [""; 0]);
    });
}

#[test]
fn a_writer_that_must_end_on_a_disk_that_fails_says_what_is_lost() {
    let disk = SimDisk::new(7, Default::default());
    let lost = in_office(async {
        let mut office = Office::open(&disk, settings(), Durability::Sync);
        office.hand_over(3);
        seconds(1).await;
        disk.change_weather(|weather| weather.bad_writes = 1_000);
        office.hand_over(4);
        office.inbox.close();
        office.writer.await.expect("no panic").expect_err("nothing can be written")
    });
    assert_eq!((lost.durable, lost.last), (Lsn(3), Lsn(7)));
}

#[test]
fn a_full_disk_takes_what_frees_room_and_says_so_and_recovers() {
    let weather = DiskWeather { capacity: Some(60_000), ..Default::default() };
    let disk = SimDisk::new(7, weather);
    let settings = Settings { reserve_bytes: 30_000, ..settings() };
    in_office(async {
        let mut office = Office::open(&disk, settings.clone(), Durability::Sync);
        let mut while_low = 0;
        for _ in 0..1_000 {
            office.hand_over(1);
            sleep(Duration::from_millis(1)).await;
            if !office.is_all_durable() {
                break;
            }
            while_low += u32::from(office.said.borrow().iter().any(|said| said == "low"));
        }
        let said = office.said();
        assert_eq!(said[..4], ["plenty", "failing 0", "low", "working"], "{said:?}");
        assert!(while_low >= 5, "{while_low} records fitted into the reserve");
        assert!(!office.is_all_durable(), "the disk is full at last");

        // The machine's walk has written anew what is alive: here, the last three records.
        office.inbox.drop_before(Lsn(office.last - 2));
        disk.change_weather(|weather| weather.capacity = Some(75_000));
        seconds(60).await;
        assert!(office.is_all_durable());
        let said = office.said();
        assert_eq!(said[said.len() - 3..], ["working", "dropped", "plenty"], "{said:?}");
        office.inbox.close();
        office.writer.await.expect("no panic").expect("it has written all");
    });
    let (_, recovered) = Log::open(disk.boot(), settings, &mut |_| {}).expect("it opens");
    assert_eq!(recovered.records, 3);
    assert!(recovered.is_whole());
}

#[test]
fn a_log_opens_on_a_full_disk_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new(7, Default::default());
    let (mut log, _, _) = open(disk.boot());
    keep(&mut log, 5);
    push(&mut log, 2);
    block_on(log.write()).expect("a disk that works");
    drop(log);
    disk.change_weather(|weather| weather.capacity = Some(1));
    let settings = Settings { reserve_bytes: 10_000, ..settings() };
    in_office(async {
        let mut office = Office::open(&disk, settings, Durability::Sync);
        assert_eq!(office.last, 7, "all that was written is read");
        seconds(5).await;
        assert_eq!(office.said()[..2], ["low", "failing 0"]);
        office.hand_over(2);
        seconds(60).await;
        assert_eq!(office.inbox.durable(), Lsn(5));
        disk.change_weather(|weather| weather.capacity = None);
        seconds(60).await;
        assert!(office.is_all_durable());
        let said = office.said();
        assert_eq!(said[said.len() - 2..], ["working", "plenty"], "{said:?}");
    });
    disk.cut_power(Survivors::Nothing);
    let (_, _, seen) = open(disk.boot());
    assert_eq!(seen.records, (1..=9).collect::<Vec<_>>());
}

#[test]
fn one_sync_serves_all_who_wait() {
    let weather = DiskWeather { sync_ms: 40, ..Default::default() };
    let disk = SimDisk::new(7, weather);
    in_office(async {
        let settings = Settings { segment_bytes: 10 << 20, ..settings() };
        let mut office = Office::open(&disk, settings, Durability::Sync);
        for _ in 0..1_000 {
            office.hand_over(1);
            sleep(Duration::from_millis(1)).await;
        }
        seconds(1).await;
        assert!(office.is_all_durable());
    });
    assert!((20..200).contains(&disk.syncs()), "{} syncs for 1,000 records", disk.syncs());
}

#[test]
fn async_is_durable_when_written_and_synced_in_each_interval() {
    let disk = SimDisk::new(7, Default::default());
    in_office(async {
        let settings = Settings { segment_bytes: 10 << 20, ..settings() };
        let durability = Durability::Async(Duration::from_secs(1));
        let mut office = Office::open(&disk, settings, durability);
        office.hand_over(1); // it begins a segment, which is synced
        seconds(2).await;
        let syncs = disk.syncs();
        for _ in 0..50 {
            office.hand_over(3);
            sleep(Duration::from_millis(10)).await;
            assert!(office.is_all_durable());
        }
        assert_eq!(disk.syncs(), syncs);
        seconds(1).await;
        assert_eq!(disk.syncs(), syncs + 1);
        seconds(10).await;
        assert_eq!(disk.syncs(), syncs + 1, "nothing new, nothing to sync");
    });
    disk.cut_power(Survivors::Nothing);
    let (_, _, seen) = open(disk.boot());
    assert_eq!(seen.records, (1..=151).collect::<Vec<_>>());
}

#[test]
fn a_record_larger_than_a_segment_has_one_of_its_own() {
    let disk = SimDisk::new(7, Default::default());
    let (mut log, _, _) = open(disk.boot());
    keep(&mut log, 2);
    let large = vec![9; 3_000_000];
    block_on(async {
        log.push(Lsn(3), |out| out.extend_from_slice(&large));
        log.write().await.expect("a disk that works");
        log.push(Lsn(4), |out| out.push(1));
        log.write().await.expect("a disk that works");
        log.close().await.expect("a disk that works");
    });
    drop(log);
    let mut lengths = Vec::new();
    let visit = &mut |visit: stormpetrel::store::Visit<'_>| {
        if let stormpetrel::store::Visit::Record { content, .. } = visit {
            lengths.push(content.len());
        }
    };
    let (log, _) = Log::open(disk.boot(), settings(), visit).expect("it opens");
    assert_eq!(lengths[2..], [3_000_000, 1]);
    let files = names(&disk).into_iter().filter(|name| name.ends_with(".log")).count();
    assert_eq!(files, 3);
    assert!(log.bytes() > 3_000_000);
}
