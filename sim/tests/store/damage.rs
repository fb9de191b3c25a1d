//! Damage: bits that flip, files that are cut.

use stormpetrel::store::{DamageKind, Disk, Error, Log, Lsn, Settings};
use stormpetrel_sim::SimDisk;

use crate::life::{block_on, content, keep, names, open, settings};

/// A log of some segments that was closed, and how many records it has.
fn closed_log() -> (SimDisk, u64) {
    let disk = SimDisk::new(7, Default::default());
    let (mut log, _, _) = open(disk.boot());
    for batch in [2, 3, 1, 4, 2] {
        keep(&mut log, batch);
    }
    block_on(log.close()).expect("a disk that works");
    (disk, log.last().0)
}

/// A log of two records in one segment that was not closed, and the name of that.
fn open_log() -> (SimDisk, String) {
    let disk = SimDisk::new(7, Default::default());
    let (mut log, _, _) = open(disk.boot());
    keep(&mut log, 1);
    keep(&mut log, 1);
    drop(log);
    let [name] = &segments(&disk)[..] else { panic!("one segment") };
    let name = name.clone();
    (disk, name)
}

fn segments(disk: &SimDisk) -> Vec<String> {
    names(disk).into_iter().filter(|name| name.ends_with(".log")).collect()
}

#[test]
fn a_flipped_bit_costs_one_record_at_most_and_is_told() {
    let (disk, last) = closed_log();
    let (mut flips, mut lost) = (0, 0);
    let names = segments(&disk);
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let good = disk.contents(&name).expect("it is there");
        for bit in 0..good.len() * 8 {
            // Where a header is only padding, one bit of each byte will do.
            let is_padding = matches!(bit / 8 % 4_096, 64..) && bit / 8 < 8_192;
            if is_padding && bit % 8 != 3 {
                continue;
            }
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            disk.put(&name, bad);
            let (_, recovered, seen) = open(disk.boot());
            let what = format!("{name}: bit {bit}: {recovered:?}");
            assert_eq!(seen.accounted(), (1..=last).collect::<Vec<_>>(), "{what}");
            assert!(seen.records.len() as u64 + 1 >= last, "{what}");
            assert_eq!(recovered.last.0, last, "{what}");
            if !seen.gaps.is_empty() {
                assert!(
                    !recovered.damages.is_empty() && recovered.damages[0].file == name,
                    "{what}"
                );
                lost += 1;
            }
            flips += 1;
        }
        disk.put(&name, good);
    }
    assert!(lost > 5_000 && flips > 20_000, "{lost} of {flips}");
}

/// What is behind zeros is not taken for the blank end of a file, however many they are.
#[test]
fn zeros_in_the_midst_of_a_file_cost_nothing_that_is_behind_them() {
    let (disk, last) = closed_log();
    for name in segments(&disk) {
        let good = disk.contents(&name).expect("it is there");
        for blank in [1, 4_096, 5_000, 3 << 20] {
            disk.put(&name, [&good[..8_192], &vec![0; blank], &good[8_192..]].concat());
            let (_, recovered, seen) = open(disk.boot());
            let what = format!("{name}: {blank} zeros: {recovered:?}");
            assert_eq!(seen.records, (1..=last).collect::<Vec<_>>(), "{what}");
        }
        disk.put(&name, good);
    }
}

#[test]
fn a_file_that_is_cut_costs_what_was_cut_off_and_that_is_told() {
    let (disk, last) = closed_log();
    let names = segments(&disk);
    for (index, name) in names.iter().enumerate() {
        let good = disk.contents(name).expect("it is there");
        let is_last = index + 1 == names.len();
        let mut seen_before = 0;
        for length in 0..good.len() {
            disk.put(name, good[..length].to_vec());
            let (_, recovered, seen) = open(disk.boot());
            let what = format!("{name}: cut at {length}: {recovered:?}");
            let all = seen.accounted();
            if is_last {
                // Nothing behind tells what was there.
                assert_eq!(all, (1..=recovered.last.0).collect::<Vec<_>>(), "{what}");
                assert!(recovered.last.0 <= last);
            } else {
                assert_eq!(all, (1..=last).collect::<Vec<_>>(), "{what}");
            }
            assert!(seen.records.len() >= seen_before, "{what}: a longer file has less");
            seen_before = seen.records.len();
        }
        disk.put(name, good);
    }
}

#[test]
fn a_segment_that_is_gone_is_told() {
    let (disk, last) = closed_log();
    let names = segments(&disk);
    for gone in &names[..names.len() - 1] {
        let copy = disk.copy();
        copy.boot().remove(gone).expect("it is there");
        let (_, recovered, seen) = open(copy.boot());
        assert!(recovered.missing > 0, "{gone}");
        assert_eq!(seen.accounted(), (1..=last).collect::<Vec<_>>(), "{gone}");
    }
}

#[test]
fn both_copies_of_a_header_cost_nothing_if_another_segment_tells_whose_it_is() {
    let (disk, last) = closed_log();
    for name in segments(&disk) {
        let copy = disk.copy();
        let mut bytes = copy.contents(&name).expect("it is there");
        bytes[..8_192].fill(0x55);
        copy.put(&name, bytes);
        let (_, recovered, seen) = open(copy.boot());
        assert_eq!(seen.records, (1..=last).collect::<Vec<_>>(), "{name}");
        assert_eq!(recovered.damages[0].kind, DamageKind::Header, "{name}");
    }
}

