use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::task::{Context, Wake, Waker};

use futures::executor::block_on;
use tokio_test::{assert_ready_eq, task};

use super::*;
use crate::audit::Settlement;
use crate::audit::testing::{decision, outcome};

fn record() -> AuditRecord {
    decision("a\"\n")
}

/// Whether a record was kept.
fn keep(lines: &JsonLines) -> bool {
    block_on(lines.record(&record()).patiently()).is_ok()
}

fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|row| row["decision"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_line_holds_nothing_of_the_one_before() {
    let (short, long) = (decision("a"), decision(&"b".repeat(4096)));
    let alone = line::json(&short, Vec::new());
    with_line(&long, |_| ());
    with_line(&short, |line| assert_eq!(line, [&*alone, b"\n"].concat()));
}

#[test]
fn a_record_is_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let lines = JsonLines::append_to(&path).unwrap();
    assert!(keep(&lines));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches('\n').count(), 1);
    let row: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(row["event"], "decision");
    assert_eq!(row["time"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(row["name"], "a\"\n");
    assert!(row.get("policy").is_none() && row.get("session").is_none());
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let lines = JsonLines::append_to(&path).unwrap();
    assert!(keep(&lines));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[cfg(unix)]
#[test]
fn a_file_that_was_moved_away_is_followed_by_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (moved, truncated) = (folder.path().join("audit.1"), &path);
    let lines = JsonLines::append_to(&path).unwrap();
    assert!(keep(&lines));
    fs::rename(&path, &moved).unwrap();
    assert!(keep(&lines) && keep(&lines));
    assert_eq!((ids(&moved).len(), ids(&path).len()), (1, 2));
    fs::File::create(truncated).unwrap();
    assert!(keep(&lines));
    assert_eq!(ids(&path).len(), 1);
    fs::remove_file(&path).unwrap();
    assert!(keep(&lines));
    assert_eq!(ids(&path).len(), 1);
}

#[test]
fn what_was_torn_off_stays_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    fs::write(&path, "{\"event\":\"deci").unwrap();
    let lines = JsonLines::append_to(&path).unwrap();
    assert!(keep(&lines));
    assert_eq!(ids(&path).len(), 1);
    // Another process was killed while it wrote, and again later.
    for kept in 2..4 {
        let torn = OpenOptions::new().append(true).open(&path);
        torn.unwrap().write_all(b"{\"event\":").unwrap();
        assert!(keep(&lines));
        assert_eq!(ids(&path).len(), kept);
    }
    // Or somebody cut the file in the middle of a line.
    let cut = OpenOptions::new().write(true).open(&path).unwrap();
    let length = cut.metadata().unwrap().len();
    cut.set_len(length - 10).unwrap();
    assert!(keep(&lines) && keep(&lines));
    assert_eq!(ids(&path).len(), 4);
}

#[test]
fn who_calls_alone_is_never_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let lines = JsonLines::append_to(folder.path().join("audit.jsonl")).unwrap();
    let held = || gathering(lines.way.destination.calls.load(Ordering::Relaxed));
    let calls: Vec<_> = (0..=FEW).map(|_| record()).collect();
    // One after the other.
    for call in &calls {
        drop(lines.record(call));
        assert_eq!(held(), None);
        drop(lines.record(&outcome(call)));
    }
    // At the same time.
    let (last, others) = calls.split_last().unwrap();
    others.iter().for_each(|call| drop(lines.record(call)));
    assert_eq!(held(), None);
    drop(lines.record(last));
    assert_eq!(held(), Some(GATHERING));
    drop(lines.record(&outcome(last)));
    assert_eq!(held(), None);
}

#[cfg(unix)]
#[test]
fn nothing_is_kept_in_a_file_that_nobody_finds() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();
    let lines = JsonLines::append_to(log.join("audit.jsonl")).unwrap();
    assert!(keep(&lines));
    fs::remove_dir_all(&log).unwrap();
    assert!(!keep(&lines), "there is no such folder");
    fs::write(&log, "").unwrap();
    assert!(!keep(&lines), "it is no folder");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    assert!(keep(&lines));
}

