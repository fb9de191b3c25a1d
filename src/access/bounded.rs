//! Files of a bounded size: whatever a path leads to, memory has an end.

use std::fs::File;
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

/// What to do about a file that cannot be read.
pub(super) fn mend_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidData => "save it as UTF-8",
        io::ErrorKind::FileTooLarge => "check that it is the right file",
        io::ErrorKind::PermissionDenied => "let the user read it that the broker runs as",
        _ => "check its path, which is relative to the folder where the broker was started",
    }
}
