use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A reading of the clock. There are these two clocks and no others, so that a [`Clock`]
/// of one's own can make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// On the clock of this process, which never goes back.
    pub instant: Instant,
    /// On the clock of the world, which can.
    pub system: SystemTime,
}

impl Moment {
    /// What the [`SystemClock`] shows now.
    ///
    /// ```
    /// use mcp_policy::Moment;
    ///
    /// let before = Moment::now();
    /// assert!(Moment::now().instant >= before.instant);
    /// ```
    pub fn now() -> Self {
        SystemClock.now()
    }
}

/// Tells the time; see [`PolicyLayer::clock`](crate::PolicyLayer::clock). The
/// default is [`SystemClock`].
///
/// It is read whenever something is judged, and whenever a store is told what became of
/// a call: several times for some requests, and for each message on some streams. Must not
/// block. If it panics, the request is refused.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Moment;
}

#[deny(clippy::missing_trait_methods)]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Moment {
        (**self).now()
    }
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment {
            instant: Instant::now(),
            system: SystemTime::now(),
        }
    }
}

/// Microseconds; what is before 1970 is taken for it.
pub(crate) fn since_1970(system: SystemTime) -> u64 {
    let since = system.duration_since(SystemTime::UNIX_EPOCH);
    micros(since.unwrap_or_default())
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
