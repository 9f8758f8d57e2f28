use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use smallvec::SmallVec;

use super::kinds::{Ending, MessageKind, Verdict};
use super::members::{Members, as_map, name};
use super::names::Names;
use crate::digest::{sha256, unique};
use crate::policy::{Policy, Truth};

/// Names that are recorded of one message, and as many of its arguments.
pub(crate) const MOST_KEYS: usize = 64;

/// The rule that refuses what cannot be recorded.
pub(crate) const UNRECORDED: &str = "(audit)";

/// What an [`AuditSink`](super::AuditSink) is handed.
///
/// As JSON it is one object whose member `event` is `decision` or `outcome`. The
/// names of the members are those of the [page on records](crate::docs::audit).
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum AuditRecord {
    /// What was decided about a message.
    Decision(DecisionRecord),
    /// What came of it.
    Outcome(OutcomeRecord),
}

impl AuditRecord {
    /// The decision that it is about.
    pub fn decision(&self) -> &DecisionRecord {
        match self {
            Self::Decision(decision) => decision,
            Self::Outcome(outcome) => outcome.decision(),
        }
    }

    pub(super) fn members<M: Members>(&self, to: &mut M) -> Result<(), M::Error> {
        match self {
            Self::Decision(decision) => {
                to.word(name!("event"), "decision")?;
                decision.facts.members(to)
            }
            Self::Outcome(outcome) => {
                to.word(name!("event"), "outcome")?;
                outcome.members(to)
            }
        }
    }
}

impl Serialize for AuditRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_map(serializer, |map| self.members(map))
    }
}

/// What was decided about a message, and what it was about.
///
/// Names and keys only: whatever was given for an argument is nowhere in it.
/// What comes from outside is cut to 128 characters, with control and invisible
/// characters escaped. Cloning is cheap.
///
/// The layer leaves one in the extensions of every response, for a layer above
/// that logs, and in the [`Permit`](crate::Permit) of what goes on.
///
/// ```
/// use mcp_policy::DecisionRecord;
///
/// fn refused_by<B>(response: &http::Response<B>) -> Option<&str> {
///     let decision = response.extensions().get::<DecisionRecord>()?;
///     (!decision.is_allowed()).then(|| decision.rule())
/// }
/// # assert_eq!(refused_by(&http::Response::new(())), None);
/// ```
#[derive(Clone)]
pub struct DecisionRecord {
    facts: Arc<Facts>,
}

/// The fields of a [`DecisionRecord`].
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) time: SystemTime,
    pub(crate) id: DecisionId,
    /// `None` if who calls could not be found out.
    pub(crate) caller: Option<Arc<str>>,
    pub(crate) session: Option<String>,
    pub(crate) server: Option<Arc<str>>,
    pub(crate) era: &'static str,
    pub(crate) kind: MessageKind,
    pub(crate) method: Option<Cow<'static, str>>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) inner: Option<String>,
    pub(crate) more_names: Vec<Arc<str>>,
    pub(crate) argument_keys: Names,
    pub(crate) trace_parent: Option<String>,
    pub(crate) policy: Option<Policy>,
    pub(crate) verdict: Verdict,
    pub(crate) rule: Cow<'static, str>,
    pub(crate) conditions: Conditions,
    pub(crate) shadow: Option<Shadow>,
    /// The request for an approval that it needs.
    pub(crate) approval: Option<String>,
    /// Who decided about that.
    pub(crate) decided_by: Option<String>,
}

/// The places of conditions that were looked at, and what they came to.
pub(crate) type Conditions = SmallVec<[(Arc<str>, Truth); 2]>;

/// What would be decided if nothing in the policy were in shadow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    pub(crate) verdict: Verdict,
    pub(crate) rule: String,
}

