//! Sessions and tasks in a file, which processes on one machine can share.

mod owned;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::{SessionOwner, SessionStore, TaskOwner};
use crate::caller::Caller;
use crate::sqlite::Worker;
use crate::store::StoreAnswer;
use owned::{Begin, Bounds, End, Find, Kind, Name, Which};

/// A use is written down if the last was so long ago: reading is cheaper.
const USE_EVERY: Duration = Duration::from_secs(60);

/// A [`SessionStore`] in the file of a [`SqliteState`](crate::SqliteState). Clones are the
/// same store.
///
/// Sessions and tasks are still known when the process has ended, and to other
/// processes that have the same file open. For each server it knows as many as a
/// [`MemorySessionStore`](crate::MemorySessionStore): 100 000 sessions and as many
/// tasks, and of one caller 1 000 of each. Those beyond push out what the caller has
/// not used for longest, to the minute; when it is full, whoever has the most makes
/// room. In the file there are digests of ids, and not the ids themselves.
///
/// While the file is locked, nothing new can be remembered, but it is still read.
#[derive(Clone, Debug)]
pub struct SqliteSessionStore {
    worker: Arc<Worker>,
    server: Arc<str>,
    bounds: Bounds,
    use_every: Duration,
}

impl SqliteSessionStore {
    pub(crate) fn new(worker: Arc<Worker>, server: Arc<str>) -> Self {
        Self {
            worker,
            server,
            bounds: Bounds::default(),
            use_every: USE_EVERY,
        }
    }

    fn which(&self, kind: Kind, id: &str) -> Which {
        Which {
            server: Arc::clone(&self.server),
            kind,
            name: Name::of(id),
        }
    }

    fn begin(&self, which: Which, owner: Arc<str>, detail: Option<Arc<str>>) -> StoreAnswer<()> {
        let bounds = self.bounds;
        self.worker
            .ask(|reply| Begin::new(which, (owner, detail), bounds, reply))
    }
}

impl SessionStore for SqliteSessionStore {
    fn begin_session(&self, session: &str, owner: SessionOwner) -> StoreAnswer<()> {
        let which = self.which(Kind::Session, session);
        let detail = owner.detail();
        self.begin(which, owner.caller, detail)
    }

    fn session_owner(&self, session: &str, asking: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        let which = self.which(Kind::Session, session);
        let asking = (asking.shared_id(), self.use_every);
        self.worker.ask(|reply| {
            let owner = |(caller, detail)| Some(SessionOwner::from_detail(caller, detail));
            Find::new(which, asking, owner, reply)
        })
    }

    fn end_session(&self, session: &str) -> StoreAnswer<()> {
        let which = self.which(Kind::Session, session);
        self.worker.ask(|reply| End::new(which, reply))
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) -> StoreAnswer<()> {
        let which = self.which(Kind::Task, task);
        self.begin(which, owner.caller, Some(owner.tool))
    }

    fn task_owner(&self, task: &str, asking: &Caller) -> StoreAnswer<Option<TaskOwner>> {
        let which = self.which(Kind::Task, task);
        let asking = (asking.shared_id(), self.use_every);
        self.worker.ask(|reply| {
            let owner = |(caller, tool): (_, Option<_>)| {
                let tool = tool?;
                Some(TaskOwner { caller, tool })
            };
            Find::new(which, asking, owner, reply)
        })
    }
}
