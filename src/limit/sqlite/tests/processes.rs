//! Several processes, which are this test once more.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::faults::settle;
use super::*;
use crate::clock::{Clock as _, SystemClock};

const ROLE: &str = "MCP_POLICY_TEST_PROCESS";

/// This test in a process of its own, which does what it is told.
fn process(role: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("limit::sqlite::tests::processes::it_does_as_it_is_told")
        .env(ROLE, format!("{role} {}", directory.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it says, one word and some numbers at a time.
fn said(process: &mut Child, word: &str) -> Vec<u64> {
    let output = BufReader::new(process.stdout.as_mut().unwrap());
    for line in output.lines().map(Result::unwrap) {
        if let Some((_, numbers)) = line.split_once(word) {
            return numbers
                .split_whitespace()
                .map(|n| n.parse().unwrap())
                .collect();
        }
    }
    panic!("it does not say {word}");
}

#[test]
fn it_does_as_it_is_told() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let words: Vec<_> = role.splitn(5, ' ').collect();
    match words[..] {
        ["race", threads, calls, max, directory] => {
            let [threads, calls] = [threads, calls].map(|number| number.parse().unwrap());
            let max = max.parse().unwrap();
            let admitted = race(&open_in(Path::new(directory)), threads, calls, max);
            println!("admitted {} {}", admitted[0], admitted[1]);
        }
        ["hold", directory] => {
            let store = open_in(Path::new(directory));
            let call = under_way(&ManualClock::at(START), "alice");
            assert_eq!(reserve(&store, &call), ADMITTED);
            println!("reserved ");
            loop {
                thread::park();
            }
        }
        _ => panic!("{role}"),
    }
}

const CALLERS: [&str; 3] = ["a", "b", "c"];

/// One budget of all, and one of each caller, which holds half as much.
fn quotas(max: u64) -> [Arc<Quota>; 2] {
    [
        quota("/all", seconds(86_400), max, LimitScope::Server),
        quota("/each", seconds(86_400), max / 2, LimitScope::Caller),
    ]
}

/// How much was admitted, of all and of the first caller.
fn race(store: &SqliteLimitStore, threads: usize, calls: usize, max: u64) -> [u64; 2] {
    let admitted = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || race_of_one(store, thread, calls, max)))
            .collect();
        let of_each = threads.into_iter().map(|thread| thread.join().unwrap());
        of_each.fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]])
    });
    settle(store);
    admitted
}

fn race_of_one(store: &SqliteLimitStore, thread: usize, calls: usize, max: u64) -> [u64; 2] {
    let mut admitted = [0, 0];
    for number in 0..calls {
        let amount = [1, 2, 3, 5, 100][(thread * 7 + number) % 5];
        let who = (thread + number) % CALLERS.len();
        let mut charges = quotas(max).map(|quota| charge(&quota, CALLERS[who], amount));
        // Nobody agrees about the order of things.
        if thread % 2 == 0 {
            charges.reverse();
        }
        let call = reservation(SystemClock.now(), charges);
        let answer = block_on(store.reserve(&call).get());
        let is_admitted = matches!(answer, Ok(LimitReserved::Admitted { .. }));
        if answer.is_err() || (is_admitted && number % 3 == 0) {
            store.conclude(&call, LimitConclusion::NotSent, SystemClock.now());
        } else if is_admitted {
            admitted[0] += amount;
            if who == 0 {
                admitted[1] += amount;
            }
        }
    }
    admitted
}

/// However many processes charge the same budgets: what is admitted is what is
/// counted, and not one more than there is.
fn processes_race(threads: usize, calls: usize, max: u64) {
    let directory = directory();
    // They make the file, too.
    let mut processes: Vec<_> = (0..4)
        .map(|_| process(&format!("race {threads} {calls} {max}"), directory.path()))
        .collect();
    let mut admitted = [0, 0];
    for process in &mut processes {
        let of_one = said(process, "admitted ");
        admitted = [admitted[0] + of_one[0], admitted[1] + of_one[1]];
        assert!(process.wait().unwrap().success());
    }
    let store = open_in(directory.path());
    for (quota, admitted) in quotas(max).into_iter().zip(admitted) {
        let max = quota.max().millionths();
        let left = max.checked_sub(admitted).expect("one more");
        let call = |amount| {
            let charges = [charge(&quota, CALLERS[0], amount)];
            reserve(&store, &reservation(SystemClock.now(), charges))
        };
        assert_ne!(call(left + 1), ADMITTED);
        assert_eq!(call(left), ADMITTED);
    }
}

#[test]
fn processes_do_not_admit_one_more() {
    processes_race(4, 100, 300);
}

#[test]
#[ignore = "long; .ci/run full"]
fn processes_do_not_admit_one_more_for_long() {
    processes_race(16, 10_000, 3_000_000);
}

fn under_way(clock: &ManualClock, caller: &str) -> LimitReservation {
    let charges = [
        charge(
            &quota("/b", Period::Concurrent, 1, LimitScope::Caller),
            caller,
            1,
        ),
        charge(
            &quota("/day", seconds(86_400), 2, LimitScope::Caller),
            caller,
            1,
        ),
    ];
    reservation(clock.now(), charges)
}

/// What it had charged stays charged; what was under way is so for another minute,
/// and not before it is dead.
#[test]
fn what_a_killed_process_had_under_way_comes_free() {
    for opened_before in [true, false] {
        let directory = directory();
        let mut process = process("hold", directory.path());
        said(&mut process, "reserved ");
        let mut clock = ManualClock::at(START);
        let before = opened_before.then(|| open_in(directory.path()));
        if let Some(store) = &before {
            for _ in 0..3 {
                let busy = LimitReserved::Exceeded {
                    charge: 0,
                    retry_after: None,
                };
                assert_eq!(reserve(store, &under_way(&clock, "alice")), busy);
                clock.pass(Duration::from_secs(600));
                thread::sleep(Duration::from_millis(110));
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        let store = before.unwrap_or_else(|| open_in(directory.path()));
        let wait = loop {
            match reserve(&store, &under_way(&clock, "alice")) {
                LimitReserved::Exceeded {
                    charge: 0,
                    retry_after,
                } => match retry_after {
                    Some(wait) => break wait,
                    None => thread::sleep(Duration::from_millis(10)),
                },
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wait, Duration::from_secs(60));
        clock.pass(wait);
        let next = under_way(&clock, "alice");
        assert_eq!(reserve(&store, &next), ADMITTED);
        store.conclude(&next, LimitConclusion::Ended, clock.now());
        // It had charged one of the two.
        let last = under_way(&clock, "alice");
        assert!(matches!(
            reserve(&store, &last),
            LimitReserved::Exceeded { charge: 1, .. }
        ));
    }
}
