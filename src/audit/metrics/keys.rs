//! The keys of what is counted for every message. To make them takes several times as
//! long as to count by them, and there are few: each thread remembers its own.

use std::cell::RefCell;
use std::hash::BuildHasher as _;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use metrics::{Key, Label};

use super::{DECISIONS, LATENCY, labels_of_decision, method_label, server, tool};
use crate::audit::kinds::{Ending, Verdict};
use crate::audit::record::DecisionRecord;

/// Keys of decisions that a thread remembers, and as many of latencies. What is beyond is
/// made anew for every message.
const MOST: usize = 4_096;

thread_local! {
    static KEYS: RefCell<Keys> = RefCell::default();
}

/// By what a decision about this is counted, and how long it took that ended so.
pub(super) fn of(record: &DecisionRecord, ending: Ending) -> (Rc<Key>, Rc<Key>) {
    KEYS.try_with(|keys| {
        let keys = &mut *keys.try_borrow_mut().ok()?;
        Some((keys.of_decision(record), keys.of_latency(record, ending)))
    })
    .ok()
    .flatten()
    // A thread that ends has none any more.
    .unwrap_or_else(|| {
        let mut keys = Keys::default();
        (keys.of_decision(record), keys.of_latency(record, ending))
    })
}

#[derive(Default)]
struct Keys {
    hashing: RandomState,
    decisions: HashTable<Decided>,
    latencies: HashTable<Ended>,
}

struct Decided {
    server: Option<Arc<str>>,
    method: &'static str,
    tool: Option<Box<str>>,
    verdict: Verdict,
    rule: Box<str>,
    key: Rc<Key>,
}

struct Ended {
    server: Option<Arc<str>>,
    ending: Ending,
    key: Rc<Key>,
}

impl Keys {
    fn of_decision(&mut self, record: &DecisionRecord) -> Rc<Key> {
        let (method, tool) = (method_label(record), tool(record));
        let (server, verdict, rule) = (record.server(), record.verdict(), record.rule());
        let hash = |server: Option<&str>, tool: Option<&str>, rule: &str| {
            self.hashing.hash_one((server, tool, rule))
        };
        let hashed = hash(server, tool.as_deref(), rule);
        let is_it = |decided: &Decided| {
            decided.verdict == verdict
                && decided.method == method
                && *decided.rule == *rule
                && decided.tool.as_deref() == tool.as_deref()
                && decided.server.as_deref() == server
        };
        if let Some(decided) = self.decisions.find(hashed, is_it) {
            return Rc::clone(&decided.key);
        }
        let shown = tool.as_deref().map(Box::from);
        let labels = labels_of_decision(record, tool);
        let key = Rc::new(Key::from_parts(DECISIONS, Vec::from(labels)));
        if self.decisions.len() < MOST {
            let decided = Decided {
                server: record.shared_server(),
                method,
                tool: shown,
                verdict,
                rule: rule.into(),
                key: Rc::clone(&key),
            };
            let hash_of = |it: &Decided| hash(it.server.as_deref(), it.tool.as_deref(), &it.rule);
            self.decisions.insert_unique(hashed, decided, hash_of);
        }
        key
    }

    fn of_latency(&mut self, record: &DecisionRecord, ending: Ending) -> Rc<Key> {
        let hash = |server: Option<&str>| self.hashing.hash_one(server);
        let hashed = hash(record.server());
        let is_it =
            |ended: &Ended| ended.ending == ending && ended.server.as_deref() == record.server();
        if let Some(ended) = self.latencies.find(hashed, is_it) {
            return Rc::clone(&ended.key);
        }
        let labels = vec![
            Label::new("server", server(record)),
            Label::from_static_parts("ending", ending.as_str()),
        ];
        let key = Rc::new(Key::from_parts(LATENCY, labels));
        if self.latencies.len() < MOST {
            let ended = Ended {
                server: record.shared_server(),
                ending,
                key: Rc::clone(&key),
            };
            self.latencies
                .insert_unique(hashed, ended, |ended| hash(ended.server.as_deref()));
        }
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::Facts;
    use crate::audit::testing::decision_with;

    /// A change of a record.
    type Change = fn(&mut Facts);

    #[test]
    fn a_key_that_is_remembered_is_the_one_that_would_be_made() {
        let changes: [Change; 9] = [
            |_| (),
            |facts| facts.server = None,
            |facts| facts.server = Some("t".into()),
            |facts| facts.method = Some("prompts/get".into()),
            |facts| facts.method = Some("what/ever".into()),
            |facts| facts.method = None,
            |facts| facts.verdict = Verdict::Limited,
            |facts| facts.rule = "/tools/b/limits/0".into(),
            |facts| facts.inner = Some("b".into()),
        ];
        let records = ["a", "b"].map(|tool| changes.map(|change| decision_with(tool, change)));
        let mut remembered = Keys::default();
        let mut seen = Vec::new();
        for record in records.iter().flatten().chain(records.iter().flatten()) {
            let record = record.decision();
            for ending in [Ending::Answered, Ending::Failed] {
                let mut anew = Keys::default();
                let decision = remembered.of_decision(record);
                assert_eq!(decision, anew.of_decision(record));
                let latency = remembered.of_latency(record, ending);
                assert_eq!(latency, anew.of_latency(record, ending));
                seen.push((decision, latency));
            }
        }
        // The second time, none was made.
        let (first, second) = seen.split_at(seen.len() / 2);
        for ((one, late), (other, later)) in first.iter().zip(second) {
            assert!(Rc::ptr_eq(one, other) && Rc::ptr_eq(late, later));
        }
        assert_eq!(remembered.latencies.len(), 6);
    }
}
