//! How long anything is waited for.
//!
//! A timer of its own wakes a thread when it is made and again when it is let go, for each
//! call whose record is written. So those who begin to wait at about the same time share
//! one.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_timer::Delay;

use crate::bell::{Bell, Watch};
use crate::lock::lock;

/// How long anything waits for a sink or a store, at most.
const LONGEST: Duration = Duration::from_millis(100);
/// Those who begin within this time of each other can share a timer: the first of them wait
/// for [`LONGEST`], and the last for this much less.
const STEP: Duration = Duration::from_millis(10);

/// Ready once it has been waited for long enough.
pub(super) struct Patience {
    timer: Arc<Timer>,
    /// Who is woken, once somebody waits.
    watch: Option<Watch>,
}

impl Patience {
    /// The usual one, which is shared.
    pub(super) fn usual() -> Self {
        static NEWEST: Mutex<Option<Arc<Timer>>> = Mutex::new(None);
        Self::shared(&NEWEST, Instant::now())
    }

    fn shared(newest: &Mutex<Option<Arc<Timer>>>, now: Instant) -> Self {
        let mut newest = lock(newest);
        let timer = match &*newest {
            Some(timer) if timer.end + STEP >= now + LONGEST => Arc::clone(timer),
            _ => Arc::clone(newest.insert(Timer::start(now, LONGEST))),
        };
        Self::by(timer)
    }

    /// One of this length, and nobody else's.
    pub(super) fn of(time: Duration) -> Self {
        Self::by(Timer::start(Instant::now(), time))
    }

    fn by(timer: Arc<Timer>) -> Self {
        let watch = None;
        Self { timer, watch }
    }
}

impl Future for Patience {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { timer, watch } = &mut *self;
        if timer.bell.count() > 0 {
            return Poll::Ready(());
        }
        let watch = watch.get_or_insert_with(|| timer.bell.watch());
        match watch.poll(context) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

/// When those who share it have waited for long enough.
struct Timer {
    end: Instant,
    /// Rung then.
    bell: Bell,
    /// What wakes this timer, until then.
    delay: Mutex<Option<Delay>>,
}

impl Timer {
    fn start(now: Instant, time: Duration) -> Arc<Self> {
        let timer = Arc::new(Self {
            end: now + time,
            bell: Bell::default(),
            delay: Mutex::default(),
        });
        timer.look(Delay::new(time));
        timer
    }

    /// Rings if the time is over, and looks again when it is.
    fn look(self: &Arc<Self>, mut delay: Delay) {
        let waker = Waker::from(Arc::clone(self));
        match Pin::new(&mut delay).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => self.bell.ring(),
            Poll::Pending => *lock(&self.delay) = Some(delay),
        }
    }
}

impl Wake for Timer {
    fn wake(self: Arc<Self>) {
        let delay = lock(&self.delay).take();
        match delay {
            Some(delay) => self.look(delay),
            // It was over before anybody could look again.
            None => self.bell.ring(),
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::executor::block_on;
    use futures::future::join;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn is_pending(patience: &mut Patience, woken: &Arc<Woken>) -> bool {
        let waker = Waker::from(Arc::clone(woken));
        let mut context = Context::from_waker(&waker);
        Pin::new(patience).poll(&mut context).is_pending()
    }

    #[test]
    fn it_ends_and_not_too_early() {
        let begun = Instant::now();
        block_on(join(Patience::usual(), Patience::usual()));
        assert!(begun.elapsed() >= LONGEST - STEP);
        let begun = Instant::now();
        block_on(Patience::of(STEP));
        assert!(begun.elapsed() >= STEP);
    }

    #[test]
    fn those_who_begin_together_share_a_timer_and_others_do_not() {
        let newest = Mutex::new(None);
        let now = Instant::now();
        let one = Patience::shared(&newest, now);
        let other = Patience::shared(&newest, now + STEP);
        assert!(Arc::ptr_eq(&one.timer, &other.timer));
        let late = Patience::shared(&newest, now + STEP * 2);
        assert!(!Arc::ptr_eq(&one.timer, &late.timer));
    }

    #[test]
    fn all_are_woken_once_but_those_who_wait_no_more() {
        let timer = Timer::start(Instant::now(), Duration::from_secs(3_600));
        let (woken, gone) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let mut waiting = [(); 2].map(|()| Patience::by(Arc::clone(&timer)));
        for one in &mut waiting {
            assert!(is_pending(one, &woken));
            // Whoever looks twice is woken once.
            assert!(is_pending(one, &woken));
        }
        let mut left = Patience::by(Arc::clone(&timer));
        assert!(is_pending(&mut left, &gone));
        drop(left);
        timer.bell.ring();
        assert_eq!(woken.0.load(Ordering::SeqCst), 2);
        assert_eq!(gone.0.load(Ordering::SeqCst), 0);
        assert!(waiting.iter_mut().all(|one| !is_pending(one, &woken)));
        // Nor is anybody held.
        assert_eq!(
            (Arc::strong_count(&woken), Arc::strong_count(&gone)),
            (1, 1)
        );
    }
}
