use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may be held at once by everybody who shares the budget.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    limit: usize,
}

/// A share of a [`Budget`], given back when it is dropped.
pub(crate) struct Hold {
    budget: Arc<Budget>,
    bytes: usize,
}

/// The budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent;

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            limit,
        })
    }

    /// A share of no bytes yet.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        Hold {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

impl Hold {
    /// Makes the share this many bytes large. It stays as it was if the budget
    /// does not allow that.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), Spent> {
        if let Some(less) = self.bytes.checked_sub(bytes) {
            self.budget.held.fetch_sub(less, Ordering::AcqRel);
        } else {
            let more = bytes.saturating_sub(self.bytes);
            self.budget
                .held
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                    held.checked_add(more)
                        .filter(|held| *held <= self.budget.limit)
                })
                .map_err(|_| Spent)?;
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Hold {
    /// A part of the share, to be given back by itself.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        Self {
            budget: Arc::clone(&self.budget),
            bytes,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hold").field(&self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_and_given_back() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.hold(), budget.hold());
        assert_eq!(one.resize(6), Ok(()));
        assert_eq!(other.resize(5), Err(Spent));
        assert_eq!(other.resize(4), Ok(()));
        assert_eq!(one.resize(2), Ok(()));
        assert_eq!(other.resize(8), Ok(()));
        let part = other.split(3);
        assert_eq!(one.resize(3), Err(Spent));
        drop(part);
        assert_eq!(one.resize(5), Ok(()));
        drop(other);
        assert_eq!(one.resize(10), Ok(()));
        assert_eq!(one.resize(11), Err(Spent));
        drop(one);
        assert_eq!(budget.held.load(Ordering::Acquire), 0);
    }
}
