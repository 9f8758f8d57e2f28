use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::table::Table;
use super::{SessionStore, TaskOwner};
use crate::caller::Caller;

/// A [`SessionStore`] in the memory of this process.
///
/// It knows 100 000 sessions and as many tasks, of which each caller has at most
/// 1 000: those beyond push out the caller's own. What nobody used for a day
/// makes room for others. What is not remembered for lack of room is not known.
#[derive(Debug, Default)]
pub struct MemorySessionStore {
    sessions: Mutex<Table<()>>,
    tasks: Mutex<Table<Arc<str>>>,
}

impl SessionStore for MemorySessionStore {
    fn begin_session(&self, session: &str, caller: &Caller) {
        let kept = lock(&self.sessions).insert(session, caller.shared_id(), (), Instant::now());
        if !kept {
            tracing::warn!("too many sessions are open to remember another one's owner");
        }
    }

    fn session_owner(&self, session: &str) -> Option<Arc<str>> {
        let mut sessions = lock(&self.sessions);
        let (owner, ()) = sessions.get(session, Instant::now())?;
        Some(owner)
    }

    fn end_session(&self, session: &str) {
        lock(&self.sessions).remove(session);
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) {
        let TaskOwner { caller, tool } = owner;
        let kept = lock(&self.tasks).insert(task, caller, tool, Instant::now());
        if !kept {
            tracing::warn!("too many tasks are known to remember another one's owner");
        }
    }

    fn task_owner(&self, task: &str) -> Option<TaskOwner> {
        let (caller, tool) = lock(&self.tasks).get(task, Instant::now())?;
        Some(TaskOwner { caller, tool })
    }
}

/// Nothing is left half done under a lock, so a panic of another thread spoils
/// nothing.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
