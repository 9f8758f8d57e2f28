//! What is counted, by the names that the documentation gives.
#![cfg(feature = "metrics")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is the point"
)]

#[path = "support/clock.rs"]
mod clock;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use self::clock::ManualClock;

use futures::executor::block_on;
use mcp_policy::{AuditRecord, AuditSink, Caller, MemoryLimitStore, MessageGuard, Policy, Receipt};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// How often something was counted, how many values were recorded, or how much there
/// is of something.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, i64>>>);

struct One {
    counts: Counts,
    name: String,
}

impl One {
    fn add(&self, value: i64) {
        let mut counts = self.counts.0.lock().unwrap();
        *counts.entry(self.name.clone()).or_default() += value;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(value.try_into().unwrap());
    }

    fn absolute(&self, _: u64) {
        panic!("counters are only incremented")
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        assert!((0.0..60.0).contains(&value), "seconds: {value}");
        self.add(1);
    }
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.add(value as i64);
    }

    fn decrement(&self, value: f64) {
        self.add(-(value as i64));
    }

    fn set(&self, _: f64) {
        panic!("several stores have one gauge together")
    }
}

impl Counts {
    fn one(&self, key: &Key) -> Arc<One> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        Arc::new(One {
            counts: self.clone(),
            name: format!("{} {}", key.name(), labels.join(" ")),
        })
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.one(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

#[test]
fn decisions_latencies_and_panics_are_counted() {
    let counts = Counts::default();
    let policy: Policy = r#"{"version":"1","default":"deny"}"#.parse().unwrap();
    let source = move |caller: &Caller| match caller.id() {
        "panic" => panic!("a source that panics"),
        _ => Some(policy.clone()),
    };
    let guard = MessageGuard::from_source(source).server_name("fixture");
    metrics::with_local_recorder(&counts, || {
        for method in ["tools/call", "ping", "made/up", "made/up/2"] {
            let message = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"a"}}}}"#
            );
            let connection = guard.connect(Caller::local());
            block_on(connection.from_client(message.as_bytes()));
        }
        block_on(guard.connect(Caller::local()).from_client(b"{"));
        block_on(guard.connect(Caller::new("panic")).from_client(b"{}"));
    });
    let counted = counts.0.lock().unwrap().clone();
    are_documented(&counted);
    let expected = [
        (
            "mcp_policy_decisions_total server=fixture method=none tool=none verdict=invalid rule=(protocol)",
            2,
        ),
        (
            "mcp_policy_decisions_total server=fixture method=other tool=none verdict=denied rule=(default deny)",
            2,
        ),
        (
            "mcp_policy_decisions_total server=fixture method=ping tool=none verdict=allowed rule=(protocol)",
            1,
        ),
        (
            "mcp_policy_decisions_total server=fixture method=tools/call tool=other verdict=denied rule=(default deny)",
            1,
        ),
        (
            "mcp_policy_latency_seconds server=fixture ending=cancelled",
            1,
        ),
        (
            "mcp_policy_latency_seconds server=fixture ending=refused",
            5,
        ),
        ("mcp_policy_seam_panics_total seam=policy source", 1),
    ];
    let expected: BTreeMap<String, i64> = expected
        .map(|(name, count)| (name.to_owned(), count))
        .into();
    assert_eq!(counted, expected);
}

#[test]
fn tools_are_counted_as_the_policy_names_them() {
    let counts = Counts::default();
    let policy: Policy = r#"{"version":"1","default":"allow","hide":["a_*"],"tools":{
        "list_*": {}, "list_all": {"action":"deny"}, "a/~b": {"rate_limit":{"max":0,"window":60}}
    }}"#
    .parse()
    .unwrap();
    let guard = MessageGuard::new(policy).server_name("s");
    metrics::with_local_recorder(&counts, || {
        for tool in ["list_1", "list_2", "list_all", "a/~b", "a_1", "made_up"] {
            let message = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#
            );
            let connection = guard.connect(Caller::local());
            block_on(connection.from_client(message.as_bytes()));
        }
    });
    let counted = counts.0.lock().unwrap().clone();
    let decisions: Vec<(String, i64)> = counted
        .into_iter()
        .filter(|(name, _)| name.starts_with("mcp_policy_decisions_total"))
        .collect();
    let of = |tool: &str, verdict: &str, rule: &str, count: i64| {
        let labels =
            format!("server=s method=tools/call tool={tool} verdict={verdict} rule={rule}");
        (format!("mcp_policy_decisions_total {labels}"), count)
    };
    let expected = [
        of("a/~b", "limited", "/tools/a~1~0b/limits/rate", 1),
        of("list_*", "allowed", "/tools/list_*", 2),
        of("list_all", "denied", "/tools/list_all/action", 1),
        of("other", "allowed", "/default", 1),
        of("other", "hidden", "(hidden)", 1),
    ];
    assert_eq!(decisions, expected);
}

