//! The disk as the log sees it: the seam where a simulator takes the place of the file system.
//!
//! Only a trait: files in one directory, by name. `files.rs` is the real one; the simulator
//! brings its own, which crashes, fails, fills up and lies.

use std::future::Future;
use std::io;

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Without any path.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// For whom a directory is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// For one process that reads and writes.
    Write,
    /// For those that only read.
    Read,
}

/// Files in one directory.
///
/// What may take long is a future. On real files it is ready when it returns, because the task
/// that uses it has a thread of its own.
pub trait Disk {
    /// An open file.
    type File;

    /// Where it is, for messages.
    fn place(&self) -> String;

    /// Locks the directory until this is dropped. Locking again changes nothing.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process holds it.
    fn lock(&self, lock: Lock) -> io::Result<()>;

    /// Bytes that may still be written; none if that is not known. Asked often: it must not take
    /// long.
    fn free(&self) -> Option<u64> {
        None
    }

    /// The plain files that are there, in any order.
    ///
    /// # Errors
    /// The file system's.
    fn list(&self) -> io::Result<Vec<Entry>>;

    /// A new, empty file, for reading and writing.
    ///
    /// # Errors
    /// The file system's; there is one of that name.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// A file that is there, for reading and syncing.
    ///
    /// # Errors
    /// The file system's.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Reads into the whole of `into`, from an offset on; less only at the end of the file. How
    /// many bytes were read.
    ///
    /// # Errors
    /// The file system's; then nothing in `into` means anything.
    fn read(&self, file: &Self::File, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all bytes at an offset, at most the file's length.
    ///
    /// # Errors
    /// The file system's; any part of the bytes may have been written then.
    fn write(
        &self,
        file: &Self::File,
        offset: u64,
        bytes: &[u8],
    ) -> impl Future<Output = io::Result<()>>;

    /// Makes what was written durable, with the file's length.
    ///
    /// # Errors
    /// The file system's; what was written since the last sync may be lost then, even if a later
    /// sync succeeds.
    fn sync(&self, file: &Self::File) -> impl Future<Output = io::Result<()>>;

    /// Makes durable which files there are, and their names.
    ///
    /// # Errors
    /// The file system's.
    fn sync_directory(&self) -> impl Future<Output = io::Result<()>>;

    /// Gives a file another name, in the place of any that has it.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Its bytes are free once nobody has it open.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, name: &str) -> io::Result<()>;
}
