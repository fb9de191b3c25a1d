//! The durable log on real files, and the command that looks at it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use stormpetrel::machine::Timestamp;
use stormpetrel::machine::record::{self, Body, Record, SessionUid, Taken, Waiting};
use stormpetrel::mqtt::message::{Holders, Message, MessageProperties};
use stormpetrel::mqtt::topic::TopicName;
use stormpetrel::mqtt::types::{PacketId, QoS, Text};
use stormpetrel::store::{
    Disk, Durability, Error, Files, Inbox, Log, Lsn, Recovered, Settings, Visit, run,
};

/// A directory of its own, not made yet.
fn place(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("store").join(name);
    if path.exists() {
        fs::remove_dir_all(&path).expect("it can be removed");
    }
    path
}

fn settings() -> Settings {
    Settings { segment_bytes: 16 << 10, reserve_bytes: 100_000, new_id: 0x5EED_0000_1234_5678 }
}

/// A record of the broker's, of the same length for each number.
fn content(lsn: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    message(format!("record {lsn:>6} ").repeat(8).into()).encode(&mut bytes);
    bytes
}

/// Bytes of a record on the disk, beside what it says.
const FRAME_BYTES: usize = 24;

/// Opens a log, and checks every record that is in it.
fn open(path: &Path) -> Result<(Log<Files>, Recovered, Vec<u64>), Error> {
    let mut seen = Vec::new();
    let files = Files::create(path).expect("a directory");
    let (log, recovered) = Log::open(files, settings(), &mut |visit| {
        if let Visit::Record { lsn, content: bytes, .. } = visit {
            assert_eq!(bytes, content(lsn.0));
            seen.push(lsn.0);
        }
    })?;
    Ok((log, recovered, seen))
}

/// Runs a writer to its end, while four threads hand over a thousand records.
fn write_thousand(path: &Path) {
    let (log, recovered, _) = open(path).expect("it opens");
    let first = recovered.last.0 + 1;
    let inbox = Arc::new(Inbox::new(recovered.durable));
    let next = std::sync::Mutex::new(first);
    let hand_over = || {
        for _ in 0..50 {
            let last = {
                // As under the machine's lock.
                let mut next = next.lock().expect("nobody panics");
                let mut records = (*next..*next + 5).map(|lsn| (Lsn(lsn), lsn)).collect();
                *next += 5;
                inbox.hand_over(&mut records);
                Lsn(*next - 1)
            };
            while inbox.durable() < last {
                thread::yield_now();
            }
        }
    };
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let encode = |lsn: &u64, out: &mut Vec<u8>| out.extend(content(*lsn));
            let work = run(log, inbox.clone(), Durability::Sync, encode, |_| {});
            runtime.expect("a runtime").block_on(work)
        });
        let producers: Vec<_> = (0..4).map(|_| scope.spawn(hand_over)).collect();
        producers.into_iter().for_each(|it| it.join().expect("no panic"));
        inbox.close();
        writer.join().expect("no panic").expect("all is written");
    });
    assert_eq!(inbox.durable(), Lsn(first + 999));
}

/// Every file with its bytes.
fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry"));
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    entries.map(|it| (name(&it), fs::read(it.path()).expect("a file"))).collect()
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let names = files(path).into_keys().filter(|name| name.ends_with(".log"));
    names.map(|name| path.join(name)).collect()
}

