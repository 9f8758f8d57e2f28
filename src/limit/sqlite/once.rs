//! With which request states clients can come back.

use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::limit::{STATE_KEPT, StateId};
use crate::sqlite::{Reply, Task, in_microseconds};
use crate::store::StoreError;

/// States of one caller that are remembered.
const MOST_OF_A_CALLER: i64 = 1_000;

/// States that are forgotten when one is kept, so that more go than come.
const FORGOTTEN: i64 = 4;

/// Remembers a state.
pub(super) struct KeepState {
    state: StateId,
    caller: Arc<str>,
    /// Microseconds since 1970.
    now: i64,
}

impl KeepState {
    pub(super) fn new(state: StateId, caller: Arc<str>, now: u64) -> Self {
        Self {
            state,
            caller,
            now: i64::try_from(now).unwrap_or(i64::MAX),
        }
    }
}

impl Task for KeepState {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let kept = in_microseconds(STATE_KEPT);
        connection
            .prepare_cached(
                "DELETE FROM kept_state WHERE id IN
                 (SELECT id FROM kept_state WHERE at < ? ORDER BY at LIMIT ?)",
            )?
            .execute(params![self.now.saturating_sub(kept), FORGOTTEN])?;
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO kept_state SELECT ?1, ?2, ?3
                 WHERE (SELECT count(*) FROM kept_state WHERE caller = ?2) < ?4",
            )?
            .execute(params![
                self.state.as_bytes(),
                self.caller,
                self.now,
                MOST_OF_A_CALLER
            ])?;
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        None
    }

    /// Tried again, it could come behind its use.
    fn failed(self: Box<Self>, _: &StoreError) -> Option<Box<dyn Task>> {
        None
    }
}

/// Forgets a state, and says whether it was remembered.
pub(super) struct UseState {
    state: StateId,
    reply: Reply<bool>,
    was_kept: bool,
}

impl UseState {
    pub(super) fn new(state: StateId, reply: Reply<bool>) -> Self {
        Self {
            state,
            reply,
            was_kept: false,
        }
    }
}

impl Task for UseState {
    fn is_wanted(&self) -> bool {
        !self.reply.is_canceled()
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let deleted = connection
            .prepare_cached("DELETE FROM kept_state WHERE id = ?")?
            .execute(params![self.state.as_bytes()])?;
        self.was_kept = deleted == 1;
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Ok(self.was_kept));
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}
