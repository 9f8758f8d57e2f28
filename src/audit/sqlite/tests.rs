use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use futures::executor::block_on;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::audit::testing::{decision, decision_with, outcome};
use crate::audit::{Names, Verdict};

/// In memory where there is such a place: what is written in tests is not to be kept.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn fresh() -> (TempDir, PathBuf, SqliteAuditSink) {
    let directory = directory();
    let path = directory.path().join("audit.db");
    let sink = SqliteAuditSink::open(&path).unwrap();
    (directory, path, sink)
}

/// Whether a record was kept.
fn keep(sink: &SqliteAuditSink, record: &AuditRecord) -> bool {
    block_on(sink.record(record).patiently()).is_ok()
}

fn all(path: &Path) -> Vec<AuditRow> {
    let log = SqliteAuditLog::open(path).unwrap();
    log.after(0, &AuditFilter::default(), usize::MAX).unwrap()
}

fn json(record: &AuditRecord) -> String {
    serde_json::to_string(record).unwrap()
}

fn id(record: &AuditRecord) -> String {
    record.decision().id().to_string()
}

#[test]
fn records_are_those_that_json_lines_would_be() {
    let (_directory, path, sink) = fresh();
    let first = decision("a\"\n");
    assert!(keep(&sink, &first));
    let second = decision("b");
    assert!(keep(&sink, &second) && keep(&sink, &outcome(&second)));
    let rows = all(&path);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].decision(), json(&first));
    assert_eq!(rows[0].outcome(), None);
    assert_eq!(rows[1].decision(), json(&second));
    assert_eq!(rows[1].outcome(), Some(&*json(&outcome(&second))));
    // After a restart, as before.
    drop(sink);
    let sink = SqliteAuditSink::open(&path).unwrap();
    assert!(keep(&sink, &outcome(&first)));
    assert_eq!(
        all(&path)[0].outcome().unwrap(),
        json(&outcome(&first)),
        "it may end in another process"
    );
}

#[test]
fn an_outcome_whose_decision_is_not_kept_brings_it() {
    let (_directory, path, sink) = fresh();
    let record = decision("a");
    assert!(keep(&sink, &outcome(&record)));
    let rows = all(&path);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].decision(), json(&record));
    assert_eq!(rows[0].outcome(), Some(&*json(&outcome(&record))));
}

