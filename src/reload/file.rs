#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventHandler, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::PolicySource;
use super::changes::PolicyChanges;
use super::live::LivePolicy;
use super::trail::trail;
use crate::caller::Caller;
use crate::lock::lock;
use crate::policy::{LoadError, Policy};
use crate::seam::asked;

/// A file is read when nothing has happened to it for this long: whoever writes
/// it is probably done then.
const QUIET: Duration = Duration::from_millis(100);
/// It is read after this long, even if things go on happening to it.
const LONGEST_UNREST: Duration = Duration::from_secs(1);
/// What happens to other files is left alone for this long.
const REST: Duration = Duration::from_millis(10);
/// And then looked at for this long, however much there is: far more than comes meanwhile.
const ROUND: Duration = Duration::from_millis(1);
/// How often directories are looked for that disappear at the same time.
const TRIES: u32 = 3;

/// A policy that is loaded again whenever its file changes.
///
/// The new policy holds from the next request. A file that does not load changes
/// nothing: the old policy stays, and every problem is said. So it is when the
/// file is half written, empty, or gone. Links to the file may change, too, as
/// those of a Kubernetes ConfigMap do.
///
/// Clones share the policy. The file is watched until the last of them is gone.
/// Needs the feature `watch`.
///
/// ```no_run
/// use mcp_policy::{PolicyFile, PolicyLayer};
///
/// let layer = PolicyLayer::from_source(PolicyFile::watch("policy.json")?);
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Clone)]
pub struct PolicyFile {
    live: LivePolicy,
    /// Ends the watching when it is dropped.
    _watching: Arc<Watching>,
}

