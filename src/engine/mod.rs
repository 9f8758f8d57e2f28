//! Puts everything in order that a message meets: who may use the session, what
//! the policy says, and what is recorded of it.
//!
//! No HTTP in here, and no JSON: a message comes in, a judgement goes out.

mod account;
mod charge;
mod judge;
mod told;
mod words;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(crate) use account::{Arrival, Draft, Seen};
pub(crate) use charge::{AwaitedCharge, Bill, Charged, Charging, Shortage};
pub(crate) use judge::{Judge, Judgement};
pub(crate) use told::{Subscription, Told};
pub(crate) use words::unrecorded;

use self::charge::Limits;
use crate::audit::{AuditSink, Trail, seam_panicked};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::limit::LimitStore;
use crate::mcp::reply::Refusal;
use crate::reload::PolicyChanges;
use crate::session::{MemorySessionStore, SessionOwner, SessionStore, TaskOwner, folded};
use crate::source::PolicySource;

/// Everything that judging needs besides the message.
#[derive(Clone)]
pub(crate) struct Engine {
    source: Arc<dyn PolicySource>,
    /// How the source says that something has changed.
    changes: Option<PolicyChanges>,
    sessions: Sessions,
    limits: Limits,
    trail: Trail,
    /// What the server is called in records.
    server: Option<Arc<str>>,
}

impl Engine {
    pub(crate) fn new(source: impl PolicySource) -> Self {
        // If it panics, it says nothing; no request depends on that.
        let changes = asked("policy source", || source.changes());
        Self {
            source: Arc::new(source),
            changes: changes.ok().flatten(),
            sessions: Sessions(Arc::new(MemorySessionStore::default())),
            limits: Limits::default(),
            trail: Trail::default(),
            server: None,
        }
    }

    pub(crate) fn set_sessions(&mut self, store: impl SessionStore) {
        self.sessions = Sessions(Arc::new(store));
    }

    pub(crate) fn set_limits(&mut self, store: impl LimitStore) {
        self.limits.set_store(store);
    }

    pub(crate) fn set_clock(&mut self, clock: impl Clock) {
        self.limits.set_clock(clock);
    }

    pub(crate) fn set_audit(&mut self, sink: impl AuditSink) {
        self.trail = Trail::to(sink);
    }

    pub(crate) fn set_server(&mut self, name: Arc<str>) {
        self.server = Some(name);
    }

    /// Which sessions and tasks belong to whom.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// How it is told that policies have changed; `None` if they do not.
    pub(crate) fn changes(&self) -> Option<&PolicyChanges> {
        self.changes.as_ref()
    }

    /// The judge for a request of this caller.
    pub(crate) fn judge_for(&self, caller: &Caller) -> Result<Judge, Refusal> {
        let (policy, per_caller) = asked("policy source", || {
            (
                self.source.policy_for(caller),
                self.source.depends_on_caller(),
            )
        })?;
        Ok(Judge::new(
            policy,
            per_caller,
            caller.clone(),
            self.sessions.clone(),
            self.limits.now()?,
        ))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// A session that is known to be the caller's.
#[derive(Clone, Debug)]
pub(crate) struct OwnSession {
    /// As it is compared with others.
    pub(crate) id: Arc<str>,
    /// What the client said of itself when it was begun, if that is known.
    pub(crate) client: Option<Arc<str>>,
}

/// A [`SessionStore`] whose panics are refusals.
#[derive(Clone)]
pub(crate) struct Sessions(Arc<dyn SessionStore>);

impl Sessions {
    /// Remembers a session. If that fails it is not known, as if another replica
    /// had it.
    pub(crate) fn begin(&self, session: &str, owner: SessionOwner) {
        let session = folded(session);
        let _ = self.ask(|store| store.begin_session(&session, owner));
    }

    pub(crate) fn end(&self, session: &str) {
        let session = folded(session);
        let _ = self.ask(|store| store.end_session(&session));
    }

    /// Refuses a session that is known to be another caller's. Of one that is known
    /// to be this caller's, by what it is known.
    pub(crate) fn entered(
        &self,
        session: &str,
        caller: &Caller,
    ) -> Result<Option<OwnSession>, Refusal> {
        let session = folded(session);
        match self.ask(|store| store.session_owner(&session, caller))? {
            Some(owner) if owner.caller() != caller.id() => Err(Refusal::NoSession),
            Some(owner) => Ok(Some(OwnSession {
                id: session.into(),
                client: owner.into_client(),
            })),
            None => Ok(None),
        }
    }

    /// Remembers a task. If that fails it is not known, and refused.
    pub(crate) fn begin_task(&self, task: &str, owner: TaskOwner) {
        let _ = self.ask(|store| store.begin_task(task, owner));
    }

    /// The tool that the caller made the task with; `None` if the task is not
    /// known to be the caller's.
    pub(crate) fn tool_of(&self, task: &str, caller: &Caller) -> Result<Option<String>, Refusal> {
        let owner = self.ask(|store| store.task_owner(task, caller))?;
        Ok(owner
            .filter(|owner| owner.caller() == caller.id())
            .map(|owner| owner.tool().to_owned()))
    }

    fn ask<T>(&self, question: impl FnOnce(&dyn SessionStore) -> T) -> Result<T, Refusal> {
        asked("session store", || question(&*self.0))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// Asks something that the embedder brought. If it panics, nothing is decided.
pub(crate) fn asked<T>(whom: &'static str, question: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(question)).map_err(|_| {
        seam_panicked(whom);
        Refusal::Failed
    })
}
