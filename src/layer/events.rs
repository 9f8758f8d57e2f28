use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};

use super::budget::{Hold, Spent};
use super::collect::Collected;
use super::endpoints::Announcement;
use super::exchange::{Exchange, Role};
use super::tell::{self, Teller};
use crate::engine::Pending;
use crate::mcp::list::{self, Filtered, Unreadable};
use crate::mcp::recover::{self, Unread};
use crate::mcp::reply::Refusal;
use crate::mcp::sse::{Event, Splitter, Verdict};

/// Bytes of an event that are counted until they are gone.
const LARGE: usize = 16 << 10;

/// Frames that are read before others get a turn.
const FRAMES_PER_POLL: u32 = 64;

/// A stream of server-sent events on its way to the client.
pub(super) struct Events {
    splitter: Splitter,
    /// What may go on and has not been taken yet.
    out: VecDeque<Bytes>,
    /// The bytes in `out`.
    waiting: usize,
    hold: Hold,
    exchange: Exchange,
    /// Where the client was told to POST to, if it was.
    announcement: Option<Announcement>,
    /// Who tells the client on this stream that its lists have changed, if it does.
    teller: Option<Teller>,
    /// Whether an answer has gone by.
    is_answered: bool,
    /// What is judged once the session store has answered.
    asking: Option<(Pending, Bytes)>,
}

impl Events {
    pub(super) fn new(exchange: Exchange) -> Self {
        let config = &exchange.config;
        let teller = Teller::of(&exchange);
        Self {
            splitter: Splitter::new(config.max_response_size),
            out: VecDeque::new(),
            waiting: 0,
            hold: config.responses.hold(),
            exchange,
            announcement: None,
            teller,
            is_answered: false,
            asking: None,
        }
    }

    /// The next bytes that may go on. The inner body is dropped as soon as
    /// nothing more is wanted of it, which tells the server to stop.
    pub(super) fn poll<R: Body<Data = Bytes>>(
        &mut self,
        mut body: Pin<&mut Option<R>>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        for _ in 0..FRAMES_PER_POLL {
            if let Some(bytes) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(self.let_go(bytes)))));
            }
            let Some(inner) = body.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            let refusal = self
                .announcement
                .as_ref()
                .map(|stream| stream.poll(context));
            if let Some(Poll::Ready(event)) = refusal {
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            // What goes on is whole events, so that this comes between two of them.
            let news = self
                .teller
                .as_mut()
                .map(|teller| teller.poll(&self.exchange, context));
            if let Some(Poll::Ready(event)) = news {
                self.splitter.begin();
                return Poll::Ready(Some(Ok(Frame::data(event))));
            }
            if let Some((pending, _)) = &mut self.asking {
                ready!(Pin::new(pending).poll(context));
                if let Some((_, chunk)) = self.asking.take() {
                    self.ask_or_take(chunk, body.as_mut());
                }
                continue;
            }
            match ready!(inner.poll_frame(context)) {
                Some(Ok(frame)) => {
                    // Trailers have no place in this transport.
                    if let Ok(chunk) = frame.into_data() {
                        self.ask_or_take(chunk, body.as_mut());
                    }
                }
                Some(Err(error)) => {
                    self.exchange.has_broken_off();
                    body.set(None);
                    return Poll::Ready(Some(Err(error)));
                }
                // An event without its end is none.
                None => {
                    self.exchange.has_ended(StatusCode::OK, self.is_answered);
                    body.set(None);
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Bytes on their way out. A client that reads slowly holds them as much as
    /// we do; of small ones there cannot be many.
    fn let_go(&mut self, bytes: Bytes) -> Bytes {
        self.waiting = self.waiting.saturating_sub(bytes.len());
        let gone = (bytes.len() >= LARGE).then(|| self.hold.split(bytes.len()));
        // Less is always granted.
        let _ = self.count();
        match gone {
            Some(hold) => Collected {
                bytes,
                hold: Some(hold),
            }
            .into_bytes(),
            None => bytes,
        }
    }

    /// Asks what has to be known to judge the events that end here; `None` if
    /// everything is.
    fn ask_about(&mut self, chunk: &Bytes) -> Option<Pending> {
        let exchange = &self.exchange;
        let sessions = exchange.judge.sessions();
        if sessions.answer_at_once() {
            return None;
        }
        let mut ask = |event: Event<'_>| {
            judge(exchange, event.data);
        };
        self.splitter.look_at(chunk, &mut ask);
        sessions.pending()
    }

    /// What is known of one event can raise questions about the next.
    fn ask_or_take<R>(&mut self, chunk: Bytes, body: Pin<&mut Option<R>>) {
        match self.ask_about(&chunk) {
            Some(pending) => self.asking = Some((pending, chunk)),
            None => self.take_or_end(chunk, body),
        }
    }

    fn take_or_end<R>(&mut self, chunk: Bytes, mut body: Pin<&mut Option<R>>) {
        if let Err(why) = self.take(chunk) {
            self.give_up(why);
            self.exchange.has_broken_off();
            body.set(None);
        }
        self.exchange.judge.sessions().forget();
    }

    fn take(&mut self, chunk: Bytes) -> Result<(), &'static str> {
        let exchange = &self.exchange;
        let announcement = &mut self.announcement;
        let teller = &mut self.teller;
        let is_answered = &mut self.is_answered;
        let mut judge = |event: Event<'_>| {
            if event.name == b"endpoint" && exchange.asked.opens_stream {
                // The new one could be the same as the old one.
                *announcement = None;
                let endpoints = &exchange.config.endpoints;
                match endpoints.announce(event.data, exchange.judge.caller()) {
                    Ok(announced) => *announcement = announced,
                    Err(unfit) => {
                        tracing::warn!(target: "mcp_policy", "{unfit}; its client does not hear of it");
                        return Verdict::Drop;
                    }
                }
            }
            let (verdict, is_answer) = judge(exchange, event.data);
            let verdict = follow(exchange, event.data, verdict);
            if verdict != Verdict::Drop {
                if is_answer {
                    *is_answered = true;
                    tell::learn(exchange, event.data);
                }
                let passed = |teller: &mut Teller| teller.passed(exchange, event.data, is_answer);
                if !teller.as_mut().is_none_or(passed) {
                    *teller = None;
                }
            }
            verdict
        };
        // Nothing waits when more is read.
        let result = self.splitter.push(chunk, &mut judge, &mut self.out);
        self.waiting = self.out.iter().map(Bytes::len).sum();
        result.map_err(|_| "an event of its answer is too large to be checked")?;
        self.count()
            .map_err(|_| "too many large answers are being checked at the moment")
    }

    /// Takes a share of the budget for everything that is held.
    fn count(&mut self) -> Result<(), Spent> {
        let bytes = self.splitter.held().saturating_add(self.waiting);
        self.hold.resize(bytes)
    }

    /// The stream ends here: the client is told why, if it waits for an answer.
    fn give_up(&mut self, why: &str) {
        if self.exchange.asked.is_awaited() {
            let refusal = Refusal::BadAnswer {
                text: format!(
                    "The call was made, but {why}. Do not repeat the call blindly: \
                     it may have had its effect."
                ),
            };
            self.out.push_back(self.exchange.asked.events(&refusal));
        }
    }
}

