//! Files that a configuration names. Of a bounded size: whatever a path leads to, memory has an end.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// All bytes of a file.
///
/// # Errors
/// It cannot be read, or has more than `bytes_max`, which people call `shown`.
pub(crate) fn read(path: &Path, bytes_max: u64, shown: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {shown}"))),
        false => Ok(bytes),
    }
}

/// The text of a file.
///
/// # Errors
/// As those of [`read`]; and it is not UTF-8.
pub(crate) fn read_text(path: &Path, bytes_max: u64, shown: &str) -> io::Result<String> {
    String::from_utf8(read(path, bytes_max, shown)?).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8")
    })
}

/// What users other than its owner and group may do with a file, if they may do anything.
#[cfg(unix)]
pub(crate) fn open_to_others(about: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::PermissionsExt;
    match about.permissions().mode() & 0o006 {
        0 => None,
        0o004 => Some("read"),
        _ => Some("write to"),
    }
}

#[cfg(not(unix))]
pub(crate) fn open_to_others(_: &Metadata) -> Option<&'static str> {
    None
}

/// What to do about a file that cannot be read.
pub(super) fn mend_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidData => "save it as UTF-8",
        io::ErrorKind::FileTooLarge => "check that it is the right file",
        io::ErrorKind::PermissionDenied => "let the user read it that the broker runs as",
        _ => "check its path, which is relative to the folder where the broker was started",
    }
}
