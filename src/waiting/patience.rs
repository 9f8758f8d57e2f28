//! How long anything is waited for.
//!
//! A timer of its own wakes a thread when it is made and again when it is let go, for each
//! call whose record is written. So those who begin to wait on a thread at about the same time
//! share one. Threads have their own: what one of them writes to, another has to wait for.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_timer::Delay;

use crate::lock::lock;
use crate::places::Places;
use crate::seam;

/// How long anything waits for a sink or a store, at most.
const LONGEST: Duration = Duration::from_millis(100);
/// Those who begin within this time of each other can share a timer: the first of them wait
/// for [`LONGEST`], and the last for this much less.
const STEP: Duration = Duration::from_millis(10);

/// Ready once it has been waited for long enough.
pub(super) struct Patience {
    timer: Arc<Timer>,
    /// Where whoever waits is found.
    place: Option<usize>,
}

impl Patience {
    /// The usual one, which is shared.
    pub(super) fn usual() -> Self {
        thread_local! {
            static NEWEST: RefCell<Option<Arc<Timer>>> = const { RefCell::new(None) };
        }
        let shared =
            NEWEST.try_with(|newest| Self::shared(&mut newest.borrow_mut(), Instant::now()));
        // On a thread that is about to end there is none.
        shared.unwrap_or_else(|_| Self::of(LONGEST))
    }

    fn shared(newest: &mut Option<Arc<Timer>>, now: Instant) -> Self {
        let timer = match newest {
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
        let place = None;
        Self { timer, place }
    }
}

impl Future for Patience {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { timer, place } = &mut *self;
        let mut waiting = lock(&timer.waiting);
        // Nobody is woken who comes to wait after that.
        if timer.is_over.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        let waker = context.waker();
        let (index, before) =
            waiting.wait(*place, |known| known.will_wake(waker), || waker.clone());
        // Not before it is there: to clone a waker may panic.
        *place = Some(index);
        drop(waiting);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        if let Some(index) = self.place {
            let left = lock(&self.timer.waiting).take(index);
            drop(left);
        }
    }
}

/// When those who share it have waited for long enough.
struct Timer {
    end: Instant,
    is_over: AtomicBool,
    /// Who is woken then.
    waiting: Mutex<Places<Waker>>,
    /// What wakes this timer, until then.
    delay: Mutex<Option<Delay>>,
}

impl Timer {
    fn start(now: Instant, time: Duration) -> Arc<Self> {
        let timer = Arc::new(Self {
            end: now + time,
            is_over: AtomicBool::default(),
            waiting: Mutex::default(),
            delay: Mutex::default(),
        });
        timer.look(Delay::new(time));
        timer
    }

    /// Wakes everybody if the time is over, and looks again when it is.
    fn look(self: &Arc<Self>, mut delay: Delay) {
        let waker = Waker::from(Arc::clone(self));
        match Pin::new(&mut delay).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => self.end(),
            Poll::Pending => *lock(&self.delay) = Some(delay),
        }
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        let woken = lock(&self.waiting).take_those(|_| true);
        woken.into_iter().for_each(seam::wake);
    }
}

impl Wake for Timer {
    fn wake(self: Arc<Self>) {
        let delay = lock(&self.delay).take();
        match delay {
            Some(delay) => self.look(delay),
            // It was over before anybody could look again.
            None => self.end(),
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
        let mut newest = None;
        let now = Instant::now();
        let one = Patience::shared(&mut newest, now);
        let other = Patience::shared(&mut newest, now + STEP);
        assert!(Arc::ptr_eq(&one.timer, &other.timer));
        let late = Patience::shared(&mut newest, now + STEP * 2);
        assert!(!Arc::ptr_eq(&one.timer, &late.timer));
    }

    #[test]
    fn a_thread_has_a_timer_of_its_own_which_ends_without_it() {
        let here = Patience::usual();
        let there = std::thread::spawn(Patience::usual).join().unwrap();
        assert!(!Arc::ptr_eq(&here.timer, &there.timer));
        block_on(there);
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
        timer.end();
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
