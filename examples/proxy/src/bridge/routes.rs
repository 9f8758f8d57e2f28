//! Who of a session waits for what: a table, without any waiting in it.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::streams::{Inlet, Outlet, stream};
use crate::message::Id;

/// Calls of one session that may be in flight.
const MOST_WAITING: usize = 256;
/// Ids that are remembered of calls for which nobody waits any more.
const MOST_ABANDONED: usize = 256;
/// Requests of the server's that the client may have open. Those beyond push out
/// the oldest, which are hardly answered any more.
const MOST_ASKED: usize = 256;
/// Messages, and their bytes, that are kept until a stream opens.
const MOST_HELD: usize = 64;
const HELD_BYTES: usize = 256 << 10;

/// Tells one place on a stream from all others of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

#[derive(Debug, Default)]
pub(super) struct Routes {
    next_place: u64,
    waiting: HashMap<Id, Waiter>,
    /// Calls that the server may still answer, oldest first. Their ids cannot
    /// be used again, or the late answer would be taken for another one's.
    abandoned: VecDeque<Id>,
    /// Requests of a server's that the client has not answered, and which of the
    /// session's servers asked, oldest first.
    asked: VecDeque<(Id, u64)>,
    server_stream: Option<(Place, Outlet)>,
    held: VecDeque<Held>,
    /// Whether some of what was to be held had to go since there was a stream.
    overflowed: bool,
}

/// A request of the client's.
#[derive(Debug)]
struct Waiter {
    place: Place,
    outlet: Outlet,
    raw_id: Box<str>,
    progress: Option<Id>,
    /// Whether it takes more than the answer.
    streams: bool,
    cancelled: bool,
}

/// A message of the server's for which there was no stream yet.
#[derive(Debug)]
struct Held {
    message: Bytes,
    request: Option<Asked>,
}

/// A request of the server's.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: Id,
    pub(super) raw_id: Box<str>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) id: Id,
    pub(super) raw_id: &'a str,
    pub(super) progress: Option<Id>,
    pub(super) streams: bool,
}

/// Why a request cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    SameId,
    TooMany,
}

/// Where an answer belongs.
#[derive(Debug)]
pub(super) enum Addressee {
    Waiter(Outlet, Box<str>),
    /// Somebody who has gone.
    Abandoned,
    Nobody,
}

impl Routes {
    /// A place for a request, on which its answer arrives.
    pub(super) fn wait(&mut self, call: Call<'_>) -> Result<(Place, Inlet), Unfit> {
        if self.waiting.contains_key(&call.id) || self.abandoned.contains(&call.id) {
            return Err(Unfit::SameId);
        }
        if self.waiting.len() >= MOST_WAITING {
            return Err(Unfit::TooMany);
        }
        let (outlet, inlet) = stream();
        if call.streams {
            self.release_held(&outlet);
        }
        let place = self.place();
        let waiter = Waiter {
            place,
            outlet,
            raw_id: call.raw_id.into(),
            progress: call.progress,
            streams: call.streams,
            cancelled: false,
        };
        self.waiting.insert(call.id, waiter);
        Ok((place, inlet))
    }

    /// Opens the stream that belongs to no request. An older one ends.
    pub(super) fn open_server_stream(&mut self) -> (Place, Inlet) {
        let (outlet, inlet) = stream();
        self.release_held(&outlet);
        let place = self.place();
        self.server_stream = Some((place, outlet));
        (place, inlet)
    }

    pub(super) fn close_server_stream(&mut self) {
        self.server_stream = None;
    }

    /// Takes the waiter out that an answer is for.
    pub(super) fn answer(&mut self, id: &Id) -> Addressee {
        for id in [Some(id.clone()), id.in_other_words()].iter().flatten() {
            if let Some(waiter) = self.waiting.remove(id) {
                return Addressee::Waiter(waiter.outlet, waiter.raw_id);
            }
            if let Some(index) = self.abandoned.iter().position(|other| other == id) {
                self.abandoned.remove(index);
                return Addressee::Abandoned;
            }
        }
        Addressee::Nobody
    }

