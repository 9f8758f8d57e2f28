//! Whether a batch is written, and who waits to hear of it.
//!
//! To wake a task from another thread takes a system call, and from the thread on which it
//! runs it takes none. So whoever tells wakes only the first of those who wait on another
//! thread; that one wakes the others. Who is still waiting when the writer goes on is woken by
//! it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use super::Unrecorded;
use crate::lock::lock;
use crate::places::Places;
use crate::seam;

/// For whoever writes. When it is dropped, nobody waits any more: what is not known to be
/// written by then is lost.
#[derive(Default)]
pub(super) struct Writing(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_written: OnceLock<bool>,
    places: Mutex<Places<Waiting>>,
}

struct Waiting {
    thread: ThreadId,
    waker: Waker,
}

impl Writing {
    /// For somebody who waits.
    pub(super) fn written(&self) -> Written {
        Written {
            shared: Arc::clone(&self.0),
            place: None,
        }
    }

    /// Tells whether it is written, once: wakes the first of those who wait on each thread.
    pub(super) fn tell(&self, is_written: bool) {
        self.tell_by(is_written, None);
    }

    /// The same, but wakes all who wait on this thread.
    pub(super) fn tell_here(&self, is_written: bool) {
        self.tell_by(is_written, Some(thread::current().id()));
    }

    fn tell_by(&self, is_written: bool, all_of: Option<ThreadId>) {
        if self.0.is_written.set(is_written).is_ok() {
            let mut threads = Vec::new();
            self.0.wake(|thread| {
                let is_woken = !threads.contains(&thread);
                if is_woken && all_of != Some(thread) {
                    threads.push(thread);
                }
                is_woken
            });
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // Unless it is known already.
        let _ = self.0.is_written.set(false);
        self.0.wake(|_| true);
    }
}

impl Shared {
    /// What is known of it.
    fn known(&self) -> Option<Result<(), Unrecorded>> {
        let is_written = self.is_written.get()?;
        Some(is_written.then_some(()).ok_or(Unrecorded))
    }

    /// Wakes some of those who wait.
    fn wake(&self, mut is_woken: impl FnMut(ThreadId) -> bool) {
        let mut places = lock(&self.places);
        let woken = places.take_those(|waiting| is_woken(waiting.thread));
        drop(places);
        // Whoever is woken may look at once. If one panics, the others are woken all the same.
        for waiting in woken {
            seam::wake(waiting.waker);
        }
    }
}

/// Ready once it is known whether it is written.
pub(super) struct Written {
    shared: Arc<Shared>,
    /// Where it is told whom to wake, and on which thread that was, once that is needed.
    place: Option<(usize, ThreadId)>,
}

impl Written {
    /// For somebody else who waits for the same.
    pub(super) fn again(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            place: None,
        }
    }

    /// Waits in its place, unless it is known by now.
    fn wait(&mut self, waker: &Waker) -> Option<Result<(), Unrecorded>> {
        let thread = thread::current().id();
        let mut places = lock(&self.shared.places);
        // Nobody is woken who comes to wait after that.
        if let Some(known) = self.shared.known() {
            return Some(known);
        }
        let (index, before) = places.wait(
            self.place.map(|(index, _)| index),
            |known| known.thread == thread && known.waker.will_wake(waker),
            || Waiting::here(thread, waker),
        );
        drop(places);
        self.place = Some((index, thread));
        drop(before);
        None
    }

    /// Wakes the others who wait where this one did.
    fn pass_on(&mut self) {
        if let Some((_, here)) = self.place.take() {
            self.shared.wake(|thread| thread == here);
        }
    }
}

impl Waiting {
    fn here(thread: ThreadId, waker: &Waker) -> Self {
        let waker = waker.clone();
        Self { thread, waker }
    }
}

impl Future for Written {
    type Output = Result<(), Unrecorded>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let known = match self.shared.known() {
            Some(known) => known,
            None => match self.wait(context.waker()) {
                Some(known) => known,
                None => return Poll::Pending,
            },
        };
        self.pass_on();
        Poll::Ready(known)
    }
}

