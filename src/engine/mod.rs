//! Puts everything in order that a message meets: who may use the session, what
//! the policy says, and what is recorded of it.
//!
//! No HTTP in here: a message comes in, a judgement goes out.

mod account;
mod admission;
mod approve;
mod charge;
mod definitions;
mod holds;
mod judge;
mod nested;
mod rounds;
mod sessions;
mod told;
mod words;

use std::fmt;
use std::sync::Arc;

pub(crate) use account::{Arrival, Draft, Seen};
pub(crate) use admission::{
    Admission, Admitted, Admitting, AwaitedAdmission, Ended, Entrant, Holding, Own, Recorded, admit,
};
pub(crate) use approve::Patience;
pub(crate) use charge::Charged;
pub(crate) use holds::HeldCall;
pub(crate) use judge::{Judge, Judgement};
pub(crate) use nested::{ClientStream, Question};
pub(crate) use rounds::{Abilities, Brought, Following};
pub(crate) use sessions::{OwnSession, Pending, Sessions};
pub(crate) use told::{Subscription, Told};
pub(crate) use words::unrecorded;

use self::approve::Approvals;
use self::charge::Limits;
use self::definitions::SeenDefinitions;
use self::rounds::Rounds;
use crate::approval::{ApprovalId, ApprovalStore};
use crate::audit::{AuditSink, Trail};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::limit::LimitStore;
use crate::mcp::reply::Refusal;
use crate::reload::PolicyChanges;
use crate::reload::PolicySource;
use crate::rounds::RequestStateKeys;
use crate::seam;
use crate::session::{MemorySessionStore, SessionStore};

/// The rule that refuses sessions and tasks that are not the caller's, and sessions
/// beyond those that a caller may begin.
const SESSION: &str = "(session)";

/// Everything that judging needs besides the message.
#[derive(Clone)]
pub(crate) struct Engine {
    source: Arc<dyn PolicySource>,
    /// How the source says that something has changed.
    changes: Option<PolicyChanges>,
    sessions: Sessions,
    limits: Limits,
    approvals: Approvals,
    rounds: Rounds,
    definitions: SeenDefinitions,
    trail: Trail,
    /// What the server is called in records, and in stores that several share.
    server: Option<Arc<str>>,
}

impl Engine {
    pub(crate) fn new(source: impl PolicySource) -> Self {
        // If it panics, it says nothing; no request depends on that.
        let changes = asked("policy source", || source.changes());
        Self {
            source: Arc::new(source),
            changes: changes.ok().flatten(),
            sessions: Sessions::new(MemorySessionStore::default()),
            limits: Limits::default(),
            approvals: Approvals::default(),
            rounds: Rounds::default(),
            definitions: SeenDefinitions::default(),
            trail: Trail::default(),
            server: None,
        }
    }

    pub(crate) fn set_sessions(&mut self, store: impl SessionStore) {
        self.sessions = Sessions::new(store);
    }

    pub(crate) fn set_limits(&mut self, store: impl LimitStore) {
        self.limits.set_store(store);
    }

    pub(crate) fn set_approvals(&mut self, store: impl ApprovalStore) {
        self.approvals.set_store(store);
    }

    pub(crate) fn set_request_state_keys(&mut self, keys: RequestStateKeys) {
        self.rounds.set_keys(keys);
    }

    pub(crate) fn set_approval_page(
        &mut self,
        page: impl Fn(&ApprovalId) -> String + Send + Sync + 'static,
    ) {
        self.rounds.set_page(page);
    }

    pub(crate) fn set_clock(&mut self, clock: impl Clock) {
        self.limits.set_clock(clock);
    }

    pub(crate) fn set_sessions_per_minute(&mut self, most: u32) {
        self.limits.set_sessions_per_minute(most);
    }

    pub(crate) fn set_audit(&mut self, sink: impl AuditSink) {
        self.trail = Trail::to(sink);
    }

    pub(crate) fn set_server(&mut self, name: Arc<str>) {
        self.server = Some(name);
    }

    /// By what the server is told apart from others where they share a store; empty if it
    /// has no name.
    fn server_key(&self) -> Arc<str> {
        self.server.clone().unwrap_or_default()
    }

    /// Which sessions and tasks belong to whom, for one request.
    pub(crate) fn sessions(&self) -> Sessions {
        self.sessions.afresh()
    }

    /// Whether anybody can be asked for an approval, so that calls may wait.
    pub(crate) fn has_approvals(&self) -> bool {
        self.approvals.can_be_given()
    }

    /// How it is told that policies have changed; `None` if they do not.
    pub(crate) fn changes(&self) -> Option<&PolicyChanges> {
        self.changes.as_ref()
    }

    /// The judge for a request of this caller.
    pub(crate) fn judge_for(&self, caller: &Caller, sessions: &Sessions) -> Result<Judge, Refusal> {
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
            (sessions.clone(), self.definitions.clone()),
            self.limits.now()?,
        ))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// Asks something that the embedder brought. If it panics, nothing is decided.
pub(crate) fn asked<T>(whom: &'static str, question: impl FnOnce() -> T) -> Result<T, Refusal> {
    seam::asked(whom, question).map_err(|_| Refusal::Failed)
}
