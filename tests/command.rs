//! The command from outside: what it prints, where, and the code that it exits with.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

fn stormpetrel(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stormpetrel"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = stormpetrel(arguments).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// A configuration in a file of its own.
fn file(name: &str, yaml: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, yaml).expect("a temporary file can be written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn check_prints_the_meaning_of_a_good_configuration() {
    let path = file("good.yaml", "listeners: {a: {bind: ':1884'}}\nfrobnicate: 1\n");
    let (code, stdout, stderr) = output(&["check", &path]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("listeners:\n  a:\n    bind: '*:1884'\n"), "{stdout}");
    assert!(stderr.contains(&format!("warning: {path}:2:1: frobnicate: ")), "{stderr}");
}

#[test]
fn check_warns_of_what_is_dangerous_and_reads_the_password_file() {
    let users = file("dangers.passwd", "");
    let auth = |users: &str| format!("auth: {{plugins: [auth_file], password-file: '{users}'}}\n");
    let yaml = |users: &str| format!("listeners: {{a: {{bind: ':1884'}}}}\n{}", auth(users));
    std::fs::set_permissions(&users, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("it is ours");
    let path = file("dangers.yaml", &yaml(&users));
    let (code, _, stderr) = output(&["check", &path]);
    assert_eq!(code, Some(0), "{stderr}");
    for want in [
        format!("warning: {path}: listeners.a: danger: passwords cross the network as they are; "),
        format!("warning: {users}: every user of this machine can read the password file; "),
    ] {
        assert!(stderr.lines().any(|line| line.starts_with(&want)), "{want}\n{stderr}");
    }
    let path = file("dangers-missing.yaml", &yaml("/no/such/file"));
    let (code, _, stderr) = output(&["check", &path]);
    assert_eq!(code, Some(2));
    let want = format!("error: {path}: auth.password-file: /no/such/file: cannot be read");
    assert!(stderr.contains(&want), "{stderr}");
}

/// By `check` and by the start.
#[test]
fn a_data_directory_that_others_can_write_to_is_warned_of_and_a_file_refused() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("everybody's");
    std::fs::create_dir_all(&folder).expect("it can be made");
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("it is ours");
    let path = file("everybodys.yaml", &format!("data-dir: \"{}\"\n", folder.display()));
    let (code, _, stderr) = output(&["check", &path]);
    assert_eq!(code, Some(0), "{stderr}");
    let want = format!("warning: {path}: data-dir: danger: every user of this machine can write");
    assert!(stderr.lines().any(|line| line.starts_with(&want)), "{want}\n{stderr}");
    let path = file("no-directory.yaml", &format!("data-dir: '{path}'\n"));
    for (arguments, start) in
        [(["check", &*path], "error: "), (["--config", &*path], "stormpetrel: ")]
    {
        let (code, stdout, stderr) = output(&arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        let want = format!("{start}{path}: data-dir: ");
        assert!(stderr.lines().any(|line| line.starts_with(&want)), "{want}\n{stderr}");
    }
}

/// By `check` and by the start: all files at once, each under its key.
#[test]
fn every_file_that_cannot_be_used_is_named_and_exits_with_2() {
    let key = file("no-key.pem", "a secret\n");
    let yaml = format!(
        "listeners: {{a: {{bind: '127.0.0.1:0', ssl: on, certfile: /no/cert, keyfile: /no/key}}, \
         b: {{bind: '127.0.0.1:0', ssl: on, certfile: /no/b, keyfile: '{key}', cafile: /no/ca}}}}\n\
         auth: {{plugins: [auth_file, auth_jwt], password-file: /no/users, \
         jwt: {{algorithm: ES256, public-key-file: '{key}'}}}}\n"
    );
    let path = file("files.yaml", &yaml);
    for (arguments, start) in
        [(["check", &*path], "error: "), (["--config", &*path], "stormpetrel: ")]
    {
        let (code, stdout, stderr) = output(&arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        for want in [
            "listeners.a.certfile: /no/cert cannot be read: No such file or directory",
            "listeners.a.keyfile: /no/key cannot be read: No such file or directory",
            "listeners.b.certfile: /no/b cannot be read: No such file or directory",
            &format!("listeners.b.keyfile: there is no private key in PEM in {key}"),
            "listeners.b.cafile: /no/ca cannot be read: No such file or directory",
            "auth.password-file: /no/users: cannot be read: No such file or directory",
            &format!("auth.jwt.public-key-file: {key}: the key for tokens: ES256 takes a public"),
        ] {
            let want = format!("{start}{path}: {want}");
            assert!(stderr.lines().any(|line| line.starts_with(&want)), "{want}\n{stderr}");
        }
    }
}

#[test]
fn check_exits_with_2_and_names_every_problem_of_a_bad_configuration() {
    let path = file("bad.yaml", "listeners: {a: {bind: x:y, ssl: on}}\nmax-qos: 3\nodd: 1\n");
    let (code, stdout, stderr) = output(&["check", &path]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    for start in
        ["error: PATH:1:17: ", "error: PATH:1:28: ", "error: PATH:2:1: ", "warning: PATH:3:1"]
    {
        let start = start.replace("PATH", &path);
        assert!(stderr.lines().any(|line| line.starts_with(&start)), "{start}\n{stderr}");
    }
}

#[test]
fn a_bad_or_missing_configuration_never_starts_a_broker() {
    let path = file("syntax.yaml", "listeners: [\n");
    for (path, want) in [(path.as_str(), "not valid YAML"), ("/nowhere.yaml", "cannot be read")] {
        let (code, stdout, stderr) = output(&["-c", path]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.starts_with(&format!("stormpetrel: {path}")), "{stderr}");
        assert!(stderr.contains(want), "{stderr}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in [&["--frobnicate"] as &[&str], &["check"], &["--log-format", "xml"]] {
        let (code, _, stderr) = output(arguments);
        assert_eq!(code, Some(2), "{stderr}");
    }
}

#[test]
fn version_and_help_go_to_the_standard_output() {
    let (code, stdout, _) = output(&["--version"]);
    assert_eq!((code, stdout), (Some(0), format!("stormpetrel {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, stdout, _) = output(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("--config"), "{stdout}");
}

#[test]
fn a_port_in_use_exits_with_1_and_says_which() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let path = file("taken.yaml", &format!("listeners: {{front: {{bind: '{address}'}}}}\n"));
    let (code, _, stderr) = output(&["-c", &path]);
    assert_eq!(code, Some(1), "{stderr}");
    let want = format!("stormpetrel: listeners.front.bind: cannot listen on {address}: Address ");
    assert!(stderr.contains(&want), "{stderr}");
    assert_eq!(stderr.matches("in use").count(), 1, "{stderr}");
}

/// A broker that runs, and what it logs.
struct Running {
    child: Child,
    logs: BufReader<ChildStderr>,
}

impl Running {
    fn start(config: &str) -> Running {
        let mut child =
            stormpetrel(&["-c", config]).stderr(Stdio::piped()).spawn().expect("it runs");
        let logs = BufReader::new(child.stderr.take().expect("piped"));
        let mut running = Running { child, logs };
        running.wait_for("started");
        running
    }

    /// The next line with these words.
    fn wait_for(&mut self, words: &str) -> String {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert_ne!(self.logs.read_line(&mut line).expect("UTF-8"), 0, "ended before {words}");
        }
        line
    }

    fn signal(&self, signal: &str) {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(killed.expect("kill is there").success());
    }

    /// Has it stop.
    fn end(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn signals_that_other_brokers_know_are_harmless() {
    let path = file("usr.yaml", "listeners: {front: {bind: '127.0.0.1:0'}}\n");
    let mut broker = Running::start(&path);
    for (signal, name) in [("-USR1", "SIGUSR1"), ("-USR2", "SIGUSR2")] {
        broker.signal(signal);
        broker.wait_for(name);
    }
    broker.end();
}

/// As while an editor writes it, or on a full disk.
#[test]
fn a_file_that_is_cut_short_when_it_is_read_again_changes_nothing() {
    let users = file("cut.passwd", "");
    let whole = format!(
        "listeners: {{front: {{bind: '127.0.0.1:0'}}}}\nauth: {{plugins: [auth_file], \
         password-file: '{users}'}}\nrules: [{{allow: all, user: ann}}]\n"
    );
    let path = file("cut.yaml", &whole);
    let mut broker = Running::start(&path);
    for lines in 0..3 {
        let cut: String = whole.split_inclusive('\n').take(lines).collect();
        std::fs::write(&path, cut).expect("there is room");
        broker.signal("-HUP");
        let line = broker.wait_for("SIGHUP");
        assert!(line.contains("nothing has changed: "), "{lines} lines: {line}");
        assert!(line.contains("; mend the file, or restart the broker if"), "{line}");
    }
    std::fs::write(&path, whole).expect("there is room");
    broker.signal("-HUP");
    let line = broker.wait_for("SIGHUP");
    assert!(line.contains("are read again"), "{line}");
    broker.end();
}

#[test]
fn a_signal_stops_it_with_code_0() {
    let path = file("any.yaml", "listeners: {front: {bind: '127.0.0.1:0'}}\n");
    for (signal, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        let mut child = stormpetrel(&["-c", &path, "--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut logs = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("started") {
            line.clear();
            assert_ne!(logs.read_line(&mut line).expect("UTF-8"), 0, "ended before it started");
        }
        assert!(line.contains("front 127.0.0.1:"), "{line}");
        let killed = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(killed.expect("kill is there").success());
        let mut rest = String::new();
        logs.read_to_string(&mut rest).expect("UTF-8");
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{rest}");
        assert!(rest.contains(name), "{rest}");
    }
}

#[test]
fn what_nobody_reads_to_the_end_is_not_taken_for_good() {
    let wrong = file("wrong.yaml", "listeners: {front: {bind: 127.0.0.1:0, mode: 9}}\n");
    let (_, writer) = std::io::pipe().expect("a pipe"); // whose reader is gone
    let mut check = stormpetrel(&["check", &wrong]);
    assert_eq!(check.stderr(writer).status().expect("it runs").code(), Some(141));
    let users = file("nobody-reads.passwd", "");
    let (_, writer) = std::io::pipe().expect("a pipe");
    let mut verify = stormpetrel(&["passwd", "verify", &users, "ann"]);
    assert_eq!(verify.stderr(writer).status().expect("it runs").code(), Some(141));
    let (_, writer) = std::io::pipe().expect("a pipe");
    let mut print = stormpetrel(&["completions", "bash"]);
    assert_eq!(print.stdout(writer).status().expect("it runs").code(), Some(0));
}

#[test]
fn completions_are_printed_for_each_shell() {
    for (shell, want) in [
        ("bash", "complete -F _stormpetrel"),
        ("zsh", "#compdef stormpetrel"),
        ("fish", "complete -c stormpetrel"),
    ] {
        let (code, stdout, stderr) = output(&["completions", shell]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(stdout.contains(want) && stdout.contains("passwd"), "{shell}: {stdout}");
    }
    assert_eq!(output(&["completions", "csh"]).0, Some(2));
}

/// `bash` itself completes with the script what is typed.
#[test]
fn bash_completes_with_the_script() {
    let script = output(&["completions", "bash"]).1;
    let path = file("completions.bash", &script);
    let ask = format!(
        "source '{path}'; COMP_WORDS=(stormpetrel passwd v); COMP_CWORD=2; \
         _stormpetrel stormpetrel v passwd; echo \"${{COMPREPLY[@]}}\""
    );
    let answer = Command::new("bash").args(["-c", &ask]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "verify");
}
