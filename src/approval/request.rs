//! A call that waits for somebody to approve it, and what may become of it.

mod stored;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::digest::CallDigest;
use super::question::{ApprovalQuestion, Facts, Shown};
use super::ruling::{Decider, NotDecided, Ruling, is_nameless, is_same_person};
use crate::mcp::{shown, shown_uri};
use crate::names::named;
use crate::policy::Approver;
use crate::store::StoreError;

/// Tells a request for approval from all others: 128 random bits that nobody can
/// guess.
///
/// As text it is 32 hexadecimal digits.
///
/// ```
/// use mcp_policy::ApprovalId;
///
/// let id: ApprovalId = "00112233445566778899aabbccddeeff".parse()?;
/// assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
/// assert!("0011".parse::<ApprovalId>().is_err());
/// # Ok::<(), mcp_policy::ApprovalIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApprovalId([u8; 16]);

impl ApprovalId {
    /// One that has never been.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApprovalId({self})")
    }
}

impl FromStr for ApprovalId {
    type Err = ApprovalIdError;

    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, ApprovalIdError> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(ApprovalIdError(()));
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| ApprovalIdError(()))?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// A text is not that of an [`ApprovalId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApprovalIdError(());

impl fmt::Display for ApprovalIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of an approval is 32 hexadecimal digits in lower case")
    }
}

impl std::error::Error for ApprovalIdError {}

/// What has become of a request.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    /// It waits for somebody to decide.
    Pending,
    /// The call may be made, once, until the request expires.
    Approved,
    /// The same call is refused, without asking anybody, until the request expires.
    Denied,
    /// Nobody decided in time, or the approval was not used in time.
    Expired,
    /// The call was made.
    Used,
    /// It was taken back.
    Cancelled,
}

impl ApprovalState {
    /// All of them: those in which something can still become of a request before those
    /// in which it has been decided or has ended.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Approved,
        Self::Denied,
        Self::Expired,
        Self::Used,
        Self::Cancelled,
    ];

    /// Whether something can still become of it: whether it is pending or approved.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }

    /// The word for it, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Cancelled => "cancelled",
        }
    }
}

named!(ApprovalState, "state of a request for approval");

/// The arguments of a call, for whoever decides about it: the JSON text as it was
/// sent.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownArguments {
    text: Arc<str>,
    cut: usize,
}

/// Bytes of arguments that are kept.
pub(super) const MOST_SHOWN: usize = 64 * 1024;

impl ShownArguments {
    pub(super) fn of(arguments: &str) -> Self {
        let most = arguments.len().min(MOST_SHOWN);
        // The last place that is not in the middle of a character.
        let text = (0..=most).rev().find_map(|end| arguments.get(..end));
        let text = text.unwrap_or_default();
        Self {
            text: text.into(),
            cut: arguments.len().saturating_sub(text.len()),
        }
    }

    /// The text, of at most 64 KiB. It comes from the caller, so whatever shows it has to
    /// escape it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many bytes follow that are not shown: then nobody is asked.
    pub(super) fn cut(&self) -> usize {
        self.cut
    }
}

/// How much there is, but not what.
impl fmt::Debug for ShownArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownArguments")
            .field("bytes", &self.text.len())
            .field("cut", &self.cut)
            .finish_non_exhaustive()
    }
}

/// A request for approval, as it was when a store was asked.
///
/// A store keeps these. What may become of one is said by [`decide`](Self::decide),
/// [`use_up`](Self::use_up), [`cancel`](Self::cancel) and [`expire`](Self::expire),
/// so that every store does the same.
///
/// A store outside of the memory of the process keeps two texts, which
/// [`stored`](Self::stored) and [`stored_shown`](Self::stored_shown) give and of which
/// [`from_stored`](Self::from_stored) makes the request again. They are two because the
/// second holds the arguments of the call, which are forgotten once a request has ended.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct ApprovalRequest {
    id: ApprovalId,
    facts: Arc<Facts>,
    /// `None` once it has ended.
    shown: Option<Arc<Shown>>,
    state: ApprovalState,
    created_at: SystemTime,
    expires_at: SystemTime,
    decision: Option<(Ruling, SystemTime)>,
}

