//! `stormpetrel passwd`: makes and mends password files.
//!
//! A file is replaced as a whole, so that a broker that starts meanwhile reads the old or the new
//! one. Passwords come from the terminal, unseen, or from the first line of the standard input.
//! What the lines mean is in the library's `access/`.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use stormpetrel::access::{Hash, Passwords};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Makes a new file with one user.
    Create(User),
    /// Adds a user, or gives one another password.
    Add(User),
    /// Removes a user.
    Delete(User),
    /// Says whether a password is the user's. Exit codes: 0 if it is, 1 if it is not or there is
    /// no such user, 2 if the file cannot be read.
    Verify(User),
}

#[derive(Debug, Args)]
pub(crate) struct User {
    /// The password file.
    file: PathBuf,
    /// The user name.
    user: String,
}

/// What comes of an action.
pub(crate) enum Answer {
    /// It is done, or the password is the user's.
    Yes,
    /// The password is not the user's.
    No,
    /// There is nothing to look into.
    NoFile,
}

/// Does it, and says why not.
pub(crate) fn run(action: &Action) -> anyhow::Result<Answer> {
    match action {
        Action::Create(target) => {
            check_name(&target.user)?;
            let is_there = target.file.try_exists().context("the file cannot be looked for")?;
            ensure!(!is_there, "{} is there already; `passwd add` adds to it", target.show());
            let line = line_for(&target.user)?;
            replace(&target.file, &format!("{line}\n"))?;
        }
        Action::Add(target) => {
            check_name(&target.user)?;
            let old = target.read()?;
            let line = line_for(&target.user)?;
            replace(&target.file, &with_line(&old, &target.user, Some(&line)))?;
        }
        Action::Delete(target) => {
            let old = target.read()?;
            ensure!(has_user(&old, &target.user), "{} has no such user", target.show());
            replace(&target.file, &with_line(&old, &target.user, None))?;
        }
        Action::Verify(target) => return verify(target),
    }
    Ok(Answer::Yes)
}

/// Says whether a password is the user's.
fn verify(target: &User) -> anyhow::Result<Answer> {
    let file = target.show();
    let read = || Ok(Passwords::parse(&target.read()?, &file)?);
    let passwords = match read() {
        Ok(passwords) => passwords,
        Err(error) => {
            let error: anyhow::Error = error;
            say(&format!("{error:#}"))?;
            return Ok(Answer::NoFile);
        }
    };
    if !passwords.has(&target.user) {
        say(&format!("{file} has no such user"))?;
        return Ok(Answer::No);
    }
    if !passwords.verify(&target.user, ask("Password: ")?.as_bytes()) {
        say(&format!("{file}: the password is not the user's"))?;
        return Ok(Answer::No);
    }
    Ok(Answer::Yes)
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(io::stderr(), "stormpetrel: {line}").context("it cannot be written")
}

impl User {
    fn show(&self) -> String {
        self.file.display().to_string()
    }

    fn read(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.file).with_context(|| format!("{} cannot be read", self.show()))
    }
}

/// A name that the file could not hold is refused.
fn check_name(user: &str) -> anyhow::Result<()> {
    let is_good = !user.is_empty()
        && !user.starts_with('#')
        && user.trim() == user
        && !user.contains(|c: char| c == ':' || c.is_control());
    ensure!(
        is_good,
        "a user name is not empty, does not begin with `#`, and holds no `:`, no control \
         character and no space at its ends"
    );
    Ok(())
}

fn line_for(user: &str) -> anyhow::Result<String> {
    let password = ask("Password: ")?;
    ensure!(!password.is_empty(), "the password is empty");
    ensure!(password.len() <= Hash::PASSWORD_BYTES_MAX, "the password is longer than 1,024 bytes");
    if io::stdin().is_terminal() {
        ensure!(password == ask("Again: ")?, "the two passwords are not the same");
    }
    let hash = Hash::make(password.as_bytes()).context("the system gives no randomness")?;
    Ok(format!("{user}:{hash}"))
}

