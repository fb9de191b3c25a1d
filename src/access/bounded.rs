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
        true => Err(io::Error::other(format!("larger than {shown}"))),
        false => Ok(bytes),
    }
}