struct FullDisk;

impl AuditSink for FullDisk {
    fn record(&self, _: &AuditRecord) -> Receipt {
        Receipt::unrecorded()
    }
}

/// Whoever watches the verdicts sees that nothing goes through.
#[test]
fn what_is_taken_back_is_counted_as_that_and_once() {
    let counts = Counts::default();
    let policy: Policy = r#"{"version":"1","default":"deny","tools":{"a":{}}}"#
        .parse()
        .unwrap();
    let guard = MessageGuard::new(policy).server_name("s").audit(FullDisk);
    metrics::with_local_recorder(&counts, || {
        for tool in ["a", "b"] {
            let message = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#
            );
            let connection = guard.connect(Caller::local());
            block_on(connection.from_client(message.as_bytes()));
        }
    });
    let counted = counts.0.lock().unwrap().clone();
    let decisions: Vec<(&str, i64)> = counted
        .iter()
        .filter_map(|(name, count)| Some((name.split_once("tool=")?.1, *count)))
        .collect();
    let expected = [
        ("a verdict=unavailable rule=(audit)", 1),
        ("other verdict=denied rule=(default deny)", 1),
    ];
    assert_eq!(decisions, expected);
}

fn are_documented(counted: &BTreeMap<String, i64>) {
    let page = include_str!("../src/docs/audit.md");
    for name in counted.keys().filter_map(|name| name.split(' ').next()) {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[test]
fn it_is_told_how_full_the_memory_of_limits_is() {
    let counts = Counts::default();
    let limit = |tool: &str, window: u32| {
        format!(r#""{tool}":{{"limits":[{{"counter":"c","window":{window},"max":9}}]}}"#)
    };
    let tools = [("a", 60), ("b", 60), ("c", 3_600), ("d", 60)];
    let tools = tools.map(|(tool, window)| limit(tool, window)).join(",");
    let policy = format!(r#"{{"version":"1","default":"deny","tools":{{{tools}}}}}"#);
    let policy: Policy = policy.parse().unwrap();
    let clock = ManualClock::at(1_795_608_030);
    let guard = MessageGuard::new(policy)
        .server_name("fixture")
        .limit_store(MemoryLimitStore::default().max_budgets(3))
        .clock(clock.clone());
    let of = |name: &str| counts.0.lock().unwrap().get(name).copied().unwrap_or(0);
    let full = || of("mcp_policy_limits_full_total server=fixture");
    let budgets = || of("mcp_policy_limit_budgets ");
    metrics::with_local_recorder(&counts, || {
        let call = |tool: &str| {
            let message = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#
            );
            block_on(
                guard
                    .connect(Caller::local())
                    .from_client(message.as_bytes()),
            );
        };
        for (tool, expected) in [("a", 1), ("b", 2), ("c", 3), ("a", 3)] {
            call(tool);
            assert_eq!((budgets(), full()), (expected, 0), "{tool}");
        }
        call("d");
        assert_eq!((budgets(), full()), (3, 1));
        // Two have expired, and make room for one.
        clock.advance_secs(60);
        call("d");
        assert_eq!((budgets(), full()), (2, 1));
        are_documented(&counts.0.lock().unwrap());
        drop(guard);
        assert_eq!(budgets(), 0, "what is gone is not counted");
    });
}

/// Keeps decisions, and loses what came of them.
struct Forgetful;

impl AuditSink for Forgetful {
    fn record(&self, record: &AuditRecord) -> Receipt {
        match record {
            AuditRecord::Decision(_) => Receipt::recorded(),
            _ => Receipt::unrecorded(),
        }
    }
}

#[test]
fn outcomes_that_are_lost_on_a_connection_are_counted() {
    let policy = r#"{"version":"1","default":"deny"}"#;
    let guard = MessageGuard::new(policy.parse().unwrap()).audit(Forgetful);
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (from_client, from_server) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"x/y"}"#, None),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            None,
        ),
        (ping, Some(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)),
        (ping, Some(r#"{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}"#)),
        (ping, Some("too large")),
    ] {
        let counts = Counts::default();
        metrics::with_local_recorder(&counts, || {
            let connection = guard.connect(Caller::local());
            block_on(connection.from_client(from_client.as_bytes()));
            match from_server {
                Some("too large") => drop(block_on(connection.from_server_too_large())),
                Some(answer) => drop(block_on(connection.from_server(answer.as_bytes()))),
                None => {}
            }
        });
        let counted = counts.0.lock().unwrap().clone();
        are_documented(&counted);
        let lost = counted.get("mcp_policy_audit_late_outcomes_total ");
        assert_eq!(lost, Some(&1), "{from_client} {from_server:?}");
    }
}
