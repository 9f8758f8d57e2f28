//! Many at once, in several processes.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::limit::testing::{ADMITTED, ManualClock, charge, quota, reservation};
use crate::policy::{LimitScope, Quota};

const PROCESSES: u64 = 4;
const TASKS: u64 = 16;
/// Where the server is, for the other processes.
const URL: &str = "MCP_POLICY_TEST_REDIS";
/// What they do there.
const RACE: &str = "MCP_POLICY_TEST_RACE";

#[derive(Clone, Copy)]
struct Race {
    callers: u64,
    /// Of each task.
    calls: u64,
    /// Of each caller: less than what is asked for.
    max: u64,
}

impl Race {
    fn quota(self) -> Arc<Quota> {
        quota("/a", seconds(86_400), self.max, LimitScope::Caller)
    }

    /// As the other processes are told.
    fn written(self) -> String {
        format!("{} {} {}", self.callers, self.calls, self.max)
    }

    fn read(text: &str) -> Self {
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        Self {
            callers: next(),
            calls: next(),
            max: next(),
        }
    }
}

/// Each task calls for one caller after the other, and gives a third of it back. What
/// is admitted in the end is told: how much, and for whom.
#[test]
#[ignore = "needs redis-server, and the test that starts it"]
fn a_process_among_others() {
    let (Ok(url), Ok(race)) = (std::env::var(URL), std::env::var(RACE)) else {
        return;
    };
    let race = Race::read(&race);
    let store = connect(&url).unwrap();
    block_on(store.remote.ready()).unwrap();
    let quota = race.quota();
    let clock = ManualClock::at(START);
    let admitted: Mutex<BTreeMap<u64, u64>> = Mutex::default();
    thread::scope(|scope| {
        for task in 0..TASKS {
            let (store, quota, admitted) = (&store, &quota, &admitted);
            scope.spawn(move || {
                for turn in 0..race.calls {
                    let caller = (turn + task) % race.callers;
                    let weight = 1 + turn % 7;
                    let charge = charge(quota, &format!("caller {caller}"), weight);
                    let reservation = reservation(clock.now(), [charge]);
                    let answer = block_on(store.begin(&reservation).answer());
                    if answer == Ok(ADMITTED) && turn % 3 != task % 3 {
                        *admitted.lock().unwrap().entry(caller).or_default() += weight;
                    } else if answer == Ok(ADMITTED) || answer.is_err() {
                        store.conclude(&reservation, LimitConclusion::NotSent, clock.now());
                        store.conclude(&reservation, LimitConclusion::NotSent, clock.now());
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

fn race_of_processes(server: &Server, race: Race) -> BTreeMap<u64, u64> {
    let program = std::env::current_exe().unwrap();
    let others: Vec<_> = (0..PROCESSES)
        .map(|_| {
            Command::new(&program)
                .args(["--ignored", "--nocapture", "a_process_among_others"])
                .env(URL, server.url())
                .env(RACE, race.written())
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
    let store = connect(&server.url()).unwrap();
    let all = usage(
        &store,
        &LimitFilter::default(),
        ManualClock::at(START).now(),
        10_000,
    );
    all.iter().map(|usage| usage.used().millionths()).sum()
}

/// What was given back when nobody asked any more is free still.
fn fill_up(server: &Server, race: Race, admitted: &mut BTreeMap<u64, u64>) {
    let store = connect(&server.url()).unwrap();
    let quota = race.quota();
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

fn admits_exactly_the_maximum(race: Race) {
    let server = Server::start();
    let mut admitted = race_of_processes(&server, race);
    assert_eq!(admitted.len() as u64, race.callers);
    let is_most = |amount: &u64| (race.max / 2..=race.max).contains(amount);
    assert!(admitted.values().all(is_most), "{admitted:?}");
    assert_eq!(used(&server), admitted.values().sum::<u64>());
    fill_up(&server, race, &mut admitted);
    let is_all = |amount: &u64| *amount == race.max;
    assert!(admitted.values().all(is_all), "{admitted:?}");
    assert_eq!(used(&server), race.callers * race.max);
}

#[test]
#[ignore = "needs redis-server"]
fn processes_admit_exactly_the_maximum_together() {
    for (callers, calls, max) in [(1, 100, 10_000), (40, 400, 1_000)] {
        admits_exactly_the_maximum(Race {
            callers,
            calls,
            max,
        });
    }
}

#[test]
#[ignore = "needs redis-server; long; .ci/run full"]
fn processes_admit_exactly_the_maximum_together_for_long() {
    for (callers, max) in [(1, 1_000_000), (40, 25_000)] {
        admits_exactly_the_maximum(Race {
            callers,
            calls: 10_000,
            max,
        });
    }
}

/// Also if each is asked about in two places, and some do not wait for the answer.
#[test]
#[ignore = "needs redis-server"]
fn what_nobody_waits_for_is_not_charged() {
    let server = Server::start();
    let store = connect(&server.url()).unwrap();
    block_on(store.remote.ready()).unwrap();
    let clock = ManualClock::at(START);
    let of_each = quota("/each", seconds(86_400), 300, LimitScope::Caller);
    let of_all = quota("/all", seconds(86_400), 1_000, LimitScope::Server);
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
                    store.conclude(&reservation, LimitConclusion::NotSent, clock.now());
                }
            });
        }
    });
    store.remote.wait_until_told();
    let admitted = admitted.into_inner().unwrap();
    assert!(admitted > 100 && admitted <= 1_000, "{admitted}");
    assert_eq!(used(&server), 2 * admitted);
}
