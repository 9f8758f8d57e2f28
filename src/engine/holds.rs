//! How many calls are held at once, because somebody has to approve them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of one caller.
const MOST_OF_A_CALLER: usize = 20;
const MOST: usize = 1_000;

/// Counts them for each caller.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(Arc<Mutex<HashMap<Arc<str>, usize>>>);

/// A call that is held, until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    holds: Holds,
    caller: Arc<str>,
}

impl Holds {
    /// Counts one more, unless there are too many.
    pub(super) fn begin(&self, caller: &Arc<str>) -> Option<Hold> {
        let mut held = self.lock();
        let all: usize = held.values().sum();
        let own = held.get(caller).copied().unwrap_or_default();
        if own >= MOST_OF_A_CALLER || all >= MOST {
            return None;
        }
        held.insert(Arc::clone(caller), own.saturating_add(1));
        Some(Hold {
            holds: self.clone(),
            caller: Arc::clone(caller),
        })
    }

    /// Nothing is left half done under the lock, so a panic of another thread spoils
    /// nothing.
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.lock();
        if let Some(own) = held.get_mut(&self.caller) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.remove(&self.caller);
            }
        }
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
            std::iter::from_fn(|| holds.begin(&caller)).collect::<Vec<_>>()
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
        assert!(holds.lock().is_empty());
    }
}
