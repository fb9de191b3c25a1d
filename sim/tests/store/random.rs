//! Many lives of the writer on disks that behave badly in every way, against a model: what was
//! published as durable is there, in order, and nothing is that was not handed over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use stormpetrel::store::{self, Durability, Event, Inbox, Log, Lsn, Settings, Visit};
use stormpetrel_sim::{Dice, DiskWeather, SimDisk, Survivors};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::life::block_on;

/// What must be there.
#[derive(Debug, Default)]
struct Model {
    /// What was handed over under each number, by the last life that did.
    handed: BTreeMap<u64, Vec<u8>>,
    /// All up to this one must be there.
    durable: u64,
    /// And all up to this one, as long as there is power.
    written: u64,
    /// Where the log may begin: what was dropped, since the last one that is certain.
    starts: Vec<u64>,
}

/// How many of the rare things happened.
#[derive(Debug, Default)]
struct Tally {
    lives: u32,
    failures: u32,
    recoveries: u32,
    tight: u32,
    drops: u32,
    torn: u32,
}

fn weather(dice: &mut Dice) -> DiskWeather {
    let mut maybe = |chance: u16, most: u64| match dice.chance(chance) {
        true => dice.between(1, most),
        false => 0,
    };
    DiskWeather {
        write_ms: maybe(500, 5),
        sync_ms: maybe(800, 40),
        bad_reads: 0,
        bad_writes: maybe(300, 100) as u16,
        bad_syncs: maybe(400, 150) as u16,
        bad_removes: maybe(300, 300) as u16,
        stalls: maybe(200, 20) as u16,
        capacity: match maybe(200, 1) {
            0 => None,
            _ => Some(maybe(1_000, 60_000) + 30_000),
        },
        ..DiskWeather::default()
    }
}

fn settings(dice: &mut Dice) -> Settings {
    let segment_bytes = 8_192 + dice.between(1, 4_000);
    Settings { segment_bytes, reserve_bytes: dice.below(2) * 10_000, new_id: 0xFEED_5EED_0BAD_CAFE }
}

/// Reads the log as it is now, and judges it.
fn reopen(disk: SimDisk, settings: Settings, model: &mut Model, tally: &mut Tally) -> Log<SimDisk> {
    let mut seen: Vec<u64> = Vec::new();
    let opened = Log::open(disk, settings, &mut |visit| match visit {
        Visit::Record { lsn, content, .. } => {
            assert_eq!(Some(content), model.handed.get(&lsn.0).map(|it| &it[..]), "{lsn}");
            assert!(seen.last().is_none_or(|last| last + 1 == lsn.0), "{lsn} after {seen:?}");
            seen.push(lsn.0);
        }
        Visit::Gap { after, before } | Visit::LeftOut { after, before } => {
            panic!("a gap from {after} to {before}: {model:?}")
        }
        Visit::Progress { .. } => {}
    });
    let (log, recovered) = opened.expect("it opens");
    let last = recovered.last.0;
    let Model { durable, written, .. } = *model;
    assert!(
        last >= durable.max(written),
        "{last} is the last: {durable} was durable, {written} written"
    );
    assert_eq!(recovered.damages, [], "nothing was damaged");
    if let Some(first) = seen.first() {
        assert!(
            model.starts.contains(first),
            "it begins with {first}, not with {:?}",
            model.starts
        );
    }
    tally.torn += u32::from(recovered.torn.is_some());
    // What is not there now must never come back.
    model.handed.split_off(&(last + 1));
    model.durable = durable.max(recovered.durable.0);
    model.written = last;
    log
}

/// One life: hands records over for a while.
async fn work(inbox: &Inbox<Vec<u8>>, dice: &mut Dice, model: &mut Model, life: u8, mut last: u64) {
    for _ in 0..dice.between(1, 30) {
        let mut records = Vec::new();
        for _ in 0..dice.between(1, 8) {
            last += 1;
            let mut content = vec![life; dice.below(400) as usize];
            content.extend(dice.seed());
            model.handed.insert(last, content.clone());
            records.push((Lsn(last), content));
        }
        inbox.hand_over(&mut records);
        if dice.chance(150) {
            let start = dice.between(last.saturating_sub(30).max(1), last + 1);
            if model.starts.last().is_none_or(|old| start > *old) {
                model.starts.push(start);
                inbox.drop_before(Lsn(start));
            }
        }
        if dice.chance(700) {
            sleep(Duration::from_millis(dice.below(60))).await;
        }
    }
}

