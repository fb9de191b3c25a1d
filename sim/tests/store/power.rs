//! Power cuts: after every single operation of a small life, with any part of what was not
//! synced.

use std::io;

use stormpetrel::store::{Log, Lsn};
use stormpetrel_sim::{SimDisk, Survivors};

use crate::life::{block_on, open, push};

/// What whoever used the log was told before the power went.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// All up to this one are durable.
    durable: u64,
    /// All up to this one were handed in.
    handed_in: u64,
    /// All before this one were allowed to go.
    dropped: u64,
}

/// A small life: batches, syncs, full segments, a walk, a drop. Ends early when the disk does.
async fn live(log: &mut Log<SimDisk>, told: &mut Told) -> io::Result<()> {
    for (step, batch) in [1, 3, 2, 1, 5, 4, 1, 2].into_iter().enumerate() {
        push(log, batch);
        told.handed_in = log.last().0;
        log.write().await?;
        if step != 2 {
            log.sync().await?; // so that one batch waits for the next one's sync
            told.durable = log.durable().0;
        }
        if step == 5 {
            told.dropped = 9;
            log.drop_before(Lsn(9)).await?;
            told.durable = log.durable().0;
        }
    }
    log.close().await?;
    told.durable = log.durable().0;
    Ok(())
}

/// What is there must be what was promised, and nothing else.
fn check(disk: &SimDisk, told: Told, what: &str) {
    let (log, recovered, seen) = open(disk.boot());
    let first = seen.records.first().copied().unwrap_or(1);
    assert!(first == 1 || first == told.dropped, "{what}: begins at {first}: {told:?}");
    assert_eq!(seen.gaps, [], "{what}: {recovered:?}");
    assert_eq!(recovered.damages, [], "{what}: nothing was damaged");
    let last = recovered.last.0;
    assert!(last >= told.durable, "{what}: {last} is the last, {told:?}");
    assert!(last <= told.handed_in, "{what}: {last} is the last, {told:?}");
    drop(log);
}

/// It goes on, until the power goes once more: what it found and what comes then is as durable.
fn check_next_life(disk: &SimDisk, told: Told, what: &str) {
    for operations in 0.. {
        let disk = disk.copy();
        let (mut log, recovered, _) = open(disk.boot());
        disk.change_weather(|weather| weather.dies_after = Some(operations));
        let mut told = Told { handed_in: recovered.last.0, ..told };
        let outcome = block_on(async {
            log.write().await?;
            log.sync().await?;
            told.durable = log.durable().0;
            assert_eq!(told.durable, recovered.last.0, "{what}: what was found is durable");
            log.drop_before(log.oldest()).await?; // what the life before may not have come to
            push(&mut log, 2);
            told.handed_in += 2;
            log.write().await?;
            log.sync().await?;
            told.durable = log.durable().0;
            io::Result::Ok(())
        });
        drop(log);
        disk.change_weather(|weather| weather.dies_after = None);
        for survivors in survivors(disk.unsynced()) {
            let copy = disk.copy();
            copy.cut_power(survivors);
            check(&copy, told, &format!("{what}, then {operations} more, {survivors:?}"));
        }
        if outcome.is_ok() {
            break;
        }
    }
}

#[test]
fn no_power_cut_loses_what_was_durable_or_invents_anything() {
    let mut cuts = 0;
    for operations in 0.. {
        let disk = SimDisk::new(7, Default::default());
        disk.change_weather(|weather| weather.dies_after = Some(operations));
        let (mut log, _, _) = open(disk.boot());
        let mut told = Told::default();
        let outcome = block_on(live(&mut log, &mut told));
        drop(log);
        disk.change_weather(|weather| weather.dies_after = None);
        for survivors in survivors(disk.unsynced()) {
            let copy = disk.copy();
            copy.cut_power(survivors);
            let what = format!("after {operations} operations, {survivors:?}");
            check(&copy, told, &what);
            check_next_life(&copy, told, &what);
            cuts += 1;
        }
        // The process alone may die, too.
        let what = format!("after {operations} operations, a kill");
        check(&disk, told, &what);
        check_next_life(&disk, told, &what);
        if outcome.is_ok() {
            break;
        }
    }
    assert!(cuts > 500, "{cuts} cuts only");
}

fn survivors(unsynced: usize) -> Vec<Survivors> {
    let mut all: Vec<Survivors> = (0..=unsynced).map(Survivors::First).collect();
    let chances = [100, 300, 500, 700, 900];
    all.extend(chances.map(Survivors::Whole));
    all.extend(chances.map(Survivors::Torn));
    all
}
