//! What it costs to count a call, against the number of budgets, of limits and of
//! threads; beside `governor` and a bare atomic number. See `README.md`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use governor::{Quota, RateLimiter};
use mcp_policy::{Clock as _, LimitStore as _, MemoryLimitStore, Moment, SystemClock, benching};

const BUDGETS: [usize; 3] = [1, 10_000, 1_000_000];
const THREADS: [usize; 2] = [1, 2];
/// More than anybody uses.
const ENOUGH: u64 = 1_000_000_000_000;

fn callers(count: usize) -> Vec<Arc<str>> {
    (0..count)
        .map(|number| format!("caller-{number:06}").into())
        .collect()
}

/// Numbers below `count`, in no order that a processor could foresee.
fn scattered(number: u64, count: usize) -> usize {
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    usize::try_from(scattered).unwrap() % count
}

fn after(start: Moment, micros: u64) -> Moment {
    let passed = Duration::from_micros(micros);
    Moment {
        instant: start.instant + passed,
        system: start.system + passed,
    }
}

/// How long it takes so many threads to do something so often, each.
fn on_threads(threads: usize, times: u64, work: impl Fn(u64) + Sync) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..threads as u64 {
            let work = &work;
            scope.spawn(move || (0..times).for_each(|turn| work(turn * 2 + number)));
        }
    });
    start.elapsed()
}

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limits");
    for budgets in BUDGETS {
        let callers = callers(budgets);
        let start = SystemClock.now();
        let store = MemoryLimitStore::default();
        let governor = RateLimiter::keyed(Quota::per_second(NonZeroU32::MAX));
        let numbers: Vec<AtomicU64> = callers.iter().map(|_| AtomicU64::new(0)).collect();
        for caller in &callers {
            drop(store.reserve(&benching::call(caller, 1, ENOUGH, start)));
            governor.check_key(caller).unwrap();
        }
        for threads in THREADS {
            let id = |what: &str| BenchmarkId::new(format!("{what}/{threads}"), budgets);
            group.bench_function(id("memory"), |bench| {
                bench.iter_custom(|times| {
                    let call = benching::call(&callers[0], 1, ENOUGH, start);
                    let begun = Instant::now();
                    thread::scope(|scope| {
                        for number in 0..threads as u64 {
                            let (mut call, store, callers) = (call.clone(), &store, &callers);
                            scope.spawn(move || {
                                for turn in 0..times {
                                    let caller = &callers[scattered(turn * 2 + number, budgets)];
                                    benching::call_of(&mut call, caller, after(start, turn));
                                    drop(black_box(store.reserve(&call)));
                                }
                            });
                        }
                    });
                    begun.elapsed()
                });
            });
            group.bench_function(id("governor"), |bench| {
                bench.iter_custom(|times| {
                    on_threads(threads, times, |turn| {
                        let caller = &callers[scattered(turn, budgets)];
                        black_box(governor.check_key(caller)).unwrap();
                    })
                });
            });
            group.bench_function(id("atomic"), |bench| {
                bench.iter_custom(|times| {
                    on_threads(threads, times, |turn| {
                        let number = &numbers[scattered(turn, budgets)];
                        black_box(number.fetch_add(1, Ordering::Relaxed));
                    })
                });
            });
        }
    }
    group.finish();
}

/// One caller: several limits, one that is used up, and the clock.
fn calls(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limits/one_caller");
    let start = SystemClock.now();
    let caller = &callers(1)[0];
    for (id, limits, max) in [
        ("one_limit", 1, ENOUGH),
        ("three_limits", 3, ENOUGH),
        ("used_up", 1, 100),
    ] {
        let store = MemoryLimitStore::default();
        let mut call = benching::call(caller, limits, max, start);
        let mut turn = 0;
        group.bench_function(id, |bench| {
            bench.iter(|| {
                turn += 1;
                benching::call_of(&mut call, caller, after(start, turn));
                drop(black_box(store.reserve(&call)));
            });
        });
    }
    group.bench_function("clock", |bench| bench.iter(|| black_box(SystemClock.now())));
    group.finish();
}

/// Prints how many bytes a budget takes: that is measured, but not timed.
fn bytes(_: &mut Criterion) {
    let start = SystemClock.now();
    for (budgets, charges) in [
        (10_000, 1),
        (10_000, 10),
        (10_000, 40),
        (700_000, 10),
        (1_000_000, 10),
    ] {
        let callers = callers(budgets);
        let mut call = benching::call(&callers[0], 1, ENOUGH, start);
        let mut filled = None;
        let memory = allocation_counter::measure(|| {
            let store = MemoryLimitStore::default();
            for charge in 0..charges {
                for caller in &callers {
                    benching::call_of(&mut call, caller, after(start, charge * 1_400_000));
                    drop(store.reserve(&call));
                }
            }
            filled = Some(store);
        });
        drop(filled);
        let bytes = usize::try_from(memory.bytes_current).unwrap() / budgets;
        println!("{budgets} budgets of {charges} charges: {bytes} bytes each");
    }
}

criterion_group!(benches, checks, calls, bytes);
criterion_main!(benches);
