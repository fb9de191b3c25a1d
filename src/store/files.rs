//! The disk in production: plain files in one directory, by the standard library.
//!
//! Everything blocks, so that whoever uses it needs a thread of its own. Files are for their
//! owner alone. Symbolic links are not followed: a new file must not be there already, and one
//! that is opened must be plain.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::future::{Future, ready};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, Entry, Lock};

/// The file that is locked.
const LOCK: &str = "lock";

/// A directory of the file system.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    lock: RefCell<Option<File>>,
}

impl Files {
    /// The directory, which is made, for its owner alone, if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or is something else.
    pub fn create(directory: &Path) -> io::Result<Files> {
        if !directory.is_dir() {
            let missing: Vec<&Path> = missing(directory).collect();
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(directory)?;
            for made in missing.into_iter().rev() {
                if let Some(parent) = made.canonicalize()?.parent() {
                    sync_directory(parent)?;
                }
            }
        }
        Files::open(directory)
    }

    /// A directory that is there.
    ///
    /// # Errors
    /// It is not there, or is something else.
    pub fn open(directory: &Path) -> io::Result<Files> {
        if !fs::metadata(directory)?.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        Ok(Files { directory: directory.to_owned(), lock: RefCell::new(None) })
    }

    /// The path of a file that is plain.
    fn plain(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.directory.join(name);
        match fs::symlink_metadata(&path)?.is_file() {
            true => Ok(path),
            false => Err(io::Error::other(format!("{name} is no plain file"))),
        }
    }

    /// The file to lock, made if there is none; none where only reading is meant.
    fn lock_file(&self, lock: Lock) -> io::Result<Option<File>> {
        // Some network file systems lock a file for one only where it may be written.
        let open = |path: PathBuf| {
            OpenOptions::new().read(true).write(lock == Lock::Write).open(path).map(Some)
        };
        match self.plain(LOCK) {
            Ok(path) => open(path),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) if lock == Lock::Read => Ok(None),
            Err(_) => match new_file(&self.directory.join(LOCK)) {
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    open(self.plain(LOCK)?)
                }
                made => made.map(Some),
            },
        }
    }
}

impl Disk for Files {
    type File = File;

    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn lock(&self, lock: Lock) -> io::Result<()> {
        let mut held = self.lock.borrow_mut();
        if held.is_some() {
            return Ok(());
        }
        let Some(file) = self.lock_file(lock)? else { return Ok(()) };
        let locked = match lock {
            Lock::Write => file.try_lock(),
            Lock::Read => file.try_lock_shared(),
        };
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        *held = Some(file);
        Ok(())
    }

    /// What those who are not root may use; none where the file system does not say how large it is.
    /// A quota that it does not tell of is not known here: what it refuses is full then.
    #[cfg(unix)]
    fn free(&self) -> Option<u64> {
        let about = rustix::fs::statvfs(&self.directory).ok()?;
        (about.f_blocks > 0).then(|| about.f_bavail.saturating_mul(about.f_frsize))
    }

    fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let about = entry.metadata()?; // of a link, not of what it leads to
            if let (true, Ok(name)) = (about.is_file(), entry.file_name().into_string()) {
                entries.push(Entry { name, bytes: about.len() });
            }
        }
        Ok(entries)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        new_file(&self.directory.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.plain(name)?)
    }

    fn read(&self, file: &File, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match read_at(file, &mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write(
        &self,
        file: &File,
        offset: u64,
        bytes: &[u8],
    ) -> impl Future<Output = io::Result<()>> {
        ready(write_all_at(file, bytes, offset))
    }

    /// Without times: a length that has changed is part of the data.
    fn sync(&self, file: &File) -> impl Future<Output = io::Result<()>> {
        ready(file.sync_data())
    }

    fn sync_directory(&self) -> impl Future<Output = io::Result<()>> {
        ready(sync_directory(&self.directory))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }
}

impl Drop for Files {
    /// Unlocks at once, also if a child that is just being started has the file open too.
    fn drop(&mut self) {
        if let Some(file) = self.lock.get_mut() {
            let _ = file.unlock(); // closing does the same, if nobody else has it open
        }
    }
}

/// The directories of this path that are not there, the innermost first.
fn missing(directory: &Path) -> impl Iterator<Item = &Path> {
    let here = |path: &&Path| path.as_os_str().is_empty() || path.is_dir();
    directory.ancestors().take_while(move |path| !here(path))
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere a directory is no file that can be synced.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

#[cfg(windows)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, into, offset)
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        done += std::os::windows::fs::FileExt::seek_write(file, &bytes[done..], at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_that_is_made_is_made_durable() {
        let there = std::env::temp_dir();
        let inner = there.join("stormpetrel-is-not-there").join("nor-is-this");
        let outer = inner.parent().expect("it has one");
        assert_eq!(missing(&inner).collect::<Vec<_>>(), [inner.as_path(), outer]);
        assert_eq!(missing(&there).next(), None);
        let relative = Path::new("stormpetrel-is-not-there");
        assert_eq!(missing(relative).collect::<Vec<_>>(), [relative]);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_system_says_how_much_is_free() {
        let files = Files::open(&std::env::temp_dir()).expect("it is there");
        assert!(files.free().is_some_and(|free| free > 0));
    }
}