impl Facts {
    fn members<M: Members>(&self, to: &mut M) -> Result<(), M::Error> {
        to.time(name!("time"), self.time)?;
        to.id(name!("decision"), self.id)?;
        to.text_if_any(name!("caller"), self.caller.as_deref())?;
        to.text_if_any(name!("session"), self.session.as_deref())?;
        to.text_if_any(name!("server"), self.server.as_deref())?;
        to.word(name!("era"), self.era)?;
        to.word(name!("kind"), self.kind.as_str())?;
        to.text_if_any(name!("method"), self.method.as_deref())?;
        to.text_if_any(name!("name"), self.name.as_deref())?;
        to.text_if_any(name!("inner"), self.inner.as_deref())?;
        if !self.more_names.is_empty() {
            to.texts(
                name!("more_names"),
                self.more_names.iter().map(|name| &**name),
            )?;
        }
        if !self.argument_keys.is_empty() {
            to.texts(name!("argument_keys"), self.argument_keys.iter())?;
        }
        to.text_if_any(name!("traceparent"), self.trace_parent.as_deref())?;
        if let Some(policy) = &self.policy {
            to.text_if_any(name!("policy"), policy.document().name.as_deref())?;
            to.text_if_any(name!("policy_digest"), Some(policy.digest()))?;
        }
        to.word(name!("verdict"), self.verdict.as_str())?;
        to.text(name!("rule"), &self.rule)?;
        if !self.conditions.is_empty() {
            to.conditions(name!("conditions"), &self.conditions)?;
        }
        if let Some(shadow) = &self.shadow {
            to.yes(name!("shadow"))?;
            to.word(name!("shadow_verdict"), shadow.verdict.as_str())?;
            to.text(name!("shadow_rule"), &shadow.rule)?;
        }
        to.text_if_any(name!("approval"), self.approval.as_deref())?;
        to.text_if_any(name!("decided_by"), self.decided_by.as_deref())
    }
}

impl DecisionRecord {
    pub(crate) fn new(facts: impl Into<Arc<Facts>>) -> Self {
        Self {
            facts: facts.into(),
        }
    }

    /// The same decision, if it has to be taken back because it could not be
    /// recorded.
    pub(crate) fn taken_back(&self) -> Self {
        Self::new(Facts {
            verdict: Verdict::Unavailable,
            rule: Cow::Borrowed(UNRECORDED),
            ..Facts::clone(&self.facts)
        })
    }

    /// When it was decided.
    pub fn time(&self) -> SystemTime {
        self.facts.time
    }

    /// Tells this decision from all others.
    pub fn id(&self) -> DecisionId {
        self.facts.id
    }

    /// Who sent the message; `None` if that could not be found out.
    pub fn caller(&self) -> Option<&str> {
        self.facts.caller.as_deref()
    }

    /// The session that the message named: the beginning of the SHA-256 of its
    /// id, by which records belong together. The id itself would let whoever
    /// reads the records into the session.
    pub fn session(&self) -> Option<&str> {
        self.facts.session.as_deref()
    }

    /// What the server is called; see
    /// [`PolicyLayer::server_name`](crate::PolicyLayer::server_name).
    pub fn server(&self) -> Option<&str> {
        self.facts.server.as_deref()
    }

    #[cfg(feature = "metrics")]
    pub(super) fn shared_server(&self) -> Option<Arc<str>> {
        self.facts.server.clone()
    }

