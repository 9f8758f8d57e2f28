//! Which states were used.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use crate::limit::{STATE_KEPT, StateId};

/// States that are remembered; what comes beyond counts as used.
const MOST: usize = 100_000;

/// Remembers what may be used once.
#[derive(Debug, Default)]
pub(super) struct Once {
    used: HashSet<StateId>,
    /// The same in the order in which they are forgotten.
    order: VecDeque<(Instant, StateId)>,
}

impl Once {
    /// Whether it was not used before.
    pub(super) fn use_up(&mut self, state: &StateId, now: Instant) -> bool {
        while let Some((at, oldest)) = self.order.front() {
            if now.saturating_duration_since(*at) <= STATE_KEPT {
                break;
            }
            self.used.remove(oldest);
            self.order.pop_front();
        }
        if self.used.len() >= MOST || !self.used.insert(*state) {
            return false;
        }
        self.order.push_back((now, *state));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state(number: u32) -> StateId {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        StateId::new(bytes)
    }

    #[test]
    fn each_is_used_once_until_it_is_forgotten() {
        let (mut once, now) = (Once::default(), Instant::now());
        assert!(once.use_up(&state(1), now));
        assert!(!once.use_up(&state(1), now));
        assert!(once.use_up(&state(2), now + STATE_KEPT));
        assert!(!once.use_up(&state(1), now + STATE_KEPT));
        let later = now + STATE_KEPT + Duration::from_nanos(1);
        assert!(!once.use_up(&state(2), later));
        assert!(once.use_up(&state(1), later));
        assert_eq!((once.used.len(), once.order.len()), (2, 2));
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let (mut once, now) = (Once::default(), Instant::now());
        let most = u32::try_from(MOST).unwrap();
        assert!((0..most).all(|number| once.use_up(&state(number), now)));
        assert!(!once.use_up(&state(most), now));
        let later = now + STATE_KEPT + Duration::from_nanos(1);
        assert!(once.use_up(&state(most), later));
        assert_eq!(once.order.len(), 1);
    }
}