async fn live(
    disk: &SimDisk,
    dice: &mut Dice,
    model: &mut Model,
    tally: &Rc<RefCell<Tally>>,
    life: u8,
) {
    let log = reopen(disk.boot(), settings(dice), model, &mut tally.borrow_mut());
    let last = log.last().0;
    let inbox = Arc::new(Inbox::new(log.durable()));
    let is_sync = dice.chance(800);
    let durability = match is_sync {
        true => Durability::Sync,
        false => Durability::Async(Duration::from_millis(dice.between(1, 300))),
    };
    let events = Rc::clone(tally);
    let mut published = log.durable();
    let report = move |event: Event| {
        let mut tally = events.borrow_mut();
        match event {
            Event::Durable(lsn) => {
                assert!(lsn > published, "{lsn} after {published}");
                published = lsn;
            }
            Event::Failing { .. } => tally.failures += 1,
            Event::Working => tally.recoveries += 1,
            Event::Room(room) => tally.tight += u32::from(room == store::Room::Low),
            Event::Dropped { .. } => tally.drops += 1,
            Event::NotDropped(_) => {}
        }
    };
    let encode = |record: &Vec<u8>, out: &mut Vec<u8>| out.extend_from_slice(record);
    let tasks = LocalSet::new();
    let writer = tasks.spawn_local(store::run(log, inbox.clone(), durability, encode, report));
    tasks.run_until(work(&inbox, dice, model, life, last)).await;
    let end = dice.below(3);
    let mut is_certain = is_sync;
    if end == 0 {
        inbox.close();
        let ended = tasks.run_until(writer).await.expect("no panic");
        let all = model.handed.keys().next_back().copied().unwrap_or(0);
        is_certain |= ended.is_ok();
        match ended {
            Ok(()) => assert_eq!(inbox.durable(), Lsn(all)),
            Err(lost) => assert!(lost.durable < lost.last && lost.last == Lsn(all), "{lost}"),
        }
    }
    model.written = model.written.max(inbox.durable().0);
    if is_certain {
        model.durable = model.durable.max(inbox.durable().0);
    }
    if end == 2 {
        let chance = dice.between(0, 1_000) as u16;
        let unsynced = disk.unsynced() as u64;
        model.written = 0;
        disk.cut_power(match dice.below(4) {
            0 => Survivors::Nothing,
            1 => Survivors::First(dice.between(0, unsynced) as usize),
            2 => Survivors::Whole(chance),
            _ => Survivors::Torn(chance),
        });
    }
}

fn play(seed: u64, tally: &Rc<RefCell<Tally>>) {
    let mut dice = Dice::new(seed, "lives", 0);
    let disk = SimDisk::new(seed, weather(&mut dice));
    let mut model = Model { starts: vec![1], ..Model::default() };
    for life in 0..dice.between(2, 6) {
        block_on(live(&disk, &mut dice, &mut model, tally, life as u8));
        tally.borrow_mut().lives += 1;
        if dice.chance(300) {
            let new = weather(&mut dice);
            disk.change_weather(|weather| *weather = new);
        }
    }
    reopen(disk.boot(), settings(&mut dice), &mut model, &mut tally.borrow_mut());
}

#[test]
fn what_was_published_as_durable_outlives_any_disk() {
    let tally = Rc::default();
    let seeds = std::env::var("STORE_SEEDS").map_or(2_000, |text| text.parse().expect("a number"));
    for seed in 0..seeds {
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(seed, &tally)));
        assert!(played.is_ok(), "seed {seed}");
    }
    let Tally { lives, failures, recoveries, tight, drops, torn } = *tally.borrow();
    assert!(lives > 5_000, "{lives}");
    for rare in [failures, recoveries, tight, drops, torn] {
        assert!(rare > 200, "something rare is too rare: {:?}", tally.borrow());
    }
}

#[test]
fn the_same_seed_is_the_same_life() {
    let run = |seed| {
        let tally = Rc::default();
        play(seed, &tally);
        format!("{tally:?}")
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
