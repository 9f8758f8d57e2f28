//! What is counted, by the names that the documentation gives.
#![cfg(feature = "metrics")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is the point"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use mcp_policy::{Caller, MessageGuard, Policy};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// How often something was counted, or how many values were recorded.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

struct One {
    counts: Counts,
    name: String,
}

impl One {
    fn add(&self, value: u64) {
        let mut counts = self.counts.0.lock().unwrap();
        *counts.entry(self.name.clone()).or_default() += value;
    }
}

impl CounterFn for One {
    fn increment(&self, value: u64) {
        self.add(value);
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

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("there are no gauges")
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
    let expected = [
        (
            "mcp_policy_decisions_total server=fixture method=none verdict=invalid",
            2,
        ),
        (
            "mcp_policy_decisions_total server=fixture method=other verdict=denied",
            2,
        ),
        (
            "mcp_policy_decisions_total server=fixture method=ping verdict=allowed",
            1,
        ),
        (
            "mcp_policy_decisions_total server=fixture method=tools/call verdict=denied",
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
    let expected: BTreeMap<String, u64> = expected
        .map(|(name, count)| (name.to_owned(), count))
        .into();
    assert_eq!(counted, expected);
    let page = include_str!("../src/docs/audit.md");
    for name in counted.keys().filter_map(|name| name.split(' ').next()) {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}
