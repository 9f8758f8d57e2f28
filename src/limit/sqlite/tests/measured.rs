use super::*;
use crate::clock::{Clock as _, SystemClock};
use std::time::Instant;

#[test]
#[ignore = "by hand"]
fn measure() {
    for sync in [Synchronous::Normal, Synchronous::Full] {
        for place in ["/tmp", "/dev/shm"] {
            for outstanding in [1_usize, 64] {
                for limits in [1_usize, 3] {
                    for keys in [1_usize, 10_000] {
                        let directory = tempfile::tempdir_in(place).unwrap();
                        let path = directory.path().join("state.db");
                        let store =
                            SqliteLimitStore::open_with(&path, sync, Bounds::default()).unwrap();
                        let quotas: Vec<_> = (0..limits)
                            .map(|n| {
                                quota(&format!("/{n}"), seconds(60), 1_000_000_000, Scope::Caller)
                            })
                            .collect();
                        let begin = Instant::now();
                        let mut n = 0_usize;
                        let mut failed = 0;
                        let mut slowest = Duration::ZERO;
                        let pool: Vec<std::sync::Arc<str>> =
                            (0..keys).map(|k| format!("caller-{k:06}").into()).collect();
                        let mut waiting = std::collections::VecDeque::new();
                        while begin.elapsed() < Duration::from_secs(2) {
                            while waiting.len() < outstanding {
                                let charges: Vec<_> = quotas
                                    .iter()
                                    .map(|q| {
                                        let mut c = charge(q, "", 1);
                                        c.caller = Some(pool[n % keys].clone());
                                        c
                                    })
                                    .collect();
                                n += 1;
                                let call = reservation(SystemClock.now(), charges);
                                waiting.push_back((Instant::now(), store.reserve(&call).settle()));
                            }
                            let (since, w) = waiting.pop_front().unwrap();
                            let answer = match w {
                                crate::store::Settled::Known(a) => a,
                                crate::store::Settled::Awaited(w) => block_on(w),
                            };
                            slowest = slowest.max(since.elapsed());
                            if answer.is_err() {
                                failed += 1;
                            }
                        }
                        println!(
                            "{sync:?} {place} outstanding {outstanding} limits {limits} keys {keys}: {:.0}/s, failed {failed}, slowest {slowest:?}",
                            n as f64 / begin.elapsed().as_secs_f64()
                        );
                    }
                }
            }
        }
    }
    for charges in [1, 10, 33, 40] {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let store = open_in(directory.path());
        let mut clock = ManualClock::at(START);
        let q = quota("/a", seconds(60), 1_000_000, Scope::Caller);
        for _ in 0..charges {
            let mut waiting = Vec::new();
            for n in 0..10_000 {
                let call = reservation(clock.now(), [charge(&q, &format!("caller-{n:06}"), 1)]);
                waiting.push(store.reserve(&call));
                if waiting.len() == 500 {
                    for w in waiting.drain(..) {
                        block_on(w.get()).unwrap();
                    }
                }
            }
            clock.pass(Duration::from_millis(1_000));
        }
        drop(store);
        std::thread::sleep(Duration::from_millis(500));
        let size = std::fs::metadata(directory.path().join("state.db"))
            .unwrap()
            .len();
        println!("charges {charges}: {} bytes per budget", size / 10_000);
    }
}
