//! Which session belongs to whom.
//!
//! A session id is no proof of identity, but a server takes whoever names one
//! for its owner. So a session that was issued to one caller does not exist for
//! another. An id that was not seen to be issued here is nobody's: another
//! replica may know it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::caller::Caller;

/// Sessions that are remembered in all.
const MOST_SESSIONS: usize = 100_000;

/// Sessions that are remembered of one caller. Those beyond push out the
/// caller's own.
const MOST_OF_ONE_CALLER: usize = 1_000;

/// How long a session is remembered that nobody uses.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of a session id that is remembered.
const LONGEST_ID: usize = 1024;

/// The sessions that were seen to be issued.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    owners: HashMap<Box<str>, Owner>,
    /// How many sessions each caller has.
    counts: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
struct Owner {
    caller: Arc<str>,
    last_used: Instant,
}

impl Sessions {
    /// Remembers that the server issued a session to this caller. Whoever had
    /// it first keeps it.
    pub(crate) fn issue(&self, session: &str, caller: &Caller, now: Instant) {
        if session.len() > LONGEST_ID {
            return;
        }
        let mut table = self.lock();
        if table.owners.contains_key(session) {
            return;
        }
        let count = table.counts.get(caller.id()).copied().unwrap_or(0);
        if count >= MOST_OF_ONE_CALLER {
            table.forget_oldest_of(caller.id());
        }
        if table.owners.len() >= MOST_SESSIONS {
            table.forget_idle(now);
        }
        if table.owners.len() >= MOST_SESSIONS {
            tracing::warn!("too many sessions are open to remember another one's owner");
            return;
        }
        let caller: Arc<str> = caller.id().into();
        let count = table.counts.entry(Arc::clone(&caller)).or_default();
        *count = count.saturating_add(1);
        let owner = Owner {
            caller,
            last_used: now,
        };
        table.owners.insert(session.into(), owner);
    }

    /// Whether the caller may use the session: it is its own, or nobody's who
    /// is known here.
    pub(crate) fn may_use(&self, session: &str, caller: &Caller, now: Instant) -> bool {
        match self.lock().owners.get_mut(session) {
            Some(owner) if *owner.caller == *caller.id() => {
                owner.last_used = now;
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// Forgets a session that has ended.
    pub(crate) fn end(&self, session: &str) {
        self.lock().forget(session);
    }

    /// Nothing is left half done under the lock, so a panic of another thread
    /// spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget(&mut self, session: &str) {
        let Some(owner) = self.owners.remove(session) else {
            return;
        };
        if let Some(count) = self.counts.get_mut(&owner.caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&owner.caller);
            }
        }
    }

    fn forget_oldest_of(&mut self, caller: &str) {
        let own = self
            .owners
            .iter()
            .filter(|(_, owner)| *owner.caller == *caller);
        let oldest = own.min_by_key(|(_, owner)| owner.last_used);
        if let Some(session) = oldest.map(|(session, _)| session.clone()) {
            self.forget(&session);
        }
    }

    fn forget_idle(&mut self, now: Instant) {
        let is_idle = |owner: &Owner| now.saturating_duration_since(owner.last_used) > IDLE;
        let idle: Vec<_> = self
            .owners
            .iter()
            .filter(|(_, owner)| is_idle(owner))
            .map(|(session, _)| session.clone())
            .collect();
        for session in idle {
            self.forget(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_its_callers_alone() {
        let sessions = Sessions::default();
        let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
        let now = Instant::now();
        assert!(sessions.may_use("s", &bob, now));
        sessions.issue("s", &alice, now);
        sessions.issue("s", &bob, now);
        assert!(sessions.may_use("s", &alice, now));
        assert!(!sessions.may_use("s", &bob, now));
        sessions.end("s");
        assert!(sessions.may_use("s", &bob, now));
        assert!(sessions.lock().counts.is_empty());
    }

    #[test]
    fn one_caller_pushes_out_its_own_sessions_only() {
        let sessions = Sessions::default();
        let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
        let start = Instant::now();
        sessions.issue("alices", &alice, start);
        for index in 0..=MOST_OF_ONE_CALLER {
            let now = start + Duration::from_millis(index as u64);
            sessions.issue(&format!("bobs {index}"), &bob, now);
        }
        assert_eq!(sessions.lock().owners.len(), MOST_OF_ONE_CALLER + 1);
        assert!(!sessions.may_use("alices", &bob, start));
        assert!(
            sessions.may_use("bobs 0", &alice, start),
            "the oldest was forgotten"
        );
        assert!(!sessions.may_use("bobs 1", &alice, start));
    }

    #[test]
    fn idle_sessions_make_room() {
        let sessions = Sessions::default();
        let start = Instant::now();
        for index in 0..MOST_SESSIONS {
            let caller = Caller::new(format!("caller {}", index / MOST_OF_ONE_CALLER));
            sessions.issue(&index.to_string(), &caller, start);
        }
        let late = Caller::new("late");
        sessions.issue("full", &late, start + IDLE);
        assert!(sessions.may_use("full", &Caller::new("other"), start + IDLE));
        sessions.issue("later", &late, start + IDLE * 2);
        assert!(!sessions.may_use("later", &Caller::new("other"), start + IDLE * 2));
        assert_eq!(sessions.lock().owners.len(), 1);
    }
}
