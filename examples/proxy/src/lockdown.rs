//! The file that locks everything down, or some of it, while it is there.
//!
//! It is looked at whenever a policy is wanted, so that it holds from the next call on.
//! What is locked has a policy that refuses everything; sessions go on, and streams stay
//! open: nothing of the server's comes on them, because they are judged by that policy.
//! [`change`] locks something.

pub(crate) mod change;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use mcp_policy::{LoadError, Policy};
use toml_edit::{DocumentMut, Item, Value, value};

use crate::{
    config::files::{self, Seen},
    lock::lock,
    names::shown,
};

/// What callers of something that is locked have.
const POLICY: &str = include_str!("lockdown/lockdown.json");

/// What is locked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locks {
    pub(crate) everything: bool,
    pub(crate) servers: BTreeSet<String>,
    pub(crate) grants: BTreeSet<String>,
    /// By their whole name, or by what an issuer calls them.
    pub(crate) callers: BTreeSet<String>,
}

/// Who may be locked out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Somebody<'a> {
    /// The label of their grant, if they have one.
    pub(crate) grant: Option<&'a str>,
    /// As the policy knows them.
    pub(crate) caller: &'a str,
}

/// Why nobody knows what a file locks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown(pub(crate) String);

impl Locks {
    /// What the file says. Without one nothing is locked, and by an empty one everything.
    pub(crate) fn read(path: &Path) -> Result<Self, Unknown> {
        match files::read(path) {
            Ok(None) => Ok(Self::default()),
            Ok(Some(text)) => Self::parse(&text),
            Err(error) => Err(Unknown(format!("cannot read it: {error}"))),
        }
    }

    fn parse(text: &str) -> Result<Self, Unknown> {
        let document: DocumentMut = text
            .parse()
            .map_err(|_| Unknown("it is no TOML".to_owned()))?;
        let mut locks = Self {
            everything: document.is_empty(),
            ..Self::default()
        };
        for (name, item) in document.iter() {
            let wrong = || Unknown(format!("`{}` is not understood", shown(name)));
            match name {
                "everything" => locks.everything = item.as_bool().ok_or_else(wrong)?,
                "servers" => locks.servers = names(item).ok_or_else(wrong)?,
                "grants" => locks.grants = names(item).ok_or_else(wrong)?,
                "callers" => locks.callers = names(item).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            }
        }
        Ok(locks)
    }

    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is locked by its name, as the file calls it.
    fn lists(&self) -> [(&'static str, &BTreeSet<String>); 3] {
        [
            ("servers", &self.servers),
            ("grants", &self.grants),
            ("callers", &self.callers),
        ]
    }

    /// As a file that says this.
    pub(crate) fn to_text(&self) -> String {
        let list = |names: &BTreeSet<String>| names.iter().collect::<Value>();
        let mut document = DocumentMut::new();
        if self.everything {
            document.insert("everything", value(true));
        }
        for (name, names) in self.lists() {
            if !names.is_empty() {
                document.insert(name, value(list(names)));
            }
        }
        document.to_string()
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "everything": self.everything,
            "servers": self.servers,
            "grants": self.grants,
            "callers": self.callers,
        })
    }

    /// In words, for operators.
    pub(crate) fn told(&self) -> String {
        let mut parts = Vec::new();
        for (what, names) in self.lists() {
            if !names.is_empty() {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                parts.push(format!("the {what} {}", names.join(", ")));
            }
        }
        match self.everything {
            true => "Everything is locked down".to_owned(),
            false if parts.is_empty() => "Nothing is locked down".to_owned(),
            false => format!("Locked down: {}", parts.join(", ")),
        }
    }

    pub(crate) fn concerns(&self, server: &str, who: Somebody<'_>) -> bool {
        let is_called = |name: &String| {
            let rest = who.caller.strip_suffix(name.as_str());
            // An issuer and what it calls them are parted so.
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('#'))
        };
        self.everything
            || self.servers.contains(server)
            || who.grant.is_some_and(|grant| self.grants.contains(grant))
            || self.callers.iter().any(is_called)
    }
}

