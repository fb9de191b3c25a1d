//! Passwords from end to end: made by the command, kept in a file, checked by a running broker.
//!
//! What each kind of hash is, and how plugins combine, is tested beside the code in `src/access/`.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use stormpetrel::Broker;

/// A user, and a group, that owns nothing.
const NOBODY: u32 = 65_534;

/// `stormpetrel passwd ACTION FILE USER` with a password; its exit code and what it said.
fn passwd(action: &str, file: &str, user: &str, password: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stormpetrel"))
        .args(["passwd", action, file, user])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // One that asks for no password may have ended already.
    let _ = writeln!(stdin, "{password}");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("UTF-8");
    assert!(password.is_empty() || !said.contains(password), "it shows the password");
    (output.status.code(), said)
}

/// A path where no file is.
fn path(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn users_are_added_changed_and_deleted() {
    let file = path("users");
    assert_eq!(passwd("add", &file, "ann", "secret-1").0, Some(1), "there is no file yet");
    assert_eq!(passwd("create", &file, "ann", "secret-1"), (Some(0), String::new()));
    assert_eq!(passwd("create", &file, "bob", "secret-2").0, Some(1), "it is there already");
    assert_eq!(passwd("add", &file, "bob", "secret-2"), (Some(0), String::new()));
    assert_eq!(passwd("add", &file, "ann", "secret-3"), (Some(0), String::new()));
    let verified = |user: &str, password: &str| passwd("verify", &file, user, password).0;
    assert_eq!(verified("ann", "ann"), Some(1), "not even its own name is a password");
    assert_eq!(verified("bob", &std::fs::read_to_string(&file).expect("it is there")), Some(1));
    assert_eq!(verified("ann", "secret-1"), Some(1));
    assert_eq!(verified("ann", "secret-3"), Some(0));
    let missing = path("no-users");
    for (file, user, want) in [
        (&file, "ann", (Some(1), format!("stormpetrel: {file}: the password is not the user's\n"))),
        (&file, "eve", (Some(1), format!("stormpetrel: {file} has no such user\n"))),
        (
            &missing,
            "ann",
            (Some(2), format!("stormpetrel: {missing} cannot be read: No such file")),
        ),
    ] {
        let (code, said) = passwd("verify", file, user, "secret-1");
        assert!(code == want.0 && said.starts_with(&want.1) && said.lines().count() == 1, "{said}");
    }
    assert_eq!(verified("bob", "secret-2"), Some(0));
    let wrong = path("wrong-users");
    std::fs::write(&wrong, "eve:no hash\n").expect("it can be written");
    assert_eq!(passwd("verify", &wrong, "ann", "secret-3").0, Some(2), "it is the file's fault");
    assert_eq!(passwd("delete", &file, "bob", ""), (Some(0), String::new()));
    assert_eq!(passwd("delete", &file, "bob", "").0, Some(1), "there is no such user any more");
    for name in ["a:b", "a\nb", "a\rb", "", " a", "#a"] {
        let (code, said) = passwd("add", &file, name, "secret-4");
        assert!(code == Some(1) && said.contains("a user name"), "{name:?}: {said}");
    }
    assert_eq!(passwd("add", &file, "bob", "").0, Some(1), "no password");
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert!(text.starts_with("ann:$argon2id$") && text.lines().count() == 1, "{text}");
}

/// Who owns a file, and what its mode is.
fn owner_and_mode(file: &str) -> (u32, u32, u32) {
    let about = std::fs::metadata(file).expect("it is there");
    (about.uid(), about.gid(), about.mode() & 0o7777)
}

#[test]
fn only_its_owner_can_read_a_new_file() {
    let file = path("secret-users");
    passwd("create", &file, "ann", "secret-1");
    assert_eq!(owner_and_mode(&file).2, 0o600);
}

/// A broker that runs as a user of its own can still read it.
#[test]
fn a_changed_file_keeps_its_owner_and_its_mode() {
    let (file, link) = (path("kept-users"), path("linked-users"));
    passwd("create", &file, "ann", "secret-1");
    symlink(&file, &link).expect("the link is new");
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("it is ours");
    // Only root can give it away; anybody can look at the mode.
    let _ = chown(&file, Some(NOBODY), Some(NOBODY));
    let before = owner_and_mode(&file);
    assert_eq!(passwd("add", &file, "bob", "secret-2"), (Some(0), String::new()));
    assert_eq!(owner_and_mode(&file), before);
    assert_eq!(passwd("delete", &link, "bob", ""), (Some(0), String::new()));
    assert_eq!(owner_and_mode(&file), before);
    assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
}

/// Only root can test it: nobody else has a file of somebody else's in a folder of his own.
#[test]
fn a_file_whose_owner_cannot_be_kept_stays_as_it_is() {
    let folder = std::env::temp_dir().join(format!("stormpetrel-passwd-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("it can be made");
    let file = folder.join("users").to_str().expect("UTF-8").to_owned();
    assert_eq!(passwd("create", &file, "ann", "secret-1"), (Some(0), String::new()));
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("it is ours");
    if chown(&folder, Some(NOBODY), Some(NOBODY)).is_ok() {
        let (before, text) = (owner_and_mode(&file), std::fs::read(&file).expect("it is there"));
        // Where the command was built, nobody else may come.
        let command = folder.join("stormpetrel");
        std::fs::copy(env!("CARGO_BIN_EXE_stormpetrel"), &command).expect("there is room");
        let output = Command::new(&command)
            .args(["passwd", "delete", &file, "ann"])
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let want = format!("its owner (user {}, group {}) cannot be kept", before.0, before.1);
        assert!(said.contains(&want) && said.contains("is as it was, and cannot"), "{said}");
        assert_eq!(owner_and_mode(&file), before);
        assert_eq!(std::fs::read(&file).expect("it is there"), text);
        let left = std::fs::read_dir(&folder).expect("it is there").count();
        assert_eq!(left, 2, "the file and the command, and nothing half done");
    }
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

/// `script` gives the command a terminal. ^C is a letter there from the beginning, as it is while a
/// password is read, so that it may come a little before that.
#[test]
fn a_terminal_is_as_it_was_after_an_interrupted_password() {
    let (file, command) = (path("never-made"), env!("CARGO_BIN_EXE_stormpetrel"));
    let typed = format!("stty -isig; '{command}' passwd create '{file}' ann; stty -a");
    let mut child = Command::new("script")
        .args(["-qec", &typed, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is there");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut said = Vec::new();
    while !said.ends_with(b"Password: ") {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("it asks");
        said.extend(byte);
    }
    stdin.write_all(b"abc\x03").expect("it reads");
    stdout.read_to_end(&mut said).expect("it ends");
    let said = String::from_utf8(said).expect("UTF-8");
    child.wait().expect("it ends");
    assert!(said.contains("the password cannot be read: interrupted"), "{said}");
    let words: Vec<&str> = said.split_ascii_whitespace().collect();
    assert!(words.contains(&"echo") && words.contains(&"icanon"), "{said}");
    assert!(!PathBuf::from(file).exists());
}

/// CONNECT of 3.1.1, and the return code of its CONNACK.
fn return_code(broker: &Broker, client: &str, user: Option<&str>, password: Option<&str>) -> u8 {
    let field = |text: &str| {
        let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    let flags = 2 | u8::from(user.is_some()) << 7 | u8::from(password.is_some()) << 6;
    let mut body = [field("MQTT"), vec![4, flags, 0, 60], field(client)].concat();
    for text in [user, password].into_iter().flatten() {
        body.extend(field(text));
    }
    let mut stream = TcpStream::connect(broker.addresses()[0]).expect("it listens");
    let mut packet = vec![0x10, u8::try_from(body.len()).expect("short")];
    packet.extend(body);
    stream.write_all(&packet).expect("it reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer[..3], [0x20, 2, 0]);
    answer[3]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_lets_in_who_knows_the_password() {
    let file = path("broker-users");
    passwd("create", &file, "ann", "secret-1");
    let yaml = |auth: &str| {
        format!(
            "listeners: {{default: {{bind: '127.0.0.1:0'}}}}\nauth: {{{auth}, password-file: '{file}'}}"
        )
    };
    let closed = Broker::from_yaml(&yaml("plugins: [auth_file]")).expect("good").start().await;
    let closed = closed.expect("it starts");
    let both = Broker::from_yaml(&yaml("allow-anonymous: true")).expect("good").start().await;
    let both = both.expect("it starts");
    for (user, password, wants) in [
        (None, None, [5, 0]),
        (Some("ann"), None, [5, 5]),
        (Some("ann"), Some("secret-1"), [0, 0]),
        (Some("ann"), Some("secret-2"), [5, 5]),
        (Some("bob"), Some("secret-1"), [5, 5]),
        (Some(""), None, [5, 0]),
    ] {
        for (broker, want) in [&closed, &both].into_iter().zip(wants) {
            let client = format!("{user:?} {password:?}");
            assert_eq!(return_code(broker, &client, user, password), want, "{client}");
        }
    }
    assert!(closed.shut_down_and_wait().await);
    assert!(both.shut_down_and_wait().await);
}

#[tokio::test]
async fn a_broker_does_not_start_without_the_file_that_it_needs() {
    let missing = path("missing-users");
    let broken = path("broken-users");
    std::fs::write(&broken, "# users\nann:plain-text\n").expect("a temporary file");
    for (file, want) in [(&missing, "cannot be read"), (&broken, "broken-users:2: user \"ann\"")] {
        let yaml = format!(
            "listeners: {{default: {{bind: '127.0.0.1:0'}}}}\n\
             auth: {{plugins: [auth_file], password-file: '{file}'}}"
        );
        let started = Broker::from_yaml(&yaml).expect("good").start().await;
        let error = started.expect_err("it must not start").to_string();
        assert!(error.contains(want) && !error.contains("plain-text"), "{error}");
    }
}
