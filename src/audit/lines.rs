use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::line;
use super::place::{FileId, id_of};
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
/// Bytes for which room is kept between batches.
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
/// Whoever waits for them is told when this is dropped, and until then nobody knows that they
/// are written: [`close`](JsonLines::close) waits for it, too. Those who wait on this thread
/// are woken by that, which asks nothing of the operating system within the runtime that drives
/// them. It waits for no disk.
#[must_use = "whoever waits for these lines is told when this is dropped"]
#[derive(Default)]
pub struct WrittenLines(Option<Untold>);

/// Those who wait for the last batch that was written do not know it yet.
struct Untold {
    way: Arc<Way>,
    batch: Batch<Vec<u8>>,
    is_written: bool,
}

impl Drop for WrittenLines {
    fn drop(&mut self) {
        if let Some(untold) = self.0.take() {
            let told = untold.batch.settle_here(untold.is_written);
            untold.way.told(told);
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
    /// Calls that are decided and have not ended. It need not be exact.
    calls: AtomicIsize,
    /// Whether it took long the last time, so that only the thread of its own writes.
    is_slow: AtomicBool,
    writer: Mutex<Writer>,
    /// Apart from what is held while something is written.
    told: Mutex<Told>,
}

/// What only one at a time does.
struct Writer {
    log: LogFile,
    telling: Telling,
}

/// Of whom not everybody may be awake.
#[derive(Default)]
struct Told {
    /// Of the last batch that others have written. Who is not awake by then is woken with the
    /// next.
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
        let way = Arc::new(Way {
            queue,
            calls: AtomicIsize::default(),
            is_slow: AtomicBool::default(),
            writer: Mutex::new(writer),
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
    /// as one that is not written, and so it does until what that gives is dropped. With `false`
    /// the thread of its own writes.
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
        let line = line_of(record);
        self.way.count(record);
        let writers = self.writers.as_ref();
        let writers = writers.filter(|_| !self.way.is_slow.load(Ordering::Relaxed));
        let is_looked_for = writers.is_some_and(|writers| (writers.ask)(&writers.write));
        let add = |lines: &mut Vec<u8>| lines.extend_from_slice(&line);
        self.way.queue.push(line.len(), is_looked_for, add)
    }
}

/// What is written of a record.
pub(super) fn line_of(record: &AuditRecord) -> Vec<u8> {
    let mut line = line::json(record);
    line.push(b'\n');
    line
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
        self.calls.fetch_add(change, Ordering::Relaxed);
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
            if let Some(time) = gathering(self.calls.load(Ordering::Relaxed)) {
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
            self.told(batch.settle(is_written));
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

    /// Whoever is not awake of the batch before has been on the way since then.
    fn told(&self, told: Writing) {
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
        let mut writer = lock(&self.writer);
        let Writer { log, telling, .. } = &mut *writer;
        // Who closes the queue waits in a batch, too, but puts nothing into it.
        if !lines.is_empty() {
            let begun = Instant::now();
            telling.result(&log.append(&lines));
            self.is_slow
                .store(begun.elapsed() > SLOW, Ordering::Relaxed);
        }
        let is_written = !telling.is_failing();
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

/// A file that is only appended to, and may be moved away.
struct LogFile {
    path: PathBuf,
    file: File,
    id: FileId,
    /// How long it was left, if it was.
    left: Option<u64>,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // To look at its last byte. One that may only be written is written.
        let file = options
            .clone()
            .read(true)
            .open(&path)
            .or_else(|_| options.open(&path))?;
        let id = id_of(&file.metadata()?);
        Ok(Self {
            path,
            file,
            id,
            left: None,
        })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let found = match self.in_place() {
            Some(found) => found,
            None => {
                *self = Self::open(self.path.clone())?;
                self.file.metadata()?
            }
        };
        // What was torn off, by whomever, stays a line of its own.
        let is_torn = self.is_changed(&found) && self.ends_within_a_line();
        if is_torn {
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(lines)?;
        // If that fails half way, it has another length than it was left with.
        let added = u64::from(is_torn).saturating_add(lines.len() as u64);
        self.left = Some(found.len().saturating_add(added));
        Ok(())
    }

    /// What is known of this file, if the path still leads to it. If that cannot be told, it
    /// has to be opened again. Only on Unix can an open file be moved.
    fn in_place(&self) -> Option<Metadata> {
        let found = match cfg!(unix) {
            true => fs::metadata(&self.path),
            false => self.file.metadata(),
        };
        found.ok().filter(|found| id_of(found) == self.id)
    }

    /// Whether somebody else may have torn off a line of a regular file since it was left.
    fn is_changed(&self, found: &Metadata) -> bool {
        found.is_file() && self.left != Some(found.len())
    }

    /// Whether it ends in the middle of a line, as one does of which a writer was killed. One
    /// that cannot be read is taken for whole.
    fn ends_within_a_line(&mut self) -> bool {
        if self.file.seek(SeekFrom::End(-1)).is_err() {
            return false;
        }
        let mut last = [0];
        self.file.read_exact(&mut last).is_ok() && last != *b"\n"
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use futures::executor::block_on;
    use tokio_test::{assert_ready_eq, task};

    use super::*;
    use crate::audit::testing::{decision, outcome};

    fn record() -> AuditRecord {
        decision("a\"\n")
    }

    /// Whether a record was kept.
    fn keep(lines: &JsonLines) -> bool {
        block_on(lines.record(&record()).patiently()).is_ok()
    }

    fn ids(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        text.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .map(|row| row["decision"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_record_is_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let lines = JsonLines::append_to(&path).unwrap();
        assert!(keep(&lines));
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(row["event"], "decision");
        assert_eq!(row["time"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(row["name"], "a\"\n");
        assert!(row.get("policy").is_none() && row.get("session").is_none());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let lines = JsonLines::append_to(&path).unwrap();
        assert!(keep(&lines));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (moved, truncated) = (folder.path().join("audit.1"), &path);
        let lines = JsonLines::append_to(&path).unwrap();
        assert!(keep(&lines));
        fs::rename(&path, &moved).unwrap();
        assert!(keep(&lines) && keep(&lines));
        assert_eq!((ids(&moved).len(), ids(&path).len()), (1, 2));
        fs::File::create(truncated).unwrap();
        assert!(keep(&lines));
        assert_eq!(ids(&path).len(), 1);
        fs::remove_file(&path).unwrap();
        assert!(keep(&lines));
        assert_eq!(ids(&path).len(), 1);
    }

    #[test]
    fn what_was_torn_off_stays_a_line_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        fs::write(&path, "{\"event\":\"deci").unwrap();
        let lines = JsonLines::append_to(&path).unwrap();
        assert!(keep(&lines));
        assert_eq!(ids(&path).len(), 1);
        // Another process was killed while it wrote, and again later.
        for kept in 2..4 {
            let torn = OpenOptions::new().append(true).open(&path);
            torn.unwrap().write_all(b"{\"event\":").unwrap();
            assert!(keep(&lines));
            assert_eq!(ids(&path).len(), kept);
        }
        // Or somebody cut the file in the middle of a line.
        let cut = OpenOptions::new().write(true).open(&path).unwrap();
        let length = cut.metadata().unwrap().len();
        cut.set_len(length - 10).unwrap();
        assert!(keep(&lines) && keep(&lines));
        assert_eq!(ids(&path).len(), 4);
    }

    #[test]
    fn only_a_file_that_others_have_changed_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut log = LogFile::open(path.clone()).unwrap();
        let is_changed = |log: &LogFile| log.is_changed(&log.in_place().unwrap());
        fs::write(&path, "torn").unwrap();
        for line in ["one\n", "two\n"] {
            assert!(is_changed(&log));
            log.append(line.as_bytes()).unwrap();
            assert!(!is_changed(&log));
            log.append(line.as_bytes()).unwrap();
            assert!(!is_changed(&log));
            let mut other = OpenOptions::new().append(true).open(&path).unwrap();
            other.write_all(b"other").unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "torn\none\none\nother\ntwo\ntwo\nother");
    }

    #[test]
    fn who_calls_alone_is_never_held_back() {
        let folder = tempfile::tempdir().unwrap();
        let lines = JsonLines::append_to(folder.path().join("audit.jsonl")).unwrap();
        let held = || gathering(lines.way.calls.load(Ordering::Relaxed));
        let calls: Vec<_> = (0..=FEW).map(|_| record()).collect();
        // One after the other.
        for call in &calls {
            drop(lines.record(call));
            assert_eq!(held(), None);
            drop(lines.record(&outcome(call)));
        }
        // At the same time.
        let (last, others) = calls.split_last().unwrap();
        others.iter().for_each(|call| drop(lines.record(call)));
        assert_eq!(held(), None);
        drop(lines.record(last));
        assert_eq!(held(), Some(GATHERING));
        drop(lines.record(&outcome(last)));
        assert_eq!(held(), None);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_kept_in_a_file_that_nobody_finds() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::create_dir(&log).unwrap();
        let lines = JsonLines::append_to(log.join("audit.jsonl")).unwrap();
        assert!(keep(&lines));
        fs::remove_dir_all(&log).unwrap();
        assert!(!keep(&lines), "there is no such folder");
        fs::write(&log, "").unwrap();
        assert!(!keep(&lines), "it is no folder");
        fs::remove_file(&log).unwrap();
        fs::create_dir(&log).unwrap();
        assert!(keep(&lines));
    }

    #[test]
    fn what_is_on_its_way_is_written_before_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let lines = JsonLines::append_to(&path).unwrap();
        for _ in 0..500 {
            drop(lines.record(&record()));
        }
        assert_eq!(block_on(lines.close()), Ok(()));
        assert_eq!(ids(&path).len(), 500);
        assert!(!keep(&lines));
        assert_eq!(block_on(lines.close()), Ok(()));
        assert_eq!(ids(&path).len(), 500);
    }

    #[test]
    fn several_writers_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let lines = JsonLines::append_to(&path).unwrap();
                scope.spawn(move || (0..500).for_each(|_| assert!(keep(&lines))));
            }
        });
        let mut ids = ids(&path);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2000);
    }

    /// Lines that this thread has promised to write, and what writes them.
    fn promised(path: &Path) -> (JsonLines, Write) {
        let write = Arc::<Mutex<Option<Write>>>::default();
        let handed = Arc::clone(&write);
        let lines = JsonLines::append_to(path)
            .unwrap()
            .written_by(move |write| {
                *lock(&handed) = Some(Arc::clone(write));
                true
            });
        lines.way.queue.rested();
        drop(lines.record(&record()));
        let write = lock(&write).clone().unwrap();
        drop(write());
        (lines, write)
    }

    #[test]
    fn others_write_what_they_promised_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (lines, write) = promised(&path);
        assert_eq!(ids(&path).len(), 1);
        let mut waiting = [(); 3].map(|()| task::spawn(lines.record(&record()).patiently()));
        assert!(waiting.iter_mut().all(|one| one.poll().is_pending()));
        assert_eq!(ids(&path).len(), 1, "nobody else does");
        let written = write();
        assert_eq!(ids(&path).len(), 4);
        assert!(!waiting.iter().any(|one| one.is_woken()));
        drop(written);
        for one in &mut waiting {
            assert!(one.is_woken());
            assert_ready_eq!(one.poll(), Ok(()));
        }
        drop(write());
        assert_eq!(ids(&path).len(), 4);
    }

    #[test]
    fn whoever_was_told_and_not_woken_is_woken_with_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, write) = promised(&folder.path().join("audit.jsonl"));
        let mut waiting = [(); 2].map(|()| task::spawn(lines.record(&record()).patiently()));
        thread::scope(|scope| {
            // On a thread of their own, of which the first is to wake the other.
            scope.spawn(|| assert!(waiting.iter_mut().all(|one| one.poll().is_pending())));
        });
        drop(write());
        assert!(waiting[0].is_woken() && !waiting[1].is_woken());
        drop(lines.record(&record()));
        drop(write());
        assert!(waiting[1].is_woken());
    }

