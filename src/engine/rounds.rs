//! What a call brings back with a further round, and how it is told that it waits.

use std::fmt;
use std::sync::Arc;

use super::judge::Judge;
use super::{Engine, asked, words};
use crate::approval::{self, ApprovalId, ApprovalQuestion, ApprovalRequest, CallDigest};
use crate::clock::Moment;
use crate::limit::StateId;
use crate::mcp::message::Call;
use crate::mcp::params::{Elicitation, Param};
use crate::mcp::reply::{Ask, MoreAsked, Place, Refusal, Thing};
use crate::mcp::rounds::{self, AskedByServer, Inner, Said};
use crate::mcp::version::Era;
use crate::policy::Approver;
use crate::rounds::{NotOurs, Opened, Parties, RequestStateKeys, Round, State, Step, is_sealed};

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
#[derive(Clone, Debug)]
pub(crate) struct Brought {
    /// What we sealed.
    opened: Option<Opened>,
    /// The server's own state, if it was not sealed with ours: the JSON text.
    bare: Option<Box<str>>,
    said: Said,
    /// Whether something in it is ours, which the server must not see.
    has_ours: bool,
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
        if !self.has_ours {
            return None;
        }
        let state = self.opened.as_ref().map(|_| match self.inner() {
            Some(text) => Inner::Text(text),
            None => Inner::Nothing,
        });
        // It was read before, so that this cannot fail.
        Some(rounds::as_forwarded(call, state).map_err(|_| Refusal::Failed))
    }
}

impl Engine {
    /// What a call brings back; `None` if that is nothing that concerns us. An error
    /// says that it brings what we did not give it.
    pub(crate) fn brought(
        &self,
        call: &Call<'_>,
        era: Era,
        judge: &Judge,
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
                let server = self.server.clone().unwrap_or_default();
                let parties = Parties {
                    server: &server,
                    caller: judge.caller().id(),
                    method: &call.method,
                };
                Some(State::open(text, keys, parties, judge.now()).map_err(not_ours)?)
            }
        };
        let bare = state.filter(|_| opened.is_none());
        Ok(Some(Box::new(Brought {
            has_ours: opened.is_some() || rounds::brings_ours(params),
            bare: bare.map(|text| String::from_utf8_lossy(text).into()),
            said: Said::in_call(params),
            opened,
        })))
    }
}

pub(super) fn not_ours(why: NotOurs) -> Refusal {
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

/// What a client says of the request that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It asks for the first time, or again as if it did.
    Afresh,
    /// It waits for this request.
    Waiting(ApprovalId),
    /// It was asked to approve it, and does.
    Approving(ApprovalId),
    /// It was asked to approve it, and does not.
    Denying(ApprovalId),
    /// It does not want to wait any more.
    TakingBack(ApprovalId),
}

/// When a call that waits is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtOnce {
    /// It is held for as long as it is waited for.
    Never,
    /// At once, if it is asked about for the first time.
    IfNew,
    Always,
}

/// How it is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As every refusal is told.
    Words,
    /// It is asked while it waits.
    Nested,
    /// With a page that it can open.
    OpenPage,
    /// With a state to come back with.
    State,
    /// The same, and a page to open.
    StateAndPage,
    /// The same, and a question to its user.
    StateAndForm,
}

/// The rounds of one call: of one that brings something back, or has to be approved.
#[derive(Debug)]
pub(super) struct Course {
    rounds: Rounds,
    brought: Option<Box<Brought>>,
    round: Round,
    came: Came,
    /// Whether it has been to the page that it was sent to.
    has_opened: bool,
    way: Way,
    /// What goes on where nothing has to be approved or charged again, if it is used
    /// for the first time.
    continues: Option<StateId>,
    /// Of exactly this call, if that can be said.
    digest: Option<CallDigest>,
    now: Moment,
}

