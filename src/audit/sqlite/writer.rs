//! The thread that writes the file.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, ErrorCode};

use super::row::{Row, forget};
use super::schema::AUDIT;
use crate::audit::place::{FileId, file_id, id_of};
use crate::audit::queue::{Batch, Queue, Taken, Telling};
use crate::sqlite::{roll_back, since_1970};
use crate::store::StoreError;

/// Records that share one transaction, and with it one wait for the disk.
pub(super) const BATCH: usize = 512;

/// Records that are forgotten at once. It takes a few milliseconds.
const STEP: usize = 256;

/// How often it is looked for what is too old.
const REST: Duration = Duration::from_secs(60);

/// For how many microseconds records are kept.
pub(super) type Keep = Arc<AtomicI64>;

pub(super) const FOR_EVER: i64 = i64::MAX;

pub(super) struct Writer {
    path: PathBuf,
    id: FileId,
    /// `None` if it has to be opened again.
    open: Option<Open>,
    keep: Keep,
}

impl Writer {
    pub(super) fn open(path: &Path, keep: Keep) -> Result<Self, StoreError> {
        let (connection, path) = AUDIT.open(path)?;
        let open = Open::new(connection, &path)?;
        let id = file_id(&path).map_err(|error| not_used(&error))?;
        Ok(Self {
            path,
            id,
            open: Some(open),
            keep,
        })
    }

    pub(super) fn work(mut self, queue: &Queue<Vec<Row>>) {
        let _taker = queue.taker();
        let mut telling = Telling::default();
        let mut look_at = Instant::now();
        loop {
            match queue.take(Some(look_at.saturating_duration_since(Instant::now()))) {
                Taken::Batch(batch) => {
                    self.write_all(batch, &mut telling);
                    queue.leave();
                }
                // The time for which records are kept may be another.
                Taken::Nothing => look_at = Instant::now(),
                Taken::Closed => return,
            }
            let now = Instant::now();
            if look_at <= now && !self.forget_some() {
                look_at = now + REST;
            }
        }
    }

    fn write_all(&mut self, batch: Batch<Vec<Row>>, telling: &mut Telling) {
        // Who closes the queue waits in a batch, too, but puts nothing into it.
        if !batch.content.is_empty() {
            telling.result(&self.write(&batch.content));
        }
        drop(batch.settle(!telling.is_failing()));
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> Option<&Connection> {
        self.open.as_ref().map(|open| &open.connection)
    }

    /// Writes all of them, or none.
    pub(super) fn write(&mut self, rows: &[Row]) -> Result<(), StoreError> {
        let written = self.with_file(|open| {
            open.transact(|connection| rows.iter().try_for_each(|row| row.write(connection)))
        });
        written?;
        // Others can write meanwhile.
        let synced = self.open.as_ref().map(Open::sync);
        synced.transpose().map(|_| ()).map_err(|error| {
            self.open = None;
            not_used(&error)
        })
    }

    /// Forgets some of what is too old, and tells whether there may be more.
    fn forget_some(&mut self) -> bool {
        let keep = self.keep.load(Ordering::Relaxed);
        if keep == FOR_EVER {
            return false;
        }
        let before = since_1970(SystemTime::now()).saturating_sub(keep);
        let forgotten =
            self.with_file(|open| open.transact(|connection| forget(connection, before, STEP)));
        // If it cannot be done now, it can be later.
        forgotten.is_ok_and(|forgotten| forgotten == STEP)
    }

    /// Does something with the file, which has to be in its place.
    fn with_file<T>(
        &mut self,
        change: impl FnOnce(&Open) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        // What is written to a file that was moved away or removed, nobody finds. And
        // another file is not opened: what SQLite has put beside this one would spoil it.
        if file_id(&self.path).ok() != Some(self.id) {
            return Err(StoreError::of(
                "the audit file is not in its place: bring it back, or start anew",
            ));
        }
        self.save_what_nobody_finds()?;
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let (connection, _) = AUDIT.open_existing(&self.path)?;
                Open::new(connection, &self.path)?
            }
        };
        let result = change(&open);
        let is_usable = result.as_ref().err().is_none_or(may_pass);
        self.open = is_usable.then_some(open);
        result.map_err(|error| AUDIT.error(&error))
    }
}

impl Writer {
    /// What SQLite has not put into the file yet is lost with what is beside it, if that
    /// was removed. Only this process can still read it then, and puts it into the file.
    fn save_what_nobody_finds(&mut self) -> Result<(), StoreError> {
        let Some(open) = self.open.as_ref().filter(|open| !open.is_log_in_place()) else {
            return Ok(());
        };
        // Beside one that somebody else has put there, SQLite would mix up the two.
        if open.is_log_gone() && open.empty_log().map_err(|error| AUDIT.error(&error))? {
            self.open = None;
            return Ok(());
        }
        Err(StoreError::of(
            "what SQLite keeps beside the audit file, in -wal, is not in its place: bring it \
             back, or start anew",
        ))
    }
}

fn not_used(error: &std::io::Error) -> StoreError {
    StoreError::new(format!("the audit file cannot be used: {error}"))
}

/// Whether it can be used again after such an error.
fn may_pass(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
    )
}

/// The file, and what SQLite appends to before it is in there.
struct Open {
    connection: Connection,
    log: File,
    log_id: FileId,
    log_path: PathBuf,
}

impl Open {
    fn new(connection: Connection, path: &Path) -> Result<Self, StoreError> {
        // SQLite would wait for the disk with the file locked, and others would have to
        // wait for that, too. So that is done here.
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(|error| AUDIT.error(&error))?;
        let mut log_path = path.as_os_str().to_owned();
        log_path.push("-wal");
        let log_path = PathBuf::from(log_path);
        // As long as the connection is open, it stays the same file.
        let log = OpenOptions::new().read(true).write(true).open(&log_path);
        let log = log.map_err(|error| not_used(&error))?;
        let found = log.metadata().map_err(|error| not_used(&error))?;
        Ok(Self {
            connection,
            log,
            log_id: id_of(&found),
            log_path,
        })
    }

    fn is_log_in_place(&self) -> bool {
        file_id(&self.log_path).is_ok_and(|found| found == self.log_id)
    }

    fn is_log_gone(&self) -> bool {
        let found = self.log_path.symlink_metadata();
        found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// Tells whether all of it is in the file now: not while somebody else reads what was
    /// there before.
    fn empty_log(&self) -> rusqlite::Result<bool> {
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        self.connection.query_row(checkpoint, [], |row| {
            let all: i64 = row.get("log")?;
            let done: i64 = row.get("checkpointed")?;
            Ok(all == done)
        })
    }

    fn transact<T>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let result = change(connection).and_then(|changed| {
            connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(changed)
        });
        if result.is_err() {
            roll_back(connection)?;
        }
        result
    }

    /// Waits for the disk. What has left the log since then was synced by whoever took it
    /// from there.
    fn sync(&self) -> std::io::Result<()> {
        self.log.sync_data()
    }
}