    #[test]
    fn whoever_is_told_by_the_thread_and_not_woken_is_woken_before_it_rests() {
        let folder = tempfile::tempdir().unwrap();
        let promises = AtomicIsize::new(2);
        let lines = JsonLines::append_to(folder.path().join("audit.jsonl"))
            .unwrap()
            .written_by(move |_| promises.fetch_sub(1, Ordering::Relaxed) > 0);
        lines.way.queue.rested();
        let mut waiting = [(); 2].map(|()| task::spawn(lines.record(&record()).patiently()));
        assert!(waiting.iter_mut().all(|one| one.poll().is_pending()));
        drop(lines.record(&record()));
        while !waiting[1].is_woken() {
            thread::yield_now();
        }
        assert_ready_eq!(waiting[1].poll(), Ok(()));
    }

    #[test]
    fn others_write_so_many_batches_and_the_thread_does_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let write = Arc::<Mutex<Option<Write>>>::default();
        let handed = Arc::clone(&write);
        let lines = JsonLines::by(path.clone(), Queue::by(1))
            .unwrap()
            .written_by(move |write| {
                *lock(&handed) = Some(Arc::clone(write));
                true
            });
        lines.way.queue.rested();
        let mut waiting =
            [(); MOST_BATCHES + 2].map(|()| task::spawn(lines.record(&record()).patiently()));
        assert!(waiting.iter_mut().all(|one| one.poll().is_pending()));
        let write = lock(&write).clone().unwrap();
        let written = write();
        // Nobody waits for what is written later than that.
        let (told, others) = waiting.split_at_mut(MOST_BATCHES - 1);
        for one in told {
            assert_ready_eq!(one.poll(), Ok(()));
        }
        let (last, there) = others.split_first_mut().unwrap();
        for one in there {
            while !one.is_woken() {
                thread::yield_now();
            }
            assert_ready_eq!(one.poll(), Ok(()));
        }
        assert!(last.poll().is_pending());
        drop(written);
        assert!(last.is_woken());
        assert_ready_eq!(last.poll(), Ok(()));
        assert_eq!(ids(&path).len(), MOST_BATCHES + 2);
    }

    #[test]
    fn to_tell_waits_for_nobody_who_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, write) = promised(&folder.path().join("audit.jsonl"));
        let mut waiting = task::spawn(lines.record(&record()).patiently());
        assert!(waiting.poll().is_pending());
        let written = write();
        let writing = lock(&lines.way.writer);
        drop(written);
        drop(writing);
        assert_ready_eq!(waiting.poll(), Ok(()));
    }

    #[test]
    fn what_is_written_and_not_told_waits_for_that_and_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, write) = promised(&folder.path().join("audit.jsonl"));
        let mut first = task::spawn(lines.record(&record()).patiently());
        assert!(first.poll().is_pending());
        let written = write();
        let mut second = task::spawn(lines.record(&record()).patiently());
        assert!(second.poll().is_pending());
        drop(write());
        assert_ready_eq!(second.poll(), Ok(()));
        assert!(first.poll().is_pending());
        drop(written);
        assert!(first.is_woken());
        assert_ready_eq!(first.poll(), Ok(()));
    }

    #[test]
    fn while_it_takes_long_nobody_else_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let asked = Arc::<AtomicIsize>::default();
        let count = Arc::clone(&asked);
        let lines = JsonLines::append_to(folder.path().join("audit.jsonl"))
            .unwrap()
            .written_by(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                false
            });
        lines.way.is_slow.store(true, Ordering::Relaxed);
        assert!(keep(&lines));
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        // Until that was quick, which it is some time even here.
        while asked.load(Ordering::Relaxed) == 0 {
            assert!(keep(&lines));
        }
    }

    #[test]
    fn what_others_promised_is_written_before_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (lines, write) = promised(&path);
        drop(lines.record(&record()));
        assert_eq!(block_on(lines.close()), Ok(()));
        assert_eq!(ids(&path).len(), 2);
        drop(write());
        assert!(!keep(&lines));
        assert_eq!(ids(&path).len(), 2);
    }

    #[test]
    fn whoever_closes_it_is_woken_though_another_who_does_never_looks() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, _) = promised(&folder.path().join("audit.jsonl"));
        drop(lines.record(&record()));
        // What others do, who have begun before.
        let Way { queue, .. } = &*lines.way;
        let batch = queue.take_now().unwrap();
        let mut closing = [(); 2].map(|()| task::spawn(lines.close()));
        assert!(closing.iter_mut().all(|one| one.poll().is_pending()));
        let taker = queue.taker();
        lines.way.told(batch.settle(true));
        let last = taker.next().unwrap();
        taker.leave();
        let written = WrittenLines(Some(Untold {
            way: Arc::clone(&lines.way),
            batch: last,
            is_written: true,
        }));
        while !lock(&lines.way.told).is_over {
            thread::yield_now();
        }
        // Elsewhere only the first is woken, but nothing follows.
        thread::spawn(|| drop(written)).join().unwrap();
        assert!(closing[1].is_woken());
        assert_ready_eq!(closing[1].poll(), Ok(()));
    }

    #[test]
    fn all_write_at_once_and_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (lines, write) = promised(&path);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let receipt = lines.record(&record());
                        drop(write());
                        // If somebody else was at it, that one or the thread does it.
                        assert_eq!(block_on(receipt.patiently()), Ok(()));
                    }
                });
            }
        });
        assert_eq!(ids(&path).len(), 2_001);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_keeps_nothing() {
        let lines = JsonLines::append_to("/dev/full").unwrap();
        assert!(!keep(&lines));
        assert!(!keep(&lines));
        assert_eq!(block_on(lines.close()), Err(Unrecorded));
    }
}