fn store(arguments: &[&str], paths: &[&Path]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stormpetrel"));
    command.arg("store").args(arguments).args(paths).env_remove("RUST_LOG");
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn what_was_handed_over_is_there_after_a_restart() {
    let path = place("restart");
    for life in 1..=3 {
        write_thousand(&path);
        let (log, recovered, seen) = open(&path).expect("it opens");
        assert_eq!(seen, (1..=life * 1_000).collect::<Vec<_>>());
        assert!(recovered.is_whole() && recovered.torn.is_none(), "{recovered:?}");
        assert_eq!(recovered.durable, recovered.last);
        assert!(segments(&path).len() > 10, "segments are small here");
        drop(log);
    }
}

#[test]
fn what_waits_when_a_segment_is_begun_stays_with_what_was_before() {
    let path = place("segment");
    let (log, ..) = open(&path).expect("it opens");
    let inbox = Arc::new(Inbox::new(Lsn(0)));
    inbox.hand_over(&mut (1..=3).map(|lsn| (Lsn(lsn), lsn)).collect());
    inbox.begin_segment();
    inbox.hand_over(&mut vec![(Lsn(4), 4)]);
    inbox.drop_before(Lsn(4));
    inbox.close();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let encode = |lsn: &u64, out: &mut Vec<u8>| out.extend(content(*lsn));
    let work = run(log, inbox, Durability::Sync, encode, |_| {});
    runtime.expect("a runtime").block_on(work).expect("the disk is good");
    assert_eq!(open(&path).expect("it opens").2, [4]);
}

#[test]
fn a_directory_has_one_log_at_a_time_and_the_error_names_it() {
    let path = place("locked");
    let (log, _, _) = open(&path).expect("it opens");
    let error = open(&path).expect_err("it is in use");
    assert!(matches!(error, Error::InUse { .. }));
    let error = error.to_string();
    assert!(error.contains(path.to_str().expect("UTF-8")) && error.contains("in use"), "{error}");
    let (code, _, stderr) = store(&["check"], &[&path]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("in use by another process"), "{stderr}");
    drop(log);
    open(&path).expect("it is free again");
}

#[test]
fn only_the_owner_can_read_what_is_kept() {
    let path = place("modes");
    write_thousand(&path);
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for name in files(&path).keys() {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
    assert!(files(&path).contains_key("reserve"));
}

#[test]
fn links_are_not_followed() {
    let path = place("links");
    fs::create_dir_all(&path).expect("it can be made");
    let target = path.join("target");
    fs::write(&target, "precious").expect("it can be written");
    let files = Files::open(&path).expect("a directory");
    for name in ["lock", "reserve", "next", "0000000001-00000000000000000001.log"] {
        symlink(&target, path.join(name)).expect("a link");
        assert!(files.open(name).is_err(), "{name}");
        assert!(files.create(name).is_err(), "{name}");
        assert!(files.list().expect("a list").iter().all(|entry| entry.name != name), "{name}");
    }
    Log::open(files, settings(), &mut |_| {}).expect_err("the lock is a link");
    assert_eq!(fs::read_to_string(&target).expect("it is there"), "precious");
}

#[test]
fn a_later_format_is_refused_and_nothing_is_changed() {
    let path = place("newer");
    write_thousand(&path);
    let last = segments(&path).pop().expect("a segment");
    let mut bytes = fs::read(&last).expect("it is there");
    for copy in [0, 4_096] {
        bytes[copy + 8] = 7;
        let checksum = crc32fast::hash(&bytes[copy..copy + 48]);
        bytes[copy + 48..copy + 52].copy_from_slice(&checksum.to_le_bytes());
    }
    fs::write(&last, bytes).expect("it can be written");
    let before = files(&path);
    let error = open(&path).expect_err("a later format");
    assert!(matches!(error, Error::Newer { found: 7, known: 4, .. }), "{error}");
    let (code, _, stderr) = store(&["check"], &[&path]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("run the version that wrote it"), "{stderr}");
    assert_eq!(files(&path), before);
}

#[test]
fn check_and_dump_tell_a_whole_log_and_change_nothing() {
    let path = place("whole");
    write_thousand(&path);
    let before = files(&path);
    let (code, stdout, stderr) = store(&["check"], &[&path]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("1000 records, 0 missing; the last is number 1000; "), "{stdout}");
    let (code, stdout, _) = store(&["dump"], &[&path]);
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 1_000);
    assert!(lines[0].starts_with(r#"{"lsn":1,"state":"ok","bytes":"#), "{}", lines[0]);
    assert_eq!(files(&path), before);
}

#[test]
fn a_record_that_is_whole_and_not_understood_is_told() {
    let path = place("not-understood");
    let (log, _, _) = open(&path).expect("it opens");
    let inbox = Arc::new(Inbox::new(Lsn(0)));
    inbox.hand_over(&mut vec![(Lsn(1), 0u8), (Lsn(2), 0)]);
    inbox.close();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let work = run(log, inbox, Durability::Sync, |_, out| out.extend(b"record"), |_| {});
    runtime.expect("a runtime").block_on(work).expect("the disk works");
    let (code, stdout, stderr) = store(&["check"], &[&path]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert_eq!(stdout.matches("not understood: record ").count(), 2, "{stdout}");
    let (code, stdout, _) = store(&["dump"], &[&path]);
    assert_eq!(code, Some(1));
    // It is shown as bytes.
    let start = r#"{"lsn":1,"state":"ok","bytes":6,"error":""#;
    assert!(stdout.starts_with(start) && stdout.contains("7265636f7264"), "{stdout}");
}

#[test]
fn what_records_say_is_checked_shown_and_copied() {
    let (path, new) = (place("says"), place("says-copied"));
    let (log, _, _) = open(&path).expect("it opens");
    let inbox = Arc::new(Inbox::new(Lsn(0)));
    let clock = Record::Clock { at: Timestamp(7), offset: -3 };
    inbox.hand_over(&mut vec![(Lsn(1), clock), (Lsn(2), not_text())]);
    inbox.close();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let work = run(log, inbox, Durability::Sync, Record::encode, |_| {});
    runtime.expect("a runtime").block_on(work).expect("the disk works");
    let (code, _, stderr) = store(&["check"], &[&path]);
    assert_eq!(code, Some(0), "{stderr}");
    let (code, _, stderr) = store(&["repair"], &[&path, &new]);
    assert_eq!(code, Some(0), "{stderr}");
    for path in [path, new] {
        let (_, shown, _) = store(&["dump"], &[&path]);
        for said in [
            r#""record":{"ahead_of_wall_clock_ms":-3,"at_ms":7,"kind":"clock"}}"#,
            r#""record":{"deliveries":[{"number":4,"packet_id":5,"qos":1,"retain":false,"session":3}],"#,
            r#""kind":"message","payload_hex":"00ff","#,
            r#""properties":{"user_properties":[["name","\"value\""]]},"qos":2,"#,
        ] {
            assert!(shown.contains(said), "{shown}");
        }
        for line in shown.lines() {
            let read: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(read["state"], "ok");
        }
    }
}

/// A message whose payload is no text.
fn not_text() -> Record {
    message(Bytes::from_static(&[0, 255]))
}

/// A message for one session.
fn message(payload: Bytes) -> Record {
    let text = |text| Text::try_from(text).expect("a text");
    let user_properties = [(text("name"), text("\"value\""))].into_iter().collect();
    let message = Message {
        topic: TopicName::try_from("a/b").expect("a topic"),
        payload,
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: Some(Box::new(MessageProperties { user_properties, ..Default::default() })),
        holders: Holders::default(),
    };
    let delivery = Waiting {
        session: SessionUid(record::Lsn(3)),
        number: 4,
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_ids: None,
        share: None,
        sent: PacketId::new(5),
    };
    Record::Message(Box::new(Taken {
        message: Body::Here(Arc::new(message)),
        expires_at: None,
        retained: None,
        from: None,
        will_of: None,
        instead_of: None,
        cursor: None,
        deliveries: vec![delivery].into(),
    }))
}

#[test]
fn check_and_dump_tell_what_is_damaged_and_repair_copies_the_rest() {
    let path = place("damaged");
    write_thousand(&path);
    let first = segments(&path)[0].clone();
    let mut bytes = fs::read(&first).expect("it is there");
    bytes[8_192 + (FRAME_BYTES + content(1).len()) * 2 + 30] ^= 0x40; // in the third record
    fs::write(&first, bytes).expect("it can be written");
    fs::remove_file(&segments(&path)[3]).expect("it is there");
    let before = files(&path);

    let (code, stdout, _) = store(&["check"], &[&path]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("missing: records 3 to 3\n"), "{stdout}");
    assert!(stdout.contains("damaged: 0000000001-00000000000000000001.log: "), "{stdout}");
    let missing = stdout.lines().filter(|line| line.starts_with("missing")).count();
    assert_eq!(missing, 2, "{stdout}");
    let (code, dumped, _) = store(&["dump"], &[&path]);
    assert_eq!(code, Some(1));
    assert!(dumped.contains("\n{\"lsn\":3,\"to\":3,\"state\":\"missing\"}\n"));
    assert!(dumped.contains("\"state\":\"changed\"}\n"));

    let new = place("repaired");
    let (code, told, stderr) = store(&["repair"], &[&path, &new]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(told.contains("damaged: "), "{told}");
    assert_eq!(files(&path), before);
    let records = |text: &str| {
        text.lines().filter(|line| line.contains("\"lsn\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (_, copied, _) = store(&["dump"], &[&new]);
    assert_eq!(records(&copied), records(&dumped), "the same records, the same gaps");
    assert!(!copied.contains("changed"), "{copied}");

    // The copy is whole: what it does not have is known, and so it is of a copy of the copy.
    let again = place("repaired-again");
    let (code, _, stderr) = store(&["repair"], &[&new, &again]);
    assert_eq!(code, Some(0), "{stderr}");
    for copy in [&new, &again] {
        let (code, stdout, _) = store(&["check"], &[copy]);
        assert_eq!(code, Some(0), "{stdout}");
        let known = "left out: records 3 to 3, which an earlier repair could not save\n";
        assert!(stdout.contains(known), "{stdout}");
        assert!(!stdout.contains("missing: "), "{stdout}");
        let (_, copied, _) = store(&["dump"], &[copy]);
        assert_eq!(records(&copied), records(&dumped), "the same records, the same gaps");
    }
    // Unless more is lost then.
    let first = segments(&again)[0].clone();
    let bytes = fs::read(&first).expect("it is there");
    fs::write(&first, &bytes[..bytes.len() - 30]).expect("it can be written");
    let (code, stdout, _) = store(&["check"], &[&again]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("missing: records 2 to 3\n"), "{stdout}");
    let (code, _, stderr) = store(&["repair"], &[&path, &new]);
    assert_eq!(code, Some(1));
    assert_eq!(stderr.matches("not empty").count(), 1, "{stderr}");
}

#[test]
fn a_copy_that_fails_half_way_leaves_nothing_that_looks_whole() {
    let (path, new) = (place("copied-in-vain"), place("copied-in-vain-to"));
    write_thousand(&path);
    // No file may have more than 32 KiB: the headers fit, and what follows does not.
    let script = r#"trap '' XFSZ; ulimit -f 32; exec "$@""#;
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_stormpetrel"), "store", "repair"]);
    let output = command.arg(&path).arg(&new).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the copy cannot be written"), "{told}");
    assert_eq!(files(&new), BTreeMap::new());
    let (code, _, stderr) = store(&["repair"], &[&path, &new]);
    assert_eq!(code, Some(0), "it can be tried again: {stderr}");
}

#[test]
fn a_folder_that_holds_no_log_is_no_store() {
    let (path, new) = (place("photos"), place("photos-repaired"));
    fs::create_dir_all(&path).expect("it can be made");
    for name in ["holiday.jpg", "syslog.log", "2026-11.log.gz", "a-1.log", "1-.log", "1.log"] {
        fs::write(path.join(name), "").expect("it can be written");
    }
    for (action, paths) in
        [("check", &[&*path] as &[&Path]), ("dump", &[&path]), ("repair", &[&path, &new])]
    {
        let (code, stdout, stderr) = store(&[action], paths);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{action}: {stderr}");
        assert!(stderr.contains("photos is no store: no segment of a log is in it"), "{stderr}");
    }
    assert!(!new.exists());
    // One that a broker has opened, and had nothing to keep in.
    drop(open(&path).expect("it opens"));
    for (action, paths) in [("check", &[&*path] as &[&Path]), ("repair", &[&path, &new])] {
        let (code, stdout, stderr) = store(&[action], paths);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{action}: {stderr}");
        assert!(stderr.contains("photos holds no segment of a log, only a lock: "), "{stderr}");
    }
    assert!(!new.exists());
}

/// `store dump | head`
#[test]
fn a_reader_who_has_read_enough_is_not_complained_to() {
    let path = place("head");
    write_thousand(&path);
    let mut command = Command::new(env!("CARGO_BIN_EXE_stormpetrel"));
    command.args(["store", "dump"]).arg(&path).env_remove("RUST_LOG");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let Output { status, stderr, .. } = command.stdout(writer).output().expect("it runs");
    // What was not read may be damaged.
    assert_eq!((status.code(), String::from_utf8_lossy(&stderr).as_ref()), (Some(141), ""));
}

/// A process may have 1,024 files open in most places, and a log of 16 GiB has as many segments.
#[test]
fn a_log_of_more_segments_than_a_process_may_have_open_is_read() {
    let path = place("segments");
    write_thousand(&path);
    let segments = fs::read_dir(&path).expect("a directory").count();
    assert!(segments > 20, "{segments}");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 16; exec \"$0\" store check \"$1\""]);
    command.arg(env!("CARGO_BIN_EXE_stormpetrel")).arg(&path).env_remove("RUST_LOG");
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    assert_eq!(status.code(), Some(0), "{}", String::from_utf8_lossy(&stderr));
    assert!(String::from_utf8_lossy(&stdout).contains("1000 records"), "{stdout:?}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let path = place("nowhere");
    for action in ["check", "dump"] {
        let (code, _, stderr) = store(&[action], &[&path]);
        assert_eq!(code, Some(1));
        assert!(stderr.contains(path.to_str().expect("UTF-8")), "{stderr}");
        assert_eq!(stderr.matches("No such file").count(), 1, "{stderr}");
    }
    assert!(!path.exists());
}
