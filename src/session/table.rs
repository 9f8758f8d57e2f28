//! What belongs to whom, bounded in all and for each owner.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Bytes of an id that is remembered.
pub(super) const LONGEST_ID: usize = 1024;

/// How much a [`Table`] remembers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) in_all: usize,
    /// Of one owner. What comes beyond pushes out the owner's own.
    pub(crate) of_one: usize,
}

/// Whose each id is. Whatever is done takes no more than logarithmic time.
#[derive(Debug)]
pub(crate) struct Table<T> {
    bounds: Bounds,
    entries: HashMap<Arc<str>, Entry<T>>,
    owners: HashMap<Arc<str>, Uses>,
    /// The owners, with whoever has to make room at the end.
    ranks: BTreeSet<Rank>,
    /// Counts the uses: what was used last has the greatest number.
    clock: u64,
}

#[derive(Debug)]
struct Entry<T> {
    owner: Arc<str>,
    value: T,
    last_used: u64,
}

/// The ids of an owner, by when they were used.
type Uses = BTreeMap<u64, Arc<str>>;

/// How many ids an owner has, and when that was used which has not been for
/// longest: of two with as many, the greater is the one whose is older.
type Rank = (usize, Reverse<u64>, Arc<str>);

/// `None` for an owner who has none.
fn rank(owner: &Arc<str>, uses: &Uses) -> Option<Rank> {
    let (oldest, _) = uses.first_key_value()?;
    Some((uses.len(), Reverse(*oldest), Arc::clone(owner)))
}