/// What is to be known of a call for its rounds.
pub(super) struct Taken<'a> {
    pub(super) era: Era,
    pub(super) method: &'a str,
    /// Of exactly this call; `None` if that cannot be said.
    pub(super) digest: Option<&'a CallDigest>,
    pub(super) rule: &'a str,
    /// Who may approve it, if it has to be.
    pub(super) approver: Option<Approver>,
    pub(super) abilities: Option<Abilities>,
    pub(super) now: Moment,
}

impl Course {
    pub(super) fn new(rounds: &Rounds, call: &Taken<'_>, brought: Option<Box<Brought>>) -> Self {
        let opened = brought.as_ref().and_then(|brought| brought.opened.as_ref());
        let round = opened.map_or_else(|| Round::first(call.now), |opened| opened.state.round);
        let digest = call.digest.map(CallDigest::to_string);
        // Another call is not what was waited for, or has gone on.
        let same = opened.filter(|opened| Some(&opened.state.digest) == digest.as_ref());
        let said = brought.as_ref().map(|brought| brought.said);
        let said = said.unwrap_or_default();
        let step = same.map(|opened| &opened.state.step);
        let came = match (step, call.approver) {
            (
                Some(Step::Waits {
                    approval, asked, ..
                }),
                Some(approver),
            ) => match (said, asked) {
                (Said::Refused, true) => Came::Denying(*approval),
                (Said::Refused, false) => Came::TakingBack(*approval),
                (Said::Accepted { allows: true }, true) if approver == Approver::Caller => {
                    Came::Approving(*approval)
                }
                _ => Came::Waiting(*approval),
            },
            _ => Came::Afresh,
        };
        let has_opened = match step {
            Some(Step::Waits { asked, opened, .. }) => {
                *opened || !asked && matches!(said, Said::Accepted { .. })
            }
            _ => false,
        };
        let goes = same
            .filter(|opened| opened.state.step == Step::Goes && *opened.state.rule == *call.rule);
        let can_come_back = rounds.keys.is_some() && round.next(call.now).is_some();
        Self {
            continues: goes.map(|opened| StateId::new(opened.nonce)),
            way: Way::of(rounds, call, can_come_back),
            rounds: rounds.clone(),
            brought,
            round,
            came,
            has_opened,
            digest: call.digest.copied(),
            now: call.now,
        }
    }

    /// The state by which it goes on, if it does.
    pub(super) fn continues(&self) -> Option<&StateId> {
        self.continues.as_ref()
    }

    /// The state was used before: this is another call.
    pub(super) fn begin_anew(&mut self) {
        self.continues = None;
        self.round = Round::first(self.now);
    }

    pub(super) fn came(&self) -> Came {
        self.came
    }

    pub(super) fn digest(&self) -> Option<CallDigest> {
        self.digest
    }

    pub(super) fn round(&self) -> Round {
        self.round
    }

    pub(super) fn brought(&self) -> Option<&Brought> {
        self.brought.as_deref()
    }

    /// By what keys the client is asked while it waits, if it is.
    pub(super) fn asks_while_it_waits(&self) -> Option<&Arc<RequestStateKeys>> {
        self.rounds.keys().filter(|_| self.way == Way::Nested)
    }

    /// When it is told that it waits.
    pub(super) fn at_once(&self) -> AtOnce {
        match (self.way, self.came) {
            // What they say is to be seen before anything can come of it.
            (Way::StateAndPage | Way::StateAndForm, Came::Afresh) => AtOnce::Always,
            (Way::OpenPage, _) => AtOnce::IfNew,
            _ => AtOnce::Never,
        }
    }

