//! Any bytes as the records of a log: none that is read makes a restart panic, every one that is
//! read is written as bytes that read as the same record, and what a restart makes of them comes
//! back the same when it is written anew and restored again.
//!
//! Run with `cargo +nightly fuzz run records`. Knows nothing of files: their damage is caught by
//! checksums before a record is read.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stormpetrel::machine::record::{Lsn, Record};
use stormpetrel::machine::{
    Access, Durability, EFFORT_MAX, Input, Limits, Machine, Restored, Restorer, Settings, Timestamp,
};
use stormpetrel::mqtt::types::{PacketId, QoS};

const NOW: Timestamp = Timestamp(1_000_000);

fuzz_target!(|input: &[u8]| {
    let (mut machine, _) = restore(&read(input));
    // What expired meanwhile, or had no owner, is gone now: from here on nothing changes.
    let (mut again, restored) = restore(&write_anew(&mut machine));
    let (_, same) = restore(&write_anew(&mut again));
    assert_eq!(restored, same);
});

/// Records, each with its length ahead of it.
fn read(mut input: &[u8]) -> Vec<(Lsn, Record)> {
    let mut records = Vec::new();
    let mut lsn = Lsn(0);
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (bytes, rest) = rest.split_at(length);
        input = rest;
        lsn = lsn.next();
        let Ok(record) = Record::decode(Bytes::copy_from_slice(bytes)) else { continue };
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert_eq!(Record::decode(encoded.into()).as_ref(), Ok(&record));
        records.push((lsn, record));
    }
    records
}

fn restore(records: &[(Lsn, Record)]) -> (Machine, Restored) {
    let mut restorer = Restorer::default();
    for (lsn, record) in records {
        restorer.apply(*lsn, record.clone());
    }
    let settings = Settings {
        limits: Limits::default(),
        listeners: Vec::new(),
        sys_interval: None,
        session_expiry: None,
        disconnect_delay: None,
        max_qos: QoS::ExactlyOnce,
        access: Access::default(),
        effort_max: EFFORT_MAX,
        first_packet_id: PacketId::FIRST,
        is_recording: true,
        durability: Durability::Sync,
    };
    let (machine, restored) = restorer.finish(settings, [7; 32], NOW);
    machine.check();
    (machine, restored)
}

/// All that the machine keeps, as records that stand alone.
fn write_anew(machine: &mut Machine) -> Vec<(Lsn, Record)> {
    let mut records = Vec::new();
    machine.handle(Input::Deadline, NOW);
    machine.handle(Input::Rewrite, NOW);
    loop {
        let mut taken = Vec::new();
        let last = machine.poll_records(&mut taken);
        let first = last.0 + 1 - taken.len() as u64;
        records.extend((first..).map(Lsn).zip(taken));
        if let Some(from) = machine.poll_droppable() {
            records.retain(|(lsn, _)| *lsn >= from);
            return records;
        }
        machine.handle(Input::Durable(last), NOW);
        machine.handle(Input::Deadline, NOW);
        machine.check();
    }
}
