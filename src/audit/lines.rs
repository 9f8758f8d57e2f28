//! The sink that writes lines, and who writes them: a thread of its own, or others.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::line;
use super::log_file::LogFile;
use super::queue::{Batch, Queue, Taken, Telling};
use super::written::Writing;
use super::{AuditRecord, AuditSink, Receipt, Unrecorded};
use crate::lock::lock;

/// So many calls may be under way without any being held back. With eight at once, to gather
/// neither saved nor cost anything, and with four it cost.
const FEW: isize = 8;
/// Batches that others write than the thread of its own before they do something else.
const MOST_BATCHES: usize = 3;
/// What takes longer than this is left to the thread of its own.
const SLOW: Duration = Duration::from_millis(5);
/// Bytes for which memory is kept between batches, and between lines.
const MOST_ROOM: usize = 64 << 10;
/// See [`gathering`]. A longer time saved no more.
const GATHERING: Duration = Duration::from_micros(100);

/// Appends records to a file, one JSON object in each line.
///
/// A record counts as recorded once the operating system has it: it survives the
/// end of this process, however sudden, but perhaps not that of the machine. A
/// thread of its own writes, so that a slow disk keeps nobody from anything
/// else, or whoever [promises to](Self::written_by). While more than eight calls
/// are under way, the thread lets records come for 100 µs before it writes them
/// together; fewer are never held back. A stream of events is under way until it
/// begins. When 16 MiB wait for the disk, nothing more is taken. A program that is
/// about to end waits for what is on its way with [`close`](Self::close).
///
/// The file can be rotated at any time: if it was moved away or removed, the next
/// record goes to a new file of the same name. (A rotation that copies the file
/// and then truncates it loses what is written in between.) Several processes may
/// append to one file. On Unix only the owner may read a file that is made here.
///
/// ```no_run
/// use mcp_policy::{JsonLines, Policy, PolicyLayer};
///
/// let policy = Policy::from_path("policy.json")?;
/// let layer = PolicyLayer::new(policy).audit(JsonLines::append_to("audit.jsonl")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JsonLines {
    way: Arc<Way>,
    writers: Option<Writers>,
}

/// Others than the thread of its own that write.
struct Writers {
    ask: Box<dyn Fn(&Write) -> bool + Send + Sync>,
    write: Write,
}

type Write = Arc<dyn Fn() -> WrittenLines + Send + Sync>;

/// Lines that were written by [others](JsonLines::written_by) than the thread of the sink.
///
/// Whoever waits for the last of them is told when this is dropped, and until then does not know
/// that they are written; who closes the sink may have to wait for that, too. Those who wait on
/// this thread are woken by it, which asks nothing of the operating system within a runtime of
/// one thread that drives them. To drop it waits for nobody who writes.
#[must_use = "whoever waits for these lines is told when this is dropped"]
#[derive(Default)]
pub struct WrittenLines(Option<Untold>);

/// A batch of which those who wait for it do not know yet.
struct Untold {
    way: Arc<Way>,
    batch: Batch<Vec<u8>>,
    is_written: bool,
}

impl Drop for WrittenLines {
    fn drop(&mut self) {
        if let Some(untold) = self.0.take() {
            let told = untold.batch.settle_here(untold.is_written);
            untold.way.wake_with_the_next(told);
        }
    }
}

impl fmt::Debug for WrittenLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrittenLines").finish_non_exhaustive()
    }
}

/// The way into the file.
struct Way {
    /// Lines that are on it.
    queue: Queue<Vec<u8>>,
    /// Whether what was written last could not be.
    has_failed: AtomicBool,
    /// Shared by all sinks [beside each other](JsonLines::beside).
    destination: Arc<Destination>,
    /// Apart from what is held while something is written.
    told: Mutex<Told>,
}

/// Where lines go.
struct Destination {
    writer: Mutex<Writer>,
    /// Whether it took long the last time, so that only the threads of their own write.
    is_slow: AtomicBool,
    /// Calls that are decided and have not ended, which they may do on another way. It need not
    /// be exact.
    calls: AtomicIsize,
}

/// What only one at a time does.
struct Writer {
    log: LogFile,
    telling: Telling,
}

/// Those who were told, of whom perhaps not all are awake.
#[derive(Default)]
struct Told {
    /// Of the last batch that others have written, who are woken with the next that others
    /// write.
    last: Option<Writing>,
    /// Whether the thread of its own has ended, so that nothing follows.
    is_over: bool,
}

impl JsonLines {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or no thread can be started.
    pub fn append_to(path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::by(path.into(), Queue::by(usize::MAX))
    }