/// What is on its way is nobody else's business.
impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// What the client is shown of one event. A stream that carries the answers to other
/// requests may last longer than a policy.
fn filter<'d>(
    exchange: &Exchange,
    data: &'d [u8],
) -> Result<Result<Filtered<'d>, Unreadable>, Refusal> {
    let lasts = exchange.asked.opens_stream || matches!(exchange.asked.role, Role::Subscribes(_));
    if !lasts {
        return Ok(exchange.filter(data));
    }
    let engine = &exchange.config.engine;
    let judge = engine.judge_for(exchange.judge.caller(), exchange.judge.sessions())?;
    Ok(list::filter(data, &judge))
}

/// Judges the data of one event, and tells whether it holds an answer.
fn judge(exchange: &Exchange, data: &[u8]) -> (Verdict, bool) {
    let filtered = match filter(exchange, data) {
        Ok(filtered) => filtered,
        Err(refusal) => return (withhold(exchange, &refusal, data), false),
    };
    let unreadable = match filtered {
        Ok(filtered) if filtered.is_foreign => return (Verdict::Drop, false),
        Ok(filtered) => {
            exchange.remember_tasks(&filtered.answers);
            let is_answer = !filtered.answers.is_empty();
            let verdict = filtered.text.map_or(Verdict::Forward, Verdict::Rewrite);
            return (verdict, is_answer);
        }
        Err(unreadable) => unreadable,
    };
    // Without an object there is no list in any reading: the address that
    // begins a 2024-11-05 stream, for one.
    if matches!(unreadable, Unreadable::Json(_)) && !data.contains(&b'{') {
        return (Verdict::Forward, false);
    }
    let refusal = Refusal::BadAnswer {
        text: unreadable.explain(),
    };
    (withhold(exchange, &refusal, data), false)
}

/// What goes on of an event with which the client may be asked to come back.
fn follow(exchange: &Exchange, data: &[u8], verdict: Verdict) -> Verdict {
    let followed = match &verdict {
        Verdict::Drop => None,
        Verdict::Forward => exchange.follow(data),
        Verdict::Rewrite(text) => exchange.follow(text),
    };
    followed.map_or(verdict, Verdict::Rewrite)
}

/// What goes on in the place of a message that cannot be passed on.
fn withhold(exchange: &Exchange, refusal: &Refusal, data: &[u8]) -> Verdict {
    let asked = &exchange.asked;
    match recover::server_message(data) {
        Unread::Answer(id) => Verdict::Rewrite(asked.reply_to(Some(id), refusal).body),
        Unread::Unknown if asked.is_awaited() => Verdict::Rewrite(asked.reply(refusal).body),
        // There is nobody to tell; nobody waits for a call of the server's.
        Unread::Unknown | Unread::Call => Verdict::Drop,
    }
}
