use std::fmt;
use std::sync::{Arc, Mutex};

use super::table::{Bounds, Table};
use super::{SessionOwner, SessionStore, TaskOwner};
use crate::caller::Caller;
use crate::lock::lock;
use crate::mcp::params::Elicitation;
use crate::store::StoreAnswer;

const BOUNDS: Bounds = Bounds {
    in_all: 100_000,
    of_one: 1_000,
};

/// A [`SessionStore`] in the memory of this process.
///
/// It knows 100 000 sessions and as many tasks. Of one caller it knows 1 000 of
/// each: those beyond push out what the caller has not used for longest. When it
/// is full, whoever has the most makes room.
pub struct MemorySessionStore {
    sessions: Mutex<Table<(Option<Arc<str>>, Elicitation)>>,
    tasks: Mutex<Table<Arc<str>>>,
}

impl Default for MemorySessionStore {
    fn default() -> Self {
        Self {
            sessions: Mutex::new(Table::new(BOUNDS)),
            tasks: Mutex::new(Table::new(BOUNDS)),
        }
    }
}

impl SessionStore for MemorySessionStore {
    fn begin_session(&self, session: &str, owner: SessionOwner) -> StoreAnswer<()> {
        let SessionOwner {
            caller,
            client,
            elicitation,
        } = owner;
        lock(&self.sessions).insert(session, &caller, (client, elicitation));
        StoreAnswer::known(())
    }

    fn session_owner(&self, session: &str, asking: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        let owner = lock(&self.sessions).get(session, asking.id());
        StoreAnswer::known(owner.map(|(caller, (client, elicitation))| SessionOwner {
            caller,
            client,
            elicitation,
        }))
    }

    fn end_session(&self, session: &str) -> StoreAnswer<()> {
        lock(&self.sessions).remove(session);
        StoreAnswer::known(())
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) -> StoreAnswer<()> {
        let TaskOwner { caller, tool } = owner;
        lock(&self.tasks).insert(task, &caller, tool);
        StoreAnswer::known(())
    }

    fn task_owner(&self, task: &str, asking: &Caller) -> StoreAnswer<Option<TaskOwner>> {
        let owner = lock(&self.tasks).get(task, asking.id());
        StoreAnswer::known(owner.map(|(caller, tool)| TaskOwner { caller, tool }))
    }

    fn answers_at_once(&self) -> bool {
        true
    }
}

/// Session ids are nobody else's business.
impl fmt::Debug for MemorySessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessionStore").finish_non_exhaustive()
    }
}
