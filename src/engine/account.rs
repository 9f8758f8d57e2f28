//! What is recorded of a message.

use std::time::{Instant, SystemTime};

use super::Engine;
use super::judge::Judgement;
use crate::audit::{
    DecisionId, DecisionRecord, Facts, MessageKind, OpenDecision, Receipt, argument_keys,
    session_digest,
};
use crate::caller::Caller;
use crate::mcp::message::{Call, Message};
use crate::mcp::shown;
use crate::mcp::version::Era;
use crate::policy::Policy;

/// When a message came, and the id under which it is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) decision: DecisionId,
    pub(crate) since: Instant,
}

impl Arrival {
    pub(crate) fn now() -> Self {
        Self {
            decision: DecisionId::next(),
            since: Instant::now(),
        }
    }
}

/// What was seen of a message, beside what it was judged by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'m, 'b> {
    pub(crate) caller: Option<&'m Caller>,
    /// The session that it names.
    pub(crate) session: Option<&'m str>,
    pub(crate) era: Era,
    pub(crate) kind: MessageKind,
    pub(crate) call: Option<&'m Call<'b>>,
}

impl<'m, 'b> Seen<'m, 'b> {
    /// The same of a message that could be read.
    pub(crate) fn with_message(self, message: &'m Message<'b>) -> Self {
        let (kind, call) = match message {
            Message::Request(_, call) => (MessageKind::Request, Some(call)),
            Message::Notification(call) => (MessageKind::Notification, Some(call)),
            Message::Response => (MessageKind::Response, None),
        };
        Self { kind, call, ..self }
    }
}

impl Engine {
    /// Records what was decided. The outcome is still to be recorded.
    pub(crate) fn decided(
        &self,
        arrival: Arrival,
        seen: Seen<'_, '_>,
        judgement: &Judgement,
        policy: Option<&Policy>,
    ) -> (OpenDecision, Receipt) {
        let keys = seen
            .call
            .and_then(|call| call.params.as_ref())
            .map(|params| argument_keys(params.argument_keys()));
        let record = DecisionRecord::new(Facts {
            time: SystemTime::now(),
            id: arrival.decision,
            caller: seen.caller.map(|caller| shown(caller.id())),
            session: seen.session.map(session_digest),
            server: self.server.clone(),
            era: match seen.era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            },
            kind: seen.kind,
            method: seen.call.map(|call| shown(&call.method)),
            name: judgement.name.clone(),
            inner: judgement.inner.clone(),
            more_names: judgement.more_names.clone(),
            argument_keys: keys.unwrap_or_default(),
            policy: policy.cloned(),
            verdict: judgement.verdict,
            rule: judgement.rule.clone(),
            conditions: judgement.conditions.clone(),
            shadow: judgement.shadow.clone(),
        });
        self.trail.decided(record, arrival.since)
    }
}
