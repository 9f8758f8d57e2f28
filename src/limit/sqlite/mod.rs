//! Counts in a file, which processes on one machine can share.

mod ledger;
mod once;
mod rows;
mod tasks;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::usage::{Usage, UsageFilter};
use super::{Conclusion, LimitStore, Reservation, Reserved, StateId};
use crate::approval::SqliteApprovalStore;
use crate::clock::{Moment, since_1970};
use crate::rounds::{RequestStateKeys, random_key};
use crate::session::SqliteSessionStore;
use crate::sqlite::presence::Presence;
use crate::sqlite::{Failure, Worker, open};
use crate::store::{Answer, StoreError};
use ledger::Ledger;
use once::{FindKey, KeepState, UseState};
use tasks::{Conclude, Forget, Leave, Reserve, See};

/// A [`LimitStore`] in a file: what was counted is still known when the process has
/// ended, and processes on one machine can count together.
///
/// Each call is counted in a transaction of SQLite, exactly, whichever process it
/// comes to. A thread of its own does that, so that nothing waits for the disk but
/// the call itself, and that for 100 ms at most. Calls that come at once are counted
/// in one transaction. While the file is locked, or cannot be written, or there is
/// more to do than can be done, calls are refused, or what their limits say of a
/// store that does not answer. Dropping the store lets the thread end when it has
/// done what it was told before.
///
/// # What is kept
///
/// A process that is killed loses nothing that it counted: it stays charged. What was
/// under way in it is found out when another process opens the file and counts its
/// first call, or has to refuse a call because of what is under way; it counts as
/// under way for another 60 s from then. If the machine loses its power, what was
/// counted in the last seconds before that may be lost.
///
/// There is room for as much as in a [`MemoryLimitStore`](crate::MemoryLimitStore): a
/// million budgets, and 1 000 of one caller on one server.
///
/// # Time
///
/// All windows go by the clock of the world. If it goes back, what is counted stays
/// for longer: for up to 10 s time stands still, and after a longer step what was
/// counted before counts as if it were now. If it goes forward, windows end earlier
/// by as much.
///
/// # Files
///
/// SQLite puts two files beside this one, whose names end in `-wal` and `-shm`, and
/// each process one whose name has `-process-` in it. They belong to it: who deletes
/// them while a process runs loses what is counted. All processes have to run on one
/// machine and have the file on one of its disks: a network file system does not lock
/// reliably, and two machines have two clocks. A file that is made can only be read
/// and written by the user of this process.
///
/// ```
/// use mcp_policy::{Policy, PolicyLayer, SqliteLimitStore};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("state.db");
/// let store = SqliteLimitStore::open(path)?;
/// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
/// let layer = PolicyLayer::new(policy).limit_store(store);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteLimitStore {
    worker: Arc<Worker>,
    ledger: Arc<Mutex<Ledger>>,
}

/// How many budgets there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) in_all: i64,
    pub(crate) of_one_caller: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            in_all: 1_000_000,
            of_one_caller: 1_000,
        }
    }
}

