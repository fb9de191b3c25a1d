//! `stormpetrel store`: looks at the log of a data directory, and copies what is whole of one.
//!
//! Never changes the directory that it looks at. What a log is, is in the library's `store/`.

mod record;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::Value;
use stormpetrel::machine::record::Record;
use stormpetrel::store::{self, DamageKind, Disk, Files, Recovered, Settings, Visit, read, repair};

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Reads all of it, and says what is damaged or not understood. Exit codes: 0 if nothing is, 1 if
    /// anything is, or if it cannot be read.
    Check(Directory),
    /// Prints every record as a line of JSON, and what is missing, damaged or torn. Exit codes as
    /// of `check`.
    Dump(Directory),
    /// Copies all that is whole into a new directory, which can take the place of the old one.
    Repair(Repair),
}

#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// The data directory. No broker may be using it.
    directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The data directory. No broker may be using it.
    directory: PathBuf,
    /// The directory to make; it may be there, empty.
    new: PathBuf,
}

/// Records that are not understood of which `check` says why: `dump` has all of them.
const NOT_UNDERSTOOD_TOLD: u64 = 10;

/// Does it. Whether the log is whole, or could be repaired.
pub(crate) fn run(action: &Action) -> anyhow::Result<bool> {
    match action {
        Action::Check(Directory { directory }) => check(directory),
        Action::Dump(Directory { directory }) => dump(directory),
        Action::Repair(Repair { directory, new }) => {
            open(directory)?;
            let id = getrandom::u64().context("the system gives no randomness")?;
            let recovered = repair(directory, new, Settings::new(id))?;
            tell(&recovered).context("the result cannot be written")?;
            Ok(true)
        }
    }
}

fn check(directory: &Path) -> anyhow::Result<bool> {
    let files = open(directory)?;
    let (mut told, mut not_understood) = (Ok(()), 0);
    let recovered = read(&files, &mut |visit| {
        let (what, why, after, before) = match visit {
            Visit::Gap { after, before } => ("missing", "", after, before),
            Visit::LeftOut { after, before } => {
                ("left out", ", which an earlier repair could not save", after, before)
            }
            Visit::Record { lsn, content, .. } => {
                let Err(error) = Record::decode(Bytes::copy_from_slice(content)) else { return };
                not_understood += 1;
                if told.is_ok() && not_understood <= NOT_UNDERSTOOD_TOLD {
                    told = writeln!(io::stdout(), "not understood: record {lsn}: {error}");
                }
                return;
            }
            Visit::Progress { .. } => return,
        };
        if told.is_ok() {
            let (first, last) = (after.next(), before.previous());
            told = writeln!(io::stdout(), "{what}: records {first} to {last}{why}");
        }
    })?;
    if not_understood > NOT_UNDERSTOOD_TOLD {
        let more = not_understood - NOT_UNDERSTOOD_TOLD;
        told = told.and_then(|()| writeln!(io::stdout(), "not understood: {more} records more"));
    }
    told.and_then(|()| tell(&recovered)).context("the result cannot be written")?;
    Ok(recovered.is_whole() && not_understood == 0)
}

/// Says what there was, for people.
fn tell(recovered: &Recovered) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for damage in &recovered.damages {
        writeln!(out, "damaged: {damage}")?;
    }
    if recovered.damages_more > 0 {
        writeln!(out, "damaged: {} places more", recovered.damages_more)?;
    }
    if let Some((file, from, bytes)) = &recovered.torn {
        writeln!(
            out,
            "torn: {file}: {bytes} bytes from {from} on, which were being written when the \
             process or the power went; this is normal"
        )?;
    }
    let Recovered { records, missing, last, bytes, segments, .. } = recovered;
    writeln!(
        out,
        "{records} records, {missing} missing; the last is number {last}; {segments} segments, \
         {bytes} bytes"
    )
}

fn dump(directory: &Path) -> anyhow::Result<bool> {
    let files = open(directory)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut told, mut is_understood) = (Ok(()), true);
    let recovered = read(&files, &mut |visit| {
        if told.is_err() {
            return;
        }
        let line = match visit {
            Visit::Record { lsn, content, .. } => {
                let (bytes, said) = (content.len(), describe(content));
                is_understood &= said.is_ok();
                let said = said.unwrap_or_else(|said| said);
                format!(r#"{{"lsn":{lsn},"state":"ok","bytes":{bytes},{said}}}"#)
            }
            Visit::Gap { after, before } | Visit::LeftOut { after, before } => {
                let (first, last) = (after.next(), before.previous());
                format!(r#"{{"lsn":{first},"to":{last},"state":"missing"}}"#)
            }
            Visit::Progress { .. } => return,
        };
        told = writeln!(out, "{line}");
    })?;
    let places = recovered.damages.iter().map(|damage| {
        let state = match damage.kind {
            DamageKind::Changed => "changed",
            DamageKind::Unreadable => "unreadable",
            DamageKind::Header => "header",
        };
        (&damage.file, damage.from, damage.bytes, state)
    });
    let torn = recovered.torn.iter().map(|(file, from, bytes)| (file, *from, *bytes, "torn"));
    for (file, from, bytes, state) in places.chain(torn) {
        // Names of segments are digits: nothing in them needs escaping.
        told = told.and_then(|()| {
            writeln!(out, r#"{{"file":"{file}","from":{from},"bytes":{bytes},"state":"{state}"}}"#)
        });
    }
    told.and_then(|()| out.flush()).context("the result cannot be written")?;
    Ok(recovered.is_whole() && is_understood)
}

/// What a record says, or what it is, if this version does not understand it: fields of JSON.
fn describe(content: &[u8]) -> Result<String, String> {
    match Record::decode(Bytes::copy_from_slice(content)) {
        Ok(record) => Ok(format!(r#""record":{}"#, record::json(&record))),
        Err(error) => {
            let (error, bytes) = (Value::from(error.to_string()), record::hex(content));
            Err(format!(r#""error":{error},"content":"{bytes}""#))
        }
    }
}

/// Opens a data directory. A folder that no broker has kept anything in is none: who looks at the
/// wrong one is not to hear that it is whole.
fn open(directory: &Path) -> anyhow::Result<Files> {
    let place = directory.display();
    let files = Files::open(directory).with_context(|| format!("{place} cannot be opened"))?;
    let entries = files.list().with_context(|| format!("{place} cannot be listed"))?;
    if entries.iter().any(|entry| store::is_segment_name(&entry.name)) {
        return Ok(files);
    }
    ensure!(
        entries.iter().any(|entry| entry.name == "lock"),
        "{place} is no store: no segment of a log is in it; name the `data-dir` of a configuration"
    );
    read(&files, &mut |_| {})?; // says so if a broker is using it
    bail!(
        "{place} holds no segment of a log, only a lock: a broker has kept nothing there yet, or \
         its files are gone"
    )
}
