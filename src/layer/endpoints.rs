//! The two-endpoint transport of 2024-11-05: a client opens an event stream,
//! is told there where to POST its messages, and hears the answers on the
//! stream only. A refusal has to go there too.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Uri;
use percent_encoding::percent_decode_str;

use crate::caller::Caller;
use crate::lock::lock;

/// Streams that are remembered. Of those beyond it nobody would know whose session they
/// are, so they begin none; where no session is in the address, they get their refusals
/// with the POST, like those of later transports.
const MOST_STREAMS: usize = 10_000;

/// Of them those of one caller, who takes none of the others' room.
const MOST_OF_ONE: usize = 1_000;

/// Segments of a path, and parts of a query, that could name a session.
const MOST_SEGMENTS: usize = 16;

/// Bytes that the address of a stream may have: a client can hardly POST to a longer one.
const LONGEST_ADDRESS: usize = 2048;

/// How often something may be escaped.
const MOST_ROUNDS: usize = 4;

/// Letters and digits that the name of a session has at least, where it is not
/// called so.
const SHORTEST_ID: usize = 8;

/// Bytes of events that wait on one stream. A client that does not read gets no
/// more.
const MOST_WAITING: usize = 64 << 10;

/// The open streams of this transport, and who has which session in it.
#[derive(Default)]
pub(crate) struct Endpoints {
    streams: Mutex<Streams>,
    /// Who has open streams whose address holds this name of a session.
    owners: Mutex<HashMap<Session, Vec<Caller>>>,
}

/// The open streams, by the address that each has announced.
#[derive(Default)]
struct Streams {
    by_address: HashMap<String, Announced>,
    /// Those that share an address, too.
    count: usize,
    /// Of them those of each caller.
    of_caller: HashMap<Arc<str>, usize>,
}

/// Why an address cannot be remembered, and so must not be told to the client: nobody
/// would know whose the session in it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is too long or cannot be read.
    Address,
    /// The caller, or all of them together, have too many open streams.
    NoRoom,
}

enum Announced {
    /// The stream of this caller.
    By(Arc<Mailbox>, Caller),
    /// More than one stream has announced it, so it tells nothing.
    Shared(usize),
}

/// Events on their way into one stream.
#[derive(Default)]
struct Mailbox {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Bytes>,
    reader: Option<Waker>,
}

/// The stream's side: takes the events, and ends the announcement when it is
/// dropped.
pub(super) struct Announcement {
    key: String,
    sessions: Vec<Session>,
    caller: Caller,
    mailbox: Arc<Mailbox>,
    endpoints: Arc<Endpoints>,
}

impl Endpoints {
    /// Remembers what an `endpoint` event announced; `None` if nothing in it is anybody's.
    pub(super) fn announce(
        self: &Arc<Self>,
        address: &[u8],
        caller: &Caller,
    ) -> Result<Option<Announcement>, Unfit> {
        if address.len() > LONGEST_ADDRESS {
            return Err(Unfit::Address);
        }
        // It may be relative to the stream's own address.
        let address = std::str::from_utf8(address).map_err(|_| Unfit::Address)?;
        let address = address
            .split_once('#')
            .map_or(address, |(address, _)| address);
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        if !has_few_parts(&decoded(path), query) {
            return Err(Unfit::Address);
        }
        let Some(key) = key(path, query) else {
            return Ok(None);
        };
        let key = key.to_owned();
        let mailbox = Arc::<Mailbox>::default();
        let sessions = sessions_in(path, query);
        let mut streams = lock(&self.streams);
        if !streams.has_room_for(caller) {
            if !sessions.is_empty() {
                return Err(Unfit::NoRoom);
            }
            // There are two with it now, though one is not remembered.
            if let Some(announced @ Announced::By(..)) = streams.by_address.get_mut(&key) {
                *announced = Announced::Shared(1);
            }
            return Ok(None);
        }
        let announced = match streams.by_address.remove(&key) {
            None => Announced::By(Arc::clone(&mailbox), caller.clone()),
            Some(Announced::By(..)) => Announced::Shared(2),
            Some(Announced::Shared(streams)) => Announced::Shared(streams.saturating_add(1)),
        };
        streams.by_address.insert(key.clone(), announced);
        streams.begin(caller);
        drop(streams);
        let mut owners = lock(&self.owners);
        for session in &sessions {
            owners
                .entry(session.clone())
                .or_default()
                .push(caller.clone());
        }
        drop(owners);
        Ok(Some(Announcement {
            key,
            sessions,
            caller: caller.clone(),
            mailbox,
            endpoints: Arc::clone(self),
        }))
    }