impl ApprovalRequest {
    /// The request that this question begins, if there is none that it finds. It gets
    /// an id of its own.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub fn new(question: &ApprovalQuestion) -> Result<Self, StoreError> {
        Self::begun(question, question.at().system)
    }

    /// The same, by another clock.
    pub(super) fn begun(
        question: &ApprovalQuestion,
        created_at: SystemTime,
    ) -> Result<Self, StoreError> {
        let id =
            ApprovalId::new().map_err(|_| StoreError::of("the system has no random numbers"))?;
        Ok(Self {
            id,
            facts: Arc::clone(&question.facts),
            shown: Some(Arc::clone(&question.shown)),
            state: ApprovalState::Pending,
            created_at,
            expires_at: later(created_at, question.expires()),
            decision: None,
        })
    }

    /// Approves or denies it. If so, it expires [so much](Self::expires) later than
    /// `now`.
    ///
    /// # Errors
    ///
    /// If it is not pending, or not theirs to decide.
    pub fn decide(&mut self, ruling: &Ruling, now: SystemTime) -> Result<(), NotDecided> {
        if self.state != ApprovalState::Pending {
            return Err(NotDecided::NotPending(self.state));
        }
        match ruling.decider() {
            Decider::Operator(name) if is_nameless(name) => return Err(NotDecided::Nameless),
            Decider::Operator(name) if is_same_person(name, self.caller()) => {
                return Err(NotDecided::OwnRequest);
            }
            Decider::Caller if self.approver() != Approver::Caller => {
                return Err(NotDecided::OwnRequest);
            }
            Decider::Operator(_) | Decider::Caller => {}
        }
        self.turn(if ruling.approves() {
            ApprovalState::Approved
        } else {
            ApprovalState::Denied
        });
        self.decision = Some((ruling.clone(), now));
        self.expires_at = later(now, self.expires());
        Ok(())
    }

    /// Uses the approval up, if there is one, for the call of this digest.
    pub fn use_up(&mut self, call: &CallDigest) -> ApprovalUsed {
        match self.state {
            _ if *call != self.facts.digest => ApprovalUsed::NotApproved,
            ApprovalState::Approved => {
                self.turn(ApprovalState::Used);
                ApprovalUsed::Now
            }
            ApprovalState::Used => ApprovalUsed::Before,
            _ => ApprovalUsed::NotApproved,
        }
    }

    /// Takes it back, if it is [open](ApprovalState::is_open), and says whether it
    /// was.
    pub fn cancel(&mut self) -> bool {
        let is_open = self.state.is_open();
        if is_open {
            self.turn(ApprovalState::Cancelled);
        }
        is_open
    }

    /// Its time is over: if it is [open](ApprovalState::is_open), it has expired. Says
    /// whether it was. What was denied stays so, for whoever looks at it.
    pub fn expire(&mut self) -> bool {
        let is_open = self.state.is_open();
        if is_open {
            self.turn(ApprovalState::Expired);
        }
        is_open
    }

    /// The same, for somebody who may not see them.
    pub(super) fn without_values(&self) -> Self {
        Self {
            shown: None,
            ..self.clone()
        }
    }

    /// Until when it can be decided.
    pub(super) fn undecided_until(&self) -> SystemTime {
        later(self.created_at, self.expires())
    }

    /// Whether its time is over by the clock of the world: then a store that has kept it
    /// lets it [expire](Self::expire). If it would end later than one that is new, that
    /// clock was turned back, and nobody knows how old it is: it is over, too.
    pub fn is_over(&self, now: SystemTime) -> bool {
        let latest = later(later(now, self.expires()), LATE);
        self.expires_at <= now || self.expires_at > latest
    }

    fn turn(&mut self, state: ApprovalState) {
        self.state = state;
        if !state.is_open() {
            self.shown = None;
        }
    }

    /// Tells it from all others.
    pub fn id(&self) -> ApprovalId {
        self.id
    }

    /// Of what exactly is asked for.
    pub fn digest(&self) -> &CallDigest {
        &self.facts.digest
    }

    /// What the server is called; empty unless it has a
    /// [name](crate::PolicyLayer::server_name).
    pub fn server(&self) -> &str {
        &self.facts.server
    }

    /// The [id](crate::Caller::id) of the caller.
    pub fn caller(&self) -> &str {
        &self.facts.caller
    }

    pub(super) fn shared_caller(&self) -> &Arc<str> {
        &self.facts.caller
    }

    /// The method: `tools/call`, `prompts/get` or `resources/read`.
    pub fn method(&self) -> &str {
        &self.facts.method
    }

    /// The name of the tool or prompt, or the URI of the resource, as the caller sent
    /// it.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// The rules that ask: `/tools/NAME/require_approval`.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.facts.rules.iter().map(|rule| &**rule)
    }

    /// What the policy says why it asks.
    pub fn reason(&self) -> Option<&str> {
        self.facts.reason.as_deref()
    }

    /// Who may approve.
    pub fn approver(&self) -> Approver {
        self.facts.approver
    }

    /// The arguments; `None` if there are none, and once it has ended: values are not
    /// kept longer than somebody needs them to decide.
    pub fn arguments(&self) -> Option<&ShownArguments> {
        self.shown.as_ref()?.arguments.as_ref()
    }

    /// Whatever else is approved of the parameters of the call, as JSON: of `_meta` what
    /// is not the client's own business, `task`, and members that nobody knows. `None` if
    /// there is nothing, and once it has ended.
    pub fn others(&self) -> Option<&str> {
        self.shown.as_ref()?.others.as_deref()
    }

    /// Bytes of what is shown of it.
    pub(super) fn shown_bytes(&self) -> usize {
        let arguments = self.arguments().map_or(0, |shown| shown.text().len());
        let others = self.others().map_or(0, str::len);
        arguments.saturating_add(others)
    }

    /// What has become of it.
    pub fn state(&self) -> ApprovalState {
        self.state
    }

    /// When it was asked for.
    pub fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// How long it waits to be decided, and from then on to be used.
    pub fn expires(&self) -> Duration {
        self.facts.expires
    }

    /// Until when it can be decided, or used once it was approved, or until when the
    /// same call is refused: as the clock of the world was when it was asked for or
    /// decided.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Who approved or denied it.
    pub fn decided_by(&self) -> Option<&Decider> {
        self.decision.as_ref().map(|(ruling, _)| ruling.decider())
    }

    /// When it was approved or denied.
    pub fn decided_at(&self) -> Option<SystemTime> {
        self.decision.as_ref().map(|(_, at)| *at)
    }

    /// What whoever approved or denied it said about that.
    pub fn note(&self) -> Option<&str> {
        self.decision.as_ref().and_then(|(ruling, _)| ruling.note())
    }
}

