//! A disk that takes time, fails, fills up, and loses what was not synced when its power is cut.
//!
//! It holds what a process sees, and what would still be there without power; in between, the
//! operations that are not durable, in their order. All chance comes from a seed. Knows nothing
//! of what the files mean.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stormpetrel::store::{Disk, Entry, Lock};

use crate::dice::Dice;
use crate::log;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Bytes that cannot be read together.
const BLOCK: u64 = 4_096;

/// Milliseconds between two looks whether a stall is over.
const STALL_LOOK_MS: u64 = 5;

/// How a disk behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskWeather {
    /// Milliseconds that a write takes at most.
    pub write_ms: u64,
    /// Milliseconds that a sync takes at most.
    pub sync_ms: u64,
    /// Of a thousand reads, how many fail.
    pub bad_reads: u16,
    /// Of a thousand writes, how many fail, with any part of them done.
    pub bad_writes: u16,
    /// Of a thousand syncs, how many fail. What they should have made durable never will be,
    /// though it can be read, and later syncs succeed: as under Linux.
    pub bad_syncs: u16,
    /// Of a thousand removals of files, how many fail.
    pub bad_removes: u16,
    /// Of a thousand operations, how many stall for up to five seconds.
    pub stalls: u16,
    /// Bytes of all files together; none: without end.
    pub capacity: Option<u64>,
    /// Bytes that may still be written, also over others: what is full has none. Those of files
    /// that are removed are added, unless somebody else takes them.
    pub room: Option<u64>,
    /// Whether somebody does.
    pub is_crowded: bool,
    /// Syncs do not end.
    pub is_stalled: bool,
    /// After so many more operations that change anything, its power goes.
    pub dies_after: Option<u64>,
}

/// What of that which is not synced outlives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Nothing.
    Nothing,
    /// The first so many operations.
    First(usize),
    /// Each operation with a chance of so many in a thousand, in any order.
    Whole(u16),
    /// Each sector of each write with such a chance; lengths too.
    Torn(u16),
}

/// A process's view of a disk. Clones are the same view.
#[derive(Clone, Debug)]
pub struct SimDisk {
    platter: Arc<Mutex<Platter>>,
    /// Which boot this view is of: it is dead after the next.
    boot: u64,
}

/// An open file.
#[derive(Clone, Copy, Debug)]
pub struct SimFile(u64);

/// Everything on the disk.
#[derive(Debug)]
struct Platter {
    weather: DiskWeather,
    dice: Dice,
    /// How it says that it is full.
    full: ErrorKind,
    boot: u64,
    has_power: bool,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    live: BTreeMap<u64, Vec<u8>>,
    durable: BTreeMap<u64, Vec<u8>>,
    /// What is not durable, in its order.
    unsynced: Vec<Change>,
    /// Files and offsets of blocks that cannot be read.
    bad_blocks: BTreeSet<(u64, u64)>,
    files_made: u64,
    /// How often something was written: each time has a number.
    writes: u64,
    syncs: u64,
    failed_syncs: u64,
    stalled_syncs: u64,
    /// Files that could not be written or synced, each as often as that.
    failed_files: Vec<u64>,
}

