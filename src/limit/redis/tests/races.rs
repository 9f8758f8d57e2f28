//! Many at once, in several processes.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use super::*;
use crate::limit::testing::{ADMITTED, ManualClock, charge, quota, reservation};
use crate::policy::Scope;

const PROCESSES: u64 = 4;
const TASKS: u64 = 16;
/// Where the server is, for the other processes.
const URL: &str = "MCP_POLICY_TEST_REDIS";
/// How many callers they call for.
const CALLERS: &str = "MCP_POLICY_TEST_CALLERS";
/// Of each caller.
const MAX: u64 = 2_000;

/// Each task calls for every caller until nothing is admitted any more, and gives some
/// of it back. What is admitted in the end is told: how much, and for whom.
#[test]
#[ignore = "needs redis-server, and the test that starts it"]
fn a_process_among_others() {
    let (Ok(url), Ok(callers)) = (std::env::var(URL), std::env::var(CALLERS)) else {
        return;
    };
    let callers: u64 = callers.parse().unwrap();
    let store = RedisLimitStore::connect(&url).unwrap();
    block_on(store.ready()).unwrap();
    let quota = quota("/a", seconds(86_400), MAX, Scope::Caller);
    let clock = ManualClock::at(START);
    let admitted: Mutex<BTreeMap<u64, u64>> = Mutex::default();
    thread::scope(|scope| {
        for task in 0..TASKS {
            let (store, quota, admitted) = (&store, &quota, &admitted);
            scope.spawn(move || {
                for number in 0..callers {
                    let caller = (number + task) % callers;
                    let mut weight = 7;
                    for turn in 0.. {
                        let charge = charge(quota, &format!("caller {caller}"), weight);
                        let reservation = reservation(clock.now(), [charge]);
                        match block_on(store.begin(&reservation).answer()) {
                            Ok(ADMITTED) if turn % 5 != task % 5 => {
                                *admitted.lock().unwrap().entry(caller).or_default() += weight;
                            }
                            Ok(ADMITTED) | Err(_) => {
                                store.conclude(&reservation, Conclusion::NotSent, clock.now());
                                store.conclude(&reservation, Conclusion::NotSent, clock.now());
                            }
                            _ if weight > 1 => weight -= 1,
                            _ => break,
                        }
                    }
                }
            });
        }
    });
    store.remote.wait_until_told();
    for (caller, amount) in admitted.into_inner().unwrap() {
        println!("admitted {caller} {amount}");
    }
}

fn race(server: &Server, callers: u64) -> BTreeMap<u64, u64> {
    let program = std::env::current_exe().unwrap();
    let others: Vec<_> = (0..PROCESSES)
        .map(|_| {
            Command::new(&program)
                .args(["--ignored", "--nocapture", "a_process_among_others"])
                .env(URL, server.url())
                .env(CALLERS, callers.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut admitted = BTreeMap::new();
    for other in others {
        let output = other.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        for line in text.lines() {
            // Behind the name of the test, which has no end of line.
            let Some((_, told)) = line.split_once("admitted ") else {
                continue;
            };
            let (caller, amount) = told.split_once(' ').unwrap();
            *admitted.entry(caller.parse().unwrap()).or_default() += amount.parse::<u64>().unwrap();
        }
    }
    admitted
}

/// How much the server says is used.
fn used(server: &Server) -> u64 {
    let store = RedisLimitStore::connect(&server.url()).unwrap();
    let all = block_on(store.usage(&UsageFilter::default(), 10_000)).unwrap();
    all.iter().map(|usage| usage.used().millionths()).sum()
}

/// What was given back when nobody asked any more is free still.
fn fill_up(server: &Server, admitted: &mut BTreeMap<u64, u64>) {
    let store = RedisLimitStore::connect(&server.url()).unwrap();
    let quota = quota("/a", seconds(86_400), MAX, Scope::Caller);
    for (caller, amount) in admitted {
        loop {
            let charge = charge(&quota, &format!("caller {caller}"), 1);
            let reservation = reservation(ManualClock::at(START).now(), [charge]);
            match super::reserve(&store, &reservation) {
                ADMITTED => *amount += 1,
                _ => break,
            }
        }
    }
}

#[test]
#[ignore = "needs redis-server"]
fn processes_admit_exactly_the_maximum_together() {
    for callers in [1, 40] {
        let server = Server::start();
        let mut admitted = race(&server, callers);
        assert_eq!(admitted.len() as u64, callers);
        assert!(
            admitted.values().all(|amount| *amount <= MAX),
            "{admitted:?}"
        );
        assert_eq!(used(&server), admitted.values().sum::<u64>());
        fill_up(&server, &mut admitted);
        assert!(
            admitted.values().all(|amount| *amount == MAX),
            "{admitted:?}"
        );
        assert_eq!(used(&server), callers * MAX);
    }
}

/// Also if each is asked about in two places, and some do not wait for the answer.
#[test]
#[ignore = "needs redis-server"]
fn what_nobody_waits_for_is_not_charged() {
    let server = Server::start();
    let store = RedisLimitStore::connect(&server.url()).unwrap();
    block_on(store.ready()).unwrap();
    let clock = ManualClock::at(START);
    let of_each = quota("/each", seconds(86_400), 300, Scope::Caller);
    let of_all = quota("/all", seconds(86_400), 1_000, Scope::Server);
    let admitted: Mutex<u64> = Mutex::default();
    thread::scope(|scope| {
        for task in 0..TASKS {
            let (store, of_each, of_all, admitted) = (&store, &of_each, &of_all, &admitted);
            scope.spawn(move || {
                let caller = format!("caller {}", task % 5);
                for turn in 0..300 {
                    let charges = [charge(of_all, &caller, 1), charge(of_each, &caller, 1)];
                    let reservation = reservation(clock.now(), charges);
                    let begun = store.begin(&reservation);
                    match turn % 3 {
                        0 => drop(begun),
                        1 => thread::sleep(Duration::from_micros(turn)),
                        _ => {
                            if block_on(begun.answer()).unwrap() == ADMITTED {
                                *admitted.lock().unwrap() += 1;
                            }
                            continue;
                        }
                    }
                    store.conclude(&reservation, Conclusion::NotSent, clock.now());
                }
            });
        }
    });
    store.remote.wait_until_told();
    let admitted = admitted.into_inner().unwrap();
    assert!(admitted > 100 && admitted <= 1_000, "{admitted}");
    assert_eq!(used(&server), 2 * admitted);
}
