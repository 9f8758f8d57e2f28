//! Tells clients that their lists have changed, when another policy holds.
//!
//! Only where the server has said that it tells of such changes. A session of the
//! legacy era hears of it on one of its streams, a client of the modern era on
//! those that it asked for, once the server has acknowledged them. A stream
//! passes on whole events only, so that between what it passes on there is always
//! room for one of ours.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, response};

use super::exchange::{Exchange, SessionStep, Waiting};
use super::incoming::Incoming;
use super::request::session_id;
use crate::caller::Caller;
use crate::engine::{Engine, Subscription, Told};
use crate::mcp::changed::{self, Lists};
use crate::mcp::message::Message;
use crate::mcp::sse;
use crate::mcp::version::Era;
use crate::reload::{PolicyChanges, Watch};
use crate::session::folded;
use crate::session::table::{Bounds, Table};

/// Sessions, and callers, of which is known what the server declared.
const BOUNDS: Bounds = Bounds {
    in_all: 100_000,
    of_one: 1_000,
};

/// Streams of one session that are considered.
const MOST_STREAMS: usize = 256;

/// What the answer to a request means to whoever waits for changes.
#[derive(Clone, Debug, Default)]
pub(super) enum Role {
    /// Nothing, or no policy ever changes.
    #[default]
    None,
    /// It begins a session, the one of this name once that is known, and declares
    /// what will be told in it.
    Begins(Option<String>),
    /// It declares what the server tells of (2026-07-28).
    Declares,
    /// It may carry what is told in this session.
    Carries(String),
    /// It is a stream and a session in one, as in 2024-11-05.
    IsSession,
    /// It is a subscription to changes of these lists (2026-07-28).
    Subscribes(Lists),
}

impl Incoming<'_> {
    /// What the answer will mean.
    pub(super) fn role(self, era: Era, message: Option<(&Message<'_>, &[u8])>) -> Role {
        if self.config.engine.changes().is_none() {
            return Role::None;
        }
        match message {
            Some((Message::Request(_, call), body)) => match &*call.method {
                "initialize" => return Role::Begins(None),
                "server/discover" => return Role::Declares,
                "subscriptions/listen" => return Role::Subscribes(changed::requested(body)),
                _ => {}
            },
            None if self.head.method == Method::GET => {}
            _ => return Role::None,
        }
        let opens_stream = self.head.method == Method::GET;
        match session_id(&self.head.headers) {
            Ok(Some(session)) if opens_stream || era == Era::Legacy => {
                Role::Carries(session.to_owned())
            }
            Ok(None) if opens_stream => Role::IsSession,
            _ => Role::None,
        }
    }
}

/// Which sessions are to be told what.
pub(crate) struct Listeners {
    sessions: Mutex<Table<Arc<Session>>>,
    /// What was declared to which caller (2026-07-28).
    declared: Mutex<Table<Lists>>,
}

/// What is known of one session.
#[derive(Debug)]
struct Session(Mutex<Known>);

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
    /// Remembers what a session or caller was declared, if this answers the
    /// question for it.
    fn learn(&self, exchange: &Exchange, answer: &[u8]) {
        let caller = exchange.judge.caller();
        match &exchange.asked.role {
            Role::Begins(Some(session)) => {
                let declared = changed::declared(answer).unwrap_or_default();
                if !declared.is_empty() {
                    let known = Session::new(Told::by(&exchange.judge), declared);
                    let session = folded(session);
                    lock(&self.sessions).insert(&session, &caller.shared_id(), Arc::new(known));
                }
            }
            Role::Declares => {
                if let Some(declared) = changed::declared(answer) {
                    let mut table = lock(&self.declared);
                    table.remove(caller.id());
                    table.insert(caller.id(), &caller.shared_id(), declared);
                }
            }
            _ => {}
        }
    }

    /// A session of this caller's, if the server tells of anything in it.
    fn session(&self, session: &str, caller: &Caller) -> Option<Arc<Session>> {
        let (owner, known) = lock(&self.sessions).get(&folded(session), caller.id())?;
        (*owner == *caller.id()).then_some(known)
    }

    fn declared_to(&self, caller: &Caller) -> Option<Lists> {
        let (_, declared) = lock(&self.declared).get(caller.id(), caller.id())?;
        Some(declared)
    }
}

/// Notes which session an answer begins or ends.
pub(super) fn follow_session(exchange: &mut Exchange, answer: &response::Parts) {
    if !answer.status.is_success() {
        return;
    }
    if let Role::Begins(session) = &mut exchange.asked.role {
        let named = session_id(&answer.headers).ok().flatten();
        *session = named.map(str::to_owned);
    }
    if let SessionStep::End(session) = &exchange.asked.session {
        lock(&exchange.config.listeners.sessions).remove(&folded(session));
    }
}

