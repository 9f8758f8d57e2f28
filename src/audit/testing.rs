//! Records for tests.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use super::kinds::{Ending, MessageKind, Verdict};
use super::names::Names;
use super::record::{AuditRecord, DecisionId, DecisionOf, DecisionRecord, Facts, OutcomeRecord};

/// Of a call of this tool, which is allowed.
pub(super) fn decision(tool: &str) -> AuditRecord {
    decision_with(tool, |_| ())
}

/// The same with something changed.
pub(super) fn decision_with(tool: &str, change: impl FnOnce(&mut Facts)) -> AuditRecord {
    let mut facts = Facts {
        time: SystemTime::UNIX_EPOCH,
        id: DecisionId::next(),
        caller: Some("alice".into()),
        session: None,
        server: Some("s".into()),
        era: "legacy",
        kind: MessageKind::Request,
        method: Some("tools/call".into()),
        name: Some(tool.into()),
        inner: None,
        more_names: Vec::new(),
        argument_keys: Names::default(),
        trace_parent: None,
        policy: None,
        verdict: Verdict::Allowed,
        rule: Cow::Borrowed("/tools/a"),
        conditions: SmallVec::new(),
        shadow: None,
        approval: None,
        decided_by: None,
    };
    change(&mut facts);
    AuditRecord::Decision(DecisionRecord::new(facts))
}

/// What came of it.
pub(super) fn outcome(decision: &AuditRecord) -> AuditRecord {
    AuditRecord::Outcome(OutcomeRecord {
        time: SystemTime::UNIX_EPOCH,
        decision: DecisionOf {
            record: decision.decision().clone(),
        },
        ending: Ending::Answered,
        status: Some(200),
        latency: Duration::from_micros(1_500),
    })
}
