//! Records in a file that can be searched, and that forgets what is old.

mod log;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

pub use self::log::{AuditFilter, AuditRow, SqliteAuditLog};
use self::row::Row;
use self::writer::{BATCH, FOR_EVER, Keep, Writer};
use super::queue::Queue;
use super::{AuditRecord, AuditSink, Receipt, Unrecorded};
use crate::sqlite::{in_microseconds, no_thread};
use crate::store::StoreError;

/// Keeps records in an SQLite file, which [`SqliteAuditLog`] reads.
///
/// A record counts as recorded once the disk has it: it survives the end of this
/// process, however sudden, and that of the machine. A thread of its own writes, and
/// what comes while it waits for the disk is written at once. When about 16 MiB wait,
/// nothing more is taken. A program that is about to end waits for what is on its way
/// with [`close`](Self::close).
///
/// While the file is locked, cannot be written or is not in its place, nothing is
/// recorded, and what cannot be recorded is refused; it goes on by itself when it can be
/// again. A file that was moved away or removed is not made anew until the next start:
/// somebody has to bring it back. There is nothing to rotate, as
/// [what is too old is forgotten](Self::keep_for).
///
/// Processes on one machine may write one file, which has to be on one of its disks.
/// SQLite puts two files beside it, whose names end in `-wal` and `-shm` and which belong
/// to it. Only the user of this process may read a file that is made here.
///
/// ```
/// use std::time::Duration;
/// use mcp_policy::{Policy, PolicyLayer, SqliteAuditSink};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("audit.db");
/// let sink = SqliteAuditSink::open(path)?.keep_for(Duration::from_secs(90 * 86_400));
/// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
/// let layer = PolicyLayer::new(policy).audit(sink);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteAuditSink {
    queue: Arc<Queue<Vec<Row>>>,
    keep: Keep,
}

impl SqliteAuditSink {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, read or written, if it is one of another program, or
    /// if a newer version of this crate wrote it and it cannot be read by this.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let keep = Keep::new(FOR_EVER.into());
        let writer = Writer::open(path.as_ref(), Arc::clone(&keep))?;
        let queue = Arc::new(Queue::by(BATCH));
        let other_end = Arc::clone(&queue);
        thread::Builder::new()
            .name("mcp-policy-audit".to_owned())
            .spawn(move || writer.work(&other_end))
            .map_err(|error| no_thread("the audit file", &error))?;
        Ok(Self { queue, keep })
    }

    /// Forgets what was decided longer ago, a little at a time and within about a
    /// minute. By default nothing is forgotten (by the gateway, after 90 days).
    ///
    /// It goes by the clock of the world. The file does not get smaller, but has room
    /// for as much again. Of processes that write one file the shortest time counts.
    #[must_use]
    pub fn keep_for(self, time: Duration) -> Self {
        self.keep.store(in_microseconds(time), Ordering::Relaxed);
        self.queue.wake();
        self
    }

    /// Waits until everything that it was handed is in the file, for a program that is
    /// about to end. Nothing more is recorded from now on. That takes as long as the
    /// disk does; to drop it does the same, without waiting.
    ///
    /// # Errors
    ///
    /// If what was written last could not be.
    pub async fn close(&self) -> Result<(), Unrecorded> {
        self.queue.close().await
    }
}

impl AuditSink for SqliteAuditSink {
    fn record(&self, record: &AuditRecord) -> Receipt {
        match Row::new(record) {
            Some(row) => self.queue.push(row.size(), false, |rows| rows.push(row)),
            None => Receipt::unrecorded(),
        }
    }
}

/// What is written already is; the writer ends once it has written the rest.
impl Drop for SqliteAuditSink {
    fn drop(&mut self) {
        drop(self.queue.close());
    }
}

impl fmt::Debug for SqliteAuditSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteAuditSink").finish_non_exhaustive()
    }
}
