//! How many who wait are woken at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use foldhash::fast::RandomState;

use crate::lock::lock;
use crate::seam;

/// Rung when something has changed. Clones are one bell.
#[derive(Clone, Default)]
pub(crate) struct Bell {
    board: Arc<Board>,
}

#[derive(Default)]
struct Board {
    /// How often it was rung.
    count: AtomicU64,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    next: u64,
    slots: HashMap<u64, Arc<Slot>, RandomState>,
}

/// Who is woken. In a slot of its own, so that the many who wait do not wait for
/// each other.
type Slot = Mutex<Option<Waker>>;

impl Bell {
    /// Counts, and wakes everybody who waits.
    pub(crate) fn ring(&self) {
        self.board.count.fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    /// How often it was rung.
    pub(crate) fn count(&self) -> u64 {
        self.board.count.load(Ordering::SeqCst)
    }

    /// Lets everybody look again who waits.
    pub(crate) fn wake(&self) {
        let slots: Vec<_> = lock(&self.board.watches).slots.values().cloned().collect();
        for slot in slots {
            // Whoever is woken may want to look at once. If one panics, the others are woken all
            // the same, and whoever rings goes on.
            let waker = lock(&slot).take();
            if let Some(waker) = waker {
                seam::wake(waker);
            }
        }
    }

    /// Waits for it until it is dropped.
    pub(crate) fn watch(&self) -> Watch {
        let slot = Arc::<Slot>::default();
        let mut watches = lock(&self.board.watches);
        let key = watches.next;
        watches.next = key.wrapping_add(1);
        watches.slots.insert(key, Arc::clone(&slot));
        drop(watches);
        Watch {
            bell: self.clone(),
            key,
            slot,
        }
    }
}

/// Somebody who waits for a [`Bell`].
pub(crate) struct Watch {
    bell: Bell,
    key: u64,
    slot: Arc<Slot>,
}

impl Watch {
    /// How often it was rung by now. The task is woken when it is
    /// more than that.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> u64 {
        let mut slot = lock(&self.slot);
        let is_known = slot
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()));
        let before = match is_known {
            true => None,
            false => slot.replace(context.waker().clone()),
        };
        drop(slot);
        drop(before);
        // Counted behind that, so that nothing is missed in between.
        self.bell.count()
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.bell.board.watches).slots.remove(&self.key);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;
    use crate::seam::testing::panicking_waker;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_waits_is_woken_once_and_forgotten_when_dropped() {
        let bell = Bell::default();
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let watch = bell.watch();
        bell.ring();
        assert_eq!(woken.0.load(Ordering::SeqCst), 0, "nobody has asked yet");
        assert_eq!(watch.poll(&mut context), 1);
        assert_eq!(watch.poll(&mut context), 1);
        bell.ring();
        bell.ring();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert_eq!(watch.poll(&mut context), 3);
        drop(watch);
        bell.ring();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(lock(&bell.board.watches).slots.is_empty());
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1);
    }

    #[test]
    fn a_panic_of_one_who_is_woken_keeps_no_other_waiting() {
        let bell = Bell::default();
        let woken = Arc::<Woken>::default();
        // Whichever comes first.
        let watches = [(); 8].map(|()| bell.watch());
        for (at, watch) in watches.iter().enumerate() {
            let waker = match at % 2 {
                0 => panicking_waker(),
                _ => Waker::from(Arc::clone(&woken)),
            };
            assert_eq!(watch.poll(&mut Context::from_waker(&waker)), 0);
        }
        bell.ring();
        assert_eq!(woken.0.load(Ordering::SeqCst), 4);
    }
}
