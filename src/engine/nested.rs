//! A client that is asked on the answer to its own call whether that may go on
//! (2025-06-18 and 2025-11-25), and what it says to that.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use super::approve::asked_of;
use super::judge::Judge;
use super::{Engine, words};
use crate::approval::{ApprovalId, ApprovalRequest, ApprovalStore, Ruling};
use crate::audit::Names;
use crate::clock::Moment;
use crate::lock::lock;
use crate::mcp::reply::{self, Thing};
use crate::mcp::rounds::{Said, answered};
use crate::rounds::{Parties, RequestStateKeys, Round, State, Step, is_sealed};
use crate::store::{StoreError, Watched};

/// Where a request of ours goes to the client: beside the answer to its own call.
#[derive(Clone, Default)]
pub(crate) struct ClientStream(Arc<Mutex<Outlet>>);

#[derive(Default)]
struct Outlet {
    question: Option<Question>,
    is_used: bool,
}

/// What a client is asked.
pub(crate) struct Question {
    /// The id of its call, as it was written.
    pub(crate) call: Arc<[u8]>,
    pub(crate) message: Vec<u8>,
}

impl ClientStream {
    /// Asks the one question that may be asked.
    fn ask(&self, question: Question) {
        let mut outlet = self.lock();
        if !outlet.is_used {
            outlet.is_used = true;
            outlet.question = Some(question);
        }
    }

    /// Whether what is asked has not been taken yet.
    pub(super) fn is_asking(&self) -> bool {
        self.lock().question.is_some()
    }

    /// What is to be asked now.
    pub(crate) fn take(&self) -> Option<Question> {
        self.lock().question.take()
    }

    fn lock(&self) -> MutexGuard<'_, Outlet> {
        lock(&self.0)
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").finish_non_exhaustive()
    }
}

/// What a client is asked as soon as its call waits.
pub(super) struct Nested {
    pub(super) stream: ClientStream,
    /// The id of the call, as it was written.
    pub(super) call: Arc<[u8]>,
    pub(super) keys: Arc<RequestStateKeys>,
    pub(super) server: Arc<str>,
    pub(super) caller: Arc<str>,
    pub(super) session: Arc<str>,
    pub(super) now: Moment,
    pub(super) used: (Thing, Arc<str>),
    /// The names of the arguments.
    pub(super) argument_keys: Names,
}

impl Nested {
    /// Asks it about this request, where this gives. Where that cannot be, the call waits
    /// for somebody else.
    pub(super) fn ask(self, request: &ApprovalRequest) -> ClientStream {
        let state = State {
            step: Step::Waits {
                approval: request.id(),
                asked: true,
                opened: false,
            },
            round: Round::first(self.now),
            digest: request.digest().to_string(),
            rule: String::new(),
            inner: None,
        };
        let method = method_in(&self.session);
        let parties = Parties {
            server: &self.server,
            caller: &self.caller,
            method: &method,
        };
        let reason = request.reason().unwrap_or(words::SOMEBODY_HAS_TO);
        let used = (self.used.0, &*self.used.1);
        let message = words::allow_once(used, &self.argument_keys, reason);
        if let Some(id) = state.seal(&self.keys, parties) {
            let message = reply::elicitation(&id.text, &message);
            let call = self.call;
            self.stream.ask(Question { call, message });
        }
        self.stream
    }
}

/// Only the session in which the client was asked can answer.
fn method_in(session: &str) -> String {
    format!("elicitation/create {session}")
}

/// What a client answers to a request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnAnswer {
    approval: ApprovalId,
    said: Said,
}

/// A store is told what a client said.
pub(crate) struct Telling(Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>);

impl Future for Telling {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Telling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telling").finish_non_exhaustive()
    }
}

impl Engine {
    /// Whether a response of a client's answers a request of ours.
    pub(crate) fn own_answer(&self, response: &[u8], judge: &Judge) -> Option<OwnAnswer> {
        let (id, said) = answered(response).filter(|(id, _)| is_sealed(id))?;
        let (keys, session) = self.rounds.keys().zip(judge.session())?;
        let (server, method) = (self.server_key(), method_in(session));
        let parties = Parties {
            server: &server,
            caller: judge.caller().id(),
            method: &method,
        };
        // Another layer behind this one may have asked it.
        let opened = State::open(&id, keys, parties)?;
        match opened.state.step {
            // It comes too late to say anything, and is nobody else's.
            Step::Waits { approval, .. } if opened.state.round.is_over(judge.now()) => {
                let said = Said::Nothing;
                Some(OwnAnswer { approval, said })
            }
            Step::Waits { approval, .. } => Some(OwnAnswer { approval, said }),
            Step::Goes { .. } => None,
        }
    }

    /// Tells the store what the client said; the call that waits hears of it there.
    pub(crate) fn tell_own_answer(&self, answer: OwnAnswer, judge: &Judge) -> Telling {
        let (store, now) = (self.approvals.store().cloned(), judge.now());
        Telling(Box::pin(async move {
            match store {
                Some(store) => tell(&store, answer, now).await,
                None => Err(StoreError::of("there is no approval store")),
            }
        }))
    }
}

async fn tell(
    store: &Watched<dyn ApprovalStore>,
    answer: OwnAnswer,
    now: Moment,
) -> Result<(), StoreError> {
    let OwnAnswer { approval, said } = answer;
    let approves = match said {
        Said::Accepted { allows: true } => true,
        Said::Refused => false,
        // It waits on, for whoever else can decide.
        Said::Accepted { allows: false } | Said::Nothing => return Ok(()),
    };
    let ruling = Ruling::by_caller(approves);
    let decided = asked_of(|| store.decide(approval, &ruling, now))
        .get()
        .await;
    store.note(&decided);
    // Somebody else has decided before: a client can still do without.
    if decided?.is_err() && !approves {
        let taken_back = asked_of(|| store.cancel(approval, now)).get().await;
        store.note(&taken_back);
        taken_back?;
    }
    Ok(())
}