    /// The stream of the request that wants to hear of this progress, or else
    /// the stream that belongs to none.
    pub(super) fn of_progress(&self, token: &Id) -> Option<Outlet> {
        let other = token.in_other_words();
        let is_meant = |named: &Id| named == token || Some(named) == other.as_ref();
        let mut streams = self.waiting.values().filter(|waiter| waiter.streams);
        let wanted = streams.find(|waiter| waiter.progress.as_ref().is_some_and(is_meant));
        let server_stream = || self.server_stream.as_ref().map(|(_, outlet)| outlet);
        wanted
            .map(|waiter| &waiter.outlet)
            .or_else(server_stream)
            .cloned()
    }

    /// The stream for what belongs to no request of the client's.
    pub(super) fn any_stream(&self) -> Option<Outlet> {
        if let Some((_, outlet)) = &self.server_stream {
            return Some(outlet.clone());
        }
        let streams = self.waiting.values().filter(|waiter| waiter.streams);
        let latest = streams.max_by_key(|waiter| waiter.place.0)?;
        Some(latest.outlet.clone())
    }

    /// Forgets a stream that is not read. A waiter on it is told so at the end.
    pub(super) fn drop_stream(&mut self, outlet: &Outlet, error: impl Fn(&str) -> Bytes) {
        if matches!(&self.server_stream, Some((_, other)) if other.is_same_as(outlet)) {
            self.server_stream = None;
        }
        let is_it = |(_, waiter): &(&Id, &Waiter)| waiter.outlet.is_same_as(outlet);
        let Some(id) = self.waiting.iter().find(is_it).map(|(id, _)| id.clone()) else {
            return;
        };
        if let Some(waiter) = self.abandon(id) {
            waiter.outlet.end_with(error(&waiter.raw_id));
        }
    }

    /// Keeps a message until there is a stream. Gives what had to go for it.
    pub(super) fn hold(&mut self, message: Bytes, request: Option<Asked>) -> Dropped {
        let mut dropped = Dropped::default();
        let overflowed = self.overflowed;
        self.held.push_back(Held { message, request });
        let mut bytes: usize = self.held.iter().map(|held| held.message.len()).sum();
        while self.held.len() > MOST_HELD || bytes > HELD_BYTES {
            let Some(oldest) = self.held.pop_front() else {
                break;
            };
            bytes = bytes.saturating_sub(oldest.message.len());
            self.overflowed = true;
            dropped.is_news = !overflowed;
            if let Some(request) = oldest.request {
                self.no_longer_asked(&request.id);
                dropped.requests.push(request);
            }
        }
        dropped
    }

    /// All of it fits into the room of a new stream.
    fn release_held(&mut self, outlet: &Outlet) {
        self.overflowed = false;
        for held in self.held.drain(..) {
            let _ = outlet.send_now(held.message);
        }
    }

    /// Notes that the session's server number `server` asks the client. `false`
    /// if nobody would know which request the client answers.
    pub(super) fn ask(&mut self, id: &Id, server: u64) -> bool {
        if self.asked.iter().any(|(other, _)| other == id) {
            return false;
        }
        if self.asked.len() >= MOST_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back((id.clone(), server));
        true
    }

    /// Whether the client's answer is for this server of the session's: a former
    /// one may have used the same id.
    pub(super) fn is_answer_for(&mut self, id: &Id, server: u64) -> bool {
        let mut names = [Some(id.clone()), id.in_other_words()]
            .into_iter()
            .flatten();
        names.find_map(|id| self.no_longer_asked(&id)) == Some(server)
    }

    /// Forgets a request of the server's, which was answered or is not to be;
    /// gives which server asked.
    pub(super) fn no_longer_asked(&mut self, id: &Id) -> Option<u64> {
        let index = self.asked.iter().position(|(other, _)| other == id)?;
        self.asked.remove(index).map(|(_, server)| server)
    }

    /// Notes that the client called a request off; gives its place, the first
    /// time.
    pub(super) fn cancel(&mut self, id: &Id) -> Option<Place> {
        let waiter = self
            .waiting
            .get_mut(id)
            .filter(|waiter| !waiter.cancelled)?;
        waiter.cancelled = true;
        Some(waiter.place)
    }

