//! The two-endpoint transport of 2024-11-05: a client opens an event stream,
//! is told there where to POST its messages, and hears the answers on the
//! stream only. A refusal has to go there too.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Uri;

use crate::caller::Caller;

/// Streams that are remembered; those beyond it get their refusals with the
/// POST, like those of later transports.
const MOST_STREAMS: usize = 10_000;

/// Bytes of events that wait on one stream. A client that does not read gets no
/// more.
const MOST_WAITING: usize = 64 << 10;

/// The open streams, by the address that each has announced.
#[derive(Default)]
pub(crate) struct Endpoints {
    streams: Mutex<HashMap<String, Announced>>,
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
    mailbox: Arc<Mailbox>,
    endpoints: Arc<Endpoints>,
}

impl Endpoints {
    /// Remembers what an `endpoint` event announced.
    pub(super) fn announce(
        self: &Arc<Self>,
        address: &[u8],
        caller: &Caller,
    ) -> Option<Announcement> {
        // It may be relative to the stream's own address.
        let address = std::str::from_utf8(address).ok()?;
        let address = address.split('#').next()?;
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let key = key(path, query)?.to_owned();
        let mailbox = Arc::<Mailbox>::default();
        let mut streams = lock(&self.streams);
        let announced = match streams.remove(&key) {
            None if streams.len() >= MOST_STREAMS => return None,
            None => Announced::By(Arc::clone(&mailbox), caller.clone()),
            Some(Announced::By(..)) => Announced::Shared(2),
            Some(Announced::Shared(streams)) => Announced::Shared(streams.saturating_add(1)),
        };
        streams.insert(key.clone(), announced);
        Some(Announcement {
            key,
            mailbox,
            endpoints: Arc::clone(self),
        })
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
        let mailbox = match lock(&self.streams).get(key) {
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

    /// Whether this caller may POST to the target: it is no address that another
    /// caller's stream announced.
    pub(super) fn may_post(&self, target: &Uri, caller: &Caller) -> bool {
        let Some(key) = key_of(target) else {
            return true;
        };
        match lock(&self.streams).get(key) {
            Some(Announced::By(_, owner)) => owner.id() == caller.id(),
            Some(Announced::Shared(_)) | None => true,
        }
    }

    /// Whether a target looks like one that such a stream announced, although
    /// none here did: its client reads no answers to its POSTs.
    pub(super) fn is_elsewhere(target: &Uri) -> bool {
        target.query().is_some_and(|query| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .any(|(name, _)| matches!(name, "sessionId" | "session_id"))
        })
    }

    fn forget(&self, key: &str) {
        let mut streams = lock(&self.streams);
        match streams.get_mut(key) {
            Some(Announced::Shared(count)) if *count > 1 => *count = count.saturating_sub(1),
            _ => {
                streams.remove(key);
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
        self.endpoints.forget(&self.key);
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

fn key_of(target: &Uri) -> Option<&str> {
    key(target.path(), target.query().unwrap_or_default())
}

/// Nothing is ever left half done under these locks, so a panic of another
/// thread spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
mod tests {
    use super::*;

    fn event() -> Bytes {
        Bytes::from_static(b"data: x\n\n")
    }

    fn delivers(endpoints: &Endpoints, target: &'static str) -> bool {
        endpoints.deliver(&Uri::from_static(target), &Caller::new("alice"), event)
    }

    #[test]
    fn a_stream_is_found_by_what_it_announced() {
        let endpoints = Arc::<Endpoints>::default();
        let stream = endpoints
            .announce(b"/mcp/messages?sessionId=1", &Caller::new("alice"))
            .unwrap();
        assert!(delivers(&endpoints, "/messages?sessionId=1"));
        assert!(!delivers(&endpoints, "/messages?sessionId=2"));
        let target = Uri::from_static("/messages?sessionId=1");
        assert!(endpoints.may_post(&target, &Caller::new("alice")));
        assert!(!endpoints.may_post(&target, &Caller::new("bob")));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(stream.poll(&mut context), Poll::Ready(event()));
        assert!(stream.poll(&mut context).is_pending());
        drop(stream);
        assert!(!delivers(&endpoints, "/messages?sessionId=1"));
        assert!(lock(&endpoints.streams).is_empty());
    }

    #[test]
    fn nobody_hears_what_another_caller_is_refused() {
        let endpoints = Arc::<Endpoints>::default();
        let _stream = endpoints.announce(b"/messages", &Caller::new("bob"));
        assert!(!delivers(&endpoints, "/messages"));
    }

    #[test]
    fn addresses_may_be_relative() {
        for address in [
            "messages?sessionId=1",
            "?sessionId=1",
            "http://h/m?sessionId=1#x",
        ] {
            let endpoints = Arc::<Endpoints>::default();
            let stream = endpoints.announce(address.as_bytes(), &Caller::new("alice"));
            assert!(
                stream.is_some() && delivers(&endpoints, "/m?sessionId=1"),
                "{address}"
            );
        }
    }

    #[test]
    fn an_address_of_two_streams_is_nobodys() {
        let endpoints = Arc::<Endpoints>::default();
        let streams: Vec<_> = (0..3)
            .map(|_| endpoints.announce(b"http://h/messages", &Caller::new("alice")))
            .collect();
        assert!(!delivers(&endpoints, "/messages"));
        drop(streams);
        assert!(lock(&endpoints.streams).is_empty());
    }

    #[test]
    fn a_stream_that_is_not_read_takes_no_more() {
        let endpoints = Arc::<Endpoints>::default();
        let _stream = endpoints
            .announce(b"/m?s=1", &Caller::new("alice"))
            .unwrap();
        let delivered = (0..10_000)
            .filter(|_| delivers(&endpoints, "/m?s=1"))
            .count();
        assert_eq!(delivered, MOST_WAITING / event().len());
    }
}
