//! All of it in a file, which processes on one machine can share.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::approval::SqliteApprovalStore;
use crate::limit::SqliteLimitStore;
use crate::rounds::{RequestStateKeys, random_key};
use crate::session::SqliteSessionStore;
use crate::sqlite::presence::Presence;
use crate::sqlite::{Reply, Task, Worker, open};
use crate::store::StoreError;

/// A file in which everything is kept that outlives the process, and that processes on one
/// machine can share. Clones are the same file.
///
/// One thread reads and writes it, so that nothing waits for the disk but what has to know
/// what is there, and that for 100 ms at most. It ends when this and all stores that were
/// made of it are dropped, when it has done what it was told before.
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
/// use mcp_policy::{Approvals, Policy, PolicyLayer, SqliteState};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("state.db");
/// # futures::executor::block_on(async {
/// let state = SqliteState::open(path)?;
/// let waiting = state.approvals("files");
/// let approvals = Approvals::new(waiting.clone());
/// let policy: Policy = r#"{ "version": "1", "default": "deny" }"#.parse()?;
/// let layer = PolicyLayer::new(policy)
///     .server_name("files")
///     .limit_store(state.limits())
///     .session_store(state.sessions("files"))
///     .approval_store(waiting)
///     .request_state_keys(state.request_state_keys().await?);
/// // And when the program has stopped serving:
/// state.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqliteState {
    worker: Arc<Worker>,
    limits: SqliteLimitStore,
}

impl SqliteState {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, read or written, if it is one of another program, or
    /// if a newer version of this crate wrote it and it cannot be read by this.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let (connection, path) = open(path.as_ref())?;
        let presence = Presence::announce(&connection, &path)?;
        let worker = Arc::new(Worker::start(connection)?);
        Ok(Self {
            limits: SqliteLimitStore::new(Arc::clone(&worker), presence),
            worker,
        })
    }

    /// What limits count, of all servers.
    pub fn limits(&self) -> SqliteLimitStore {
        self.limits.clone()
    }

    /// Sessions and tasks of the server of this name.
    pub fn sessions(&self, server: impl Into<Arc<str>>) -> SqliteSessionStore {
        SqliteSessionStore::new(Arc::clone(&self.worker), server.into())
    }

    /// What waits for an approval, in front of the server of this name. Clone what it
    /// returns, rather than calling it again: clones tell each other what changes at once.
    pub fn approvals(&self, server: impl Into<Arc<str>>) -> SqliteApprovalStore {
        SqliteApprovalStore::new(&self.worker, server.into())
    }

    /// The key in the file that seals request states; it is made the first time. All who
    /// have the file have the key.
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

    /// Waits until everything that it was told is in the file, for a program that is about
    /// to end, and takes its leave of the other processes: nothing more is charged from now
    /// on. That takes as long as the disk does. To drop it, and all that was made of it, does
    /// the same, without waiting.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.limits.close().await
    }
}

/// Finds the key that seals, or makes it.
struct FindKey {
    /// What it is if there is none.
    new: [u8; 32],
    reply: Reply<[u8; 32]>,
    found: [u8; 32],
}

impl FindKey {
    fn new(new: [u8; 32], reply: Reply<[u8; 32]>) -> Self {
        Self {
            new,
            reply,
            found: new,
        }
    }
}

impl Task for FindKey {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached("INSERT OR IGNORE INTO request_state_key VALUES (1, ?)")?
            .execute(params![self.new])?;
        self.found = connection
            .prepare_cached("SELECT key FROM request_state_key")?
            .query_row([], |row| row.get(0))?;
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Ok(self.found));
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}
