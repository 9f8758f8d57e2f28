//! Which calls of a session are under way.
//!
//! A server may send the answer to one request on the stream of another, where
//! only the id tells whose it is. Of two with one id nobody can tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::lock::lock;
use crate::session::folded;

/// The calls under way, by session and id.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    table: Mutex<HashMap<Key, UnderWay>>,
}

type Key = (Box<str>, Box<[u8]>);

#[derive(Debug, Default)]
struct UnderWay {
    calls: usize,
    /// Whether there was ever more than one at a time.
    is_shared: bool,
}

/// A call that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct CallUnderWay {
    calls: Arc<Calls>,
    key: Key,
}

impl Calls {
    /// A call of this session begins.
    pub(super) fn begin(self: &Arc<Self>, session: &str, id: &[u8]) -> CallUnderWay {
        let key: Key = (folded(session).into(), id.into());
        let mut table = self.lock();
        let entry = table.entry(key.clone()).or_default();
        entry.is_shared |= entry.calls > 0;
        entry.calls = entry.calls.saturating_add(1);
        drop(table);
        CallUnderWay {
            calls: Arc::clone(self),
            key,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, UnderWay>> {
        lock(&self.table)
    }
}

impl CallUnderWay {
    /// Whether an answer with this id can only be the answer to this call.
    pub(super) fn is_unique(&self) -> bool {
        let table = self.calls.lock();
        table.get(&self.key).is_some_and(|entry| !entry.is_shared)
    }
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        let mut table = self.calls.lock();
        if let Some(entry) = table.get_mut(&self.key) {
            entry.calls = entry.calls.saturating_sub(1);
            if entry.calls == 0 {
                table.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_calls_with_one_id_neither_is_unique() {
        let calls = Arc::<Calls>::default();
        let one = calls.begin("S", b"1");
        assert!(one.is_unique() && calls.begin("s", b"2").is_unique());
        assert!(calls.begin("other", b"1").is_unique());
        let two = calls.begin("{s}", b"1");
        assert!(!one.is_unique() && !two.is_unique());
        drop(one);
        assert!(!two.is_unique(), "the answer to the other may still come");
        drop(two);
        assert!(calls.begin("s", b"1").is_unique());
        assert!(calls.lock().is_empty());
    }
}
