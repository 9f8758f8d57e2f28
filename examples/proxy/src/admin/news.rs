//! What has changed lately, in memory: for the page that shows it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};

use mcp_policy::Policy;
use tokio::sync::watch;

use crate::lock::lock;

/// Changes that are remembered.
const MOST: usize = 100;
/// Characters of each of them.
const LONGEST: usize = 1_000;
/// Characters of a digest that tell policies apart.
const DIGITS: usize = 12;

/// What has changed; clones share it.
#[derive(Clone)]
pub(crate) struct News(Arc<Shared>);

struct Shared {
    kept: Mutex<Kept>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Event>,
    /// The digests of those that hold; `None` before the first.
    policies: Option<BTreeMap<PathBuf, String>>,
}

/// Something that has changed.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: SystemTime,
    /// The operator who did it, if it was done here.
    pub(crate) by: Option<Arc<str>>,
    pub(crate) text: String,
}

impl Default for News {
    fn default() -> Self {
        Self(Arc::new(Shared {
            kept: Mutex::default(),
            changes: watch::Sender::new(()),
        }))
    }
}

impl News {
    /// Something has changed. The text names no secrets.
    pub(crate) fn tell(&self, text: &str) {
        self.add(None, text);
    }

    /// An operator has changed something.
    pub(crate) fn tell_by(&self, operator: &Arc<str>, text: &str) {
        self.add(Some(Arc::clone(operator)), text);
    }

    /// These policies hold from now on; what is another one than before is told.
    pub(crate) fn policies_are(&self, policies: &BTreeMap<&Path, &Policy>) {
        let now = policies.iter();
        let now: BTreeMap<_, _> = now
            .map(|(path, policy)| (path.to_path_buf(), short(policy.digest())))
            .collect();
        let old = self.kept().policies.replace(now.clone());
        let Some(old) = old else {
            return;
        };
        for (path, digest) in &now {
            let path_shown = path.display();
            match old.get(path) {
                Some(before) if before == digest => {}
                Some(before) => self.tell(&format!(
                    "The policy {path_shown} holds as {digest}; it was {before} before"
                )),
                None => self.tell(&format!("The policy {path_shown} holds now, as {digest}")),
            }
        }
        for path in old.keys().filter(|path| !now.contains_key(*path)) {
            self.tell(&format!("The policy {} holds no more", path.display()));
        }
    }

    /// The newest first.
    pub(crate) fn lately(&self) -> Vec<Event> {
        self.kept().events.iter().rev().cloned().collect()
    }

    /// Tells that there is something new.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    fn add(&self, by: Option<Arc<str>>, text: &str) {
        let event = Event {
            at: SystemTime::now(),
            by,
            text: text.chars().take(LONGEST).collect(),
        };
        let mut kept = self.kept();
        if kept.events.len() >= MOST {
            kept.events.pop_front();
        }
        kept.events.push_back(event);
        drop(kept);
        self.0.changes.send_replace(());
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.0.kept)
    }
}

/// So much of a digest as people compare.
pub(crate) fn short(digest: &str) -> String {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.chars().take(DIGITS).collect()
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_remembered_and_none_is_endless() {
        let news = News::default();
        news.tell(&"x".repeat(10 * LONGEST));
        assert_eq!(news.lately()[0].text.len(), LONGEST);
        for number in 0..MOST {
            news.tell_by(&"alice".into(), &number.to_string());
        }
        let lately = news.lately();
        assert_eq!(lately.len(), MOST);
        assert_eq!(
            (&*lately[0].text, lately[0].by.as_deref()),
            ("99", Some("alice"))
        );
        assert_eq!(lately[MOST - 1].text, "0");
    }

    #[test]
    fn of_policies_is_told_what_is_another_one() {
        let news = News::default();
        let policy = |default: &str| -> Policy {
            let text = format!(r#"{{"version":"1","default":"{default}"}}"#);
            text.parse().unwrap()
        };
        let (deny, allow) = (policy("deny"), policy("allow"));
        let [a, b, c] = ["a.json", "b.json", "c.json"].map(Path::new);
        news.policies_are(&[(a, &deny), (b, &deny)].into());
        assert!(news.lately().is_empty());
        news.policies_are(&[(a, &allow), (c, &deny)].into());
        let told: Vec<_> = news.lately().into_iter().map(|event| event.text).collect();
        let [old, new] = [&deny, &allow].map(|policy| short(policy.digest()));
        assert_eq!(old.len(), DIGITS);
        assert_eq!(
            told,
            [
                "The policy b.json holds no more".to_owned(),
                format!("The policy c.json holds now, as {old}"),
                format!("The policy a.json holds as {new}; it was {old} before"),
            ]
        );
    }
}