#[test]
fn a_log_of_which_nothing_verifies_opens_and_says_that_all_is_missing() {
    let disk = SimDisk::new(7, Default::default());
    let (mut log, _, _) = open(disk.boot());
    keep(&mut log, 2);
    drop(log);
    let [name] = &segments(&disk)[..] else { panic!("one segment") };
    let length = disk.contents(name).expect("it is there").len();
    disk.put(name, vec![0x55; length]);
    let (mut log, recovered, seen) = open(disk.boot());
    assert!(seen.records.is_empty() && recovered.missing >= 2, "{recovered:?}");
    assert_eq!(recovered.damages.len(), 2, "{recovered:?}");
    // It goes on behind all that could have been there, and keeps the file.
    keep(&mut log, 3);
    drop(log);
    assert_eq!(disk.contents(name), Some(vec![0x55; length]));
    let (_, again, seen) = open(disk.boot());
    assert_eq!(again.last.0, recovered.last.0 + 3);
    assert_eq!(seen.records.len(), 3);
    assert_eq!(again.missing, recovered.missing);
}

#[test]
fn a_damaged_file_is_kept_when_its_records_are_dropped() {
    let (disk, last) = closed_log();
    let damaged = segments(&disk)[0].clone();
    let mut bytes = disk.contents(&damaged).expect("it is there");
    bytes[8_192 + 26] ^= 1;
    disk.put(&damaged, bytes.clone());
    let (mut log, recovered, seen) = open(disk.boot());
    assert_eq!(seen.gaps.len(), 1, "{recovered:?}");
    keep(&mut log, 4);
    block_on(log.drop_before(Lsn(last + 1))).expect("a disk that works");
    drop(log);
    assert_eq!(disk.contents(&damaged), None);
    assert_eq!(disk.contents(&format!("{damaged}.damaged")), Some(bytes));
    let (_, recovered, seen) = open(disk.boot());
    assert!(recovered.is_whole(), "{recovered:?}");
    assert_eq!(seen.records, (last + 1..=last + 4).collect::<Vec<_>>());
    let others = names(&disk).into_iter().filter(|name| name.ends_with(".damaged")).count();
    assert_eq!(others, 1, "what is whole is removed");
}

#[test]
fn a_block_that_cannot_be_read_costs_what_is_in_it() {
    let disk = SimDisk::new(7, Default::default());
    let large = Settings { segment_bytes: 1 << 20, ..settings() };
    let (mut log, _) = Log::open(disk.boot(), large, &mut |_| {}).expect("it opens");
    for _ in 0..100 {
        keep(&mut log, 1);
    }
    block_on(log.close()).expect("a disk that works");
    drop(log);
    disk.spoil(&segments(&disk)[0], 8_192 + 5_000);
    let (_, recovered, seen) = open(disk.boot());
    assert_eq!(recovered.damages.len(), 1, "{recovered:?}");
    assert_eq!(recovered.damages[0].kind, DamageKind::Unreadable);
    let bytes = |records: &[u64]| records.iter().map(|lsn| content(*lsn).len() + 24).sum::<usize>();
    let [(first, last)] = seen.gaps[..] else { panic!("one gap: {:?}", seen.gaps) };
    let lost: Vec<u64> = (first..=last).collect();
    assert!(bytes(&lost[1..lost.len() - 1]) <= 4_096, "{lost:?}");
    assert_eq!(seen.accounted(), (1..=100).collect::<Vec<_>>());
}

/// Nobody knows whether what was there was promised.
#[test]
fn an_end_that_cannot_be_read_is_no_torn_one() {
    let (disk, name) = open_log();
    disk.spoil(&name, 8_192 + 25);
    let (_, recovered, seen) = open(disk.boot());
    assert_eq!((recovered.torn, seen.records), (None, vec![]));
    let [damage] = &recovered.damages[..] else { panic!("one: {:?}", recovered.damages) };
    assert_eq!((damage.kind, damage.from), (DamageKind::Unreadable, 8_192));
}

#[test]
fn a_read_that_fails_once_costs_nothing() {
    let (disk, last) = closed_log();
    for seed in 0..50 {
        let disk = disk.copy();
        disk.change_weather(|weather| weather.bad_reads = 5 + seed);
        let (_, recovered, seen) = open(disk.boot());
        assert!(recovered.is_whole(), "{recovered:?}");
        assert_eq!(seen.records.len() as u64, last);
    }
}

#[test]
fn segments_of_two_logs_are_refused_and_stay_as_they_are() {
    let (disk, _) = closed_log();
    let other = SimDisk::new(8, Default::default());
    let foreign = Settings { new_id: 99, ..settings() };
    let (mut log, _) = Log::open(other.boot(), foreign, &mut |_| {}).expect("it opens");
    keep(&mut log, 2);
    drop(log);
    let name = &segments(&other)[0];
    let bytes = other.contents(name).expect("it is there");
    disk.put("0000000099-00000000000000000099.log", bytes);
    let before = names(&disk);
    match Log::open(disk.boot(), settings(), &mut |_| {}) {
        Err(Error::Foreign { file, .. }) => assert!(file.contains(".log"), "{file}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(names(&disk), before);
}

#[test]
fn a_torn_end_is_told_without_the_zeros_behind_it() {
    let (disk, name) = open_log();
    let mut bytes = disk.contents(&name).expect("it is there");
    let (from, length) = (8_192 + 25, 224);
    assert!(bytes.len() > from + length, "zeros are written ahead");
    bytes[from + 100] ^= 1;
    disk.put(&name, bytes);
    let (_, recovered, seen) = open(disk.boot());
    assert_eq!(recovered.torn, Some((name, from as u64, length as u64)));
    assert!(recovered.is_whole() && seen.records == [1], "{recovered:?}");
}