    /// Lets go of a place, whose reader has gone or is not to wait any longer.
    pub(super) fn leave(&mut self, place: Place) {
        if matches!(self.server_stream, Some((other, _)) if other == place) {
            self.server_stream = None;
        }
        let is_it = |(_, waiter): &(&Id, &Waiter)| waiter.place == place;
        if let Some(id) = self.waiting.iter().find(is_it).map(|(id, _)| id.clone()) {
            self.abandon(id);
        }
    }

    /// Lets go of a place whose request never reached the server.
    pub(super) fn take_back(&mut self, place: Place) {
        self.waiting.retain(|_, waiter| waiter.place != place);
    }

    fn abandon(&mut self, id: Id) -> Option<Waiter> {
        let waiter = self.waiting.remove(&id);
        if self.abandoned.len() >= MOST_ABANDONED {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back(id);
        waiter
    }

    /// The server has gone, and with it everything that it was about to answer
    /// and everything of its own that nobody has seen yet.
    pub(super) fn server_gone(&mut self, error: impl Fn(&str) -> Bytes) {
        self.fail_all(error);
        self.abandoned.clear();
        for held in std::mem::take(&mut self.held) {
            if let Some(request) = held.request {
                self.no_longer_asked(&request.id);
            }
        }
    }

    /// Nobody who waits is answered by the server.
    pub(super) fn fail_all(&mut self, error: impl Fn(&str) -> Bytes) {
        for (_, waiter) in self.waiting.drain() {
            waiter.outlet.end_with(error(&waiter.raw_id));
        }
    }

    /// Whether nobody waits for anything.
    pub(super) fn are_idle(&self) -> bool {
        self.waiting.is_empty() && self.server_stream.is_none()
    }

    fn place(&mut self) -> Place {
        self.next_place = self.next_place.wrapping_add(1);
        Place(self.next_place)
    }
}

/// What no longer fitted.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Whether this has not happened before since there was a stream.
    pub(super) is_news: bool,
    pub(super) requests: Vec<Asked>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(id: i64) -> Id {
        Id::Number(id)
    }

    fn text(id: &str) -> Id {
        Id::Text(id.into())
    }

