//! Room that is kept for a full disk: a file of zeros that is given up when nothing else is free.
//!
//! What frees memory and disk (acknowledgements, and the end of sessions) must be written too. It
//! goes on in the room that this leaves. The log decides when.

use std::io;

use super::disk::Disk;
use crate::plant::{self, Plant};

/// The file's name.
pub(crate) const NAME: &str = "reserve";

/// Bytes written at once.
const CHUNK: usize = 1 << 20;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The reserve is there, untouched.
    Plenty,
    /// The disk is full, and the reserve is given up, or could not be made yet: only what frees
    /// room should be written.
    Low,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Reserve {
    bytes: u64,
    is_held: bool,
}

impl Reserve {
    /// Of so many bytes, of which so many are there.
    pub(crate) fn new(bytes: u64, there: u64) -> Reserve {
        Reserve { bytes, is_held: there >= bytes }
    }

    pub(crate) fn room(&self) -> Room {
        if self.is_held { Room::Plenty } else { Room::Low }
    }

    /// Makes it, if it is not there.
    pub(crate) async fn take<D: Disk>(&mut self, disk: &D) -> io::Result<()> {
        if self.is_held {
            return Ok(());
        }
        remove(disk)?;
        if let Err(error) = write(disk, self.bytes).await {
            // Left there, it would be in the way; the next attempt removes it too.
            let _ = remove(disk);
            return Err(error);
        }
        self.is_held = true;
        Ok(())
    }

    /// Gives it up. Whether that frees anything.
    pub(crate) async fn give_up<D: Disk>(&mut self, disk: &D) -> io::Result<bool> {
        if !self.is_held || self.bytes == 0 {
            return Ok(false);
        }
        remove(disk)?;
        self.is_held = false;
        disk.sync_directory().await?;
        Ok(true)
    }
}

async fn write<D: Disk>(disk: &D, bytes: u64) -> io::Result<()> {
    let file = disk.create(NAME)?;
    let noise = noise(CHUNK.min(bytes as usize));
    let mut at = if plant::is_on(Plant::ReserveEmpty) { bytes } else { 0 };
    while at < bytes {
        let chunk = (bytes - at).min(noise.len() as u64);
        disk.write(&file, at, &noise[..chunk as usize]).await?;
        at += chunk;
    }
    disk.sync(&file).await?;
    disk.sync_directory().await
}

/// Bytes that take as much room wherever they are: a file system that compresses keeps nothing
/// free for zeros. By xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(count).collect()
}

fn remove<D: Disk>(disk: &D) -> io::Result<()> {
    match disk.remove(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