impl<T: Clone> Table<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: HashMap::new(),
            owners: HashMap::new(),
            ranks: BTreeSet::new(),
            clock: 0,
        }
    }

    /// Whose it is. If it is the owner who asks, that is a use.
    pub(crate) fn get(&mut self, id: &str, asking: &str) -> Option<(Arc<str>, T)> {
        let (key, entry) = self.entries.get_key_value(id)?;
        let found = (Arc::clone(&entry.owner), entry.value.clone());
        if *entry.owner == *asking {
            let key = Arc::clone(key);
            self.touch(&key);
        }
        Some(found)
    }

    /// Remembers whose it is; who had it first keeps it.
    pub(crate) fn insert(&mut self, id: &str, owner: &Arc<str>, value: T) {
        if id.len() > LONGEST_ID || self.entries.contains_key(id) {
            return;
        }
        if self.size_of(owner) >= self.bounds.of_one {
            self.remove_oldest_of(owner);
        }
        if self.entries.len() >= self.bounds.in_all {
            // Whoever has the most can spare one.
            let largest = self.ranks.last().map(|(.., owner)| Arc::clone(owner));
            if let Some(largest) = largest {
                self.remove_oldest_of(&largest);
            }
        }
        let id: Arc<str> = id.into();
        self.clock = self.clock.saturating_add(1);
        let entry = Entry {
            owner: Arc::clone(owner),
            value,
            last_used: self.clock,
        };
        self.entries.insert(Arc::clone(&id), entry);
        let clock = self.clock;
        self.change(owner, |uses| drop(uses.insert(clock, id)));
    }

    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(entry) = self.entries.remove(id) {
            self.change(&entry.owner, |uses| drop(uses.remove(&entry.last_used)));
        }
    }

    fn touch(&mut self, id: &Arc<str>) {
        self.clock = self.clock.saturating_add(1);
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut entry.last_used, self.clock);
        let (owner, clock) = (Arc::clone(&entry.owner), self.clock);
        self.change(&owner, |uses| {
            uses.remove(&before);
            uses.insert(clock, Arc::clone(id));
        });
    }

    fn remove_oldest_of(&mut self, owner: &Arc<str>) {
        let uses = self.owners.get(owner);
        let oldest = uses.and_then(|uses| uses.values().next()).cloned();
        if let Some(id) = oldest {
            self.remove(&id);
        }
    }

    fn size_of(&self, owner: &str) -> usize {
        self.owners.get(owner).map_or(0, BTreeMap::len)
    }

    /// Changes what an owner has, and with it the owner's rank.
    fn change(&mut self, owner: &Arc<str>, change: impl FnOnce(&mut Uses)) {
        let uses = self.owners.entry(Arc::clone(owner)).or_default();
        if let Some(before) = rank(owner, uses) {
            self.ranks.remove(&before);
        }
        change(uses);
        match rank(owner, uses) {
            Some(after) => drop(self.ranks.insert(after)),
            None => drop(self.owners.remove(owner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(in_all: usize, of_one: usize) -> Table<u8> {
        Table::new(Bounds { in_all, of_one })
    }

    fn is_known(table: &mut Table<u8>, id: &str) -> bool {
        table.get(id, "nobody").is_some()
    }

    #[test]
    fn who_had_it_first_keeps_it() {
        let mut table = table(10, 10);
        assert_eq!(table.get("s", "alice"), None);
        table.insert("s", &"alice".into(), 1);
        table.insert("s", &"bob".into(), 2);
        assert_eq!(table.get("s", "bob"), Some(("alice".into(), 1)));
        table.remove("s");
        assert_eq!(table.get("s", "alice"), None);
        assert!(table.owners.is_empty() && table.ranks.is_empty());
        let long = "x".repeat(LONGEST_ID + 1);
        table.insert(&long, &"bob".into(), 0);
        assert!(!is_known(&mut table, &long));
    }

    #[test]
    fn an_owner_pushes_out_what_it_has_not_used_for_longest() {
        let mut table = table(100, 3);
        let (alice, bob) = ("alice".into(), "bob".into());
        table.insert("hers", &alice, 0);
        for id in ["1", "2", "3"] {
            table.insert(id, &bob, 0);
        }
        table.get("1", "bob");
        // Somebody else's question is no use of it.
        table.get("2", "alice");
        table.insert("4", &bob, 0);
        let known = ["hers", "1", "2", "3", "4"].map(|id| is_known(&mut table, id));
        assert_eq!(known, [true, true, false, true, true]);
    }

    #[test]
    fn whoever_has_the_most_makes_room_for_others() {
        let mut table = table(6, 5);
        let (alice, bob) = ("alice".into(), "bob".into());
        table.insert("hers", &alice, 0);
        for id in ["1", "2", "3", "4", "5"] {
            table.insert(id, &bob, 0);
        }
        table.insert("hers too", &alice, 0);
        let known = ["hers", "1", "2", "hers too"].map(|id| is_known(&mut table, id));
        assert_eq!(known, [true, false, true, true]);
        assert_eq!(table.entries.len(), 6);
    }

    /// Whatever they are called.
    #[test]
    fn of_those_with_as_many_it_is_who_has_not_used_one_for_longest() {
        for (idle, busy) in [("alice", "bob"), ("bob", "alice")] {
            let mut table = table(4, 5);
            let (idle, busy) = (idle.into(), busy.into());
            for (id, owner) in [("1", &busy), ("2", &idle), ("3", &busy), ("4", &idle)] {
                table.insert(id, owner, 0);
            }
            table.get("1", &busy);
            table.insert("5", &"carol".into(), 0);
            let known = ["1", "2", "3", "4", "5"].map(|id| is_known(&mut table, id));
            assert_eq!(known, [true, false, true, true, true]);
        }
    }

    #[test]
    fn what_is_known_of_how_much_there_is_stays_true() {
        let mut table = table(50, 7);
        for step in 0..2_000_u64 {
            let owner: Arc<str> = (step * 7 % 11).to_string().into();
            let id = (step * 13 % 83).to_string();
            match step % 3 {
                0 => table.insert(&id, &owner, 0),
                1 => drop(table.get(&id, &owner)),
                _ if step % 5 == 0 => table.remove(&id),
                _ => {}
            }
            let sizes: usize = table.ranks.iter().map(|(size, ..)| size).sum();
            let uses: usize = table.owners.values().map(BTreeMap::len).sum();
            assert_eq!((sizes, uses), (table.entries.len(), table.entries.len()));
            assert!(table.entries.len() <= 50);
            assert!(table.ranks.last().is_none_or(|(size, ..)| *size <= 7));
            let ranks = table.owners.iter();
            let ranks = ranks.filter_map(|(owner, uses)| rank(owner, uses));
            assert_eq!(table.ranks, ranks.collect());
        }
    }
}