/// What has become of a [`PolicyFile`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub enum PolicyReload<'a> {
    /// This policy holds from the next request: another one than before, or the
    /// same again after the file did not load for a while.
    Loaded(&'a Policy),
    /// The file does not load, and the policy that was loaded before still holds.
    Failed(&'a LoadError),
    /// Changes of the file may go unnoticed from now on, for this reason. The
    /// policy that was loaded before still holds.
    Unwatched(&'a str),
}

impl PolicyFile {
    /// Loads a policy from a file and watches that. What becomes of it is logged
    /// with `tracing`: problems as errors.
    ///
    /// # Errors
    ///
    /// As with [`Policy::from_path`]. A file that cannot be watched is no such
    /// error, but is logged as one.
    pub fn watch(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let name = path.as_ref().display().to_string();
        Self::watch_with(path, move |reload| log(&name, reload))
    }

    /// The same, with somebody else to say what becomes of it. `report` is called
    /// from a thread of its own, or before this returns.
    ///
    /// # Errors
    ///
    /// As with [`PolicyFile::watch`].
    ///
    /// ```no_run
    /// use mcp_policy::{PolicyFile, PolicyReload};
    ///
    /// let file = PolicyFile::watch_with("policy.json", |reload| match reload {
    ///     PolicyReload::Loaded(policy) => println!("now {}", policy.digest()),
    ///     PolicyReload::Failed(error) => eprintln!("{error}"),
    ///     other => eprintln!("{other:?}"),
    /// })?;
    /// # Ok::<(), mcp_policy::LoadError>(())
    /// ```
    pub fn watch_with(
        path: impl AsRef<Path>,
        report: impl Fn(PolicyReload<'_>) + Send + 'static,
    ) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let (sender, receiver) = mpsc::sync_channel(1);
        let noticed = Arc::<Mutex<Noticed>>::default();
        let mut reader = Reader::new(path, Box::new(report), Arc::clone(&noticed));
        reader.listen(&sender);
        // Behind the watching, so that no change comes between the two.
        let policy = Policy::from_path(path)?;
        let live = LivePolicy::new(policy);
        let watching = Arc::new(Watching { noticed, sender });
        let held = live.clone();
        let thread = thread::Builder::new().name("policy-file".to_owned());
        let started = thread.spawn(move || reader.run(&held, &receiver));
        if let Err(error) = started {
            tracing::error!(target: "mcp_policy", %error, "changes of the policy file are not noticed");
        }
        Ok(Self {
            live,
            _watching: watching,
        })
    }

    /// The policy that holds now.
    pub fn current(&self) -> Policy {
        self.live.current()
    }
}

impl PolicySource for PolicyFile {
    fn policy_for(&self, caller: &Caller) -> Option<Policy> {
        self.live.policy_for(caller)
    }

    fn depends_on_caller(&self) -> bool {
        self.live.depends_on_caller()
    }

    fn changes(&self) -> Option<PolicyChanges> {
        self.live.changes()
    }
}

impl fmt::Debug for PolicyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyFile")
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

fn log(path: &str, reload: PolicyReload<'_>) {
    match reload {
        PolicyReload::Loaded(policy) => {
            tracing::info!(
                target: "mcp_policy",
                path,
                digest = policy.digest(),
                "the policy was loaded again"
            );
            for warning in policy.warnings() {
                tracing::warn!(target: "mcp_policy", path, "{warning}");
            }
        }
        PolicyReload::Failed(error) => {
            for problem in error.diagnostics() {
                tracing::error!(target: "mcp_policy", path, "{problem}");
            }
            let summary = match error.diagnostics() {
                [] => error.to_string(),
                problems => format!("{} problems", problems.len()),
            };
            tracing::error!(
                target: "mcp_policy",
                path,
                "the old policy stays, the file does not load: {summary}"
            );
        }
        PolicyReload::Unwatched(why) => {
            tracing::error!(target: "mcp_policy", path, "changes of the policy file may go unnoticed: {why}");
        }
    }
}

/// What the watcher has to know, and what it has seen.
#[derive(Debug, Default)]
struct Noticed {
    /// The paths of which a change counts.
    paths: HashSet<PathBuf>,
    trouble: Option<String>,
    /// Whether nobody wants to know any more.
    is_over: bool,
}

impl Noticed {
    fn concerns(&self, event: &Event) -> bool {
        let is_change = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            // To read the file is to access it.
            EventKind::Access(_) => false,
            _ => true,
        };
        let is_ours = |path: &PathBuf| self.paths.contains(path);
        event.need_rescan()
            || is_change && (event.paths.is_empty() || event.paths.iter().any(is_ours))
    }
}

/// What the watcher calls. Only that something has happened is passed on, and of
/// that once is enough.
///
/// A file of records is often in the same directory, and on Linux each time that one is
/// written would wake the watcher. While it rests, the operating system makes one event of
/// many, and says so if there are too many to keep.
struct Listener {
    noticed: Arc<Mutex<Noticed>>,
    sender: SyncSender<()>,
    /// Until when it does not rest again.
    awake: Option<Instant>,
}

impl Listener {
    fn new(noticed: Arc<Mutex<Noticed>>, sender: SyncSender<()>) -> Self {
        Self {
            noticed,
            sender,
            awake: None,
        }
    }

    /// Whether it may rest after an event that does not matter. Not after each of many, or
    /// what matters would have to wait for all of them.
    fn may_rest(&self, now: Instant) -> bool {
        cfg!(target_os = "linux") && self.awake.is_none_or(|until| until <= now)
    }

    fn rest(&mut self) {
        if self.may_rest(Instant::now()) {
            thread::sleep(REST);
            self.awake = Some(Instant::now() + ROUND);
        }
    }
}

impl EventHandler for Listener {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        let mut noticed = lock(&self.noticed);
        match event {
            Ok(event) if noticed.concerns(&event) => {}
            Ok(_) => {
                drop(noticed);
                self.rest();
                return;
            }
            Err(error) => noticed.trouble = Some(error.to_string()),
        }
        drop(noticed);
        let _ = self.sender.try_send(());
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let trouble = || "the watcher has ended".to_owned();
        lock(&self.noticed).trouble.get_or_insert_with(trouble);
        let _ = self.sender.try_send(());
    }
}

