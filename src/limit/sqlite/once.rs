//! Which request states were used, and what seals them.

use rusqlite::{Connection, params};

use crate::limit::{STATE_KEPT, StateId};
use crate::sqlite::{Reply, Task};
use crate::store::StoreError;

/// States that are forgotten when one is used, so that more go than come.
const FORGOTTEN: i64 = 4;

/// Marks a state as used.
pub(super) struct UseState {
    state: StateId,
    /// Microseconds since 1970.
    now: i64,
    reply: Reply<bool>,
    is_first: bool,
}

impl UseState {
    pub(super) fn new(state: StateId, now: u64, reply: Reply<bool>) -> Self {
        Self {
            state,
            now: i64::try_from(now).unwrap_or(i64::MAX),
            reply,
            is_first: false,
        }
    }
}

impl Task for UseState {
    fn is_wanted(&self) -> bool {
        !self.reply.is_canceled()
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let kept = i64::try_from(STATE_KEPT.as_micros()).unwrap_or(i64::MAX);
        connection
            .prepare_cached(
                "DELETE FROM used_state WHERE id IN
                 (SELECT id FROM used_state WHERE at < ? ORDER BY at LIMIT ?)",
            )?
            .execute(params![self.now.saturating_sub(kept), FORGOTTEN])?;
        let inserted = connection
            .prepare_cached("INSERT OR IGNORE INTO used_state VALUES (?, ?)")?
            .execute(params![self.state.as_bytes(), self.now])?;
        self.is_first = inserted == 1;
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Ok(self.is_first));
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}

/// Finds the key that seals, or makes it.
pub(super) struct FindKey {
    /// What it is if there is none.
    new: [u8; 32],
    reply: Reply<[u8; 32]>,
    found: [u8; 32],
}

impl FindKey {
    pub(super) fn new(new: [u8; 32], reply: Reply<[u8; 32]>) -> Self {
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
