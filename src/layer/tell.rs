//! Tells clients that their lists have changed, when another policy holds.
//!
//! Only where the server has said that it tells of such changes. A session of the
//! legacy era hears of it on one of its streams, a client of the modern era on
//! those that it asked for, once the server has acknowledged them. A stream
//! passes on whole events only, so that between what it passes on there is always
//! room for one of ours.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;

use super::exchange::{Exchange, Role, SessionStep, Waiting};
use super::listeners::{Seat, Session};
use super::request::session_begun;
use crate::bell::Watch;
use crate::engine::{Subscription, Told};
use crate::mcp::changed::{self, Lists};
use crate::mcp::sse;

/// Notes which session an answer begins or ends.
pub(super) fn follow_session<R>(exchange: &mut Exchange, answer: &Response<R>) {
    if !answer.status().is_success() {
        return;
    }
    if let Role::Begins(session) = &mut exchange.asked.role {
        let named = session_begun(answer.headers());
        *session = named.map(str::to_owned);
    }
    if let SessionStep::End(session) = &exchange.asked.session {
        exchange.config.listeners.end(session);
    }
}

/// Remembers what a session or caller was declared, if this answers the question
/// for it.
pub(super) fn learn(exchange: &Exchange, answer: &[u8]) {
    let (listeners, caller) = (&exchange.config.listeners, exchange.judge.caller());
    match &exchange.asked.role {
        Role::Begins(Some(session)) => {
            let declared = changed::declared(answer).unwrap_or_default();
            if !declared.is_empty() {
                listeners.begin(session, caller, Told::by(&exchange.judge), declared);
            }
        }
        Role::Declares => {
            if let Some(declared) = changed::declared(answer) {
                listeners.declare(caller, declared);
            }
        }
        _ => {}
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
            ..
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
                        seat.session.declare(declared);
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

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Teller").finish_non_exhaustive()
    }
}