fn names(item: &Item) -> Option<BTreeSet<String>> {
    let list = item.as_array()?.iter();
    list.map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Whether a policy is the one that callers of something locked have.
pub(crate) fn is_policy(digest: &str) -> bool {
    let policy = POLICY.parse::<Policy>();
    policy.is_ok_and(|policy| policy.digest() == digest)
}

/// What is locked now.
#[derive(Debug)]
pub(super) struct Lockdown {
    policy: Policy,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// Of the configuration that runs.
    first: Looked,
    /// Of the one that stands there and does not load, if that names another file: what
    /// the command locks is locked.
    second: Option<Looked>,
    /// How often it has become something else.
    changes: u64,
}

/// A file, and what it said.
#[derive(Debug)]
struct Looked {
    path: PathBuf,
    seen: Seen,
    /// Everything is, if nobody knows.
    locks: Result<Locks, Unknown>,
}

impl Looked {
    fn at(path: PathBuf) -> Self {
        let seen = Seen::now(&path);
        let locks = Locks::read(&path);
        Self { path, seen, locks }
    }

    /// The same, and says what is locked, if anything is.
    fn said_at(path: &Path) -> Self {
        let looked = Self::at(path.to_owned());
        if looked.locks_something() {
            looked.say();
        }
        looked
    }

    /// Looks again, and says whether it says something else.
    fn look(&mut self) -> bool {
        if self.seen.is_current() {
            return false;
        }
        let new = Self::at(self.path.clone());
        let differs = new.locks != self.locks;
        *self = new;
        if differs {
            self.say();
        }
        differs
    }

    fn locks_something(&self) -> bool {
        !self.locks.as_ref().is_ok_and(Locks::is_nothing)
    }

    fn say(&self) {
        let file = self.path.display();
        match &self.locks {
            Err(Unknown(why)) => {
                tracing::error!(
                    %file,
                    why,
                    "the lockdown is not understood: everything is locked down"
                );
            }
            Ok(locks) if locks.is_nothing() => tracing::warn!(%file, "nothing is locked down"),
            Ok(Locks {
                everything,
                servers,
                grants,
                callers,
            }) => {
                tracing::warn!(%file, everything, ?servers, ?grants, ?callers, "locked down");
            }
        }
    }
}

impl Held {
    fn all(&self) -> impl Iterator<Item = &Looked> {
        [&self.first].into_iter().chain(&self.second)
    }

    fn look(&mut self) {
        for looked in [&mut self.first].into_iter().chain(&mut self.second) {
            self.changes = self.changes.saturating_add(u64::from(looked.look()));
        }
    }

    fn another(&mut self, path: &Path) -> Looked {
        self.changes = self.changes.saturating_add(1);
        Looked::said_at(path)
    }
}

impl Lockdown {
    pub(super) fn new(path: &Path) -> Result<Self, LoadError> {
        Ok(Self {
            held: Mutex::new(Held {
                first: Looked::said_at(path),
                second: None,
                changes: 0,
            }),
            policy: POLICY.parse::<Policy>()?.shut(),
        })
    }

    /// What everybody has while everything is locked.
    pub(super) fn for_all(&self) -> Policy {
        self.policy.clone()
    }

    /// From now on it is this file alone.
    pub(super) fn follow(&self, path: &Path) {
        let mut held = self.held();
        if held.first.path != path {
            held.first = held.another(path);
        }
        if held.second.take().is_some() {
            held.changes = held.changes.saturating_add(1);
        }
    }

    /// From now on it is this file, too.
    pub(super) fn follow_too(&self, path: &Path) {
        let mut held = self.held();
        if held.all().last().is_some_and(|last| last.path == path) {
            return;
        }
        held.second = match held.first.path == path {
            true => None,
            false => Some(held.another(path)),
        };
    }

    /// The policy of somebody, if they are locked out.
    pub(super) fn policy(&self, server: &str, who: Somebody<'_>) -> Option<Policy> {
        let held = self.look();
        let is_locked = held.all().any(|looked| {
            let locks = looked.locks.as_ref();
            locks.map_or(true, |locks| locks.concerns(server, who))
        });
        is_locked.then(|| self.policy.clone())
    }

    /// What is locked now, and by which file the configuration has it said.
    pub(super) fn now(&self) -> (PathBuf, Locks) {
        let held = self.look();
        let mut all = Locks::default();
        for looked in held.all() {
            match &looked.locks {
                Ok(locks) => {
                    all.everything |= locks.everything;
                    all.servers.extend(locks.servers.iter().cloned());
                    all.grants.extend(locks.grants.iter().cloned());
                    all.callers.extend(locks.callers.iter().cloned());
                }
                Err(_) => all.everything = true,
            }
        }
        (held.first.path.clone(), all)
    }

    /// How often what is locked has changed.
    pub(super) fn changes(&self) -> u64 {
        self.look().changes
    }

    fn look(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held();
        held.look();
        held
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

/// Writes what is to be locked, so that nobody ever reads half of it.
pub(crate) fn write(path: &Path, locks: &Locks) -> io::Result<()> {
    if locks.is_nothing() {
        return match std::fs::remove_file(files::linked(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    files::write(path, &locks.to_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_locks_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.lockdown");
        let lockdown = Lockdown::new(&path).unwrap();
        let locked = |server: &str, grant: Option<&str>| {
            let caller = grant.unwrap_or("https://login.example.com#alice");
            let who = Somebody { grant, caller };
            lockdown.policy(server, who).is_some()
        };
        assert!(!locked("a", Some("x")));
        for everything in [
            "",
            "# Now!\n",
            "everything = true",
            "a",
            "server = [\"b\"]",
            "servers = 1",
            "grants = [1]",
            "callers = \"alice\"",
        ] {
            std::fs::write(&path, everything).unwrap();
            assert!(locked("a", Some("x")) && locked("b", None), "{everything}");
        }
        std::fs::write(&path, [0xff]).unwrap();
        assert!(locked("a", None));
        std::fs::write(
            &path,
            "servers = [\"b\"]\ngrants = [\"x\"]\neverything = false",
        )
        .unwrap();
        assert!(locked("b", None) && locked("b", Some("y")) && locked("a", Some("x")));
        assert!(!locked("a", None) && !locked("a", Some("y")));
        for (name, is_locked) in [
            ("https://login.example.com#alice", true),
            ("alice", true),
            ("ice", false),
            ("", false),
            ("https://other.example.com#alice", false),
        ] {
            std::fs::write(&path, format!("callers = [\"{name}\"]")).unwrap();
            assert_eq!(locked("a", None), is_locked, "{name}");
            assert!(!locked("a", Some("x")));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(!locked("b", Some("x")));
        // What is there and can be no file.
        std::fs::create_dir(&path).unwrap();
        assert!(locked("a", None));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.lockdown");
        let some = Locks {
            everything: false,
            servers: BTreeSet::from(["a".to_owned()]),
            grants: BTreeSet::from(["x".to_owned(), "y".to_owned()]),
            callers: BTreeSet::from(["https://a#z".to_owned()]),
        };
        let all = Locks {
            everything: true,
            ..some.clone()
        };
        for locks in [some, all, Locks::default()] {
            write(&path, &locks).unwrap();
            assert_eq!(Locks::read(&path).unwrap(), locks);
        }
        assert!(!path.exists());
        write(&path, &Locks::default()).unwrap();
    }

    /// By which several gateways are locked at once.
    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_whether_something_is_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("all"), folder.path().join("one"));
        std::os::unix::fs::symlink("all", &link).unwrap();
        let everything = Locks {
            everything: true,
            ..Locks::default()
        };
        for _ in 0..2 {
            write(&link, &everything).unwrap();
            assert_eq!(Locks::read(&path).unwrap(), everything);
            write(&link, &Locks::default()).unwrap();
            assert!(!path.exists() && link.is_symlink());
        }
    }
}
