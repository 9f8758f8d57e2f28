//! What others can cause as often as they like is not said as often.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::lock::lock;

/// How often it is said.
const EVERY: Duration = Duration::from_secs(1);

/// Lets something be said from time to time, with how often it was not said.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<Unsaid>);

#[derive(Default)]
struct Unsaid {
    /// When it was said the last time.
    said: Option<Instant>,
    /// How often it was not said since.
    others: u64,
}

impl Throttle {
    /// How often it was not said since it was said, if it is to be said now.
    pub(crate) fn due(&self) -> Option<u64> {
        let mut unsaid = lock(&self.0);
        if unsaid.said.is_some_and(|said| said.elapsed() < EVERY) {
            unsaid.others = unsaid.others.saturating_add(1);
            return None;
        }
        unsaid.said = Some(Instant::now());
        Some(std::mem::take(&mut unsaid.others))
    }

    /// As if it had been said long ago.
    #[cfg(test)]
    fn forget(&self) {
        self.0.lock().unwrap().said = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_counted() {
        let throttle = Throttle::default();
        assert_eq!(throttle.due(), Some(0));
        throttle.0.lock().unwrap().said = Instant::now().checked_add(EVERY * 100);
        assert_eq!([throttle.due(), throttle.due()], [None, None]);
        throttle.forget();
        assert_eq!(throttle.due(), Some(2));
        throttle.forget();
        assert_eq!(throttle.due(), Some(0));
    }
}
