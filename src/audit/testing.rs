//! Records for tests.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use super::kinds::{Ending, MessageKind, Verdict};
use super::names::Names;
use super::record::{AuditRecord, DecisionId, DecisionRecord, Facts, OutcomeRecord, Shadow};
use crate::policy::Truth;

/// Of a call of this tool, which is allowed.
pub(super) fn decision(tool: &str) -> AuditRecord {
    decision_with(tool, |_| ())
}

/// The same with something changed.
pub(super) fn decision_with(tool: &str, change: impl FnOnce(&mut Facts)) -> AuditRecord {
    let mut facts = facts(tool);
    change(&mut facts);
    AuditRecord::Decision(DecisionRecord::new(facts))
}

/// What is known of such a call.
pub(super) fn facts(tool: &str) -> Facts {
    Facts {
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
    }
}

/// One that has every member there is.
pub(super) fn full() -> AuditRecord {
    let policy = r#"{"version":"1","name":"kestra \"operators\"","default":"deny"}"#;
    decision_with("execute_flow", |facts| {
        facts.time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_796_063_403_012_907_999);
        facts.id = DecisionId::of([0x5f2c_9a0e_7b1d_4c3a, 0x0e6f_0d2b_9c7a_1e35]);
        facts.session = Some("9b1deb4d3b7d4bad".to_owned());
        facts.inner = Some("list\tflows".to_owned());
        facts.more_names = vec!["é".into(), "b\\".into()];
        facts.argument_keys = Names::new(["namespace", "flow\"id"].into_iter());
        facts.trace_parent = Some("00-4bf9-00f0-01".to_owned());
        facts.policy = Some(policy.parse().unwrap());
        facts.verdict = Verdict::Waiting;
        facts.rule = Cow::Owned("/tools/execute_flow/require_approval".to_owned());
        facts.conditions = [("/a/0", Truth::True), ("/a/1", Truth::Undecidable)]
            .map(|(place, truth)| (place.into(), truth))
            .into_iter()
            .collect();
        facts.shadow = Some(Shadow {
            verdict: Verdict::Denied,
            rule: "/tools/*".to_owned(),
        });
        facts.approval = Some("apr_1".to_owned());
        facts.decided_by = Some("(caller)".to_owned());
    })
}

/// What came of it.
pub(super) fn outcome(decision: &AuditRecord) -> AuditRecord {
    outcome_with(decision, |_| ())
}

/// The same with something changed.
pub(super) fn outcome_with(
    decision: &AuditRecord,
    change: impl FnOnce(&mut OutcomeRecord),
) -> AuditRecord {
    let mut outcome = OutcomeRecord {
        time: SystemTime::UNIX_EPOCH,
        decision: decision.decision().clone(),
        ending: Ending::Answered,
        status: Some(200),
        latency: Duration::from_micros(1_500),
    };
    change(&mut outcome);
    AuditRecord::Outcome(outcome)
}