#[test]
fn a_filter_finds_what_is_meant_and_nothing_else() {
    let (_directory, path, sink) = fresh();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let records = [
        decision_with("a", |facts| facts.server = Some("other".into())),
        decision_with("a", |facts| facts.caller = Some("bob".into())),
        decision_with("run", |facts| facts.inner = Some("b".to_owned())),
        decision_with("b", |facts| facts.verdict = Verdict::Denied),
        decision_with("c", |facts| facts.rule = Cow::Borrowed("/tools/a/action")),
        decision_with("c", |facts| facts.rule = Cow::Borrowed("/tools/ab")),
        decision_with("c", |facts| facts.rule = Cow::Borrowed("(default deny)")),
        decision_with("d", |facts| facts.time = at(5)),
        decision_with("d", |facts| {
            facts.time = at(6);
            facts.caller = None;
        }),
        // The clock went back.
        decision_with("d", |facts| facts.time = at(5)),
    ];
    assert!(records.iter().all(|record| keep(&sink, record)));
    let log = SqliteAuditLog::open(&path).unwrap();
    let all = AuditFilter::default;
    let expected: [(AuditFilter, &[usize]); 20] = [
        (all().server("other"), &[0]),
        (all().caller("bob"), &[1]),
        (all().caller("%"), &[]),
        (all().name("run"), &[2]),
        (all().name("b"), &[2, 3]),
        (all().verdict(Verdict::Denied), &[3]),
        (all().rule("/tools/ab"), &[5]),
        (all().rule("/tools/a").name("c"), &[4]),
        (all().rule("(default deny)"), &[6]),
        (all().decision(id(&records[4])), &[4]),
        (all().decision(id(&records[4])).since(at(0)), &[4]),
        (all().decision(id(&records[4])).name("d"), &[]),
        (all().decision("no id"), &[]),
        (all().since(at(5)), &[7, 8, 9]),
        (all().since(at(6)), &[8]),
        (all().since(at(5)).until(at(6)), &[7, 9]),
        (all().since(at(7)), &[]),
        (all().until(at(5)).name("c"), &[4, 5, 6]),
        (all().since(at(6)).caller("alice"), &[]),
        (all(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ];
    for (filter, expected) in expected {
        let expected: Vec<String> = expected.iter().map(|row| json(&records[*row])).collect();
        let texts = |rows: Vec<AuditRow>| -> Vec<String> {
            rows.iter().map(|row| row.decision().to_owned()).collect()
        };
        let forward = texts(log.after(0, &filter, 100).unwrap());
        assert_eq!(forward, expected, "{filter:?}");
        let mut back = texts(log.before(None, &filter, 100).unwrap());
        back.reverse();
        assert_eq!(back, expected, "{filter:?}");
    }
}

#[test]
fn pages_hold_each_message_once() {
    let (_directory, path, sink) = fresh();
    let names: Vec<String> = (0..25).map(|number| format!("t{number}")).collect();
    assert!(names.iter().all(|name| keep(&sink, &decision(name))));
    let log = SqliteAuditLog::open(&path).unwrap();
    let every = AuditFilter::default();
    let mut back = Vec::new();
    let mut page = log.before(None, &every, 10).unwrap();
    while let Some(last) = page.last().map(AuditRow::number) {
        assert!(page.len() <= 10);
        back.append(&mut page);
        page = log.before(Some(last), &every, 10).unwrap();
    }
    back.reverse();
    assert_eq!(back, all(&path));
    assert_eq!(back.len(), 25);
    let last = back[24].number();
    assert_eq!(log.after(last, &every, 10).unwrap(), []);
    assert!(keep(&sink, &decision("new")));
    let new = log.after(last, &every, 10).unwrap();
    assert!(new.len() == 1 && new[0].decision().contains("\"new\""));
}

#[test]
fn what_is_too_old_is_forgotten_and_its_numbers_are_not_given_again() {
    let (_directory, path, sink) = fresh();
    let now = SystemTime::now();
    // More than is forgotten at once.
    for number in 0_u64..600 {
        let age = Duration::from_secs(if number == 7 { 10 } else { 1_000 });
        let record = decision_with("a", |facts| facts.time = now - age);
        assert!(keep(&sink, &record));
    }
    let sink = sink.keep_for(Duration::from_secs(100));
    while all(&path).len() > 1 {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(all(&path)[0].number(), 8);
    let sink = sink.keep_for(Duration::ZERO);
    while !all(&path).is_empty() {
        thread::sleep(Duration::from_millis(1));
    }
    let sink = sink.keep_for(Duration::from_secs(100));
    assert!(keep(&sink, &decision_with("b", |facts| facts.time = now)));
    assert_eq!(all(&path)[0].number(), 601);
}

#[test]
fn several_writers_share_a_file() {
    let (_directory, path, _sink) = fresh();
    thread::scope(|scope| {
        for _ in 0..4 {
            let sink = SqliteAuditSink::open(&path).unwrap();
            scope.spawn(move || {
                for _ in 0..100 {
                    let record = decision("a");
                    assert!(keep(&sink, &record) && keep(&sink, &outcome(&record)));
                }
            });
        }
    });
    let rows = all(&path);
    assert_eq!(rows.len(), 400);
    assert!(rows.iter().all(|row| row.outcome().is_some()));
}

#[test]
fn what_was_handed_over_is_written_when_the_sink_is_dropped() {
    let (_directory, path, sink) = fresh();
    for _ in 0..1_000 {
        let _ = sink.record(&decision("a"));
    }
    drop(sink);
    while all(&path).len() < 1_000 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_is_on_its_way_is_written_before_it_is_closed() {
    let (_directory, path, sink) = fresh();
    // More than are written at once.
    for _ in 0..600 {
        drop(sink.record(&decision("a")));
    }
    assert_eq!(block_on(sink.close()), Ok(()));
    assert_eq!(all(&path).len(), 600);
    assert!(!keep(&sink, &decision("b")));
    assert_eq!(block_on(sink.close()), Ok(()));
}

#[test]
fn while_it_is_locked_nothing_is_kept() {
    let (_directory, path, sink) = fresh();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(!keep(&sink, &decision("a")));
    // What is read is not locked.
    assert_eq!(all(&path), []);
    other.execute_batch("ROLLBACK").unwrap();
    assert!(keep(&sink, &decision("a")));
    assert_eq!(all(&path).len(), 1);
}

#[cfg(unix)]
#[test]
fn nothing_is_kept_in_a_file_that_nobody_finds() {
    let (directory, path, sink) = fresh();
    let moved = directory.path().join("moved");
    assert!(keep(&sink, &decision("a")));
    std::fs::rename(&path, &moved).unwrap();
    assert!(!keep(&sink, &decision("b")));
    assert!(!path.exists(), "whoever took it away is not covered for");
    std::fs::rename(&moved, &path).unwrap();
    assert!(keep(&sink, &decision("c")));
    assert_eq!(all(&path).len(), 2);
    for other in ["", "no file of SQLite's"] {
        std::fs::rename(&path, &moved).unwrap();
        std::fs::write(&path, other).unwrap();
        assert!(!keep(&sink, &decision("d")));
        std::fs::rename(&moved, &path).unwrap();
        assert!(keep(&sink, &decision("e")));
    }
    assert_eq!(all(&path).len(), 4);
    std::fs::remove_dir_all(directory.path()).unwrap();
    assert!(!keep(&sink, &decision("f")));
}

#[cfg(unix)]
#[test]
fn what_was_kept_outlives_what_sqlite_has_beside_the_file() {
    let (directory, path, sink) = fresh();
    let log = directory.path().join("audit.db-wal");
    let moved = directory.path().join("moved");
    assert!(keep(&sink, &decision("a")));
    std::fs::remove_file(&log).unwrap();
    assert!(keep(&sink, &decision("b")));
    assert_eq!(all(&path).len(), 2, "they are where others find them");
    std::fs::rename(&log, &moved).unwrap();
    std::fs::write(&log, "another").unwrap();
    assert!(!keep(&sink, &decision("c")));
    std::fs::rename(&moved, &log).unwrap();
    assert!(keep(&sink, &decision("d")));
    assert_eq!(all(&path).len(), 3);
}

/// As SQLite says it; and whatever was in the way, it goes on with the next.
#[test]
fn a_full_disk_keeps_nothing_and_recovers() {
    let directory = directory();
    let path = directory.path().join("audit.db");
    let mut writer = Writer::open(&path, Keep::new(FOR_EVER.into())).unwrap();
    let mut write = |pragma: &str| {
        let connection = writer.connection().unwrap();
        connection.query_row(pragma, [], |_| Ok(())).unwrap();
        let row = || Row::new(&decision("a")).unwrap();
        writer.write(&[row(), row()])
    };
    let full = "PRAGMA max_page_count = 1";
    let written = (0..100).take_while(|_| write(full).is_ok()).count();
    assert!(written < 100, "there is no more room");
    let error = write(full).unwrap_err().to_string();
    assert!(error.contains("no room"), "{error}");
    assert_eq!(all(&path).len(), 2 * written, "both or none");
    write("PRAGMA max_page_count = 100000").unwrap();
    assert_eq!(all(&path).len(), 2 * written + 2);
}

fn refused(path: &Path) -> String {
    let by_the_log = SqliteAuditLog::open(path).unwrap_err().to_string();
    let by_the_sink = SqliteAuditSink::open(path).unwrap_err().to_string();
    assert_eq!(by_the_log, by_the_sink);
    by_the_sink
}

#[test]
fn the_file_of_a_newer_version_or_of_somebody_else_is_refused() {
    let (directory, path, sink) = fresh();
    drop(sink);
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 2).unwrap();
    let error = refused(&path);
    assert!(
        error.contains("has version 2") && error.contains("name another"),
        "{error}"
    );
    let state = directory.path().join("state.db");
    drop(crate::SqliteState::open(&state).unwrap());
    assert!(refused(&state).contains("another program"));
    assert!(refused(&directory.path().join("no/such")).contains("cannot be opened"));
    let nowhere = directory.path().join("new.db");
    let error = SqliteAuditLog::open(&nowhere).unwrap_err().to_string();
    assert!(
        error.contains("cannot be opened") && !nowhere.exists(),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, _path, sink) = fresh();
    assert!(keep(&sink, &decision("a")));
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(files.len(), 3);
    for file in files {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// Numbers for the documentation: `cargo test --release --features sqlite --lib
/// what_it_costs -- --ignored --nocapture`.
#[test]
#[ignore = "needs to be looked at"]
fn what_it_costs() {
    const MESSAGES: usize = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let policy: crate::Policy = r#"{"version":"1","name":"kestra-operators","default":"deny"}"#
        .parse()
        .unwrap();
    let message = |number: usize| {
        decision_with(&format!("tool-{}", number % 40), |facts| {
            facts.time = now - Duration::from_secs(u64::try_from(MESSAGES - number).unwrap());
            facts.caller = Some(format!("caller-{}", number % 100).into());
            facts.session = Some("9b1deb4d3b7d4bad".to_owned());
            facts.server = Some("127.0.0.1:8080".into());
            facts.argument_keys = Names::new(["flow_id", "namespace"].into_iter());
            facts.policy = Some(policy.clone());
        })
    };
    let fill = |sink: &dyn AuditSink, in_flight: usize, messages: usize| {
        let since = std::time::Instant::now();
        let mut waiting = std::collections::VecDeque::new();
        for number in 0..messages {
            let record = message(number);
            for record in [&record, &outcome(&record)] {
                waiting.push_back(sink.record(record));
                if waiting.len() >= in_flight {
                    block_on(waiting.pop_front().unwrap().patiently()).unwrap();
                }
            }
        }
        waiting
            .into_iter()
            .for_each(|one| block_on(one.patiently()).unwrap());
        let rows = 2.0 * f64::from(u32::try_from(messages).unwrap());
        rows / since.elapsed().as_secs_f64()
    };
    for (in_flight, messages) in [(1, 2_000), (64, MESSAGES), (1_000, MESSAGES)] {
        let names =
            ["lines", "db"].map(|name| directory.path().join(format!("{in_flight}.{name}")));
        let lines = fill(
            &crate::JsonLines::append_to(&names[0]).unwrap(),
            in_flight,
            messages,
        );
        let sqlite = SqliteAuditSink::open(&names[1]).unwrap();
        let sqlite = fill(&sqlite, in_flight, messages);
        println!("{in_flight} in flight: {lines:.0} records/s as lines, {sqlite:.0} in SQLite");
    }
    let path = directory.path().join("64.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    for name in ["64.lines", "64.db"] {
        let bytes = std::fs::metadata(directory.path().join(name))
            .unwrap()
            .len();
        println!(
            "{name}: {} bytes a message",
            bytes / u64::try_from(MESSAGES).unwrap()
        );
    }
    let log = SqliteAuditLog::open(&path).unwrap();
    let all = AuditFilter::default;
    let hour = now - Duration::from_secs(3_600);
    for filter in [
        all(),
        all().name("tool-7"),
        all().name("no such tool"),
        all().caller("caller-7").verdict(Verdict::Denied),
        all().rule("/tools/b"),
        all().since(hour),
        all()
            .since(now - Duration::from_secs(90_000))
            .name("no such tool"),
        all().until(now - Duration::from_secs(99_950)),
    ] {
        let since = std::time::Instant::now();
        let page = log.before(None, &filter, 100).unwrap();
        println!("{} of {filter:?}: {:?}", page.len(), since.elapsed());
    }
}