/// Asks for a password, unseen; where nobody sits at a terminal, takes a line.
fn ask(prompt: &str) -> anyhow::Result<String> {
    if io::stdin().is_terminal() {
        return ask_at_terminal(prompt).context("the password cannot be read");
    }
    let mut line = String::new();
    let bytes = io::stdin().read_line(&mut line).context("the password cannot be read")?;
    if bytes == 0 {
        bail!("no password is given on the standard input");
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// ^C gives an error: who asks would be killed by its signal, and leave the terminal without echo.
fn ask_at_terminal(prompt: &str) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    let _caught = signal(SignalKind::interrupt())?;
    rpassword::prompt_password(prompt)
}

/// Whether the line of a file is this user's.
fn is_of(line: &str, user: &str) -> bool {
    let line = line.trim();
    !line.starts_with('#') && line.split_once(':').is_some_and(|(name, _)| name == user)
}

fn has_user(text: &str, user: &str) -> bool {
    text.lines().any(|line| is_of(line, user))
}

/// The text of a file with another line for this user, or none; every other line stays.
fn with_line(text: &str, user: &str, new: Option<&str>) -> String {
    let mut new = new;
    let mut lines = Vec::new();
    for line in text.lines() {
        if is_of(line, user) {
            lines.extend(new.take());
        } else {
            lines.push(line);
        }
    }
    lines.extend(new);
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Replaces a file at once, or not at all. The new one has the old one's owner, group and mode, so
/// that a broker which runs as a user of its own can still read it; one that was not there is for
/// its owner alone.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    // Behind a link, so that the link stays one. A link to nothing is replaced itself.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let place = path.display();
    let old = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found.with_context(|| format!("{place} cannot be looked at"))?),
    };
    let mut name = path.file_name().context("the path names no file")?.to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = path.with_file_name(name);
    let written = write_new(&new, text, old.as_ref())
        .and_then(|()| fs::rename(&new, &path).context("it cannot be renamed"));
    if written.is_err() {
        // What went wrong is said; that this fails too, nobody needs to know.
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| match old {
        Some(_) => format!("{place} is as it was, and cannot be written"),
        None => format!("{place} cannot be written"),
    })?;
    // Without it, a power failure may bring the old file back, and a deleted user with it.
    sync_folder(&path).with_context(|| {
        format!(
            "{place} is written, but a power failure may undo that: its folder cannot be synced"
        )
    })
}

/// Writes a file that is not there yet, and gives it the owner and the mode of the old one.
fn write_new(path: &Path, text: &str, old: Option<&Metadata>) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = old {
        keep_owner(&file, old)?;
        // After the owner, whose change takes bits away; until then nobody else could read it.
        file.set_permissions(old.permissions())?;
    }
    Ok(file.sync_all()?)
}

/// Gives a file the owner and the group of an old one. Others than root may give none away.
fn keep_owner(file: &File, old: &Metadata) -> anyhow::Result<()> {
    let new = file.metadata()?;
    let changed = |new: u32, old: u32| (new != old).then_some(old);
    let (owner, group) = (changed(new.uid(), old.uid()), changed(new.gid(), old.gid()));
    if owner.is_none() && group.is_none() {
        return Ok(());
    }
    fchown(file, owner, group).with_context(|| {
        let (owner, group) = (old.uid(), old.gid());
        format!(
            "its owner (user {owner}, group {group}) cannot be kept; run this as root, or as that \
             user"
        )
    })
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_stay_as_they_are() {
        let text = "# users\na:1\n\n b:2 \n#a:3\na:4\n";
        let cases = [
            ("a", Some("a:9"), "# users\na:9\n\n b:2 \n#a:3\n"),
            ("b", Some("b:9"), "# users\na:1\n\nb:9\n#a:3\na:4\n"),
            ("c", Some("c:9"), "# users\na:1\n\n b:2 \n#a:3\na:4\nc:9\n"),
            ("a", None, "# users\n\n b:2 \n#a:3\n"),
        ];
        for (user, line, want) in cases {
            assert_eq!(with_line(text, user, line), want, "{user} {line:?}");
        }
    }

    #[test]
    fn names_that_a_file_cannot_hold_are_refused() {
        for bad in ["", "#a", "a:b", " a", "a ", "a\nb"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "c@mpl3x", "a b", "ä", "a#"] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }
}