/// Something that was done and is not durable.
#[derive(Clone, Debug)]
enum Change {
    Write {
        file: u64,
        offset: usize,
        bytes: Vec<u8>,
        number: u64,
    },
    /// What names mean from then on, all at once.
    Names(Vec<(String, Option<u64>)>),
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64, weather: DiskWeather) -> SimDisk {
        let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
        let platter = Platter {
            weather,
            dice: Dice::new(seed, "disk", 0),
            full: Dice::new(seed, "full disk", 0).one_of(&full),
            boot: 0,
            has_power: true,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            unsynced: Vec::new(),
            bad_blocks: BTreeSet::new(),
            files_made: 0,
            writes: 0,
            syncs: 0,
            failed_syncs: 0,
            stalled_syncs: 0,
            failed_files: Vec::new(),
        };
        SimDisk { platter: Arc::new(Mutex::new(platter)), boot: 0 }
    }

    /// The view of a process that starts. Nothing that was started before can use the disk any
    /// more. Without a power cut, it finds all that was written.
    #[must_use]
    pub fn boot(&self) -> SimDisk {
        let mut platter = self.lock_platter();
        platter.boot += 1;
        platter.has_power = true;
        SimDisk { platter: Arc::clone(&self.platter), boot: platter.boot }
    }

    /// Cuts the power, before whoever uses the disk is dropped: what its destructors do is too
    /// late. Until the next [`SimDisk::boot`], everything fails.
    pub fn cut_power(&self, survivors: Survivors) {
        let mut platter = self.lock_platter();
        platter.has_power = false;
        platter.lose(survivors);
    }

    /// Changes how it behaves from now on.
    pub fn change_weather(&self, change: impl FnOnce(&mut DiskWeather)) {
        change(&mut self.lock_platter().weather);
    }

    /// How many operations are not durable.
    pub fn unsynced(&self) -> usize {
        self.lock_platter().unsynced.len()
    }

    /// How often something was written.
    pub fn writes(&self) -> u64 {
        self.lock_platter().writes
    }

    /// The number of the oldest write after the first so many that is not durable, of those into
    /// files that are still there under names that are meant.
    pub(crate) fn oldest_unsynced(
        &self,
        after: u64,
        is_meant: impl Fn(&str) -> bool,
    ) -> Option<u64> {
        let platter = self.lock_platter();
        let meant = platter.names.iter().filter(|(name, _)| is_meant(name));
        let meant: BTreeSet<u64> = meant.map(|(_, file)| *file).collect();
        let mut late = platter.unsynced.iter().filter_map(|change| match change {
            Change::Write { file, number, .. } => meant.contains(file).then_some(*number),
            Change::Names(_) => None,
        });
        late.find(|number| *number > after)
    }

    /// How many syncs have succeeded.
    pub fn syncs(&self) -> u64 {
        self.lock_platter().syncs
    }

    /// How many syncs have failed, and how many did not end for a while.
    pub fn bad_syncs(&self) -> (u64, u64) {
        let platter = self.lock_platter();
        (platter.failed_syncs, platter.stalled_syncs)
    }

    /// How often files could not be written or synced, of those under names that are meant. None:
    /// what is tried may succeed.
    pub(crate) fn failures_of(&self, is_meant: impl Fn(&str) -> bool) -> Option<usize> {
        let platter = self.lock_platter();
        let DiskWeather { bad_writes, bad_syncs, .. } = platter.weather;
        if bad_writes.max(bad_syncs) < 1_000 {
            return None;
        }
        let meant = platter.names.iter().filter(|(name, _)| is_meant(name));
        let meant: BTreeSet<u64> = meant.map(|(_, file)| *file).collect();
        Some(platter.failed_files.iter().filter(|file| meant.contains(file)).count())
    }

    /// Bytes that may still be written, if that is limited.
    pub fn room(&self) -> Option<u64> {
        self.lock_platter().weather.room
    }

    /// Another disk with the same bytes on it and the same future.
    #[must_use]
    pub fn copy(&self) -> SimDisk {
        let platter = self.lock_platter();
        let copy = Platter {
            weather: platter.weather,
            dice: platter.dice.clone(),
            names: platter.names.clone(),
            durable_names: platter.durable_names.clone(),
            live: platter.live.clone(),
            durable: platter.durable.clone(),
            unsynced: platter.unsynced.clone(),
            bad_blocks: platter.bad_blocks.clone(),
            failed_files: platter.failed_files.clone(),
            ..*platter
        };
        SimDisk { platter: Arc::new(Mutex::new(copy)), boot: self.boot }
    }

    /// A file's bytes, as a process sees them; none if it is not there.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let platter = self.lock_platter();
        platter.named(name).cloned()
    }

    /// How long a file is, as it is now; none: it is not there.
    pub(crate) fn bytes_of(&self, name: &str) -> Option<u64> {
        let platter = self.lock_platter();
        platter.named(name).map(|bytes| bytes.len() as u64)
    }

    /// How many of its bytes there are without the zeros at its end.
    pub(crate) fn written_of(&self, name: &str) -> u64 {
        let platter = self.lock_platter();
        let last = platter.named(name).and_then(|bytes| bytes.iter().rposition(|byte| *byte != 0));
        last.map_or(0, |last| last as u64 + 1)
    }

    /// Puts a file there, durable, behind everybody's back: also to damage one.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut platter = self.lock_platter();
        platter.files_made += 1;
        let file = *platter.names.get(name).unwrap_or(&platter.files_made.clone());
        platter.unsynced.retain(|change| change.file() != Some(file));
        platter.names.insert(name.to_owned(), file);
        platter.durable_names.insert(name.to_owned(), file);
        platter.live.insert(file, bytes.clone());
        platter.durable.insert(file, bytes);
    }

    /// Makes the block of 4 KiB around an offset of a file unreadable.
    pub fn spoil(&self, name: &str, offset: u64) {
        let mut platter = self.lock_platter();
        if let Some(file) = platter.names.get(name).copied() {
            platter.bad_blocks.insert((file, offset / BLOCK));
        }
    }

    fn lock_platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, if it works for this view.
    fn platter(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let platter = self.lock_platter();
        match platter.has_power && platter.boot == self.boot {
            true => Ok(platter),
            false => Err(io::Error::other("the disk is off")),
        }
    }

    /// The disk, for an operation that changes it.
    fn changing(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let mut platter = self.platter()?;
        match &mut platter.weather.dies_after {
            Some(0) => {
                platter.has_power = false;
                Err(io::Error::other("the power goes"))
            }
            Some(left) => {
                *left -= 1;
                Ok(platter)
            }
            None => Ok(platter),
        }
    }

    /// Goes with the log: what happens to a file.
    fn say(&self, file: &SimFile, what: impl FnOnce() -> String) {
        log::say(None, || {
            let platter = self.platter().ok();
            let mut names = platter.iter().flat_map(|platter| &platter.names);
            let name = names.find(|(_, it)| **it == file.0).map_or("no file", |(name, _)| name);
            format!("disk: {name}: {}", what())
        });
    }

    /// Waits until syncs end.
    async fn wait_out_stall(&self) -> io::Result<()> {
        let is_stalled = self.platter()?.weather.is_stalled;
        if is_stalled {
            self.platter()?.stalled_syncs += 1;
        }
        while self.platter()?.weather.is_stalled {
            tokio::time::sleep(Duration::from_millis(STALL_LOOK_MS)).await;
        }
        Ok(())
    }

    /// Waits as long as the operation takes.
    async fn take_time(&self, time_ms: impl FnOnce(&DiskWeather) -> u64) -> io::Result<()> {
        let delay = {
            let mut platter = self.platter()?;
            let (most, stalls) = (time_ms(&platter.weather), platter.weather.stalls);
            let stall = if platter.dice.chance(stalls) { 5_000 } else { 0 };
            match most.max(stall) {
                0 => 0,
                most => platter.dice.between(0, most),
            }
        };
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn place(&self) -> String {
        "the simulated disk".to_owned()
    }

    /// A view belongs to one process, and the one before it is dead.
    fn lock(&self, _: Lock) -> io::Result<()> {
        self.platter().map(drop)
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let platter = self.platter()?;
        let entry = |(name, file): (&String, &u64)| Entry {
            name: name.clone(),
            bytes: platter.live.get(file).map_or(0, |bytes| bytes.len() as u64),
        };
        Ok(platter.names.iter().map(entry).collect())
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut platter = self.changing()?;
        if platter.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if platter.free() == 0 || platter.weather.room == Some(0) {
            return Err(platter.full.into());
        }
        platter.files_made += 1;
        let file = platter.files_made;
        platter.live.insert(file, Vec::new());
        platter.durable.insert(file, Vec::new());
        platter.name(vec![(name.to_owned(), Some(file))]);
        Ok(SimFile(file))
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let platter = self.platter()?;
        let file = platter.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(SimFile(*file))
    }

    fn read(&self, file: &SimFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut platter = self.platter()?;
        let chance = platter.weather.bad_reads;
        let blocks = offset / BLOCK..=(offset + into.len() as u64).saturating_sub(1) / BLOCK;
        let is_bad = platter.bad_blocks.range((file.0, *blocks.start())..=(file.0, *blocks.end()));
        if is_bad.count() > 0 || platter.dice.chance(chance) {
            into.fill(0xAA);
            return Err(io::Error::other("a simulated failure of a read"));
        }
        let bytes = platter.live.get(&file.0).ok_or(ErrorKind::NotFound)?;
        let bytes = bytes.get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    async fn write(&self, file: &SimFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.changing()?.write(file.0, offset as usize, bytes)?;
        self.say(file, || format!("takes {} bytes at {offset}", bytes.len()));
        self.take_time(|weather| weather.write_ms).await?;
        self.platter().map(drop)
    }

    async fn sync(&self, file: &SimFile) -> io::Result<()> {
        self.take_time(|weather| weather.sync_ms).await?;
        self.wait_out_stall().await?;
        self.changing()?.sync(|change| change.file() == Some(file.0))?;
        self.say(file, || "has it for good".to_owned());
        Ok(())
    }

    async fn sync_directory(&self) -> io::Result<()> {
        self.take_time(|weather| weather.sync_ms).await?;
        self.wait_out_stall().await?;
        self.changing()?.sync(|change| change.file().is_none())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut platter = self.changing()?;
        let file = *platter.names.get(from).ok_or(ErrorKind::NotFound)?;
        platter.name(vec![(to.to_owned(), Some(file)), (from.to_owned(), None)]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut platter = self.changing()?;
        if !platter.names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        let chance = platter.weather.bad_removes;
        if chance > 0 && platter.dice.chance(chance) {
            return Err(io::Error::other("a simulated failure of a removal"));
        }
        let bytes = platter.named(name).map_or(0, Vec::len);
        if let (Some(room), false) = (platter.weather.room, platter.weather.is_crowded) {
            platter.weather.room = Some(room + bytes as u64);
        }
        platter.name(vec![(name.to_owned(), None)]);
        Ok(())
    }
}

impl Change {
    /// The file it writes to; none if it is one of the directory.
    fn file(&self) -> Option<u64> {
        match self {
            Change::Write { file, .. } => Some(*file),
            Change::Names(_) => None,
        }
    }
}

impl Platter {
    /// What a file holds now; none: it is not there.
    fn named(&self, name: &str) -> Option<&Vec<u8>> {
        self.live.get(self.names.get(name)?)
    }

    /// Bytes that are free.
    fn free(&self) -> u64 {
        let used = self.names.values().filter_map(|file| self.live.get(file)).map(Vec::len);
        let used = used.sum::<usize>() as u64;
        self.weather.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used))
    }

    fn write(&mut self, file: u64, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let length = self.live.get(&file).ok_or(ErrorKind::NotFound)?.len();
        let room = (length as u64).saturating_add(self.free()) as usize;
        let (mut count, mut result) = (bytes.len(), Ok(()));
        if offset.saturating_add(count) > room {
            count = room.saturating_sub(offset);
            result = Err(self.full.into());
        }
        if let Some(room) = &mut self.weather.room {
            if count as u64 > *room {
                count = *room as usize;
                result = Err(self.full.into());
            }
            *room -= count as u64;
        }
        let chance = self.weather.bad_writes;
        if self.dice.chance(chance) {
            count = self.dice.between(0, count as u64) as usize;
            result = Err(io::Error::other("a simulated failure of a write"));
            self.failed_files.push(file);
        }
        let bytes = bytes[..count].to_vec();
        if let Some(live) = self.live.get_mut(&file) {
            put(live, offset, &bytes);
        }
        self.writes += 1;
        self.unsynced.push(Change::Write { file, offset, bytes, number: self.writes });
        result
    }

    fn name(&mut self, names: Vec<(String, Option<u64>)>) {
        apply_names(&mut self.names, &names);
        self.unsynced.push(Change::Names(names));
    }

    fn sync(&mut self, is_meant: impl Fn(&Change) -> bool) -> io::Result<()> {
        let (meant, others) = self.unsynced.drain(..).partition(is_meant);
        self.unsynced = others;
        let chance = self.weather.bad_syncs;
        if self.dice.chance(chance) {
            self.failed_syncs += 1;
            let meant: Vec<Change> = meant;
            self.failed_files.extend(meant.iter().filter_map(Change::file));
            // The names come back at the next sync; what was written does not.
            self.unsynced.extend(meant.into_iter().filter(|change| change.file().is_none()));
            return Err(io::Error::other("a simulated failure of a sync"));
        }
        meant.iter().for_each(|change| self.make_durable(change));
        self.syncs += 1;
        Ok(())
    }

    fn make_durable(&mut self, change: &Change) {
        match change {
            Change::Write { file, offset, bytes, .. } => {
                put(self.durable.entry(*file).or_default(), *offset, bytes);
            }
            Change::Names(names) => apply_names(&mut self.durable_names, names),
        }
    }

    /// Only what is durable is left, and what survives of the rest.
    fn lose(&mut self, survivors: Survivors) {
        for (index, change) in std::mem::take(&mut self.unsynced).into_iter().enumerate() {
            match survivors {
                Survivors::Nothing => {}
                Survivors::First(count) if index < count => self.make_durable(&change),
                Survivors::First(_) => {}
                Survivors::Whole(chance) if self.dice.chance(chance) => self.make_durable(&change),
                Survivors::Whole(_) => {}
                Survivors::Torn(chance) => self.tear(&change, chance),
            }
        }
        self.names = self.durable_names.clone();
        self.live = self.durable.clone();
    }

    fn tear(&mut self, change: &Change, chance: u16) {
        let Change::Write { file, offset, bytes, .. } = change else {
            if self.dice.chance(chance) {
                self.make_durable(change);
            }
            return;
        };
        let (mut from, end) = (*offset, offset + bytes.len());
        while from < end {
            let to = (from / SECTOR + 1).saturating_mul(SECTOR).min(end);
            if self.dice.chance(chance) {
                let sector = &bytes[from - offset..to - offset];
                put(self.durable.entry(*file).or_default(), from, sector);
            }
            from = to;
        }
        let durable = self.durable.entry(*file).or_default();
        if durable.len() < end && self.dice.chance(chance) {
            durable.resize(end, 0);
        }
    }
}

fn apply_names(names: &mut BTreeMap<String, u64>, changes: &[(String, Option<u64>)]) {
    for (name, file) in changes {
        match file {
            Some(file) => names.insert(name.clone(), *file),
            None => names.remove(name),
        };
    }
}

/// Writes into a file, which grows with zeros if it must.
fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}
