//! What belongs to whom, bounded in all and for each owner.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is remembered in all.
const MOST: usize = 100_000;

/// What is remembered of one owner. What comes beyond pushes out the owner's
/// own.
const MOST_OF_ONE_OWNER: usize = 1_000;

/// How long something is remembered that nobody uses.
const IDLE: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of an id that is remembered.
const LONGEST_ID: usize = 1024;

#[derive(Debug)]
pub(super) struct Table<T> {
    entries: HashMap<Box<str>, Entry<T>>,
    /// How many entries each owner has.
    counts: HashMap<Arc<str>, usize>,
}

#[derive(Debug)]
struct Entry<T> {
    owner: Arc<str>,
    value: T,
    last_used: Instant,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            counts: HashMap::new(),
        }
    }
}

impl<T: Clone> Table<T> {
    /// Whose it is, which counts as a use.
    pub(super) fn get(&mut self, id: &str, now: Instant) -> Option<(Arc<str>, T)> {
        let entry = self.entries.get_mut(id)?;
        entry.last_used = now;
        Some((Arc::clone(&entry.owner), entry.value.clone()))
    }

    /// Remembers whose it is; who had it first keeps it. Whether there was room.
    pub(super) fn insert(&mut self, id: &str, owner: Arc<str>, value: T, now: Instant) -> bool {
        if self.entries.contains_key(id) {
            return true;
        }
        if id.len() > LONGEST_ID {
            return false;
        }
        let count = self.counts.get(&owner).copied().unwrap_or(0);
        if count >= MOST_OF_ONE_OWNER {
            self.remove_oldest_of(&owner);
        }
        if self.entries.len() >= MOST {
            self.remove_idle(now);
        }
        if self.entries.len() >= MOST {
            return false;
        }
        let count = self.counts.entry(Arc::clone(&owner)).or_default();
        *count = count.saturating_add(1);
        let entry = Entry {
            owner,
            value,
            last_used: now,
        };
        self.entries.insert(id.into(), entry);
        true
    }

    pub(super) fn remove(&mut self, id: &str) {
        let Some(entry) = self.entries.remove(id) else {
            return;
        };
        if let Some(count) = self.counts.get_mut(&entry.owner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&entry.owner);
            }
        }
    }

    fn remove_oldest_of(&mut self, owner: &str) {
        let own = self
            .entries
            .iter()
            .filter(|(_, entry)| *entry.owner == *owner);
        let oldest = own.min_by_key(|(_, entry)| entry.last_used);
        if let Some(id) = oldest.map(|(id, _)| id.clone()) {
            self.remove(&id);
        }
    }

    fn remove_idle(&mut self, now: Instant) {
        let is_idle = |entry: &Entry<T>| now.saturating_duration_since(entry.last_used) > IDLE;
        let idle: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| is_idle(entry))
            .map(|(id, _)| id.clone())
            .collect();
        for id in idle {
            self.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_of(table: &mut Table<u8>, id: &str, now: Instant) -> Option<String> {
        table.get(id, now).map(|(owner, _)| owner.to_string())
    }

    #[test]
    fn who_had_it_first_keeps_it() {
        let mut table = Table::default();
        let now = Instant::now();
        assert_eq!(table.get("s", now), None);
        assert!(table.insert("s", "alice".into(), 1, now));
        assert!(table.insert("s", "bob".into(), 2, now));
        assert_eq!(table.get("s", now), Some(("alice".into(), 1)));
        table.remove("s");
        assert_eq!(table.get("s", now), None);
        assert!(table.counts.is_empty());
        assert!(!table.insert(&"x".repeat(LONGEST_ID + 1), "bob".into(), 0, now));
    }

    #[test]
    fn an_owner_pushes_out_its_own_only() {
        let mut table = Table::default();
        let start = Instant::now();
        table.insert("alice's", "alice".into(), 0, start);
        for index in 0..=MOST_OF_ONE_OWNER {
            let now = start + Duration::from_millis(index as u64);
            table.insert(&format!("bob's {index}"), "bob".into(), 0, now);
        }
        assert_eq!(table.entries.len(), MOST_OF_ONE_OWNER + 1);
        assert!(owner_of(&mut table, "alice's", start).is_some());
        assert!(owner_of(&mut table, "bob's 0", start).is_none());
        assert!(owner_of(&mut table, "bob's 1", start).is_some());
    }

    #[test]
    fn what_is_idle_makes_room() {
        let mut table = Table::default();
        let start = Instant::now();
        for index in 0..MOST {
            let owner = format!("caller {}", index / MOST_OF_ONE_OWNER);
            table.insert(&index.to_string(), owner.into(), 0, start);
        }
        assert!(!table.insert("full", "late".into(), 0, start + IDLE));
        assert!(owner_of(&mut table, "full", start + IDLE).is_none());
        table.get("0", start + IDLE);
        assert!(table.insert("later", "late".into(), 0, start + IDLE + IDLE / 2));
        assert_eq!(table.entries.len(), 2, "one was used, and one is new");
    }
}
