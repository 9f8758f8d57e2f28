//! The rounds of one call.

use std::sync::Arc;

use super::{Abilities, Brought, Rounds};
use crate::approval::{ApprovalId, ApprovalQuestion, ApprovalRequest, CallDigest};
use crate::audit::Names;
use crate::clock::Moment;
use crate::engine::words;
use crate::limit::StateId;
use crate::mcp::params::Elicitation;
use crate::mcp::reply::{Ask, MoreAsked, Place, Refusal, Thing};
use crate::mcp::rounds::{self, Said};
use crate::mcp::version::Era;
use crate::policy::Approver;
use crate::rounds::{Parties, RequestStateKeys, Round, State, Step};

/// What a client says of the request that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Came {
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

impl Came {
    /// What `said` means in this step of a call that has to be approved.
    fn by(step: Option<&Step>, said: Said, approver: Option<Approver>) -> Self {
        let (
            Some(Step::Waits {
                approval, asked, ..
            }),
            Some(approver),
        ) = (step, approver)
        else {
            return Self::Afresh;
        };
        match (said, asked) {
            (Said::Refused, true) => Self::Denying(*approval),
            (Said::Refused, false) => Self::TakingBack(*approval),
            (Said::Accepted { allows: true }, true) if approver == Approver::Caller => {
                Self::Approving(*approval)
            }
            _ => Self::Waiting(*approval),
        }
    }
}

/// When a call that waits is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum AtOnce {
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
pub(in crate::engine) struct Course {
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
pub(in crate::engine) struct Taken<'a> {
    pub(in crate::engine) era: Era,
    pub(in crate::engine) method: &'a str,
    /// Of exactly this call; `None` if that cannot be said.
    pub(in crate::engine) digest: Option<&'a CallDigest>,
    pub(in crate::engine) rule: &'a str,
    /// Who may approve it, if it has to be.
    pub(in crate::engine) approver: Option<Approver>,
    pub(in crate::engine) abilities: Option<Abilities>,
    pub(in crate::engine) now: Moment,
}

impl Course {
    pub(in crate::engine) fn new(
        rounds: &Rounds,
        call: &Taken<'_>,
        brought: Option<Box<Brought>>,
    ) -> Self {
        let opened = brought.as_ref().and_then(|brought| brought.opened.as_ref());
        let digest = call.digest.map(CallDigest::to_string);
        // Another call is not what was waited for, or has gone on.
        let same = opened.filter(|opened| Some(&opened.state.digest) == digest.as_ref());
        let round = same.map_or_else(|| Round::first(call.now), |opened| opened.state.round);
        let said = brought.as_ref().map(|brought| brought.said);
        let said = said.unwrap_or_default();
        let step = same.map(|opened| &opened.state.step);
        let came = Came::by(step, said, call.approver);
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
    pub(in crate::engine) fn continues(&self) -> Option<&StateId> {
        let continues = self.continues.as_ref()?;
        (!continues.is_sure).then_some(&continues.state)
    }

    /// Whether somebody has approved it with an earlier round.
    pub(in crate::engine) fn is_approved(&self) -> bool {
        self.continues
            .is_some_and(|continues| continues.is_approved)
    }

    /// Whether it was charged with an earlier round.
    pub(in crate::engine) fn is_charged(&self) -> bool {
        self.continues.is_some_and(|continues| continues.is_charged)
    }

    /// Whether it goes on; else it is another call.
    pub(in crate::engine) fn resume(&mut self, goes_on: bool) {
        match &mut self.continues {
            Some(continues) if goes_on => continues.is_sure = true,
            _ => {
                self.continues = None;
                self.round = Round::first(self.now);
            }
        }
    }

    pub(in crate::engine) fn came(&self) -> Came {
        self.came
    }

    /// Whether its client wants to do without it.
    pub(in crate::engine) fn is_taken_back(&self) -> bool {
        matches!(self.came, Came::Denying(_) | Came::TakingBack(_))
    }

    pub(in crate::engine) fn round(&self) -> Round {
        self.round
    }

    pub(in crate::engine) fn brought(&self) -> Option<&Brought> {
        self.brought.as_deref()
    }

    /// By what keys the client is asked while it waits, if it is.
    pub(in crate::engine) fn asks_while_it_waits(&self) -> Option<&Arc<RequestStateKeys>> {
        self.rounds.keys().filter(|_| self.way == Way::Nested)
    }

    /// When it is told that it waits.
    pub(in crate::engine) fn at_once(&self) -> AtOnce {
        match (self.way, self.came) {
            // What they say is to be seen before anything can come of it.
            (Way::StateAndPage | Way::StateAndForm, Came::Afresh) => AtOnce::Always,
            (Way::OpenPage, _) => AtOnce::IfNew,
            _ => AtOnce::Never,
        }
    }

    /// How it is told that it waits for this request; `None` if in the words of every
    /// refusal.
    pub(in crate::engine) fn told(
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