/// As long as it is there, the file is watched.
struct Watching {
    noticed: Arc<Mutex<Noticed>>,
    sender: SyncSender<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        lock(&self.noticed).is_over = true;
        let _ = self.sender.try_send(());
    }
}

/// Until nothing more happens, or it has gone on for long enough.
fn wait_for_quiet(happened: &Receiver<()>) {
    wait_for_quiet_until(happened, Instant::now() + LONGEST_UNREST);
}

fn wait_for_quiet_until(happened: &Receiver<()>, end: Instant) {
    while Instant::now() < end && happened.recv_timeout(QUIET).is_ok() {}
}

/// Reads the file again.
struct Reader {
    path: PathBuf,
    report: Box<dyn Fn(PolicyReload<'_>) + Send>,
    noticed: Arc<Mutex<Noticed>>,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// What was wrong the last time, so that it is not said twice.
    failed: Option<String>,
}

impl Reader {
    fn new(
        path: &Path,
        report: Box<dyn Fn(PolicyReload<'_>) + Send>,
        noticed: Arc<Mutex<Noticed>>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            report,
            noticed,
            watcher: None,
            watched: BTreeSet::new(),
            failed: None,
        }
    }

    /// Begins to watch.
    fn listen(&mut self, sender: &SyncSender<()>) {
        let listener = Listener::new(Arc::clone(&self.noticed), sender.clone());
        match notify::recommended_watcher(listener) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.watch();
            }
            Err(error) => self.report(PolicyReload::Unwatched(&error.to_string())),
        }
    }

    /// Reads the file whenever something has happened to it.
    fn run(mut self, live: &LivePolicy, happened: &Receiver<()>) {
        while happened.recv().is_ok() {
            wait_for_quiet(happened);
            let mut noticed = lock(&self.noticed);
            let (is_over, trouble) = (noticed.is_over, noticed.trouble.take());
            drop(noticed);
            if is_over {
                return;
            }
            if let Some(trouble) = trouble {
                self.report(PolicyReload::Unwatched(&trouble));
            }
            self.watch();
            self.read(live);
        }
    }

    /// Watches the directories of everything that the path leads through now.
    /// All of them anew, because a directory of the same name can be another.
    fn watch(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut trouble = None;
        for _ in 0..TRIES {
            let trail = trail(&self.path);
            let parents = trail.iter().filter_map(|path| path.parent());
            let directories: BTreeSet<PathBuf> = parents.map(Path::to_owned).collect();
            let paths = trail.into_iter().chain(directories.iter().cloned());
            lock(&self.noticed).paths = paths.collect();
            for directory in std::mem::take(&mut self.watched) {
                // It may be gone.
                let _ = watcher.unwatch(&directory);
            }
            trouble = None;
            for directory in directories {
                match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                    Ok(()) => drop(self.watched.insert(directory)),
                    Err(error) => trouble = Some(error.to_string()),
                }
            }
            if trouble.is_none() {
                break;
            }
        }
        if let Some(trouble) = trouble {
            self.report(PolicyReload::Unwatched(&trouble));
        }
    }

    fn read(&mut self, live: &LivePolicy) {
        match Policy::from_path(&self.path) {
            Ok(policy) => {
                let is_restored = self.failed.take().is_some();
                if live.replace(policy) || is_restored {
                    self.report(PolicyReload::Loaded(&live.current()));
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.failed.as_ref() != Some(&text) {
                    self.report(PolicyReload::Failed(&error));
                    self.failed = Some(text);
                }
            }
        }
    }

    /// Whoever is told may panic; the file is still watched.
    fn report(&self, reload: PolicyReload<'_>) {
        let _ = asked("reload closure", || (self.report)(reload));
    }
}
