//! What a call brings back with a further round, and how it is told that it waits.

use std::fmt;
use std::sync::Arc;

use super::judge::Judge;
use super::{Engine, asked, words};
use crate::approval::{ApprovalId, ApprovalQuestion, ApprovalRequest, CallDigest};
use crate::audit::{DecisionRecord, Names};
use crate::clock::Moment;
use crate::limit::StateId;
use crate::mcp::message::Call;
use crate::mcp::params::{Elicitation, Param};
use crate::mcp::reply::{Ask, MoreAsked, Place, Refusal, Thing};
use crate::mcp::rounds::{self, AskedByServer, Inner, Ours, Said};
use crate::mcp::version::Era;
use crate::policy::Approver;
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
    /// What goes on without being approved or charged again, if it is used for the first
    /// time.
    continues: Option<Continues>,
    now: Moment,
}

/// How a call goes on.
#[derive(Clone, Copy, Debug)]
struct Continues {
    state: StateId,
    is_approved: bool,
    is_charged: bool,
    /// Whether it was found out that it is used for the first time.
    is_sure: bool,
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
        let digest = call.digest.map(CallDigest::to_string);
        // Another call is not what was waited for, or has gone on.
        let same = opened.filter(|opened| Some(&opened.state.digest) == digest.as_ref());
        let round = same.map_or_else(|| Round::first(call.now), |opened| opened.state.round);
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
        let same_rule = same.filter(|opened| *opened.state.rule == *call.rule);
        let continues = same_rule.and_then(|opened| match opened.state.step {
            Step::Goes { approved, charged } => Some(Continues {
                state: StateId::from_bytes(opened.nonce),
                is_approved: approved,
                is_charged: charged,
                is_sure: false,
            }),
            Step::Waits { .. } => None,
        });
        let can_come_back = rounds.keys.is_some() && round.next(call.now).is_some();
        Self {
            continues,
            way: Way::of(rounds, call, can_come_back),
            rounds: rounds.clone(),
            brought,
            round,
            came,
            has_opened,
            now: call.now,
        }
    }

    /// The state by which it goes on, if that has to be found out yet.
    pub(super) fn continues(&self) -> Option<&StateId> {
        let continues = self.continues.as_ref()?;
        (!continues.is_sure).then_some(&continues.state)
    }

    /// Whether somebody has approved it with an earlier round.
    pub(super) fn is_approved(&self) -> bool {
        self.continues
            .is_some_and(|continues| continues.is_approved)
    }

    /// Whether it was charged with an earlier round.
    pub(super) fn is_charged(&self) -> bool {
        self.continues.is_some_and(|continues| continues.is_charged)
    }

    /// Whether it goes on; else it is another call.
    pub(super) fn resume(&mut self, goes_on: bool) {
        match &mut self.continues {
            Some(continues) if goes_on => continues.is_sure = true,
            _ => {
                self.continues = None;
                self.round = Round::first(self.now);
            }
        }
    }

    pub(super) fn came(&self) -> Came {
        self.came
    }

    /// Whether its client wants to do without it.
    pub(super) fn is_taken_back(&self) -> bool {
        matches!(self.came, Came::Denying(_) | Came::TakingBack(_))
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
        (used, keys): ((Thing, &str), &Names),
    ) -> Option<Refusal> {
        let page = || self.rounds.page_of(request.id());
        let has_opened = self.has_opened && self.came == Came::Waiting(request.id());
        let asks = match self.way {
            Way::Words | Way::Nested => return None,
            Way::OpenPage => {
                return Some(Refusal::OpenPage {
                    url: page()?,
                    place: Box::new(place.clone()),
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
            state: state.seal(self.rounds.keys.as_deref()?, parties)?.text,
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
