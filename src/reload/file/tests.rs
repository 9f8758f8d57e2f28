use std::fs;
use std::sync::mpsc::channel;

use tempfile::TempDir;

use super::*;

const DENY: &str = r#"{"version":"1","default":"deny"}"#;
const HIDE: &str = r#"{"version":"1","default":"hide"}"#;

/// A directory with a policy in it that is watched.
struct Watched {
    folder: TempDir,
    file: PolicyFile,
    reports: Receiver<String>,
}

fn kind_of(reload: PolicyReload<'_>) -> String {
    match reload {
        PolicyReload::Loaded(policy) => policy.digest().to_owned(),
        PolicyReload::Failed(error) => format!("failed: {error}"),
        PolicyReload::Unwatched(why) => format!("unwatched: {why}"),
    }
}

/// A new file in one step, so that nobody reads half of it.
fn put(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn digest(text: &str) -> String {
    text.parse::<Policy>().unwrap().digest().to_owned()
}

impl Watched {
    fn new() -> Self {
        Self::prepared("policy.json", |folder| {
            fs::write(folder.join("policy.json"), DENY).unwrap();
        })
    }

    /// The file that `asked` leads to, once the directory is prepared.
    fn prepared(asked: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let (sender, reports) = channel();
        let file = PolicyFile::watch_with(folder.path().join(asked), move |reload| {
            let _ = sender.send(kind_of(reload));
        });
        Self {
            folder,
            file: file.unwrap(),
            reports,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        put(&self.path(name), text);
    }

    /// What is said next. A file is read when it has been quiet for a while,
    /// so this comes of everything that was done to it by now.
    fn says(&self) -> String {
        let patience = Duration::from_secs(20);
        self.reports.recv_timeout(patience).unwrap()
    }

    fn loads(&self, text: &str) {
        let mut said = self.says();
        // On a busy machine it may be read when it is half written.
        while said.starts_with("failed: ") {
            said = self.says();
        }
        assert_eq!(said, digest(text));
        assert_eq!(self.file.current().digest(), digest(text));
    }

    fn fails(&self) -> String {
        let said = self.says();
        assert!(said.starts_with("failed: "), "{said}");
        said
    }
}

#[test]
fn a_file_that_is_written_is_loaded() {
    let watched = Watched::new();
    assert_eq!(watched.file.current().digest(), digest(DENY));
    for text in [HIDE, DENY, HIDE] {
        watched.write("policy.json", text);
        watched.loads(text);
    }
}

#[test]
fn a_file_that_is_moved_into_place_is_loaded() {
    let watched = Watched::new();
    for text in [HIDE, DENY] {
        watched.write(".policy.json.swp", text);
        fs::rename(
            watched.path(".policy.json.swp"),
            watched.path("policy.json"),
        )
        .unwrap();
        watched.loads(text);
    }
}

#[test]
fn what_does_not_load_changes_nothing() {
    let watched = Watched::new();
    for broken in [
        "",
        &HIDE[..20],
        r#"{"version":"1","default":"hide","a":1,"b":2}"#,
    ] {
        watched.write("policy.json", broken);
        watched.fails();
        assert_eq!(watched.file.current().digest(), digest(DENY));
    }
    watched.write("policy.json", r#"{"version":"1","default":"hide","a":1}"#);
    assert!(watched.fails().contains("unknown field `a`"));
    watched.write("policy.json", HIDE);
    watched.loads(HIDE);
}

#[test]
fn a_file_may_go_and_come_back() {
    let watched = Watched::new();
    fs::remove_file(watched.path("policy.json")).unwrap();
    assert!(watched.fails().contains("cannot read the policy"));
    // The same as before, which is good news all the same.
    watched.write("policy.json", DENY);
    watched.loads(DENY);
    watched.write("policy.json", HIDE);
    watched.loads(HIDE);
}

#[test]
fn its_directory_may_go_and_come_back() {
    let watched = Watched::prepared("a/b/policy.json", |folder| {
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/policy.json"), DENY).unwrap();
    });
    for text in [HIDE, DENY] {
        fs::remove_dir_all(watched.path("a/b")).unwrap();
        watched.fails();
        fs::create_dir_all(watched.path("a/b")).unwrap();
        watched.write("a/b/policy.json", text);
        watched.loads(text);
    }
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As the kubelet does it: a new directory, and a link to it that is
    /// moved into the place of the old one.
    #[test]
    fn a_config_map_is_loaded() {
        let watched = Watched::prepared("policy.json", |folder| {
            fs::create_dir(folder.join("..1")).unwrap();
            fs::write(folder.join("..1/policy.json"), DENY).unwrap();
            symlink("..1", folder.join("..data")).unwrap();
            symlink("..data/policy.json", folder.join("policy.json")).unwrap();
        });
        for (number, text) in [(2, HIDE), (3, DENY), (4, HIDE)] {
            let next = format!("..{number}");
            fs::create_dir(watched.path(&next)).unwrap();
            watched.write(&format!("{next}/policy.json"), text);
            symlink(&next, watched.path("..data_tmp")).unwrap();
            fs::rename(watched.path("..data_tmp"), watched.path("..data")).unwrap();
            fs::remove_dir_all(watched.path(&format!("..{}", number - 1))).unwrap();
            watched.loads(text);
        }
    }

    #[test]
    fn a_file_behind_links_is_loaded_wherever_it_changes() {
        let watched = Watched::prepared("app/policy.json", |folder| {
            for release in ["1", "2"] {
                fs::create_dir_all(folder.join("releases").join(release)).unwrap();
            }
            fs::write(folder.join("releases/1/policy.json"), DENY).unwrap();
            fs::write(folder.join("releases/2/policy.json"), HIDE).unwrap();
            symlink("releases/1", folder.join("app")).unwrap();
        });
        symlink("releases/2", watched.path("next")).unwrap();
        fs::rename(watched.path("next"), watched.path("app")).unwrap();
        watched.loads(HIDE);
        // In the new place, and no longer in the old one.
        watched.write("releases/1/policy.json", "");
        watched.write("releases/2/policy.json", DENY);
        watched.loads(DENY);
    }
}

/// A reader whose file is read when the test says so.
fn reader(path: &Path) -> (Reader, LivePolicy, Receiver<String>) {
    let (sender, reports) = channel();
    let report = move |reload: PolicyReload<'_>| {
        let _ = sender.send(kind_of(reload));
    };
    let reader = Reader::new(path, Box::new(report), Arc::default());
    let live = LivePolicy::new(Policy::from_path(path).unwrap());
    (reader, live, reports)
}

#[test]
fn a_file_is_a_source_that_tells_of_its_changes() {
    let watched = Watched::new();
    let changes = watched.file.changes().unwrap();
    assert!(!watched.file.depends_on_caller());
    watched.write("policy.json", HIDE);
    watched.loads(HIDE);
    let policy = watched.file.policy_for(&Caller::local()).unwrap();
    assert_eq!(policy.digest(), digest(HIDE));
    assert_eq!(changes.count(), 1);
}

#[test]
fn whatever_becomes_of_a_file_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("log");
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(fs::File::create(&written).unwrap())
        .finish();
    let policy = |text: &str| text.parse::<Policy>();
    let tried = policy(r#"{"version":"1","default":"deny","mode":"shadow"}"#).unwrap();
    let wrong = policy(r#"{"version":"1","default":"deny","a":1,"b":2}"#).unwrap_err();
    let gone = Policy::from_path(folder.path().join("none")).unwrap_err();
    tracing::subscriber::with_default(subscriber, || {
        log("p.json", PolicyReload::Loaded(&tried));
        log("p.json", PolicyReload::Failed(&wrong));
        log("p.json", PolicyReload::Failed(&gone));
        log("p.json", PolicyReload::Unwatched("the disk is full"));
    });
    let written = fs::read_to_string(written).unwrap();
    for line in [
        "INFO mcp_policy: the policy was loaded again path=\"p.json\" digest=\"sha256:",
        "WARN mcp_policy: warning",
        "ERROR mcp_policy: error: unknown field `a`",
        "ERROR mcp_policy: error: unknown field `b`",
        "the old policy stays, the file does not load: 2 problems path=\"p.json\"",
        "the old policy stays, the file does not load: cannot read the policy",
        "changes of the policy file may go unnoticed: the disk is full path=\"p.json\"",
    ] {
        assert!(written.contains(line), "{line} not in\n{written}");
    }
}

#[test]
fn nothing_is_said_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    fs::write(&path, DENY).unwrap();
    let (mut reader, live, reports) = reader(&path);
    let changes = live.changes().unwrap();
    reader.read(&live);
    fs::write(&path, DENY).unwrap();
    reader.read(&live);
    assert_eq!(reports.try_iter().count(), 0);
    fs::write(&path, "").unwrap();
    reader.read(&live);
    reader.read(&live);
    assert_eq!(reports.try_iter().count(), 1);
    fs::write(&path, DENY).unwrap();
    reader.read(&live);
    reader.read(&live);
    assert_eq!(reports.try_iter().collect::<Vec<_>>(), [digest(DENY)]);
    assert_eq!(changes.count(), 0, "the policy has been the same all along");
}

#[test]
fn other_files_and_reads_are_no_change() {
    let paths = HashSet::from([PathBuf::from("/a/policy.json")]);
    let noticed = Noticed {
        paths,
        ..Noticed::default()
    };
    let event = |kind, path: &str| Event::new(kind).add_path(path.into());
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
    assert!(noticed.concerns(&event(written, "/a/policy.json")));
    assert!(!noticed.concerns(&event(written, "/a/audit.jsonl")));
    assert!(!noticed.concerns(&event(opened, "/a/policy.json")));
    assert!(noticed.concerns(&Event::new(EventKind::Any)));

    let (sender, happened) = mpsc::sync_channel(1);
    let mut listener = Listener::new(Arc::new(Mutex::new(noticed)), sender);
    listener.handle_event(Ok(event(written, "/a/audit.jsonl")));
    assert!(happened.try_recv().is_err());
    listener.handle_event(Ok(event(written, "/a/policy.json")));
    assert!(happened.try_recv().is_ok());
}

/// What matters waits behind them.
#[cfg(target_os = "linux")]
#[test]
fn other_files_let_the_watcher_rest_but_not_after_each_of_many_events() {
    let (sender, _happened) = mpsc::sync_channel(1);
    let mut listener = Listener::new(Arc::default(), sender);
    assert!(listener.may_rest(Instant::now()));
    let other = Event::new(EventKind::Any).add_path("/a/audit.jsonl".into());
    listener.handle_event(Ok(other));
    let awake = listener.awake.unwrap();
    assert!(!listener.may_rest(awake - ROUND));
    assert!(listener.may_rest(awake));
}

#[test]
fn a_watcher_that_ends_is_told_of_and_the_policy_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    fs::write(&path, DENY).unwrap();
    let (mut reader, live, reports) = reader(&path);
    let (sender, receiver) = mpsc::sync_channel(1);
    reader.listen(&sender);
    drop(reader.watcher.take());
    let watching = Watching {
        noticed: Arc::clone(&reader.noticed),
        sender,
    };
    let held = live.clone();
    let thread = thread::spawn(move || reader.run(&held, &receiver));
    let said = reports.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(said, "unwatched: the watcher has ended");
    assert_eq!(live.current().digest(), digest(DENY));
    drop(watching);
    thread.join().unwrap();
}

#[test]
fn nothing_is_left_when_the_last_clone_is_gone() {
    let watched = Watched::new();
    let Watched { file, reports, .. } = watched;
    drop(file.clone());
    drop(file);
    // The report closure is gone, and with it the thread.
    let patience = Duration::from_secs(20);
    let end = reports.recv_timeout(patience);
    assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn whoever_panics_when_told_is_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.json");
    fs::write(&path, DENY).unwrap();
    let (sender, reports) = channel();
    let file = PolicyFile::watch_with(&path, move |reload| {
        let _ = sender.send(kind_of(reload));
        panic!("the embedder's fault");
    });
    for text in [HIDE, DENY] {
        put(&path, text);
        let said = reports.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(said, digest(text));
    }
    drop(file);
}

#[test]
fn what_happens_until_it_is_quiet_is_one_reason_to_read() {
    let (sender, happened) = mpsc::sync_channel(1);
    sender.send(()).unwrap();
    wait_for_quiet(&happened);
    assert_eq!(happened.try_recv(), Err(mpsc::TryRecvError::Empty));
}

#[test]
fn a_file_that_is_never_quiet_is_read_all_the_same() {
    let (sender, happened) = mpsc::sync_channel(1);
    sender.send(()).unwrap();
    wait_for_quiet_until(&happened, Instant::now());
    assert_eq!(happened.try_recv(), Ok(()), "it is waited for next time");
}
