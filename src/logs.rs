//! Where the lines of the log go: into a queue, and from there to the standard error.
//!
//! A thread of its own writes them, so that nobody else ever waits for who reads the log, or
//! fails with what cannot be written. What there is no room for is left out, and how much that
//! was is said as soon as something can be written again. What a line says is decided elsewhere.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::warn;

/// Bytes that wait to be written, but for a single line that is longer.
const BYTES_MAX: usize = 1 << 20;
/// How long the end of the program waits for what is queued.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Pause before the next attempt where a full pipe is an error instead of a wait.
const RETRY: Duration = Duration::from_millis(20);

/// The way to the standard error. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Something is queued.
    filled: Condvar,
    /// All is written, or given up.
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// The writer has taken something, and is not back.
    is_writing: bool,
    /// Lines that were left out, or could not be written, since the start.
    lost: u64,
}

impl Lines {
    /// Starts the thread that writes.
    pub(crate) fn start() -> io::Result<Lines> {
        // Not the one with the lock: whoever else says something there must not wait for it.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let lines = Lines::new();
        let writer = Writer::new(&lines, Box::new(stderr));
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.work())?;
        Ok(lines)
    }

    fn new() -> Lines {
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        Lines(Arc::new(Shared { queue: Mutex::default(), filled, emptied }))
    }

    /// Has panics told here too: one that waits for the reader of the log would not end anything.
    pub(crate) fn take_panics(&self) {
        let lines = self.clone();
        panic::set_hook(Box::new(move |panic| {
            lines.push(last_words(panic).as_bytes());
            lines.flush();
        }));
    }

    /// Queues whole lines; leaves them out if there is no room. Never waits for the reader.
    pub(crate) fn push(&self, lines: &[u8]) {
        let mut queue = self.queue();
        let was_empty = queue.waiting.is_empty();
        if !was_empty && queue.waiting.len() + lines.len() > BYTES_MAX {
            queue.lost += count(lines);
            return;
        }
        queue.waiting.extend_from_slice(lines);
        drop(queue);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Waits until all is written, but not for long.
    pub(crate) fn flush(&self) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        drop(self.0.emptied.wait_timeout_while(self.queue(), LAST_WORDS, is_busy));
    }

    /// For the writer: waits for something to write.
    fn take(&self) -> Vec<u8> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            queue.is_writing = false;
            self.0.emptied.notify_all();
        }
        let waited = self.0.filled.wait_while(queue, |queue| queue.waiting.is_empty());
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        queue.is_writing = true;
        std::mem::take(&mut queue.waiting)
    }

    /// So many lines more are lost.
    fn lose(&self, lines: u64) {
        self.queue().lost += lines;
    }

    /// How many lines are lost; none if there is no room to say so.
    fn lost(&self) -> Option<u64> {
        let queue = self.queue();
        queue.waiting.is_empty().then_some(queue.lost)
    }

    /// No code that can panic runs under this lock.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is written goes to the queue, and that never fails: there is nobody who could be told.
impl Write for Lines {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what is queued, for as long as the process lives.
struct Writer {
    lines: Lines,
    out: Box<dyn Write + Send>,
    /// What was written last ends in the middle of a line.
    is_torn: bool,
    /// What was to be written last could not be.
    has_failed: bool,
    /// Of so many lost lines the log speaks.
    told: u64,
}

impl Writer {
    fn new(lines: &Lines, out: Box<dyn Write + Send>) -> Writer {
        Writer { lines: lines.clone(), out, is_torn: false, has_failed: false, told: 0 }
    }

    fn work(mut self) {
        loop {
            let batch = self.lines.take();
            // What there was no room for is missing just here, and now there is room.
            self.tell_lost();
            let unwritten = self.write(&batch);
            self.has_failed = unwritten > 0;
            self.lines.lose(unwritten);
            self.tell_lost();
        }
    }

    /// Says how many lines are lost, if that was not said. While nothing can be written, it would
    /// be in vain, again and again.
    fn tell_lost(&mut self) {
        let Some(lost) = self.lines.lost().filter(|lost| !self.has_failed && *lost > self.told)
        else {
            return;
        };
        let count = lost - self.told;
        warn!(count, "lines of the log are lost: {lost} since the start");
        self.told = lost;
    }

