//! Measures the bare log: groups of records of 200 bytes, one sync for each group, beside the cost
//! of writing and syncing the same bytes without any log. Then how long recovery takes.
//!
//!     cargo run --release --example commit -- DIRECTORY [GROUP...]
//!
//! GROUP: how many records, in place of 1, 16, 256 and 1,024. The directory is made, and must not
//! be there: its file system is what is measured. CPU time is that of the process, user and system,
//! as Linux counts it, in steps of 10 ms.

#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use stormpetrel::store::{Files, Log, Lsn, Settings, Visit};

const GROUPS: [u64; 4] = [1, 16, 256, 1_024];
const RECORD_BYTES: usize = 200;
/// Of a record, with its head.
const FRAME_BYTES: usize = RECORD_BYTES + 24;
const SECONDS: u64 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    let directory = Path::new(&directory);
    let groups: Vec<u64> = arguments.map(|group| group.parse()).collect::<Result<_, _>>()?;
    let groups = if groups.is_empty() { GROUPS.to_vec() } else { groups };
    fs::create_dir(directory)?;
    println!("records of {RECORD_BYTES} bytes; {SECONDS} s each");
    println!("what            group  commits/s   records/s  CPU/record");
    for group in groups {
        report("grown file", group, || bare(directory, group, false))?;
        report("zeroed file", group, || bare(directory, group, true))?;
        report("the log", group, || log(directory, group))?;
    }
    recover(directory)?;
    fs::remove_dir_all(directory)?;
    Ok(())
}

type Outcome = Result<u64, Box<dyn Error>>;

fn report(what: &str, group: u64, run: impl FnOnce() -> Outcome) -> Result<(), Box<dyn Error>> {
    let (began, cpu) = (Instant::now(), cpu()?);
    let commits = run()?;
    let (took, cpu) = (began.elapsed().as_secs_f64(), self::cpu()? - cpu);
    let (per_second, records) = (commits as f64 / took, commits * group);
    println!(
        "{what:14} {group:6} {per_second:10.0} {:11.0} {:8.2} us",
        records as f64 / took,
        cpu.as_secs_f64() * 1e6 / records as f64
    );
    Ok(())
}

/// Writes and syncs a file, which grows, or was filled with zeros before.
fn bare(directory: &Path, group: u64, is_zeroed: bool) -> Outcome {
    const FILE_BYTES: u64 = 64 << 20;
    let path = directory.join("bare");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    if is_zeroed {
        file.write_all_at(&vec![0; FILE_BYTES as usize], 0)?;
    }
    file.sync_all()?;
    let bytes = vec![7; FRAME_BYTES * group as usize];
    let (began, mut at, mut commits) = (Instant::now(), 0, 0);
    while began.elapsed() < Duration::from_secs(SECONDS) {
        if at + bytes.len() as u64 > FILE_BYTES {
            at = 0; // over what is there: no worse for the zeroed file
            if !is_zeroed {
                file.set_len(0)?;
            }
        }
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        at += bytes.len() as u64;
        commits += 1;
    }
    fs::remove_file(path)?;
    Ok(commits)
}

fn log(directory: &Path, group: u64) -> Outcome {
    let path = directory.join(format!("log-{group}"));
    let (mut log, _) = Log::open(Files::create(&path)?, Settings::new(7), &mut |_| {})?;
    let record = [7; RECORD_BYTES];
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        log.take_reserve().await?;
        let (began, mut commits) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(SECONDS) {
            for _ in 0..group {
                log.push(log.last().next(), |out| out.extend_from_slice(&record));
            }
            log.write().await?;
            log.sync().await?;
            commits += 1;
        }
        Ok(commits)
    })
}

/// Reads the largest of the logs, and one of a million records.
fn recover(directory: &Path) -> Result<(), Box<dyn Error>> {
    let path = directory.join("million");
    let (mut log, _) = Log::open(Files::create(&path)?, Settings::new(7), &mut |_| {})?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        for lsn in 1..=1_000_000 {
            log.push(Lsn(lsn), |out| out.extend_from_slice(&[7; RECORD_BYTES]));
            if lsn % 10_000 == 0 {
                log.write().await?;
                log.sync().await?;
            }
        }
        log.close().await
    })?;
    drop(log);
    let (began, mut bytes) = (Instant::now(), 0);
    let visit = &mut |visit: Visit<'_>| {
        if let Visit::Record { content, .. } = visit {
            bytes += content.len();
        }
    };
    let (_, recovered) = Log::open(Files::create(&path)?, Settings::new(7), visit)?;
    let (records, took) = (recovered.records, began.elapsed());
    println!("recovery: {records} records, {bytes} bytes of content, {took:.2?}");
    Ok(())
}

/// CPU time of this process.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| {
        fields.get(index).ok_or("no such field")?.parse::<u64>().map_err(Box::<dyn Error>::from)
    };
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}