    /// How it is told that it waits for this request; `None` if in the words of every
    /// refusal.
    pub(super) fn told(
        &self,
        question: &ApprovalQuestion,
        request: &ApprovalRequest,
        place: &Place,
        (used, keys): ((Thing, &str), &[String]),
    ) -> Option<Refusal> {
        let page = || self.rounds.page_of(request.id());
        let has_opened = self.has_opened && self.came == Came::Waiting(request.id());
        let asks = match self.way {
            Way::Words | Way::Nested => return None,
            Way::OpenPage => {
                return Some(Refusal::OpenPage {
                    url: page()?,
                    place: place.clone(),
                });
            }
            // Nobody wants to see the same page again every time that it comes back.
            Way::StateAndPage if has_opened => None,
            Way::State => None,
            Way::StateAndPage => page().map(|url| Ask::Page {
                url,
                message: words::open_page(used, &place.reason),
            }),
            Way::StateAndForm => Some(Ask::Form {
                message: words::allow_once(used, keys, &place.reason),
            }),
        };
        let state = State {
            step: Step::Waits {
                approval: request.id(),
                asked: self.way == Way::StateAndForm,
                opened: has_opened,
            },
            round: self.round.next(self.now)?,
            digest: question.digest().to_string(),
            rule: String::new(),
            inner: self.brought().and_then(Brought::inner).map(str::to_owned),
        };
        let parties = Parties {
            server: question.server(),
            caller: question.caller(),
            method: question.method(),
        };
        Some(Refusal::MoreAsked(Box::new(MoreAsked {
            asks,
            state: state.seal(self.rounds.keys.as_deref()?, parties)?,
            place: place.clone(),
        })))
    }
}

impl Way {
    fn of(rounds: &Rounds, call: &Taken<'_>, can_come_back: bool) -> Self {
        let Some(abilities) = call.abilities else {
            return Self::Words;
        };
        let Elicitation { form, url } = abilities.elicitation;
        let can_open = url && rounds.page.is_some();
        match call.era {
            Era::Modern if !can_come_back || !rounds::takes_rounds(call.method) => Self::Words,
            // A page shows what became of a request. Only a form lets the client say yes.
            Era::Modern if form && call.approver == Some(Approver::Caller) => Self::StateAndForm,
            Era::Modern if can_open => Self::StateAndPage,
            Era::Modern => Self::State,
            Era::Legacy if form && abilities.hears && call.approver == Some(Approver::Caller) => {
                Self::Nested
            }
            Era::Legacy if can_open && abilities.knows_pages => Self::OpenPage,
            Era::Legacy => Self::Words,
        }
    }
}

/// What is remembered of a call until the server has answered: it may ask for another
/// round.
#[derive(Clone, Debug)]
pub(crate) struct Following {
    round: Round,
    /// Of exactly this call, if it was needed already.
    digest: Option<CallDigest>,
    /// Whether it was approved or charged, now or with an earlier round.
    is_paid: bool,
}

impl Following {
    pub(super) fn new(round: Round, digest: Option<CallDigest>, is_paid: bool) -> Self {
        Self {
            round,
            digest,
            is_paid,
        }
    }
}

impl Engine {
    /// An answer of the server's to a call with which the client is to come back, so
    /// that it goes on and does not begin anew; `None` if the answer stays as it is.
    pub(crate) fn follow(
        &self,
        following: &Following,
        judge: &Judge,
        (call, rule): (&Call<'_>, &str),
        answer: &[u8],
    ) -> Option<Vec<u8>> {
        let more = AskedByServer::by(answer)?;
        let inner = more.state.map(|text| std::str::from_utf8(text).ok());
        // Another layer's behind us would be taken for one of ours.
        let hides = more.state_text().is_some_and(|text| is_sealed(&text));
        if !following.is_paid && !hides {
            return None;
        }
        let server = self.server.clone().unwrap_or_default();
        let caller = judge.caller().shared_id();
        let call_of = approval::Call::of(call, &server, &caller)?;
        let digest = match following.digest {
            Some(digest) => digest,
            None => call_of.digest(b"").ok()?,
        };
        let state = State {
            step: Step::Goes,
            round: following.round.next(judge.now())?,
            digest: digest.to_string(),
            rule: rule.to_owned(),
            inner: inner.flatten().map(str::to_owned),
        };
        let parties = Parties {
            server: &server,
            caller: &caller,
            method: &call.method,
        };
        let state = state.seal(self.rounds.keys.as_deref()?, parties)?;
        rounds::with_state(answer, &state).ok()
    }
}