    /// Sends an event into the stream of this caller that announced the target
    /// of a POST; whether there is one that takes it.
    pub(super) fn deliver(
        &self,
        target: &Uri,
        caller: &Caller,
        event: impl FnOnce() -> Bytes,
    ) -> bool {
        let Some(key) = key_of(target) else {
            return false;
        };
        let mailbox = match lock(&self.streams).by_address.get(key) {
            Some(Announced::By(mailbox, owner)) if owner.id() == caller.id() => Arc::clone(mailbox),
            _ => return false,
        };
        let event = event();
        let mut waiting = lock(&mailbox.waiting);
        let bytes: usize = waiting.events.iter().map(Bytes::len).sum();
        if bytes.saturating_add(event.len()) > MOST_WAITING {
            return false;
        }
        waiting.events.push_back(event);
        let reader = waiting.reader.take();
        // Whoever is woken may want to read at once.
        drop(waiting);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// Whether this caller may POST to the target: it names no session of a
    /// stream that only others have open, in whatever way it is written.
    pub(super) fn may_post(&self, target: &Uri, caller: &Caller) -> bool {
        if lock(&self.owners).is_empty() {
            return true;
        }
        // Nobody else waits while it is read.
        let query = target.query().unwrap_or_default();
        let Some(sessions) = asked(target.path(), query) else {
            return false;
        };
        let owners = lock(&self.owners);
        sessions
            .iter()
            .filter_map(|session| owners.get(session))
            .all(|owners| owners.iter().any(|owner| owner.id() == caller.id()))
    }

    /// Whether a target looks like one that such a stream announced, although
    /// none here did: its client reads no answers to its POSTs.
    pub(super) fn is_elsewhere(target: &Uri) -> bool {
        let query = target.query().unwrap_or_default();
        named(query).next().is_some()
    }

    fn forget(&self, announcement: &Announcement) {
        let mut streams = lock(&self.streams);
        streams.end(&announcement.caller);
        match streams.by_address.get_mut(&announcement.key) {
            Some(Announced::Shared(count)) if *count > 1 => *count = count.saturating_sub(1),
            _ => {
                streams.by_address.remove(&announcement.key);
            }
        }
        drop(streams);
        let mut owners = lock(&self.owners);
        for session in &announcement.sessions {
            let Some(callers) = owners.get_mut(session) else {
                continue;
            };
            let own = |caller: &Caller| caller.id() == announcement.caller.id();
            if let Some(index) = callers.iter().position(own) {
                callers.swap_remove(index);
            }
            if callers.is_empty() {
                owners.remove(session);
            }
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "the server announces an address that is too long or unreadable",
            Self::NoRoom => {
                "the server announces an address to a caller who has 1000 such streams open, or \
                 there are 10000 of them"
            }
        })
    }
}

impl Streams {
    fn has_room_for(&self, caller: &Caller) -> bool {
        let own = self.of_caller.get(caller.id());
        self.count < MOST_STREAMS && own.is_none_or(|own| *own < MOST_OF_ONE)
    }

    fn begin(&mut self, caller: &Caller) {
        self.count = self.count.saturating_add(1);
        let own = self.of_caller.entry(caller.shared_id()).or_default();
        *own = own.saturating_add(1);
    }

    fn end(&mut self, caller: &Caller) {
        self.count = self.count.saturating_sub(1);
        match self.of_caller.get_mut(caller.id()) {
            Some(own) if *own > 1 => *own = own.saturating_sub(1),
            _ => {
                self.of_caller.remove(caller.id());
            }
        }
    }
}