/// How far two clocks of the world may be apart.
const LATE: Duration = Duration::from_secs(10);

fn later(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_add(by).unwrap_or(time)
}

/// Without the arguments, and without what an operator noted.
impl fmt::Debug for ApprovalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalRequest")
            .field("id", &self.id)
            .field("facts", &self.facts)
            .field("state", &self.state)
            .field("created_at", &self.created_at)
            .field("expires_at", &self.expires_at)
            .field("decided_by", &self.decided_by())
            .field("decided_at", &self.decided_at())
            .finish_non_exhaustive()
    }
}

/// Whether an approval was used up. Further answers may come, as to
/// [`ApprovalAsked`](super::ApprovalAsked).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a call goes on only if this is `Now`"]
pub enum ApprovalUsed {
    /// It was: by this, and by nothing else.
    Now,
    /// It was, but by another request.
    Before,
    /// There is none: it is not approved, not for this call, or not known any more.
    NotApproved,
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URI can hold what is nobody's business.
        let name = match &*self.method {
            "resources/read" => shown_uri(&self.name),
            _ => shown(&self.name),
        };
        f.debug_struct("Facts")
            .field("server", &self.server)
            .field("caller", &self.caller)
            .field("method", &self.method)
            .field("name", &name)
            .field("rules", &self.rules)
            .field("approver", &self.approver)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
