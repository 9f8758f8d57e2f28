use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::{collection, option, sample};

use super::*;
use crate::audit::kinds::{Ending, MessageKind, Verdict};
use crate::audit::record::{Facts, Shadow};
use crate::audit::testing::{decision_with, facts, full, outcome, outcome_with};
use crate::audit::{DecisionRecord, Names};
use crate::policy::Policy;

/// The record as JSON, which `serde_json` makes the same of.
fn written(record: &AuditRecord) -> String {
    let json = String::from_utf8(json(record, Vec::new())).unwrap();
    assert_eq!(json, serde_json::to_string(record).unwrap());
    json
}

/// Every record is written down somewhere by now.
#[test]
fn records_are_written_as_they_always_were() {
    let full = full();
    assert_eq!(
        written(&full),
        concat!(
            r#"{"event":"decision","time":"2026-11-30T18:30:03.012907Z","#,
            r#""decision":"5f2c9a0e7b1d4c3a0e6f0d2b9c7a1e35","caller":"alice","#,
            r#""session":"9b1deb4d3b7d4bad","server":"s","era":"legacy","kind":"request","#,
            r#""method":"tools/call","name":"execute_flow","inner":"list\tflows","#,
            r#""more_names":["é","b\\"],"argument_keys":["flow\"id","namespace"],"#,
            r#""traceparent":"00-4bf9-00f0-01","policy":"kestra \"operators\"","#,
            r#""policy_digest":"sha256:b82849e17a95334e09aa0de37c9f33a896c171ad3e6c4e95ec2c59aad49649fd"#,
            r#"","verdict":"waiting","rule":"/tools/execute_flow/require_approval","#,
            r#""conditions":[{"place":"/a/0","truth":"true"},"#,
            r#"{"place":"/a/1","truth":"undecidable"}],"#,
            r#""shadow":true,"shadow_verdict":"denied","shadow_rule":"/tools/*","#,
            r#""approval":"apr_1","decided_by":"(caller)"}"#,
        )
    );
    assert_eq!(
        written(&outcome(&full)),
        concat!(
            r#"{"event":"outcome","time":"1970-01-01T00:00:00.000000Z","#,
            r#""decision":"5f2c9a0e7b1d4c3a0e6f0d2b9c7a1e35","ending":"answered","#,
            r#""status":200,"latency_us":1500}"#,
        )
    );
    let least = decision_with("a", |facts| {
        facts.id = full.decision().id();
        (facts.caller, facts.server) = (None, None);
        (facts.method, facts.name) = (None, None);
    });
    assert_eq!(
        written(&least),
        concat!(
            r#"{"event":"decision","time":"1970-01-01T00:00:00.000000Z","#,
            r#""decision":"5f2c9a0e7b1d4c3a0e6f0d2b9c7a1e35","era":"legacy","#,
            r#""kind":"request","verdict":"allowed","rule":"/tools/a"}"#,
        )
    );
    // On their own they are the same, without what tells them apart.
    assert_eq!(
        serde_json::to_string(least.decision()).unwrap(),
        written(&least).replace(r#""event":"decision","#, "")
    );
}

// ===== whatever is recorded =====

/// Whatever can stand in a text, and much that has to be escaped.
fn text() -> impl Strategy<Value = String> {
    let special = sample::select(vec![
        "\"", "\\", "\n", "\0", "\u{1f}", "\u{7f}", "\u{2028}", "é",
    ]);
    let part = ("[ -~]{0,20}", special).prop_map(|(plain, special)| plain + special);
    prop_oneof![
        3 => "[ !#-Z^-~]{0,40}",
        2 => "[ -~]{0,130}",
        2 => collection::vec(part, 0..3).prop_map(|parts| parts.concat()),
        1 => any::<String>(),
    ]
}

fn shared() -> impl Strategy<Value = Arc<str>> {
    text().prop_map(Arc::from)
}

fn policy() -> impl Strategy<Value = Policy> {
    option::of(text()).prop_map(|name| {
        let mut document = serde_json::json!({"version": "1", "default": "deny"});
        if let Some(name) = name {
            document["name"] = name.into();
        }
        let text = document.to_string();
        // Not every text may be the name of one.
        let policy = text.parse().or_else(|_| {
            let text = r#"{"version":"1","default":"deny"}"#;
            text.parse()
        });
        policy.unwrap()
    })
}

/// Whenever it is: also before 1970, and when no year has four digits.
fn time() -> impl Strategy<Value = SystemTime> {
    let last = 253_402_207_200_i64;
    let second = prop_oneof![
        4 => 1_700_000_000..1_900_000_000_i64,
        1 => 0..3_i64,
        1 => -3..0_i64,
        1 => last - 2..last + 3,
        1 => -400_000_000_000..400_000_000_000_i64,
    ];
    let nanosecond = prop_oneof![
        2 => 0..1_000_000_000_u32,
        1 => sample::select(vec![0, 1, 499, 500, 999, 1_000, 999_999_499, 999_999_500, 999_999_999]),
    ];
    (second, nanosecond).prop_map(|(second, nanosecond)| {
        let seconds = Duration::from_secs(second.unsigned_abs());
        let time = match second < 0 {
            true => SystemTime::UNIX_EPOCH - seconds,
            false => SystemTime::UNIX_EPOCH + seconds,
        };
        time + Duration::from_nanos(nanosecond.into())
    })
}

fn truth() -> impl Strategy<Value = Truth> {
    sample::select(vec![Truth::True, Truth::False, Truth::Undecidable])
}

fn shadow() -> impl Strategy<Value = Shadow> {
    let verdict = sample::select(Verdict::ALL.to_vec());
    (verdict, text()).prop_map(|(verdict, rule)| Shadow { verdict, rule })
}

prop_compose! {
    fn names()(
        inner in option::of(text()),
        more_names in collection::vec(shared(), 0..4),
        argument_keys in collection::vec(text(), 0..5),
    ) -> (Option<String>, Vec<Arc<str>>, Names) {
        let keys = argument_keys.iter().map(String::as_str);
        (inner, more_names, Names::new(keys))
    }
}

prop_compose! {
    fn decided()(
        policy in option::of(policy()),
        verdict in sample::select(Verdict::ALL.to_vec()),
        rule in text(),
        conditions in collection::vec((shared(), truth()), 0..4),
        shadow in option::of(shadow()),
        [approval, decided_by] in [option::of(text()), option::of(text())],
    ) -> Facts {
        Facts {
            policy,
            verdict,
            rule: Cow::Owned(rule),
            conditions: conditions.into_iter().collect(),
            shadow,
            approval,
            decided_by,
            ..facts("")
        }
    }
}

prop_compose! {
    fn decision_record()(
        (time, id) in (time(), any::<[u64; 2]>()),
        [caller, server, name] in [(); 3].map(|()| option::of(shared())),
        [session, method, trace_parent] in [(); 3].map(|()| option::of(text())),
        kind in sample::select(MessageKind::ALL.to_vec()),
        (inner, more_names, argument_keys) in names(),
        decided in decided(),
    ) -> AuditRecord {
        AuditRecord::Decision(DecisionRecord::new(Facts {
            time,
            id: DecisionId::of(id),
            caller,
            session,
            server,
            kind,
            method: method.map(Cow::Owned),
            name,
            inner,
            more_names,
            argument_keys,
            trace_parent,
            ..decided
        }))
    }
}

prop_compose! {
    fn outcome_record()(
        (time, id) in (time(), any::<[u64; 2]>()),
        ending in sample::select(Ending::ALL.to_vec()),
        status in option::of(any::<u16>()),
        latency in prop_oneof![any::<Duration>(), (0..100_000_000_u64).prop_map(Duration::from_nanos)],
    ) -> AuditRecord {
        let decision = decision_with("a", |facts| facts.id = DecisionId::of(id));
        outcome_with(&decision, |outcome| {
            outcome.time = time;
            outcome.ending = ending;
            outcome.status = status;
            outcome.latency = latency;
        })
    }
}

proptest! {
    #[test]
    fn a_decision_is_written_as_its_twin_writes_it(record in decision_record()) {
        written(&record);
    }

    #[test]
    fn an_outcome_is_written_as_its_twin_writes_it(record in outcome_record()) {
        written(&record);
    }
}

/// The second that was written last is remembered.
#[test]
fn a_time_does_not_depend_on_the_one_before() {
    let at = |second: u64| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        written(&decision_with("a", |facts| facts.time = time))
    };
    for (second, expected) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_796_063_403, "2026-11-30T18:30:03.000000Z"),
        (1_796_063_403, "2026-11-30T18:30:03.000000Z"),
        (253_402_207_201, "1970-01-01T00:00:00.000000Z"),
        (1_796_063_404, "2026-11-30T18:30:04.000000Z"),
        (0, "1970-01-01T00:00:00.000000Z"),
    ] {
        assert!(
            at(second).contains(&format!(r#""time":"{expected}""#)),
            "{second}"
        );
    }
}
