//! Damage: bits that flip, files that are cut.

use stormpetrel_sim::SimDisk;

use crate::life::{block_on, open, push};

/// A log of some segments that was closed, and how many records it has.
fn closed_log() -> (SimDisk, u64) {
    let disk = SimDisk::new(7, Default::default());
    let (mut log, _, _) = open(disk.boot());
    block_on(async {
        for batch in [2, 3, 1, 4, 2] {
            push(&mut log, batch);
            log.write().await.expect("a disk that works");
            log.sync().await.expect("a disk that works");
        }
        log.close().await.expect("a disk that works");
    });
    (disk, log.last().0)
}

fn segments(disk: &SimDisk) -> Vec<String> {
    use stormpetrel::store::Disk;
    let names = disk.boot().list().expect("a disk that works").into_iter().map(|it| it.name);
    names.filter(|name| name.ends_with(".log")).collect()
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
        stormpetrel::store::Disk::remove(&copy.boot(), gone).expect("it is there");
        let (_, recovered, seen) = open(copy.boot());
        assert!(recovered.missing > 0, "{gone}");
        assert_eq!(seen.accounted(), (1..=last).collect::<Vec<_>>(), "{gone}");
    }
}