/// Whoever goes may have been the one who was to wake the others.
impl Drop for Written {
    fn drop(&mut self) {
        let Some((index, _)) = self.place else {
            return;
        };
        let mut places = lock(&self.shared.places);
        let left = places.take(index);
        let is_known = self.shared.known().is_some();
        drop(places);
        if is_known {
            self.pass_on();
        }
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::seam::testing::panicking_waker;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Somebody who waits on this thread.
    struct Someone {
        written: Written,
        woken: Arc<Count>,
    }

    impl Someone {
        fn waiting_for(writing: &Writing) -> Self {
            let written = writing.written();
            let mut someone = Self {
                written,
                woken: Arc::default(),
            };
            assert!(someone.poll().is_pending());
            someone
        }

        fn poll(&mut self) -> Poll<Result<(), Unrecorded>> {
            let waker = Waker::from(Arc::clone(&self.woken));
            Pin::new(&mut self.written).poll(&mut Context::from_waker(&waker))
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Ordering::SeqCst)
        }
    }

    /// How often each was woken.
    fn woken<const N: usize>(all: &[Someone; N]) -> [usize; N] {
        all.each_ref().map(Someone::woken)
    }

    fn three_waiting_for(writing: &Writing) -> [Someone; 3] {
        [(); 3].map(|()| Someone::waiting_for(writing))
    }

