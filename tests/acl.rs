//! `stormpetrel acl explain` from outside: the answer, the line that decided, the exit code.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

const YAML: &str = "\
listeners: {default: {bind: ':1883'}}
auth: {plugins: [auth_anonymous]}
topic-check:
  enabled: true
  plugins: [topic_acl]
  acl-publish: limit
  acl:
    alice:
      - a/#
      - b
    anonymous: []
rules:
- deny: subscribe
  address: 10.0.0.0/8
- allow: all
";

fn explain(arguments: &str) -> (Option<i32>, String, String) {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let path = FILE.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("acl.yaml");
        std::fs::write(&path, YAML).expect("a temporary file can be written");
        path
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_stormpetrel"));
    command.args(["acl", "explain", "-c"]).arg(path).args(arguments.split(' '));
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let folder = format!("{}/", env!("CARGO_TARGET_TMPDIR"));
    (status.code(), text(stdout).replace(&folder, ""), text(stderr))
}

#[test]
fn the_rules_that_decided_are_printed_with_their_lines() {
    for (arguments, code, want) in [
        ("--user alice publish a/b", 0, "allow: acl.yaml:9: topic-check.acl.alice[0]: a/#"),
        ("--user alice subscribe a/+/c", 1, "deny: acl.yaml:13: rules[0]: deny subscribe"),
        (
            "--user alice --address 192.168.1.1 subscribe a/+/c",
            0,
            "allow: acl.yaml:9: topic-check.acl.alice[0]: a/#\nallow: acl.yaml:15: rules[1]: allow all",
        ),
        ("--user alice receive z", 0, "allow: no rule limits this"),
        (
            "--user alice publish c",
            1,
            "deny: acl.yaml:8: topic-check.acl.alice: no filter for this topic",
        ),
        (
            "--user alice subscribe +/b",
            1,
            "deny: acl.yaml:8: topic-check.acl.alice: no filter for this topic",
        ),
        ("publish b", 1, "deny: acl.yaml:11: topic-check.acl.anonymous: no filter for this topic"),
        ("--user bob publish b", 1, "deny: acl.yaml:7: topic-check.acl: no entry for this user"),
        (
            "--user alice --client-id c --address 10.1.1.1 subscribe $share/g/b",
            1,
            "deny: acl.yaml:13: rules[0]: deny subscribe",
        ),
        ("--user alice publish $SYS/x", 1, "deny: only the broker publishes to $SYS"),
    ] {
        let (got, stdout, stderr) = explain(arguments);
        assert_eq!((got, stdout.trim_end()), (Some(code), want), "{arguments}\n{stderr}");
    }
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    for (arguments, want) in [
        ("publish a/#", "\"a/#\" is no topic"),
        ("subscribe a#", "'#' must be the whole last level"),
        ("eat a", "invalid value 'eat'"),
    ] {
        let (code, stdout, stderr) = explain(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(want), "{stderr}");
    }
}