#[test]
fn what_is_on_its_way_is_written_before_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let lines = JsonLines::append_to(&path).unwrap();
    for _ in 0..500 {
        drop(lines.record(&record()));
    }
    assert_eq!(block_on(lines.close()), Ok(()));
    assert_eq!(ids(&path).len(), 500);
    assert!(!keep(&lines));
    assert_eq!(block_on(lines.close()), Ok(()));
    assert_eq!(ids(&path).len(), 500);
}

#[test]
fn several_writers_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let lines = JsonLines::append_to(&path).unwrap();
            scope.spawn(move || (0..500).for_each(|_| assert!(keep(&lines))));
        }
    });
    let mut ids = ids(&path);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2000);
}

#[test]
fn sinks_beside_each_other_share_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let moved = folder.path().join("audit.1");
    let first = JsonLines::append_to(&path).unwrap();
    let second = first.beside().unwrap();
    let all_keep = || assert!(keep(&first) && keep(&second) && keep(&first));
    let lines = |path| fs::read_to_string(path).unwrap().matches('\n').count();
    all_keep();
    assert_eq!((lines(&path), ids(&path).len()), (3, 3));
    fs::rename(&path, &moved).unwrap();
    all_keep();
    assert_eq!((lines(&moved), lines(&path)), (3, 3));
    assert_eq!(block_on(first.close()), Ok(()));
    assert!(keep(&second) && !keep(&first));
    drop(first);
    assert!(keep(&second));
    assert_eq!(lines(&path), 5);
}

#[test]
fn whoever_records_beside_another_waits_for_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (first, write) = promised(&path);
    let second = first.beside().unwrap();
    let mut waiting = task::spawn(first.record(&record()).patiently());
    assert!(waiting.poll().is_pending());
    assert!(keep(&second));
    assert!(waiting.poll().is_pending());
    assert_eq!(ids(&path).len(), 2);
    drop(write());
    assert_ready_eq!(waiting.poll(), Ok(()));
    assert_eq!(ids(&path).len(), 3);
}

#[test]
fn sinks_beside_each_other_share_what_may_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (first, write) = promised(&folder.path().join("audit.jsonl"));
    let record = decision(&"a".repeat(4096));
    let most = (16 << 20) / with_line(&record, <[u8]>::len);
    let is_taken =
        |lines: &JsonLines| matches!(lines.record(&record).settle(), Settlement::Awaited(_));
    let taken = |lines| (0..=most).take_while(|_| is_taken(lines)).count();
    assert_eq!(taken(&first), most);
    let second = first.beside().unwrap();
    assert!(!is_taken(&second));
    drop(write());
    // One that takes long leaves the next to the threads of their own.
    first
        .way
        .destination
        .is_slow
        .store(false, Ordering::Relaxed);
    assert_eq!(taken(&first), most);
}

#[test]
fn who_closes_hears_of_what_became_of_its_own_records() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("place");
    fs::create_dir(&place).unwrap();
    let first = JsonLines::append_to(place.join("audit.jsonl")).unwrap();
    let second = first.beside().unwrap();
    fs::remove_dir_all(&place).unwrap();
    assert!(!keep(&first));
    fs::create_dir(&place).unwrap();
    assert!(keep(&second));
    assert_eq!(block_on(first.close()), Err(Unrecorded));
    assert_eq!(block_on(second.close()), Ok(()));
}

/// Lines that this thread has promised to write, and what writes them.
fn promised(path: &Path) -> (JsonLines, Write) {
    promised_by(JsonLines::append_to(path).unwrap())
}

/// The same of these, with one that is written.
fn promised_by(lines: JsonLines) -> (JsonLines, Write) {
    let write = Arc::<Mutex<Option<Write>>>::default();
    let handed = Arc::clone(&write);
    let lines = lines.written_by(move |write| {
        *lock(&handed) = Some(Arc::clone(write));
        true
    });
    lines.way.queue.rested();
    drop(lines.record(&record()));
    let write = lock(&write).clone().unwrap();
    drop(write());
    (lines, write)
}