    /// Writes lines. How many of them it could not.
    fn write(&mut self, lines: &[u8]) -> u64 {
        // The line that was torn is lost already; this one must not become part of it.
        if self.is_torn && !self.put(b"\n").is_empty() {
            return count(lines);
        }
        count(self.put(lines))
    }

    /// Writes what it can; what is left then.
    fn put<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(0) => break,
                Ok(written) => {
                    self.is_torn = bytes[written - 1] != b'\n';
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(_) => break,
            }
        }
        bytes
    }
}

/// How many lines end there.
fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// What is said of a panic: as much as without us.
fn last_words(panic: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let mut words = format!("\nthread '{}' {panic}\n", thread.name().unwrap_or("<unnamed>"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        words.push_str(&format!("stack backtrace:\n{backtrace}\n"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes each time, and then an error; none is for ever.
    struct Script(Arc<Mutex<Vec<u8>>>, Vec<Result<usize, ErrorKind>>);

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let next = if self.1.is_empty() { Ok(usize::MAX) } else { self.1.remove(0) };
            let written = next?.min(bytes.len());
            self.0.lock().expect("no panic").extend_from_slice(&bytes[..written]);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_tears_no_other_line() {
        let full = || Err(ErrorKind::StorageFull);
        for (script, want, lost) in [
            (vec![], "one\ntwo\nthree\n", 0),
            (vec![full()], "three\n", 2),
            (vec![Ok(4), full()], "one\nthree\n", 1),
            (vec![Ok(6), full()], "one\ntw\nthree\n", 1),
            (vec![Ok(2), full()], "on\nthree\n", 2),
            (vec![Ok(2), full(), full()], "on", 3),
            (vec![Ok(2), Ok(0)], "on\nthree\n", 2),
            (vec![Ok(2), Err(ErrorKind::Interrupted)], "one\ntwo\nthree\n", 0),
            (vec![Ok(2), Err(ErrorKind::WouldBlock)], "one\ntwo\nthree\n", 0),
        ] {
            let written = Arc::default();
            let out = Box::new(Script(Arc::clone(&written), script));
            let mut writer = Writer::new(&Lines::new(), out);
            let unwritten = writer.write(b"one\ntwo\n") + writer.write(b"three\n");
            assert_eq!(*written.lock().expect("no panic"), want.as_bytes());
            assert_eq!(unwritten, lost, "{want}");
        }
    }

    #[test]
    fn a_full_queue_leaves_lines_out_and_counts_them() {
        let lines = Lines::new();
        let long = [vec![b'x'; BYTES_MAX], b"\n".to_vec()].concat();
        lines.push(&long); // too long, and alone
        lines.push(b"one\n");
        lines.push(b"two\n");
        assert_eq!(lines.take().len(), long.len());
        assert_eq!(lines.lost(), Some(2));
        lines.push(b"three\n");
        assert_eq!(lines.lost(), None);
        assert_eq!(lines.take(), b"three\n");
        lines.lose(1);
        assert_eq!(lines.lost(), Some(3));
    }

    #[test]
    fn a_panic_is_told_where_lines_go() {
        let (lines, written) = (Lines::new(), Arc::default());
        let writer = Writer::new(&lines, Box::new(Script(Arc::clone(&written), Vec::new())));
        let start = |name: &str| thread::Builder::new().name(name.to_owned());
        start("log").spawn(move || writer.work()).expect("a thread starts");
        lines.take_panics();
        let fails = start("unlucky").spawn(|| panic!("bad luck")).expect("a thread starts");
        assert!(fails.join().is_err());
        drop(panic::take_hook());
        let text = String::from_utf8(written.lock().expect("no panic").clone()).expect("UTF-8");
        assert!(text.starts_with("\nthread 'unlucky' panicked at src/logs.rs:"), "{text}");
        assert!(text.contains(":\nbad luck\n"), "{text}");
    }
}