impl SqliteLimitStore {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, read or written, if it is one of another program, or
    /// if a newer version of this crate wrote it and it cannot be read by this.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), Bounds::default())
    }

    fn open_with(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let (connection, path) = open(path)?;
        let presence = Presence::announce(&connection, &path)?;
        Ok(Self {
            worker: Arc::new(Worker::start(connection)?),
            ledger: Arc::new(Mutex::new(Ledger::new(presence, bounds))),
        })
    }

    /// Remembers sessions and tasks of the server of this name in the same file, and
    /// on the same thread; also when this is dropped.
    ///
    /// ```
    /// use mcp_policy::{Policy, PolicyLayer, SqliteLimitStore};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("state.db");
    /// let limits = SqliteLimitStore::open(path)?;
    /// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
    /// let layer = PolicyLayer::new(policy)
    ///     .server_name("files")
    ///     .session_store(limits.sessions("files"))
    ///     .limit_store(limits);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sessions(&self, server: impl Into<Arc<str>>) -> SqliteSessionStore {
        SqliteSessionStore::new(Arc::clone(&self.worker), server.into())
    }

    /// The key in the same file that seals request states; it is made the first time. All
    /// who have the file have the key.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub async fn request_state_keys(&self) -> Result<RequestStateKeys, StoreError> {
        let new = random_key().map_err(|error| StoreError::new(error.to_string()))?;
        let find = |reply| FindKey::new(new, reply);
        let key = self.worker.ask_patiently(find).await?;
        Ok(RequestStateKeys::new(key))
    }

    /// Keeps what waits for an approval, in front of the server of this name, in the
    /// same file, and on the same thread; also when this is dropped. Clone what it
    /// returns, rather than calling it again: clones tell each other what changes at
    /// once.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use mcp_policy::{Approvals, Policy, PolicyLayer, SqliteLimitStore};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("state.db");
    /// let limits = SqliteLimitStore::open(path)?;
    /// let store = limits.approvals("files");
    /// let approvals = Approvals::new(Arc::new(store.clone()));
    /// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
    /// let layer = PolicyLayer::new(policy)
    ///     .server_name("files")
    ///     .approval_store(store)
    ///     .limit_store(limits);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn approvals(&self, server: impl Into<Arc<str>>) -> SqliteApprovalStore {
        SqliteApprovalStore::new(&self.worker, server.into())
    }

    /// What is counted now, of what is meant; no more than so many, in any order.
    ///
    /// What is charged meanwhile may be in it or not.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or something in it.
    pub async fn usage(
        &self,
        filter: &UsageFilter,
        now: Moment,
        most: usize,
    ) -> Result<Vec<Usage>, StoreError> {
        let filter = filter.clone();
        let see = |reply| See::new(&self.ledger, filter, (now, most), reply);
        self.worker.ask_patiently(see).await
    }

    /// Forgets what is counted, of what is meant. What is under way stays under way,
    /// and what was charged before and is given back later is not given back any
    /// more.
    ///
    /// # Errors
    ///
    /// If the file cannot be written. A part of it may be forgotten then.
    pub async fn reset(&self, filter: &UsageFilter, now: Moment) -> Result<(), StoreError> {
        let filter = filter.clone();
        let forget = |reply| Forget::new(&self.ledger, filter, now, reply);
        self.worker.ask_patiently(forget).await
    }

    /// Waits until everything that it was told is in the file, for a program that is
    /// about to end. To drop it does the same, without waiting.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub async fn close(self) -> Result<(), StoreError> {
        let leave = |reply| Leave::new(&self.ledger, Some(reply));
        self.worker.ask_patiently(leave).await
    }
}

impl LimitStore for SqliteLimitStore {
    fn reserve(&self, reservation: &Reservation) -> Answer<Reserved> {
        let reservation = reservation.clone();
        self.worker
            .ask(|reply| Reserve::new(&self.ledger, reservation, reply))
    }

    fn ask(&self, reservation: &Reservation) -> Answer<Reserved> {
        let reservation = reservation.clone();
        self.worker
            .ask(|reply| Reserve::new(&self.ledger, reservation, reply).only_asking())
    }

    fn conclude(&self, reservation: &Reservation, conclusion: Conclusion, now: Moment) {
        let conclude = Conclude::new(&self.ledger, reservation.clone(), (conclusion, now));
        self.worker.tell(conclude);
    }

    fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        let now = since_1970(now.system);
        self.worker
            .tell(KeepState::new(*state, Arc::clone(caller), now));
    }

    fn use_state(&self, state: &StateId) -> Answer<bool> {
        let state = *state;
        self.worker.ask(|reply| UseState::new(state, reply))
    }

    fn outlives_process(&self) -> bool {
        true
    }
}

impl Drop for SqliteLimitStore {
    fn drop(&mut self) {
        self.worker.tell(Leave::new(&self.ledger, None));
    }
}