    fn by(path: PathBuf, queue: Queue<Vec<u8>>) -> io::Result<Self> {
        let writer = Writer {
            log: LogFile::open(path)?,
            telling: Telling::default(),
        };
        let destination = Destination {
            writer: Mutex::new(writer),
            is_slow: AtomicBool::default(),
            calls: AtomicIsize::default(),
        };
        Self::to(Arc::new(destination), queue)
    }

    fn to(destination: Arc<Destination>, queue: Queue<Vec<u8>>) -> io::Result<Self> {
        let way = Arc::new(Way {
            queue,
            has_failed: AtomicBool::default(),
            destination,
            told: Mutex::default(),
        });
        let other_end = Arc::clone(&way);
        thread::Builder::new()
            .name("mcp-policy-audit".to_owned())
            .spawn(move || other_end.write_all())?;
        let writers = None;
        Ok(Self { way, writers })
    }

    /// Lets others write than a thread of its own, for programs of which some threads can do
    /// so between two steps of their work: to wake a thread for a moment costs several times
    /// what it takes to write.
    ///
    /// Whoever records is asked, on its own thread, and handed what writes everything that
    /// waits. With `true` it promises to call that soon, from where it may block: it takes as
    /// long as the disk does, unless somebody else is at it. Until it does, the record counts
    /// as one that is not written; the last of what it wrote does until what it gives is dropped.
    /// With `false` the thread of its own writes.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::sync::Arc;
    /// use mcp_policy::{JsonLines, WrittenLines};
    ///
    /// type Write = Arc<dyn Fn() -> WrittenLines + Send + Sync>;
    ///
    /// thread_local! {
    ///     /// What a thread of this program does when it has nothing else to do.
    ///     static LATER: RefCell<Option<Write>> = const { RefCell::new(None) };
    /// }
    ///
    /// fn main() -> std::io::Result<()> {
    ///     # let folder = tempfile::tempdir()?;
    ///     # let path = folder.path().join("audit.jsonl");
    ///     let lines = JsonLines::append_to(path)?.written_by(|write| {
    ///         LATER.set(Some(Arc::clone(write)));
    ///         true
    ///     });
    ///     // And there, again and again:
    ///     if let Some(write) = LATER.take() {
    ///         let written = write();
    ///         // And here, where what waits for it runs:
    ///         drop(written);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn written_by(
        mut self,
        ask: impl Fn(&Arc<dyn Fn() -> WrittenLines + Send + Sync>) -> bool + Send + Sync + 'static,
    ) -> Self {
        let way = Arc::clone(&self.way);
        self.writers = Some(Writers {
            ask: Box::new(ask),
            write: Arc::new(move || way.write_now()),
        });
        self
    }

    /// Another sink for the same file, with a thread of its own, and nobody else
    /// [who writes](Self::written_by) yet.
    ///
    /// Whoever records in one of them waits for no record of another. Where each
    /// thread that serves calls has its own, none has to wake another for a record. They share
    /// the disk and the 16 MiB that may wait for it, and each is [closed](Self::close) by itself.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    ///
    /// ```
    /// use mcp_policy::JsonLines;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("audit.jsonl");
    /// let first = JsonLines::append_to(path)?;
    /// let second = first.beside()?;
    /// # drop(second);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn beside(&self) -> io::Result<Self> {
        Self::to(Arc::clone(&self.way.destination), self.way.queue.beside())
    }

    /// Waits until everything that it was handed is in the file, for a program that is
    /// about to end. Nothing more is recorded from now on. That takes as long as the
    /// disk does; to drop it does the same, without waiting.
    ///
    /// # Errors
    ///
    /// If what was written last could not be.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use mcp_policy::{JsonLines, Policy, PolicyLayer};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("audit.jsonl");
    /// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
    /// let lines = Arc::new(JsonLines::append_to(path)?);
    /// let layer = PolicyLayer::new(policy).audit(Arc::clone(&lines));
    /// // And when the program has stopped serving:
    /// # futures::executor::block_on(async {
    /// lines.close().await?;
    /// # Ok::<(), mcp_policy::Unrecorded>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn close(&self) -> Result<(), Unrecorded> {
        self.way.queue.close().await
    }
}

impl AuditSink for JsonLines {
    fn record(&self, record: &AuditRecord) -> Receipt {
        with_line(record, |line| self.add(record, line))
    }
}

