//! A clock that stands until it is moved.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use mcp_policy::{Clock, Moment};

#[derive(Clone, Debug)]
pub(crate) struct ManualClock(Arc<Mutex<Moment>>);

impl ManualClock {
    /// One that shows this time, in seconds since 1970.
    pub(crate) fn at(seconds: u64) -> Self {
        Self(Arc::new(Mutex::new(Moment {
            instant: Instant::now(),
            system: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        })))
    }

    pub(crate) fn advance(&self, time: Duration) {
        let mut moment = self.0.lock().unwrap();
        moment.instant += time;
        moment.system += time;
    }

    pub(crate) fn advance_secs(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }
}
