//! What a call brings back with a further round, and how it is told that it waits.

mod course;

use std::fmt;
use std::sync::Arc;

pub(super) use self::course::{AtOnce, Came, Course, Taken};
use super::judge::Judge;
use super::{Engine, asked};
use crate::approval::{ApprovalId, CallDigest};
use crate::audit::DecisionRecord;
use crate::limit::StateId;
use crate::mcp::message::Call;
use crate::mcp::params::{Elicitation, Param};
use crate::mcp::reply::Refusal;
use crate::mcp::rounds::{self, AskedByServer, Inner, Ours, Said};
use crate::mcp::version::Era;
use crate::rounds::{Opened, Parties, RequestStateKeys, Round, State, Step, is_sealed};

/// The address of the page on which a request can be followed.
type Page = dyn Fn(&ApprovalId) -> String + Send + Sync;

/// What calls need that take several rounds.
#[derive(Clone)]
pub(super) struct Rounds {
    /// `None` if there are none: then no call takes more than one.
    keys: Option<Arc<RequestStateKeys>>,
    page: Option<Arc<Page>>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            keys: RequestStateKeys::random().ok().map(Arc::new),
            page: None,
        }
    }
}

impl Rounds {
    pub(super) fn set_keys(&mut self, keys: RequestStateKeys) {
        self.keys = Some(Arc::new(keys));
    }

    pub(super) fn set_page(
        &mut self,
        page: impl Fn(&ApprovalId) -> String + Send + Sync + 'static,
    ) {
        self.page = Some(Arc::new(page));
    }

    pub(super) fn keys(&self) -> Option<&Arc<RequestStateKeys>> {
        self.keys.as_ref()
    }

    /// The address of a request's page; `None` if there is none.
    fn page_of(&self, request: ApprovalId) -> Option<String> {
        let page = self.page.as_ref()?;
        asked("approval page closure", || page(&request)).ok()
    }
}

impl fmt::Debug for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rounds").finish_non_exhaustive()
    }
}

/// How a client can be told that a call waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Abilities {
    pub(crate) elicitation: Elicitation,
    /// Whether it knows the error that names a page (2025-11-25).
    pub(crate) knows_pages: bool,
    /// Whether it can be asked on the answer to its own call.
    pub(crate) hears: bool,
}

/// What a call brings back with a further round.
#[derive(Clone)]
pub(crate) struct Brought {
    /// What we sealed.
    opened: Option<Opened>,
    /// The server's own state, if it was not sealed with ours: the JSON text.
    bare: Option<Box<str>>,
    said: Said,
    /// Whether it answers a question of ours, as far as the name goes.
    says_ours: bool,
}

impl Brought {
    /// The server's own state.
    fn inner(&self) -> Option<&str> {
        match &self.opened {
            Some(opened) => opened.state.inner.as_deref(),
            None => self.bare.as_deref(),
        }
    }

    /// The call as the server is to see it; `None` if that is what was sent.
    pub(crate) fn as_forwarded(&self, call: &[u8]) -> Option<Result<Vec<u8>, Refusal>> {
        let step = self.opened.as_ref().map(|opened| &opened.state.step);
        let ours = match step {
            // Another layer behind us asks in the same way.
            Some(Step::Goes { .. }) => Ours::Left,
            None if self.bare.as_ref().is_some_and(|text| **text != *"null") => Ours::Left,
            Some(Step::Waits { .. }) | None => Ours::TakenOut,
        };
        if step.is_none() && (ours == Ours::Left || !self.says_ours) {
            return None;
        }
        let state = step.map(|_| self.inner().map_or(Inner::Nothing, Inner::Text));
        // It was read before, so that this cannot fail.
        Some(rounds::as_forwarded(call, state, ours).map_err(|_| Refusal::Failed))
    }
}

/// Without what a client or a server said.
impl fmt::Debug for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brought").finish_non_exhaustive()
    }
}