    /// `"modern"` for a message of 2026-07-28 or later, else `"legacy"`.
    pub fn era(&self) -> &'static str {
        self.facts.era
    }

    /// What kind of message it is.
    pub fn kind(&self) -> MessageKind {
        self.facts.kind
    }

    /// The JSON-RPC method, if there is one.
    pub fn method(&self) -> Option<&str> {
        self.facts.method.as_deref()
    }

    /// The tool, prompt or resource that the message is about, or the first of
    /// several; of a URI only what names something, without user, query and
    /// parameters, and of a task the tool that it was made with.
    pub fn name(&self) -> Option<&str> {
        self.facts.name.as_deref()
    }

    /// The tool that decided, if that is not the one that is called but one that
    /// this, a dispatcher, should call.
    pub fn inner(&self) -> Option<&str> {
        self.facts.inner.as_deref()
    }

    /// The others, if the message is about several; at most 64.
    pub fn more_names(&self) -> impl Iterator<Item = &str> {
        self.facts.more_names.iter().map(|name| &**name)
    }

    /// The names of the arguments, in alphabetical order; at most 64.
    pub fn argument_keys(&self) -> impl Iterator<Item = &str> {
        self.facts.argument_keys.iter()
    }

    /// The trace that the message says that it belongs to, and the span in which it was
    /// sent: `traceparent` of its `_meta`, if that is one as W3C Trace Context has it. The
    /// client chooses it.
    pub fn trace_parent(&self) -> Option<&str> {
        self.facts.trace_parent.as_deref()
    }

    /// The policy that decided; `None` for a caller without one, and for what
    /// was refused before the policy was asked.
    pub fn policy(&self) -> Option<&Policy> {
        self.facts.policy.as_ref()
    }

    /// What was decided.
    pub fn verdict(&self) -> Verdict {
        self.facts.verdict
    }

    /// Whether the message may go on.
    pub fn is_allowed(&self) -> bool {
        self.facts.verdict == Verdict::Allowed
    }

    /// What decided, as in [`Decision::rule`](crate::Decision::rule). Besides,
    /// `(protocol)` for what the protocol decides, `(session)` for sessions and
    /// tasks that are not the caller's, `(store)` for what could not be decided,
    /// and `(audit)` for what could not be recorded.
    pub fn rule(&self) -> &str {
        &self.facts.rule
    }

    /// The place in the policy of every condition that was looked at, and what
    /// it came to; at most 64.
    pub fn conditions(&self) -> impl Iterator<Item = (&str, Truth)> {
        let conditions = self.facts.conditions.iter();
        conditions.map(|(place, truth)| (&**place, *truth))
    }

    /// The verdict and the rule that there would be if nothing in the policy
    /// were in [shadow](crate::Mode::Shadow); `None` if they are the same.
    pub fn shadow(&self) -> Option<(Verdict, &str)> {
        let shadow = self.facts.shadow.as_ref()?;
        Some((shadow.verdict, &shadow.rule))
    }

    /// The [id](crate::ApprovalId) of the request for an approval that the call needs or
    /// has, if it was asked for.
    pub fn approval(&self) -> Option<&str> {
        self.facts.approval.as_deref()
    }

    /// Who approved or denied it: the name of an operator, or `(caller)` for the client
    /// that calls.
    pub fn decided_by(&self) -> Option<&str> {
        self.facts.decided_by.as_deref()
    }
}

impl Serialize for DecisionRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_map(serializer, |map| self.facts.members(map))
    }
}

impl fmt::Debug for DecisionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionRecord")
            .field("id", &self.facts.id)
            .field("method", &self.facts.method)
            .field("name", &self.facts.name)
            .field("verdict", &self.facts.verdict)
            .field("rule", &self.facts.rule)
            .finish_non_exhaustive()
    }
}

/// What came of a message.
#[derive(Clone, Debug)]
pub struct OutcomeRecord {
    pub(crate) time: SystemTime,
    pub(crate) decision: DecisionRecord,
    pub(crate) ending: Ending,
    pub(crate) status: Option<u16>,
    pub(crate) latency: Duration,
}

impl OutcomeRecord {
    /// When it ended.
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// The decision whose outcome it is.
    pub fn decision(&self) -> &DecisionRecord {
        &self.decision
    }

    /// How it ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The HTTP status of the server's answer; `None` if it gave none, and
    /// without HTTP.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// How long it took, from the arrival of the message until its answer could
    /// go out. For an event stream until the stream began.
    pub fn latency(&self) -> Duration {
        self.latency
    }

    fn members<M: Members>(&self, to: &mut M) -> Result<(), M::Error> {
        to.time(name!("time"), self.time)?;
        to.id(name!("decision"), self.decision.id())?;
        to.word(name!("ending"), self.ending.as_str())?;
        to.status_if_any(name!("status"), self.status)?;
        to.microseconds(name!("latency_us"), self.latency)
    }
}

impl Serialize for OutcomeRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_map(serializer, |map| self.members(map))
    }
}

/// Tells a decision from all others, of this process and of others.
///
/// As text it is 32 hexadecimal digits, which tell nothing of how many decisions
/// there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecisionId([u64; 2]);

impl DecisionId {
    pub(crate) fn next() -> Self {
        Self(unique())
    }

    #[cfg(test)]
    pub(super) const fn of(digits: [u64; 2]) -> Self {
        Self(digits)
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let [first, second] = self.0;
        ((u128::from(first) << 64) | u128::from(second)).to_be_bytes()
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.0;
        write!(f, "{first:016x}{second:016x}")
    }
}

impl Serialize for DecisionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// By what the records of one session belong together, without telling its id.
pub(crate) fn session_digest(session: &str) -> String {
    let mut digest = sha256(session.as_bytes());
    digest.truncate(16);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_decisions_have_one_id() {
        let (one, other) = (DecisionId::next(), DecisionId::next());
        assert_ne!(one.to_string(), other.to_string());
        assert_eq!(one.to_string().len(), 32);
    }
}