impl JsonLines {
    fn add(&self, record: &AuditRecord, line: &[u8]) -> Receipt {
        self.way.count(record);
        let writers = self.writers.as_ref();
        let is_slow = &self.way.destination.is_slow;
        let writers = writers.filter(|_| !is_slow.load(Ordering::Relaxed));
        let is_looked_for = writers.is_some_and(|writers| (writers.ask)(&writers.write));
        let add = |lines: &mut Vec<u8>| lines.extend_from_slice(line);
        self.way.queue.push(line.len(), is_looked_for, add)
    }
}

/// What is written of a record, in memory that is used again.
pub(super) fn with_line<T>(record: &AuditRecord, read: impl FnOnce(&[u8]) -> T) -> T {
    thread_local! {
        static MEMORY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // There is none on a thread that is about to end.
    let memory = MEMORY.try_with(Cell::take).unwrap_or_default();
    let mut line = line::json(record, memory);
    line.push(b'\n');
    let result = read(&line);
    if line.capacity() <= MOST_ROOM {
        // Nor is it kept there.
        let _ = MEMORY.try_with(|memory| memory.set(line));
    }
    result
}

/// What is written already is; the writer ends once it has written the rest.
impl Drop for JsonLines {
    fn drop(&mut self) {
        drop(self.way.queue.close());
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").finish_non_exhaustive()
    }
}

impl Way {
    fn count(&self, record: &AuditRecord) {
        let change = match record {
            AuditRecord::Decision(_) => 1,
            AuditRecord::Outcome(_) => -1,
        };
        let calls = &self.destination.calls;
        calls.fetch_add(change, Ordering::Relaxed);
    }

    /// What the thread of its own does.
    fn write_all(&self) {
        // However it ends.
        let _over = Over(self);
        let _taker = self.queue.taker();
        while let Taken::Batch(mut batch) = self.queue.take(None) {
            let is_written = self.write(&mut batch);
            let told = batch.settle(is_written);
            self.queue.leave();
            if let Some(time) = gathering(self.destination.calls.load(Ordering::Relaxed)) {
                thread::sleep(time);
            }
            drop(told);
        }
    }

    /// What others do.
    fn write_now(self: &Arc<Self>) -> WrittenLines {
        let Some(mut batch) = self.queue.take_now() else {
            return WrittenLines::default();
        };
        let taker = self.queue.taker();
        let mut is_written = self.write(&mut batch);
        // What comes meanwhile is looked for by somebody who finds that somebody is at it. The
        // thread does the rest.
        for _ in 1..MOST_BATCHES {
            let Some(mut next) = taker.next() else { break };
            // It may take long, and what is written does not depend on it.
            self.wake_with_the_next(batch.settle(is_written));
            is_written = self.write(&mut next);
            batch = next;
        }
        taker.leave();
        WrittenLines(Some(Untold {
            way: Arc::clone(self),
            batch,
            is_written,
        }))
    }

    /// Has those woken later who are not awake by then, and now those of the batch before.
    fn wake_with_the_next(&self, told: Writing) {
        let mut all = lock(&self.told);
        let before = match all.is_over {
            true => Some(told),
            false => all.last.replace(told),
        };
        drop(all);
        drop(before);
    }

    /// Writes these, and says whether that is done.
    fn write(&self, batch: &mut Batch<Vec<u8>>) -> bool {
        let mut lines = std::mem::take(&mut batch.content);
        let Destination {
            writer, is_slow, ..
        } = &*self.destination;
        let mut writer = lock(writer);
        let Writer { log, telling } = &mut *writer;
        // Who closes the queue waits in a batch, too, but puts nothing into it.
        if !lines.is_empty() {
            let begun = Instant::now();
            let result = log.append(&lines);
            telling.result(&result);
            self.has_failed.store(result.is_err(), Ordering::Relaxed);
            is_slow.store(begun.elapsed() > SLOW, Ordering::Relaxed);
        }
        let is_written = !self.has_failed.load(Ordering::Relaxed);
        drop(writer);
        if lines.capacity() <= MOST_ROOM {
            lines.clear();
            self.queue.make_room(lines);
        }
        is_written
    }
}

/// The thread of a sink, until it ends: nothing follows then with which those would be woken
/// who are not awake yet.
struct Over<'w>(&'w Way);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut told = lock(&self.0.told);
        told.is_over = true;
        let last = told.last.take();
        drop(told);
        drop(last);
    }
}

/// How long records may come before the next are written, if so many calls are under way.
///
/// To wake this thread, and to wake whoever waits for it, costs more than to write. Where
/// many call at once, a moment more is little to each of them, and far fewer are woken one by
/// one. A stream of events has its outcome, and is no call any more, once it has begun.
fn gathering(calls: isize) -> Option<Duration> {
    (calls > FEW).then_some(GATHERING)
}

#[cfg(test)]
mod tests;