#[test]
fn others_write_what_they_promised_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (lines, write) = promised(&path);
    assert_eq!(ids(&path).len(), 1);
    let mut waiting = [(); 3].map(|()| task::spawn(lines.record(&record()).patiently()));
    assert!(waiting.iter_mut().all(|one| one.poll().is_pending()));
    assert_eq!(ids(&path).len(), 1, "nobody else does");
    let written = write();
    assert_eq!(ids(&path).len(), 4);
    assert!(!waiting.iter().any(|one| one.is_woken()));
    drop(written);
    for one in &mut waiting {
        assert!(one.is_woken());
        assert_ready_eq!(one.poll(), Ok(()));
    }
    drop(write());
    assert_eq!(ids(&path).len(), 4);
}

#[test]
fn whoever_was_told_and_not_woken_is_woken_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, write) = promised(&folder.path().join("audit.jsonl"));
    let mut waiting = [(); 2].map(|()| task::spawn(lines.record(&record()).patiently()));
    thread::scope(|scope| {
        // On a thread of their own, of which the first is to wake the other.
        scope.spawn(|| assert!(waiting.iter_mut().all(|one| one.poll().is_pending())));
    });
    drop(write());
    assert!(waiting[0].is_woken() && !waiting[1].is_woken());
    drop(lines.record(&record()));
    drop(write());
    assert!(waiting[1].is_woken());
}

#[test]
fn whoever_is_told_by_the_thread_and_not_woken_is_woken_before_it_rests() {
    let folder = tempfile::tempdir().unwrap();
    let promises = AtomicIsize::new(2);
    let lines = JsonLines::append_to(folder.path().join("audit.jsonl"))
        .unwrap()
        .written_by(move |_| promises.fetch_sub(1, Ordering::Relaxed) > 0);
    lines.way.queue.rested();
    let mut waiting = [(); 2].map(|()| task::spawn(lines.record(&record()).patiently()));
    assert!(waiting.iter_mut().all(|one| one.poll().is_pending()));
    drop(lines.record(&record()));
    while !waiting[1].is_woken() {
        thread::yield_now();
    }
    assert_ready_eq!(waiting[1].poll(), Ok(()));
}

#[test]
fn others_write_so_many_batches_and_the_thread_does_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (lines, write) = promised_by(JsonLines::by(path.clone(), Queue::by(1)).unwrap());
    let mut waiting =
        [(); MOST_BATCHES + 2].map(|()| task::spawn(lines.record(&record()).patiently()));
    assert!(waiting.iter_mut().all(|one| one.poll().is_pending()));
    let written = write();
    // Nobody waits for what is written later.
    let (told, others) = waiting.split_at_mut(MOST_BATCHES - 1);
    for one in told {
        assert_ready_eq!(one.poll(), Ok(()));
    }
    let (last, there) = others.split_first_mut().unwrap();
    for one in there {
        while !one.is_woken() {
            thread::yield_now();
        }
        assert_ready_eq!(one.poll(), Ok(()));
    }
    assert!(last.poll().is_pending());
    drop(written);
    assert!(last.is_woken());
    assert_ready_eq!(last.poll(), Ok(()));
    assert_eq!(ids(&path).len(), MOST_BATCHES + 3);
}

#[test]
fn what_is_written_is_told_before_more_is() {
    /// Notes how many records there were when it was woken.
    struct Counting(PathBuf, Mutex<Vec<usize>>);
    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            lock(&self.1).push(ids(&self.0).len());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (lines, write) = promised_by(JsonLines::by(path.clone(), Queue::by(1)).unwrap());
    let mut waiting = [(); MOST_BATCHES].map(|()| Box::pin(lines.record(&record()).patiently()));
    let counting = Arc::new(Counting(path, Mutex::default()));
    let waker = Waker::from(Arc::clone(&counting));
    for one in &mut waiting {
        let asked = one.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(asked.is_pending());
    }
    drop(write());
    // With the one that there was before.
    assert_eq!(*lock(&counting.1), [2, 3, 4]);
}