    /// What another thread does, on which nobody waits.
    fn elsewhere<T: Send>(does: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(does).join().unwrap())
    }

    #[test]
    fn the_first_of_a_thread_is_woken_and_wakes_the_others() {
        let writing = Writing::default();
        let mut here = three_waiting_for(&writing);
        let there = elsewhere(|| three_waiting_for(&writing));
        writing.tell(true);
        assert_eq!((woken(&here), woken(&there)), ([1, 0, 0], [1, 0, 0]));
        assert_eq!(here[0].poll(), Poll::Ready(Ok(())));
        assert_eq!((woken(&here), woken(&there)), ([1, 1, 1], [1, 0, 0]));
        assert_eq!(here[2].poll(), Poll::Ready(Ok(())));
        assert_eq!(here[1].poll(), Poll::Ready(Ok(())));
        drop(writing);
        assert_eq!((woken(&here), woken(&there)), ([1, 1, 1], [1, 1, 1]));
    }

    #[test]
    fn all_are_woken_who_wait_where_it_is_told() {
        let writing = Writing::default();
        let here = three_waiting_for(&writing);
        let there = elsewhere(|| three_waiting_for(&writing));
        writing.tell_here(true);
        assert_eq!((woken(&here), woken(&there)), ([1, 1, 1], [1, 0, 0]));
    }

    #[test]
    fn whoever_goes_lets_the_others_be_woken() {
        for told_before in [true, false] {
            let writing = Writing::default();
            let [first, second, third] = three_waiting_for(&writing);
            if told_before {
                writing.tell(true);
                assert_eq!(first.woken(), 1);
                drop(first);
                assert_eq!((second.woken(), third.woken()), (1, 1));
            } else {
                let of_the_first = Arc::clone(&first.woken);
                drop(first);
                writing.tell(true);
                assert_eq!(of_the_first.0.load(Ordering::SeqCst), 0);
                // Nor is anything of it held.
                assert_eq!(Arc::strong_count(&of_the_first), 1);
                assert_eq!((second.woken(), third.woken()), (1, 0));
            }
        }
    }

    #[test]
    fn nobody_waits_for_a_first_that_does_not_look() {
        let writing = Writing::default();
        let mut all = three_waiting_for(&writing);
        writing.tell(true);
        drop(writing);
        assert_eq!(woken(&all), [1, 1, 1]);
        for someone in &mut all {
            assert_eq!(someone.poll(), Poll::Ready(Ok(())));
        }
    }

    #[test]
    fn whoever_waits_elsewhere_by_now_is_woken_there_and_once() {
        let writing = Writing::default();
        let mut someone = Someone::waiting_for(&writing);
        let _other = Someone::waiting_for(&writing);
        let before = Arc::clone(&someone.woken);
        someone.woken = Arc::default();
        elsewhere(|| assert!(someone.poll().is_pending()));
        assert!(someone.poll().is_pending());
        writing.tell(false);
        drop(writing);
        assert_eq!(before.0.load(Ordering::SeqCst), 0);
        assert_eq!(someone.woken(), 1);
        assert_eq!(someone.poll(), Poll::Ready(Err(Unrecorded)));
    }

    #[test]
    fn whoever_has_moved_wakes_those_who_wait_where_it_does_by_now() {
        let writing = Writing::default();
        let [mut moving, here, _] = three_waiting_for(&writing);
        let there = elsewhere(|| {
            assert!(moving.poll().is_pending());
            Someone::waiting_for(&writing)
        });
        writing.tell(true);
        let all = [&moving, &here, &there].map(Someone::woken);
        assert_eq!(all, [1, 1, 0]);
        assert_eq!(moving.poll(), Poll::Ready(Ok(())));
        assert_eq!(there.woken(), 1);
    }

    #[test]
    fn whoever_looks_for_somebody_else_by_now_is_woken_for_that_one() {
        let writing = Writing::default();
        let mut someone = Someone::waiting_for(&writing);
        let before = std::mem::take(&mut someone.woken);
        assert!(someone.poll().is_pending());
        writing.tell(true);
        assert_eq!((before.0.load(Ordering::SeqCst), someone.woken()), (0, 1));
    }

    #[test]
    fn a_panic_of_one_who_is_woken_keeps_no_other_waiting() {
        for is_told in [true, false] {
            let writing = Writing::default();
            let mut panicking = writing.written();
            let waker = panicking_waker();
            let first = Pin::new(&mut panicking).poll(&mut Context::from_waker(&waker));
            assert!(first.is_pending());
            let other = elsewhere(|| Someone::waiting_for(&writing));
            match is_told {
                true => writing.tell(true),
                false => drop(writing),
            }
            assert_eq!(other.woken(), 1);
        }
    }

    #[test]
    fn whoever_finds_all_places_empty_looks_at_none_of_them() {
        let writing = Writing::default();
        let occupied = || lock(&writing.0.places).occupied();
        let [first, mut second, third] = three_waiting_for(&writing);
        let there = elsewhere(|| three_waiting_for(&writing));
        assert_eq!(occupied(), 6);
        // By another waker, by the same, and elsewhere.
        second.woken = Arc::default();
        for _ in 0..2 {
            assert!(second.poll().is_pending());
            assert_eq!(occupied(), 6);
        }
        elsewhere(|| assert!(second.poll().is_pending()));
        assert_eq!(occupied(), 6);
        drop(first);
        assert_eq!(occupied(), 5);
        writing.tell_here(true);
        // The first on each of two others is woken, too.
        assert_eq!(
            (third.woken(), woken(&there), second.woken()),
            (1, [1, 0, 0], 1)
        );
        assert_eq!(occupied(), 2);
        let [one, ..] = there;
        drop(one);
        assert_eq!(occupied(), 0);
        let places = lock(&writing.0.places).take_those(|_| panic!("there is nobody"));
        assert!(places.is_empty());
    }

    #[test]
    fn what_nobody_tells_of_is_lost() {
        let writing = Writing::default();
        let [mut first, ..] = three_waiting_for(&writing);
        let mut late = writing.written();
        drop(writing);
        assert_eq!(first.poll(), Poll::Ready(Err(Unrecorded)));
        let mut context = Context::from_waker(Waker::noop());
        let lost = Pin::new(&mut late).poll(&mut context);
        assert_eq!(lost, Poll::Ready(Err(Unrecorded)));
    }
}