/// Takes note of what an answer declares.
pub(super) fn learn(exchange: &Exchange, answer: &[u8]) {
    exchange.config.listeners.learn(exchange, answer);
}

impl Session {
    fn new(told: Told, declared: Lists) -> Self {
        Self(Mutex::new(Known {
            declared,
            told,
            streams: BTreeSet::new(),
            last: 0,
        }))
    }
}

/// Puts what a client is to be told into a stream.
pub(super) struct Teller {
    watch: Watch,
    right: Right,
    /// What is told next.
    ready: VecDeque<Bytes>,
}

/// By what a stream may tell.
enum Right {
    Session {
        seat: Seat,
        /// Whether the stream goes on when an answer has come.
        is_lasting: bool,
        /// Whether what it declares is still to come on it.
        is_session: bool,
    },
    Subscription(Subscription),
}

impl Teller {
    /// For a stream that may tell of changes.
    pub(super) fn of(exchange: &Exchange) -> Option<Self> {
        let Exchange {
            config,
            judge,
            asked,
        } = exchange;
        let watch = config.engine.changes()?.watch();
        let right = match &asked.role {
            Role::None | Role::Begins(_) | Role::Declares => return None,
            Role::Carries(session) => Right::Session {
                seat: Seat::take(
                    config.listeners.session(session, judge.caller())?,
                    asked.opens_stream,
                    &watch,
                )?,
                is_lasting: asked.opens_stream,
                is_session: false,
            },
            Role::IsSession => {
                let session = Session::new(Told::by(judge), Lists::default());
                Right::Session {
                    seat: Seat::take(Arc::new(session), true, &watch)?,
                    is_lasting: true,
                    is_session: true,
                }
            }
            Role::Subscribes(lists) => {
                let Waiting::One(id) = &asked.waiting else {
                    return None;
                };
                Right::Subscription(Subscription::new(id, *lists, judge))
            }
        };
        Some(Self {
            watch,
            right,
            ready: VecDeque::new(),
        })
    }

    /// The next event for this stream. The task is woken when there may be one.
    pub(super) fn poll(&mut self, exchange: &Exchange, context: &mut Context<'_>) -> Poll<Bytes> {
        let changes = self.watch.poll(context);
        if self.ready.is_empty() {
            let (engine, caller) = (&exchange.config.engine, exchange.judge.caller());
            let news = match &mut self.right {
                Right::Session { seat, .. } => seat.news(changes, engine, caller),
                Right::Subscription(subscription) => subscription.news(changes, engine, caller),
            };
            self.ready.extend(news.iter().map(|news| sse::event(news)));
        }
        self.ready.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// A message has passed. Whether this stream may still tell of something.
    pub(super) fn passed(&mut self, exchange: &Exchange, data: &[u8], is_answer: bool) -> bool {
        match &mut self.right {
            Right::Session {
                seat,
                is_lasting,
                is_session,
            } => {
                if is_answer && *is_session {
                    if let Some(declared) = changed::declared(data) {
                        lock(&seat.session.0).declared = declared;
                        *is_session = false;
                    }
                }
                *is_lasting || !is_answer
            }
            Right::Subscription(subscription) => {
                if !subscription.is_acknowledged() {
                    if let Some(agreed) = changed::acknowledged(data) {
                        let caller = exchange.judge.caller();
                        let declared = exchange.config.listeners.declared_to(caller);
                        subscription.acknowledge(&agreed, declared);
                    }
                }
                !is_answer
            }
        }
    }
}

/// A place among the streams of a session.
struct Seat {
    session: Arc<Session>,
    rank: Rank,
    changes: PolicyChanges,
}

impl Seat {
    fn take(session: Arc<Session>, opens_stream: bool, watch: &Watch) -> Option<Self> {
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
            changes: watch.changes().clone(),
        })
    }

    /// The notifications that are due, if it is this stream that tells.
    fn news(&self, changes: u64, engine: &Engine, caller: &Caller) -> Vec<Vec<u8>> {
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
        let is_up_to_date = known.told.is_up_to_date(self.changes.count());
        let has_heir = !known.streams.is_empty();
        drop(known);
        if has_heir && !is_up_to_date {
            self.changes.wake();
        }
    }
}

/// Nothing is left half done under these locks, so a panic of another thread
/// spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").finish_non_exhaustive()
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}