impl Announcement {
    /// The next event for this stream.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Bytes> {
        let mut waiting = lock(&self.mailbox.waiting);
        match waiting.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                waiting.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.endpoints.forget(self);
    }
}

/// What is the same in the address that the server announces and in the one
/// that the layer sees, although a router may have removed a prefix in between:
/// the query, or else the last segment of the path.
fn key<'a>(path: &'a str, query: &'a str) -> Option<&'a str> {
    let segment = || path.rsplit('/').find(|segment| !segment.is_empty());
    Some(query)
        .filter(|query| !query.is_empty())
        .or_else(segment)
}

/// A name of a session in an address, and where it stands there. Only what
/// stands in the same kind of place is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Session {
    /// A value that is called so.
    Named(String),
    /// Another part of the query.
    Query(String),
    /// A part of the path.
    Path(String),
}

/// The names of sessions that a server's address holds: the values that are
/// called so, and if there are none, whatever else looks like one. An address
/// that many streams have in common holds none.
fn sessions_in(path: &str, query: &str) -> Vec<Session> {
    let mut sessions: Vec<Session> = named(query).collect();
    if sessions.is_empty() {
        let all = values(query).map(Session::Query).chain(segments(path));
        sessions = all.filter(Session::looks_like_one).collect();
    }
    sessions
}

/// Whatever some server could take for the name of a session in a client's
/// target; `None` if that is not for sure.
fn asked(path: &str, query: &str) -> Option<Vec<Session>> {
    let plain = decoded(path);
    let is_simple = plain
        .split(SLASHES)
        .all(|segment| !segment.starts_with('.'))
        && has_few_parts(&plain, query);
    let sessions = named(query)
        .chain(values(query).map(Session::Query))
        .chain(segments(path));
    is_simple.then(|| sessions.collect())
}

/// Whether few parts of an address, the path of which is decoded, could name a session.
fn has_few_parts(plain: &str, query: &str) -> bool {
    plain.split(SLASHES).count() <= MOST_SEGMENTS && query.split(PAIRS).count() <= MOST_SEGMENTS
}

impl Session {
    fn looks_like_one(&self) -> bool {
        let (Self::Named(name) | Self::Query(name) | Self::Path(name)) = self;
        name.len() >= SHORTEST_ID && name.contains(|c: char| c.is_ascii_digit())
    }
}

fn named(query: &str) -> impl Iterator<Item = Session> {
    query
        .split(PAIRS)
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| is_session(&plain_name(name)))
        .map(|(_, value)| plain_name(value))
        .filter(|value| !value.is_empty())
        .map(Session::Named)
}

/// What stands in a query, with a name or without one.
fn values(query: &str) -> impl Iterator<Item = String> {
    let pairs = query.split(PAIRS);
    let values = pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    values.map(plain_name).filter(|value| !value.is_empty())
}

fn segments(path: &str) -> impl Iterator<Item = Session> {
    let segments: Vec<String> = decoded(path).split(SLASHES).map(plain_name).collect();
    let segments = segments.into_iter().filter(|segment| !segment.is_empty());
    segments.map(Session::Path)
}

const PAIRS: [char; 2] = ['&', ';'];
/// What servers divide a path at, once it is decoded.
const SLASHES: [char; 3] = ['/', '\\', ';'];

fn is_session(name: &str) -> bool {
    name == "sessionid"
}

/// The letters and digits of a name, in lower case: what is left when nothing
/// counts that some server ignores, such as the dashes and braces of a UUID.
fn plain_name(text: &str) -> String {
    let mut name = decoded(text).to_lowercase();
    name.retain(char::is_alphanumeric);
    match name.strip_prefix("urnuuid") {
        Some(uuid) if !uuid.is_empty() => uuid.to_owned(),
        _ => name,
    }
}

/// Without escapes, nor escapes of escapes.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..MOST_ROUNDS {
        let next = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if next == text {
            break;
        }
        text = next;
    }
    text
}

fn key_of(target: &Uri) -> Option<&str> {
    key(target.path(), target.query().unwrap_or_default())
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints").finish_non_exhaustive()
    }
}

impl fmt::Debug for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcement").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
