use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

#[cfg(doc)]
use crate::source::PolicySource;

/// How a [`PolicySource`] says that callers may have other policies than before.
///
/// A source of one's own keeps one, returns a clone of it from
/// [`PolicySource::changes`], and [announces](Self::announce) every change:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, RwLock};
/// use mcp_policy::{Caller, Policy, PolicyChanges, PolicyLayer, PolicySource};
///
/// #[derive(Default)]
/// struct Teams {
///     policies: RwLock<HashMap<String, Policy>>,
///     changes: PolicyChanges,
/// }
///
/// impl Teams {
///     fn set(&self, team: &str, policy: Policy) {
///         self.policies.write().unwrap().insert(team.to_owned(), policy);
///         self.changes.announce();
///     }
/// }
///
/// impl PolicySource for Teams {
///     fn policy_for(&self, caller: &Caller) -> Option<Policy> {
///         let team = caller.claims().get("team")?.as_str()?;
///         self.policies.read().unwrap().get(team).cloned()
///     }
///
///     fn changes(&self) -> Option<PolicyChanges> {
///         Some(self.changes.clone())
///     }
/// }
///
/// let teams = Arc::new(Teams::default());
/// let layer = PolicyLayer::from_source(Arc::clone(&teams));
/// // At any time.
/// teams.set("finance", r#"{ "version": "1", "default": "deny" }"#.parse()?);
/// # Ok::<(), mcp_policy::LoadError>(())
/// ```
#[derive(Clone, Default)]
pub struct PolicyChanges {
    board: Arc<Board>,
}

#[derive(Default)]
struct Board {
    /// How often something was announced.
    count: AtomicU64,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    next: u64,
    slots: HashMap<u64, Arc<Slot>>,
}

/// Who is woken. In a slot of its own, so that the many who wait do not wait for
/// each other.
type Slot = Mutex<Option<Waker>>;

impl PolicyChanges {
    /// Nothing has changed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that from now on some caller may have another policy than before.
    /// Whose lists look different by it is found out by whoever listens.
    pub fn announce(&self) {
        self.board.count.fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    /// How often something was announced.
    pub(crate) fn count(&self) -> u64 {
        self.board.count.load(Ordering::SeqCst)
    }

    /// Lets everybody look again who waits.
    pub(crate) fn wake(&self) {
        let slots: Vec<_> = lock(&self.board.watches).slots.values().cloned().collect();
        for slot in slots {
            // Whoever is woken may want to look at once.
            let waker = lock(&slot).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Waits for changes until it is dropped.
    pub(crate) fn watch(&self) -> Watch {
        let slot = Arc::<Slot>::default();
        let mut watches = lock(&self.board.watches);
        let key = watches.next;
        watches.next = key.wrapping_add(1);
        watches.slots.insert(key, Arc::clone(&slot));
        drop(watches);
        Watch {
            changes: self.clone(),
            key,
            slot,
        }
    }
}

impl fmt::Debug for PolicyChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyChanges")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// Somebody who waits for changes.
pub(crate) struct Watch {
    changes: PolicyChanges,
    key: u64,
    slot: Arc<Slot>,
}

impl Watch {
    /// How often something was announced by now. The task is woken when it is
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
        self.changes.count()
    }

    pub(crate) fn changes(&self) -> &PolicyChanges {
        &self.changes
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.changes.board.watches).slots.remove(&self.key);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Nothing is left half done under these locks, so a panic of another thread
/// spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_waits_is_woken_once_and_forgotten_when_dropped() {
        let changes = PolicyChanges::new();
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let watch = changes.watch();
        changes.announce();
        assert_eq!(woken.0.load(Ordering::SeqCst), 0, "nobody has asked yet");
        assert_eq!(watch.poll(&mut context), 1);
        assert_eq!(watch.poll(&mut context), 1);
        changes.announce();
        changes.announce();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert_eq!(watch.poll(&mut context), 3);
        drop(watch);
        changes.announce();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(lock(&changes.board.watches).slots.is_empty());
        drop(waker);
        assert_eq!(Arc::strong_count(&woken), 1);
    }
}
