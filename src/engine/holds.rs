//! How many calls are held at once, because somebody has to approve them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use crate::lock::lock;

use futures_channel::oneshot;

/// Of one caller.
const MOST_OF_A_CALLER: usize = 20;
const MOST: usize = 1_000;

/// Knows them by their callers.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<Arc<str>, Vec<Entry>>,
    /// How many there are.
    size: usize,
    /// How many there ever were.
    begun: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    call: Option<HeldCall>,
    /// Dropped when the client does not wait any more.
    _waits: oneshot::Sender<Infallible>,
}

/// By what a client says which of its calls it does not wait for any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldCall {
    /// As the client names it.
    pub(crate) session: Box<str>,
    /// What its id says.
    pub(crate) id: Box<[u8]>,
}

/// A call that is held, until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    holds: Holds,
    caller: Arc<str>,
    number: u64,
    ended: oneshot::Receiver<Infallible>,
}

impl Holds {
    /// Holds one more, unless there are too many.
    pub(super) fn begin(&self, caller: &Arc<str>, call: Option<HeldCall>) -> Option<Hold> {
        let mut table = self.lock();
        let own = table.calls.get(caller).map_or(0, Vec::len);
        if own >= MOST_OF_A_CALLER || table.size >= MOST {
            return None;
        }
        let number = table.begun;
        table.begun = number.wrapping_add(1);
        table.size = table.size.saturating_add(1);
        let (waits, ended) = oneshot::channel();
        table
            .calls
            .entry(Arc::clone(caller))
            .or_default()
            .push(Entry {
                number,
                call,
                _waits: waits,
            });
        Some(Hold {
            holds: self.clone(),
            caller: Arc::clone(caller),
            number,
            ended,
        })
    }

    /// The client does not wait for this call any more. Says whether it is held.
    pub(super) fn end(&self, caller: &str, call: &HeldCall) -> bool {
        // They wake others, which is not done under the lock.
        let ended = self
            .lock()
            .remove(caller, |entry| entry.call.as_ref() == Some(call));
        !ended.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

impl Table {
    fn remove(&mut self, caller: &str, is_meant: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let Some(own) = self.calls.get_mut(caller) else {
            return Vec::new();
        };
        let all = std::mem::take(own).into_iter();
        let (removed, kept): (Vec<_>, Vec<_>) = all.partition(is_meant);
        *own = kept;
        if own.is_empty() {
            self.calls.remove(caller);
        }
        self.size = self.size.saturating_sub(removed.len());
        removed
    }
}

impl Hold {
    /// Waits until the client does not any more.
    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.ended).poll(context).map(drop)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let ended = self
            .holds
            .lock()
            .remove(&self.caller, |entry| entry.number == self.number);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_for_each_caller_and_in_all() {
        let holds = Holds::default();
        let of = |caller: &str| {
            let caller = caller.into();
            std::iter::from_fn(|| holds.begin(&caller, None)).collect::<Vec<_>>()
        };
        let alice = of("alice");
        assert_eq!(alice.len(), MOST_OF_A_CALLER);
        let others: Vec<_> = (0..100).map(|number| of(&number.to_string())).collect();
        assert_eq!(
            others.iter().map(Vec::len).sum::<usize>(),
            MOST - MOST_OF_A_CALLER
        );
        drop(alice);
        assert_eq!(of("bob").len(), MOST_OF_A_CALLER);
        drop(others);
        assert!(holds.lock().calls.is_empty());
        assert_eq!(holds.lock().size, 0);
    }

    #[test]
    fn only_the_call_that_is_meant_ends() {
        let holds = Holds::default();
        let [alice, bob]: [Arc<str>; 2] = ["alice", "bob"].map(Into::into);
        let call = |session: &str, id: &[u8]| HeldCall {
            session: session.into(),
            id: id.into(),
        };
        let begin = |caller, call| holds.begin(caller, Some(call)).unwrap();
        let mut meant = begin(&alice, call("s", b"1"));
        let mut others = [
            begin(&alice, call("s", b"2")),
            begin(&alice, call("t", b"1")),
            begin(&bob, call("s", b"1")),
        ];
        let context = &mut Context::from_waker(std::task::Waker::noop());
        assert!(meant.poll_ended(context).is_pending());
        assert!(holds.end("alice", &call("s", b"1")));
        assert!(meant.poll_ended(context).is_ready());
        assert!(!holds.end("alice", &call("s", b"1")));
        assert!(
            others
                .iter_mut()
                .all(|other| other.poll_ended(context).is_pending())
        );
        drop(meant);
        assert_eq!(holds.lock().size, others.len());
        drop(others);
        assert_eq!(holds.lock().size, 0);
    }
}
