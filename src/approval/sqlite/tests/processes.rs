//! Several processes, which are this test once more.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use super::*;

const ROLE: &str = "MCP_POLICY_TEST_PROCESS";
const THREADS: usize = 16;
const ROUNDS: usize = 10;

/// This test in a process of its own, which does what it is told.
fn process(role: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("approval::sqlite::tests::processes::it_does_as_it_is_told")
        .env(ROLE, format!("{role} {}", directory.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What it says behind a word.
fn said(output: &mut impl BufRead, word: &str) -> String {
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
        line.clear();
    }
    panic!("it does not say {word}");
}

#[test]
fn it_does_as_it_is_told() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let (role, directory) = role.split_once(' ').unwrap();
    let store = open_in(Path::new(directory));
    let clock = ManualClock::at(START);
    match role {
        "race" => {
            println!("ready ");
            for id in std::io::stdin().lines().map(Result::unwrap) {
                let (round, id) = id.split_once(' ').unwrap();
                let call = pay(&clock, round);
                println!("used {}", use_at_once(&store, &call, id.parse().unwrap()));
            }
        }
        "approve" => {
            let id = Asking(&store).approved(&pay(&clock, r#"["a-value-of-it"]"#));
            println!("approved {id}");
            loop {
                thread::park();
            }
        }
        _ => panic!("{role}"),
    }
}

/// How many of those who try at once get it.
fn use_at_once(store: &SqliteApprovalStore, call: &ApprovalQuestion, id: ApprovalId) -> usize {
    let uses: Vec<ApprovalUsed> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| Asking(store).use_up(call, id)))
            .collect();
        let threads = threads.into_iter();
        threads.map(|thread| thread.join().unwrap()).collect()
    });
    uses.iter()
        .filter(|used| **used == ApprovalUsed::Now)
        .count()
}

/// 64 at once, in four processes.
#[test]
fn of_many_processes_at_once_one_uses_an_approval() {
    let directory = directory();
    let store = open_in(directory.path());
    let clock = ManualClock::at(START);
    let mut processes: Vec<_> = (0..4).map(|_| process("race", directory.path())).collect();
    let mut outputs: Vec<_> = processes
        .iter_mut()
        .map(|process| BufReader::new(process.stdout.take().unwrap()))
        .collect();
    for output in &mut outputs {
        said(output, "ready ");
    }
    for round in 0..ROUNDS {
        let id = Asking(&store).approved(&pay(&clock, &round.to_string()));
        for process in &mut processes {
            let input = process.stdin.as_mut().unwrap();
            writeln!(input, "{round} {id}").unwrap();
        }
        let used = outputs.iter_mut().map(|output| {
            let used: usize = said(output, "used ").parse().unwrap();
            used
        });
        assert_eq!(used.sum::<usize>(), 1);
    }
    for mut process in processes {
        drop(process.stdin.take());
        assert!(process.wait().unwrap().success());
    }
}

/// Nothing that was answered is lost, and nothing is left that should be gone.
#[test]
fn what_a_killed_process_was_told_is_known() {
    let directory = directory();
    let mut process = process("approve", directory.path());
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let id: ApprovalId = said(&mut output, "approved ").parse().unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    let store = open_in(directory.path());
    let clock = ManualClock::at(START);
    let call = pay(&clock, r#"["a-value-of-it"]"#);
    assert!(matches!(
        Asking(&store).ask(&call),
        ApprovalAsked::Approved(_)
    ));
    let uses = [id, id].map(|id| Asking(&store).use_up(&call, id));
    assert_eq!(uses, [ApprovalUsed::Now, ApprovalUsed::Before]);
    drop(store);
    let is_found = || {
        let mut files = std::fs::read_dir(directory.path()).unwrap();
        files.any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
            bytes.windows(13).any(|part| part == b"a-value-of-it")
        })
    };
    while is_found() {
        thread::sleep(Duration::from_millis(10));
    }
}