    fn call(id: Id, streams: bool) -> Call<'static> {
        Call {
            id,
            raw_id: "0",
            progress: None,
            streams,
        }
    }

    fn error(_: &str) -> Bytes {
        Bytes::from_static(b"error")
    }

    async fn said(inlet: &mut Inlet) -> Vec<Bytes> {
        let mut said = Vec::new();
        while let Some(message) = inlet.next().await {
            said.push(message);
        }
        said
    }

    #[test]
    fn an_answer_finds_the_exact_id_first() {
        let mut routes = Routes::default();
        routes.wait(call(number(1), true)).unwrap();
        let (_, mut inlet) = routes.wait(call(text("1"), true)).unwrap();
        let Addressee::Waiter(outlet, _) = routes.answer(&text("1")) else {
            panic!("nobody waits");
        };
        outlet.end_with(Bytes::from_static(b"a"));
        assert!(tokio_test_next(&mut inlet).is_some());
        // Now `"1"` can only mean the other one.
        assert!(matches!(routes.answer(&text("1")), Addressee::Waiter(..)));
        assert!(matches!(routes.answer(&text("1")), Addressee::Nobody));
    }

    fn tokio_test_next(inlet: &mut Inlet) -> Option<Bytes> {
        let mut next = std::pin::pin!(inlet.next());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match next.as_mut().poll(&mut context) {
            std::task::Poll::Ready(message) => message,
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn an_id_is_not_used_again_before_it_is_answered() {
        let mut routes = Routes::default();
        let (place, _inlet) = routes.wait(call(number(1), true)).unwrap();
        assert_eq!(
            routes.wait(call(number(1), true)).unwrap_err(),
            Unfit::SameId
        );
        routes.leave(place);
        assert!(routes.are_idle());
        assert_eq!(
            routes.wait(call(number(1), true)).unwrap_err(),
            Unfit::SameId
        );
        assert!(matches!(routes.answer(&number(1)), Addressee::Abandoned));
        let (place, _inlet) = routes.wait(call(number(1), true)).unwrap();
        routes.take_back(place);
        routes.wait(call(number(1), true)).unwrap();
    }

    #[test]
    fn what_waits_and_what_is_remembered_is_bounded() {
        let mut routes = Routes::default();
        for round in 0..3 {
            let mut places = Vec::new();
            for id in 0..MOST_WAITING {
                let id = number((round * MOST_WAITING + id) as i64);
                places.push(routes.wait(call(id, false)).unwrap().0);
            }
            assert_eq!(
                routes.wait(call(number(-1), true)).unwrap_err(),
                Unfit::TooMany
            );
            places.into_iter().for_each(|place| routes.leave(place));
        }
        assert_eq!(routes.abandoned.len(), MOST_ABANDONED);
        for id in 0..=MOST_ASKED {
            assert!(routes.ask(&number(id as i64), 1));
        }
        assert_eq!(routes.asked.len(), MOST_ASKED);
        assert!(!routes.is_answer_for(&number(0), 1), "it was the oldest");
        assert!(routes.is_answer_for(&number(1), 1));
    }

    #[tokio::test]
    async fn what_nobody_hears_is_held_and_the_oldest_goes_first() {
        let mut routes = Routes::default();
        let request = Asked {
            id: number(7),
            raw_id: "7".into(),
        };
        assert!(routes.ask(&request.id, 1));
        let dropped = routes.hold(Bytes::from_static(b"first"), Some(request));
        assert!(!dropped.is_news);
        for index in 0..MOST_HELD {
            let dropped = routes.hold(Bytes::from(index.to_string()), None);
            assert_eq!(dropped.is_news, index == MOST_HELD - 1);
            assert_eq!(dropped.requests.len(), usize::from(dropped.is_news));
        }
        assert!(routes.ask(&number(7), 1), "it is no longer open");
        let (_, mut inlet) = routes.wait(call(number(1), true)).unwrap();
        routes.server_gone(error);
        let said = said(&mut inlet).await;
        assert_eq!(said.len(), MOST_HELD + 1);
        assert_eq!(
            (&said[0][..], &said[MOST_HELD][..]),
            (&b"0"[..], &b"error"[..])
        );
        let dropped = routes.hold(Bytes::from(vec![0; HELD_BYTES + 1]), None);
        assert!(dropped.is_news && routes.held.is_empty());
        let dropped = routes.hold(Bytes::from(vec![0; HELD_BYTES + 1]), None);
        assert!(!dropped.is_news, "that is said once");
    }

    #[test]
    fn a_new_server_gets_no_answers_for_the_former_one() {
        let mut routes = Routes::default();
        assert!(routes.ask(&number(0), 1));
        routes.server_gone(error);
        assert!(
            !routes.ask(&number(0), 2),
            "the client still has the other one"
        );
        assert!(!routes.is_answer_for(&number(0), 2));
        assert!(routes.ask(&number(0), 2));
        assert!(routes.is_answer_for(&text("0"), 2));
        assert!(!routes.is_answer_for(&number(0), 2), "it was answered");
    }

    #[tokio::test]
    async fn progress_goes_to_the_request_and_else_to_the_server_stream() {
        let mut routes = Routes::default();
        let with_progress = Call {
            progress: Some(number(5)),
            ..call(number(1), true)
        };
        let (_, mut of_request) = routes.wait(with_progress).unwrap();
        let (_, _other) = routes.wait(call(number(2), true)).unwrap();
        assert!(routes.of_progress(&text("unheard of")).is_none());
        let outlet = routes.of_progress(&text("5")).unwrap();
        outlet.end_with(Bytes::from_static(b"half"));
        assert_eq!(of_request.next().await.unwrap(), "half");
        let (place, mut of_server) = routes.open_server_stream();
        let outlet = routes.of_progress(&number(9)).unwrap();
        outlet.end_with(Bytes::from_static(b"later"));
        assert_eq!(of_server.next().await.unwrap(), "later");
        // A newer stream is not closed with the older one.
        routes.open_server_stream();
        routes.leave(place);
        assert!(routes.any_stream().is_some() && !routes.are_idle());
    }
}