#[test]
fn to_tell_waits_for_nobody_who_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, write) = promised(&folder.path().join("audit.jsonl"));
    let mut waiting = task::spawn(lines.record(&record()).patiently());
    assert!(waiting.poll().is_pending());
    let written = write();
    let writing = lock(&lines.way.destination.writer);
    drop(written);
    drop(writing);
    assert_ready_eq!(waiting.poll(), Ok(()));
}

#[test]
fn what_is_written_and_not_told_waits_for_that_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, write) = promised(&folder.path().join("audit.jsonl"));
    let mut first = task::spawn(lines.record(&record()).patiently());
    assert!(first.poll().is_pending());
    let written = write();
    let mut second = task::spawn(lines.record(&record()).patiently());
    assert!(second.poll().is_pending());
    drop(write());
    assert_ready_eq!(second.poll(), Ok(()));
    assert!(first.poll().is_pending());
    drop(written);
    assert!(first.is_woken());
    assert_ready_eq!(first.poll(), Ok(()));
}

#[test]
fn while_it_takes_long_nobody_else_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::<AtomicIsize>::default();
    let count = Arc::clone(&asked);
    let lines = JsonLines::append_to(folder.path().join("audit.jsonl"))
        .unwrap()
        .written_by(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            false
        });
    let beside = lines.beside().unwrap();
    beside
        .way
        .destination
        .is_slow
        .store(true, Ordering::Relaxed);
    assert!(keep(&lines));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // Until that was quick, which it is some time even here.
    while asked.load(Ordering::Relaxed) == 0 {
        assert!(keep(&lines));
    }
}

#[test]
fn what_others_promised_is_written_before_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (lines, write) = promised(&path);
    drop(lines.record(&record()));
    assert_eq!(block_on(lines.close()), Ok(()));
    assert_eq!(ids(&path).len(), 2);
    drop(write());
    assert!(!keep(&lines));
    assert_eq!(ids(&path).len(), 2);
}

#[test]
fn whoever_closes_it_is_woken_though_another_who_does_never_looks() {
    // Whether they are told before the thread ends, or after that.
    for is_told_before in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (lines, _) = promised(&folder.path().join("audit.jsonl"));
        drop(lines.record(&record()));
        // What others do, who have begun before.
        let Way { queue, told, .. } = &*lines.way;
        let batch = queue.take_now().unwrap();
        let mut closing = [(); 2].map(|()| task::spawn(lines.close()));
        assert!(closing.iter_mut().all(|one| one.poll().is_pending()));
        let taker = queue.taker();
        lines.way.wake_with_the_next(batch.settle(true));
        let written = WrittenLines(Some(Untold {
            way: Arc::clone(&lines.way),
            batch: taker.next().unwrap(),
            is_written: true,
        }));
        // Elsewhere, where only the first of them is woken.
        let tell = || thread::spawn(|| drop(written)).join().unwrap();
        if is_told_before {
            tell();
            assert!(closing[0].is_woken() && !closing[1].is_woken());
            taker.leave();
            while !closing[1].is_woken() {
                thread::yield_now();
            }
        } else {
            taker.leave();
            while !lock(told).is_over {
                thread::yield_now();
            }
            tell();
            assert!(closing[1].is_woken());
        }
        assert_ready_eq!(closing[1].poll(), Ok(()));
    }
}

#[test]
fn all_write_at_once_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let (lines, write) = promised(&path);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let receipt = lines.record(&record());
                    drop(write());
                    // If somebody else was at it, that one or the thread does it.
                    assert_eq!(block_on(receipt.patiently()), Ok(()));
                }
            });
        }
    });
    assert_eq!(ids(&path).len(), 2_001);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_nothing() {
    let lines = JsonLines::append_to("/dev/full").unwrap();
    assert!(!keep(&lines));
    assert!(!keep(&lines));
    assert_eq!(block_on(lines.close()), Err(Unrecorded));
}
