//! How long it takes to read, judge and filter, beside what is always measured with it.
//! See `README.md`.
//!
//! `-- pairs` takes turns between what is compared, and prints medians and ratios: on a
//! machine that does other things, too, only these can be trusted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use mcp_policy::{Action, benching};
use serde::de::IgnoredAny;
use serde_json::Value;
use support::{
    EVENTS, JSON, Server, events, foreign_text_call, guarded, list, policy, request, serve,
    structured_call, text_call,
};

const KB: usize = 1 << 10;
const MB: usize = 1 << 20;

/// What a way is called, and what is done.
type Way = (&'static str, Box<dyn FnMut()>);

/// One thing that is done in several ways.
struct Case {
    name: String,
    bytes: usize,
    ways: Vec<Way>,
}

impl Case {
    fn new(name: String, bytes: usize) -> Self {
        let ways = Vec::new();
        Self { name, bytes, ways }
    }

    fn by(mut self, way: &'static str, run: impl FnMut() + 'static) -> Self {
        self.ways.push((way, Box::new(run)));
        self
    }
}

fn reading(name: String, body: Vec<u8>) -> Case {
    let body: &'static [u8] = body.leak();
    Case::new(name, body.len())
        .by("check", move || {
            assert!(benching::check(black_box(body)));
        })
        .by("read", move || {
            assert!(benching::read_message(black_box(body)));
        })
        .by("IgnoredAny", move || {
            let read = serde_json::from_slice::<IgnoredAny>(black_box(body));
            read.unwrap();
        })
        .by("Value", move || {
            black_box(serde_json::from_slice::<Value>(black_box(body)).unwrap());
        })
        .by("simdutf8", move || {
            assert!(simdutf8::basic::from_utf8(black_box(body)).is_ok());
        })
        .by("std UTF-8", move || {
            assert!(std::str::from_utf8(black_box(body)).is_ok());
        })
        .by("copy", move || drop(black_box(black_box(body).to_vec())))
}

fn calling(length: usize) -> Case {
    let server = Server::of_calls();
    let guarded = guarded(policy(100), server.clone());
    let body = Bytes::from(text_call(length));
    let same = body.clone();
    Case::new(format!("call of {length} B"), length)
        .by("layer", move || {
            serve(guarded.clone(), request(body.clone()));
        })
        .by("without", move || {
            serve(server.clone(), request(same.clone()));
        })
}

fn listing(count: usize, answer: Vec<u8>, media_type: &'static str) -> Case {
    const ASKED: &[u8] = br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
    let length = answer.len();
    let server = Server::answering(answer, media_type);
    let guarded = guarded(policy(100), server.clone());
    let text = list(count);
    Case::new(format!("{count} tools as {media_type}"), length)
        .by("layer", move || {
            serve(guarded.clone(), request(ASKED));
        })
        .by("without", move || {
            serve(server.clone(), request(ASKED));
        })
        .by("Value", move || {
            let mut list: Value = serde_json::from_slice(black_box(&text)).unwrap();
            let tools = list["result"]["tools"].as_array_mut().unwrap();
            tools.retain(|tool| !tool["name"].as_str().unwrap().starts_with("secret_"));
            black_box(serde_json::to_vec(&list).unwrap());
        })
}

fn deciding(tools: usize) -> Case {
    let (policy, name) = (policy(tools), format!("tool_{}", tools - 1));
    Case::new(format!("decision of {tools} tools"), 0).by("decide", move || {
        let action = Action::call_tool(black_box(&name));
        let action = action.with_arguments(r#"{"path":"/srv/a.txt","amount":5}"#);
        assert!(policy.decide(&action.unwrap()).is_allowed());
    })
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in [100, KB, 16 * KB, 256 * KB, MB] {
        cases.push(reading(format!("text of {length} B"), text_call(length)));
    }
    for length in [KB, MB] {
        let body = foreign_text_call(length);
        cases.push(reading(format!("foreign text of {length} B"), body));
    }
    for length in [KB, 16 * KB, 256 * KB, MB] {
        let body = structured_call(length);
        cases.push(reading(format!("structure of {length} B"), body));
    }
    cases.extend([100, KB, 16 * KB, 256 * KB].map(calling));
    cases.extend([5, 200, 10_000].map(|count| listing(count, list(count), JSON)));
    cases.extend([5, 200, 10_000].map(|count| listing(count, events(count), EVENTS)));
    cases.extend([10, 100, 10_000].map(deciding));
    cases
}

/// Nanoseconds for one run, of as many as take about this long.
fn timed(run: &mut dyn FnMut(), runs: u32) -> f64 {
    let start = Instant::now();
    (0..runs).for_each(|_| run());
    start.elapsed().as_nanos() as f64 / f64::from(runs)
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// The median of each way, and of its ratio to the first in the same round.
fn pairs(mut cases: Vec<Case>) {
    const ROUNDS: usize = 41;
    const SAMPLE: Duration = Duration::from_micros(500);
    for case in &mut cases {
        let runs = case.ways.iter_mut().map(|(_, run)| {
            let once = timed(run, 3);
            (SAMPLE.as_nanos() as f64 / once).clamp(1.0, 10_000.0) as u32
        });
        let runs: Vec<u32> = runs.collect();
        let mut times = vec![Vec::new(); runs.len()];
        let mut ratios = vec![Vec::new(); runs.len()];
        for _ in 0..ROUNDS {
            let mut first = None;
            for (way, (_, run)) in case.ways.iter_mut().enumerate() {
                let time = timed(run, runs[way]);
                times[way].push(time);
                ratios[way].push(time / *first.get_or_insert(time));
            }
        }
        println!("{} ({} B)", case.name, case.bytes);
        for (way, (name, _)) in case.ways.iter().enumerate() {
            let (time, ratio) = (median(&mut times[way]), median(&mut ratios[way]));
            let speed = case.bytes as f64 / time;
            println!("    {name:12} {time:12.0} ns {speed:8.2} GB/s   {ratio:6.2} times the first");
        }
    }
}

fn main() {
    if std::env::args().any(|argument| argument == "pairs") {
        return pairs(cases());
    }
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases() {
        let mut group = criterion.benchmark_group(&case.name);
        if case.bytes > 0 {
            group.throughput(Throughput::Bytes(case.bytes as u64));
        }
        for (way, mut run) in case.ways {
            group.bench_function(BenchmarkId::from_parameter(way), |bench| {
                bench.iter(&mut *run);
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
