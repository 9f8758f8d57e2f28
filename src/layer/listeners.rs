//! Which sessions and callers are to be told of other lists, and by which of their
//! streams.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::bell::{Bell, Watch};
use crate::caller::Caller;
use crate::engine::{Engine, Told};
use crate::lock::lock;
use crate::mcp::changed::Lists;
use crate::session::folded;
use crate::session::table::{Bounds, Table};

/// Sessions, and callers, of which is known what the server declared.
const BOUNDS: Bounds = Bounds {
    in_all: 100_000,
    of_one: 1_000,
};

/// Streams of one session that are considered.
const MOST_STREAMS: usize = 256;

/// Which sessions are to be told what.
pub(crate) struct Listeners {
    sessions: Mutex<Table<Arc<Session>>>,
    /// What was declared to which caller (2026-07-28).
    declared: Mutex<Table<Lists>>,
}

/// What is known of one session.
#[derive(Debug)]
pub(super) struct Session(Mutex<Known>);

#[derive(Debug)]
struct Known {
    declared: Lists,
    told: Told,
    /// The open streams of the session. The first one tells.
    streams: BTreeSet<Rank>,
    /// Counts them.
    last: u64,
}

/// Streams that the client opened to be told of something come first, and of these
/// the one that was opened last: older ones may be dead.
type Rank = (bool, Reverse<u64>);

impl Default for Listeners {
    fn default() -> Self {
        Self {
            sessions: Mutex::new(Table::new(BOUNDS)),
            declared: Mutex::new(Table::new(BOUNDS)),
        }
    }
}

impl Listeners {
    /// Remembers what was declared in a session that this caller has begun.
    pub(super) fn begin(&self, session: &str, caller: &Caller, told: Told, declared: Lists) {
        let known = Session::new(told, declared);
        lock(&self.sessions).insert(&folded(session), &caller.shared_id(), Arc::new(known));
    }

    /// Forgets a session that has ended.
    pub(super) fn end(&self, session: &str) {
        lock(&self.sessions).remove(&folded(session));
    }

    /// Remembers what was declared to a caller (2026-07-28).
    pub(super) fn declare(&self, caller: &Caller, declared: Lists) {
        let mut table = lock(&self.declared);
        table.remove(caller.id());
        table.insert(caller.id(), &caller.shared_id(), declared);
    }

    /// A session of this caller's, if the server tells of anything in it.
    pub(super) fn session(&self, session: &str, caller: &Caller) -> Option<Arc<Session>> {
        let (owner, known) = lock(&self.sessions).get(&folded(session), caller.id())?;
        (*owner == *caller.id()).then_some(known)
    }

    pub(super) fn declared_to(&self, caller: &Caller) -> Option<Lists> {
        let (_, declared) = lock(&self.declared).get(caller.id(), caller.id())?;
        Some(declared)
    }
}

impl Session {
    pub(super) fn new(told: Told, declared: Lists) -> Self {
        Self(Mutex::new(Known {
            declared,
            told,
            streams: BTreeSet::new(),
            last: 0,
        }))
    }

    /// What its server declares is known only now.
    pub(super) fn declare(&self, declared: Lists) {
        lock(&self.0).declared = declared;
    }
}

/// A place among the streams of a session.
pub(super) struct Seat {
    pub(super) session: Arc<Session>,
    rank: Rank,
    bell: Bell,
}

impl Seat {
    pub(super) fn take(session: Arc<Session>, opens_stream: bool, watch: &Watch) -> Option<Self> {
        let mut known = lock(&session.0);
        if known.streams.len() >= MOST_STREAMS {
            return None;
        }
        known.last = known.last.wrapping_add(1);
        let rank = (!opens_stream, Reverse(known.last));
        known.streams.insert(rank);
        drop(known);
        Some(Self {
            session,
            rank,
            bell: watch.bell().clone(),
        })
    }

    /// The notifications that are due, if it is this stream that tells.
    pub(super) fn news(&self, changes: u64, engine: &Engine, caller: &Caller) -> Vec<Vec<u8>> {
        let mut known = lock(&self.session.0);
        if known.streams.first() != Some(&self.rank) {
            return Vec::new();
        }
        let news = known.told.news(changes, engine, caller);
        news.and(known.declared).notifications(None)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut known = lock(&self.session.0);
        known.streams.remove(&self.rank);
        let is_up_to_date = known.told.is_up_to_date(self.bell.count());
        let has_heir = !known.streams.is_empty();
        drop(known);
        if has_heir && !is_up_to_date {
            self.bell.wake();
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}