impl Engine {
    /// What a call brings back; `None` if that is nothing that concerns us. An error
    /// says that it brings what we did not give it, or too late. What was held meanwhile
    /// comes `is_again`, and was in time.
    pub(crate) fn brought(
        &self,
        call: &Call<'_>,
        era: Era,
        (judge, is_again): (&Judge, bool),
    ) -> Result<Option<Box<Brought>>, Refusal> {
        let Some(params) = &call.params else {
            return Ok(None);
        };
        let [state, responses] =
            [Param::RequestState, Param::InputResponses].map(|param| params.span(param));
        if state.is_none() && responses.is_none() {
            return Ok(None);
        }
        let text = rounds::state_in_call(params);
        let sealed = text.as_deref().filter(|text| is_sealed(text));
        if era == Era::Legacy || !rounds::takes_rounds(&call.method) {
            return match sealed {
                Some(_) => Err(not_ours(NotOurs::Foreign)),
                None => Ok(None),
            };
        }
        let opened = match (sealed, &self.rounds.keys) {
            (None, _) => None,
            (Some(_), None) => return Err(not_ours(NotOurs::Foreign)),
            (Some(text), Some(keys)) => {
                let server = self.server_key();
                let parties = Parties {
                    server: &server,
                    caller: judge.caller().id(),
                    method: &call.method,
                };
                let opened = State::open(text, keys, parties);
                let opened = opened.ok_or_else(|| not_ours(NotOurs::Foreign))?;
                if !is_again && opened.state.round.is_over(judge.now()) {
                    return Err(not_ours(NotOurs::Expired));
                }
                Some(opened)
            }
        };
        let bare = state.filter(|_| opened.is_none());
        Ok(Some(Box::new(Brought {
            says_ours: rounds::brings_ours(params),
            bare: bare.map(|text| String::from_utf8_lossy(text).into()),
            said: Said::in_call(params),
            opened,
        })))
    }
}

/// Why a state is not gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotOurs {
    /// It was changed, or sealed for others, or with another key.
    Foreign,
    /// It is too old.
    Expired,
}

fn not_ours(why: NotOurs) -> Refusal {
    let text = match why {
        NotOurs::Foreign => {
            "params.requestState is not what this caller was given for this method. \
             Make the call again without it."
        }
        NotOurs::Expired => "params.requestState has expired. Make the call again without it.",
    };
    Refusal::Params {
        text: text.to_owned(),
    }
}

/// What is remembered of a call until the server has answered: it may ask for another
/// round.
#[derive(Clone, Debug)]
pub(crate) struct Following {
    pub(super) round: Round,
    /// Of exactly this call, if it was approved or charged.
    pub(super) digest: Option<CallDigest>,
    /// Whether somebody has approved it, now or with an earlier round.
    pub(super) is_approved: bool,
    /// Whether it was charged.
    pub(super) is_charged: bool,
}

impl Following {
    /// The charge is given back.
    pub(crate) fn was_not_charged(&mut self) {
        self.is_charged = false;
    }
}

impl Engine {
    /// An answer of the server's to a call with which the client is to come back, so
    /// that it goes on and does not begin anew; `None` if the answer stays as it is.
    pub(crate) fn follow(
        &self,
        following: &Following,
        judge: &Judge,
        decision: &DecisionRecord,
        (more, answer): (&AskedByServer<'_>, &[u8]),
    ) -> Option<Vec<u8>> {
        let is_paid = following.is_approved || following.is_charged;
        // Another layer's behind us would be taken for one of ours.
        let hides = more.state_text().is_some_and(|text| is_sealed(&text));
        if !is_paid && !hides {
            return None;
        }
        let digest = match following.digest.filter(|_| is_paid) {
            Some(digest) => digest.to_string(),
            None if is_paid => return None,
            // Nothing comes of it but the state of the other.
            None => String::new(),
        };
        let inner = more
            .state
            .map(|text| String::from_utf8_lossy(text).into_owned());
        let state = State {
            step: Step::Goes {
                approved: following.is_approved,
                charged: following.is_charged,
            },
            round: following.round.next(judge.now())?,
            digest,
            rule: decision.rule().to_owned(),
            inner,
        };
        let (server, caller) = (self.server_key(), judge.caller().shared_id());
        let parties = Parties {
            server: &server,
            caller: &caller,
            method: decision.method()?,
        };
        let sealed = state.seal(self.rounds.keys.as_deref()?, parties)?;
        if is_paid {
            self.limits
                .keep_state(&StateId::from_bytes(sealed.nonce), &caller, judge.now());
        }
        rounds::with_state(answer, &sealed.text).ok()
    }
}
