//! Records on their way to the thread of a sink, which writes many at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::written::{Writing, Written};
use super::{Receipt, Unrecorded};
use crate::lock::lock;

/// Bytes that may wait to be written to one place.
const MOST_WAITING: usize = 16 << 20;

/// While one is written, another is filled; at times both are empty.
const MOST_ROOMS: usize = 2;

/// What waits is gathered in a `C`.
pub(super) struct Queue<C> {
    state: Mutex<State<C>>,
    filled: Condvar,
    /// Records that are written at once, at most.
    most: usize,
}

#[derive(Default)]
struct State<C> {
    /// What is written before the last, in that order.
    full: VecDeque<Batch<C>>,
    last: Batch<C>,
    /// What the next are put into, so that nothing has to be allocated for them: what one
    /// thread allocates and another frees has them wait for each other.
    rooms: Vec<C>,
    /// How much waits here and in all queues [beside](Queue::beside) this one.
    waiting: Arc<AtomicUsize>,
    /// Whether somebody is at what was taken.
    is_taken: bool,
    is_woken: bool,
    is_closed: bool,
    /// What whoever closes it waits for, once somebody has.
    closing: Option<Written>,
    /// Whether the thread of the sink has to be woken.
    is_awaited: bool,
}

/// What is written at once, and who waits for that.
#[derive(Default)]
pub(super) struct Batch<C> {
    pub(super) content: C,
    /// Those who wait for it: one for each record, and who closes the queue.
    waiting: usize,
    bytes: usize,
    writing: Writing,
}

/// What there is to do.
pub(super) enum Taken<C> {
    Batch(Batch<C>),
    /// Nothing for so long, or it was woken.
    #[cfg_attr(
        not(feature = "sqlite"),
        allow(dead_code, reason = "others wait forever")
    )]
    Nothing,
    /// Nothing any more.
    Closed,
}

impl<C: Default> Queue<C> {
    /// One whose batches are of so many records at most.
    pub(super) fn by(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Condvar::default(),
            most,
        }
    }

    /// Another one, whose batches are as large. Together they hold as much as one.
    pub(super) fn beside(&self) -> Self {
        let beside = Self::by(self.most);
        beside.lock().waiting = Arc::clone(&self.lock().waiting);
        beside
    }

    /// Takes a record of so many bytes, unless too many are waiting. The thread of the sink
    /// has to look for it unless somebody else is going to.
    pub(super) fn push(
        &self,
        bytes: usize,
        is_looked_for: bool,
        add: impl FnOnce(&mut C),
    ) -> Receipt {
        let mut state = self.lock();
        if state.is_closed || !state.has_room_for(bytes) {
            return Receipt::unrecorded();
        }
        let batch = state.last(self.most);
        batch.bytes = batch.bytes.saturating_add(bytes);
        add(&mut batch.content);
        let written = batch.wait();
        if !is_looked_for {
            self.call(state);
        }
        Receipt::pending(written)
    }

    /// What has waited longest, as soon as there is something and nobody else is at it, or
    /// after so long. For the thread of the sink, which [leaves](Self::leave) it then.
    pub(super) fn take(&self, patience: Option<Duration>) -> Taken<C> {
        let is_idle = |state: &mut State<C>| {
            let is_there = !state.is_empty() || state.is_woken || state.is_closed;
            let is_idle = state.is_taken || !is_there;
            state.is_awaited = is_idle;
            is_idle
        };
        let mut state = match patience {
            Some(patience) => {
                let waited = self
                    .filled
                    .wait_timeout_while(self.lock(), patience, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.filled.wait_while(self.lock(), is_idle);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        state.is_woken = false;
        state.is_awaited = false;
        if state.is_taken {
            return Taken::Nothing;
        }
        match (state.next(), state.is_closed) {
            (Some(batch), _) => {
                state.is_taken = true;
                Taken::Batch(batch)
            }
            (None, true) => Taken::Closed,
            (None, false) => Taken::Nothing,
        }
    }

    /// The same for everybody else, who do not wait.
    pub(super) fn take_now(&self) -> Option<Batch<C>> {
        let mut state = self.lock();
        if state.is_taken {
            return None;
        }
        let next = state.next()?;
        state.is_taken = true;
        Some(next)
    }

    /// Has what comes next put into this, which is empty.
    pub(super) fn make_room(&self, empty: C) {
        let mut state = self.lock();
        if state.rooms.len() < MOST_ROOMS {
            state.rooms.push(empty);
        }
    }

    /// Somebody else can take the next.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.is_taken = false;
        self.call(state);
    }

    /// The thread of the sink looks up, although there may be nothing.
    #[cfg(feature = "sqlite")]
    pub(super) fn wake(&self) {
        let mut state = self.lock();
        state.is_woken = true;
        self.call(state);
    }

    /// Nothing more comes. What this returns waits until what came is written, or known
    /// not to be.
    pub(super) fn close(&self) -> impl Future<Output = Result<(), Unrecorded>> + use<C> {
        let mut state = self.lock();
        let closing = match &state.closing {
            // The last batch is still the last one.
            Some(closing) => Some(closing.again()),
            // Whoever takes has panicked.
            None if state.is_closed => None,
            None => {
                let closing = state.last(self.most).wait();
                state.closing = Some(closing.again());
                Some(closing)
            }
        };
        state.is_closed = true;
        self.call(state);
        async {
            match closing {
                Some(written) => written.await,
                None => Err(Unrecorded),
            }
        }
    }

    /// Wakes whoever takes, if that has to be: to wake nobody costs as much.
    fn call(&self, mut state: MutexGuard<'_, State<C>>) {
        let is_there = !state.is_empty() || state.is_woken || state.is_closed;
        let is_awaited = is_there && std::mem::take(&mut state.is_awaited);
        drop(state);
        if is_awaited {
            self.filled.notify_one();
        }
    }

    /// For whoever writes to hold: when that ends, by a panic as well, nobody waits for it.
    pub(super) fn taker(&self) -> Taker<'_, C> {
        Taker(self)
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        lock(&self.state)
    }

    /// Returns once the thread of the sink has nothing to do: before it has looked for the
    /// first time, it takes what others have promised to look for.
    #[cfg(test)]
    pub(super) fn rested(&self) {
        while !self.lock().is_awaited {
            std::thread::yield_now();
        }
    }
}

impl<C: Default> State<C> {
    fn is_empty(&self) -> bool {
        self.full.is_empty() && self.last.waiting == 0
    }

    /// Where something can be added.
    fn last(&mut self, most: usize) -> &mut Batch<C> {
        if self.last.waiting >= most {
            self.full.push_back(std::mem::take(&mut self.last));
        }
        if self.last.waiting == 0
            && let Some(room) = self.rooms.pop()
        {
            self.last.content = room;
        }
        &mut self.last
    }

    /// What has waited longest.
    fn next(&mut self) -> Option<Batch<C>> {
        if self.is_empty() {
            return None;
        }
        let next = self.full.pop_front();
        let next = next.unwrap_or_else(|| std::mem::take(&mut self.last));
        self.waiting.fetch_sub(next.bytes, Ordering::Relaxed);
        Some(next)
    }

    /// Whether so many bytes may wait, too, which they do from now on.
    fn has_room_for(&self, bytes: usize) -> bool {
        let with = |waiting: usize| {
            let waiting = waiting.checked_add(bytes)?;
            (waiting <= MOST_WAITING).then_some(waiting)
        };
        let waiting = &self.waiting;
        let updated = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
        updated.is_ok()
    }
}

/// See [`Queue::taker`].
pub(super) struct Taker<'q, C: Default>(&'q Queue<C>);

impl<C: Default> Taker<'_, C> {
    /// What has waited longest behind what was taken.
    pub(super) fn next(&self) -> Option<Batch<C>> {
        self.0.lock().next()
    }

    /// Lets others go on.
    pub(super) fn leave(self) {
        self.0.leave();
        std::mem::forget(self);
    }
}

impl<C: Default> Drop for Taker<'_, C> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.is_taken = false;
        let left: Vec<_> = std::iter::from_fn(|| state.next()).collect();
        self.0.call(state);
        left.into_iter().for_each(|batch| drop(batch.settle(false)));
    }
}

impl<C> Batch<C> {
    /// Waits until all that is in it is written, or known not to be.
    fn wait(&mut self) -> Written {
        self.waiting = self.waiting.saturating_add(1);
        #[cfg(feature = "metrics")]
        super::metrics::waits();
        self.writing.written()
    }

    /// Tells all who wait whether it is written. Some of them may not be woken before what
    /// is given back is dropped.
    #[must_use = "to drop it wakes those who are still waiting"]
    pub(super) fn settle(self, is_written: bool) -> Writing {
        self.writing.tell(is_written);
        self.settled()
    }

    /// The same where some of them wait on this thread, which are woken.
    #[must_use = "to drop it wakes those who are still waiting"]
    pub(super) fn settle_here(self, is_written: bool) -> Writing {
        self.writing.tell_here(is_written);
        self.settled()
    }

    fn settled(self) -> Writing {
        #[cfg(feature = "metrics")]
        super::metrics::settled(self.waiting);
        self.writing
    }
}

/// Tells the operator once that it does not work, and once that it does again.
#[derive(Debug, Default)]
pub(super) struct Telling {
    is_failing: bool,
}

impl Telling {
    pub(super) fn result<E: fmt::Display>(&mut self, result: &Result<(), E>) {
        match result {
            Err(error) if !self.is_failing => {
                tracing::error!(target: "mcp_policy", %error, "cannot write audit records: calls are refused until it works again");
            }
            Ok(()) if self.is_failing => {
                tracing::info!(target: "mcp_policy", "audit records can be written again");
            }
            _ => {}
        }
        self.is_failing = result.is_err();
    }

    /// Whether it did not work the last time.
    #[cfg(feature = "sqlite")]
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::task;
    use tokio_test::{assert_pending, assert_ready_eq};

    use super::*;
    use crate::audit::Settlement;

    fn batch(queue: &Queue<Vec<u8>>) -> Batch<Vec<u8>> {
        match queue.take(Some(Duration::ZERO)) {
            Taken::Batch(batch) => batch,
            Taken::Nothing | Taken::Closed => panic!("there is none"),
        }
    }

    #[test]
    fn who_closes_it_waits_for_what_came_before() {
        let queue = Queue::<Vec<u8>>::by(usize::MAX);
        drop(queue.push(1, false, |lines| lines.push(b'1')));
        let under_way = batch(&queue);
        drop(queue.push(1, false, |lines| lines.push(b'2')));
        let mut closing = task::spawn(queue.close());
        assert_pending!(closing.poll());
        let late = queue.push(1, false, |lines| lines.push(b'3')).settle();
        assert!(matches!(late, Settlement::Known(Err(Unrecorded))));
        drop(under_way.settle(true));
        queue.leave();
        assert_pending!(closing.poll());
        let last = batch(&queue);
        assert_eq!(last.content, b"2");
        assert_pending!(closing.poll());
        drop(last.settle(false));
        queue.leave();
        assert_ready_eq!(closing.poll(), Err(Unrecorded));
        assert!(matches!(queue.take(None), Taken::Closed));
        // Nobody is there any more who could answer, and it did not end well.
        assert_ready_eq!(task::spawn(queue.close()).poll(), Err(Unrecorded));
    }

    #[test]
    fn whoever_closes_it_once_more_hears_the_same() {
        for is_written in [true, false] {
            let queue = Queue::<Vec<u8>>::by(1);
            drop(queue.push(1, false, |lines| lines.push(b'1')));
            let mut closing = [(); 3].map(|()| task::spawn(queue.close()));
            drop(batch(&queue).settle(true));
            queue.leave();
            assert!(closing.iter_mut().all(|one| one.poll().is_pending()));
            drop(batch(&queue).settle(is_written));
            queue.leave();
            let known = is_written.then_some(()).ok_or(Unrecorded);
            for one in &mut closing {
                assert_ready_eq!(one.poll(), known.clone());
            }
            assert!(matches!(queue.take(None), Taken::Closed));
            assert_ready_eq!(task::spawn(queue.close()).poll(), known);
        }
    }

    #[test]
    fn room_is_made_for_what_comes_next_and_nothing_is_lost_by_it() {
        let queue = Queue::<Vec<u8>>::by(usize::MAX);
        queue.make_room(Vec::with_capacity(1_000));
        for written in [[1, 2], [3, 4]] {
            for line in written {
                drop(queue.push(1, false, |lines| lines.push(line)));
                // As far as it is needed: not for what is there already.
                queue.make_room(Vec::with_capacity(1_000));
            }
            let batch = batch(&queue);
            assert_eq!(batch.content, written);
            assert!(batch.content.capacity() >= 1_000);
            queue.leave();
        }
    }

    #[test]
    fn no_more_than_so_many_are_written_at_once_in_their_order() {
        let queue = Queue::<Vec<u8>>::by(2);
        let mut all: Vec<_> = (0..5)
            .map(|record| task::spawn(queue.push(1, false, |lines| lines.push(record)).patiently()))
            .collect();
        for (records, is_written) in [(vec![0, 1], true), (vec![2, 3], false), (vec![4], true)] {
            assert!(all.iter_mut().all(|waiting| waiting.poll().is_pending()));
            let batch = batch(&queue);
            assert_eq!(batch.content, records);
            drop(batch.settle(is_written));
            queue.leave();
            for mut waiting in all.drain(..records.len()) {
                assert_ready_eq!(waiting.poll(), is_written.then_some(()).ok_or(Unrecorded));
            }
        }
        assert!(matches!(queue.take(Some(Duration::ZERO)), Taken::Nothing));
    }

    #[test]
    fn nobody_waits_for_a_writer_that_has_panicked() {
        let queue = Queue::<Vec<u8>>::by(usize::MAX);
        drop(queue.push(1, false, |lines| lines.push(b'1')));
        let mut before = task::spawn(queue.close());
        assert_pending!(before.poll());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _taker = queue.taker();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_ready_eq!(before.poll(), Err(Unrecorded));
        assert_ready_eq!(task::spawn(queue.close()).poll(), Err(Unrecorded));
    }

    #[test]
    fn one_at_a_time_takes_and_the_thread_takes_what_is_left() {
        let queue = Queue::<Vec<u8>>::by(1);
        (0..3).for_each(|record| drop(queue.push(1, true, |lines| lines.push(record))));
        let first = queue.take_now().unwrap();
        assert!(queue.take_now().is_none());
        assert!(matches!(queue.take(Some(Duration::ZERO)), Taken::Nothing));
        let taker = queue.taker();
        let second = taker.next().unwrap();
        assert_eq!((first.content, second.content), (vec![0], vec![1]));
        std::thread::scope(|scope| {
            let third = scope.spawn(|| match queue.take(None) {
                Taken::Batch(third) => third.content,
                Taken::Nothing | Taken::Closed => vec![],
            });
            taker.leave();
            assert_eq!(third.join().unwrap(), [2]);
        });
    }

    #[test]
    fn whoever_panics_while_writing_for_the_thread_ends_it() {
        let queue = Queue::<Vec<u8>>::by(usize::MAX);
        let mut first = task::spawn(queue.push(1, true, |lines| lines.push(b'1')).patiently());
        let taken = queue.take_now().unwrap();
        let mut second = task::spawn(queue.push(1, true, |lines| lines.push(b'2')).patiently());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let (_taker, _taken) = (queue.taker(), taken);
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_ready_eq!(first.poll(), Err(Unrecorded));
        assert_ready_eq!(second.poll(), Err(Unrecorded));
        assert!(matches!(queue.take(None), Taken::Closed));
        assert_ready_eq!(task::spawn(queue.close()).poll(), Err(Unrecorded));
    }

    #[test]
    fn the_thread_is_woken_for_what_nobody_else_looks_for_and_for_nothing_else() {
        let queue = Queue::<Vec<u8>>::by(usize::MAX);
        let push = |is_looked_for| drop(queue.push(1, is_looked_for, |lines| lines.push(b'1')));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| matches!(queue.take(None), Taken::Batch(_)));
            queue.rested();
            push(true);
            assert!(queue.lock().is_awaited);
            assert!(queue.take_now().is_some());
            queue.leave();
            assert!(queue.lock().is_awaited);
            push(false);
            assert!(thread.join().unwrap());
        });
    }

    #[test]
    fn a_thread_that_waits_ends_when_somebody_panics_while_writing_for_it() {
        let queue = Queue::<Vec<u8>>::by(usize::MAX);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| matches!(queue.take(None), Taken::Closed));
            queue.rested();
            drop(queue.taker());
            assert!(thread.join().unwrap());
        });
    }

    #[test]
    fn a_disk_that_hangs_gets_no_more_than_so_much() {
        let queue = Queue::<Vec<u8>>::by(usize::MAX);
        let line = vec![b'x'; MOST_WAITING / 4];
        let push = || {
            queue
                .push(line.len(), false, |lines| lines.extend_from_slice(&line))
                .settle()
        };
        let taken = (0..8).filter(|_| matches!(push(), Settlement::Awaited(_)));
        assert_eq!(taken.count(), 4);
    }

    #[test]
    fn what_is_taken_leaves_its_room() {
        let queue = Queue::<Vec<u8>>::by(usize::MAX);
        let is_pushed = || {
            let receipt = queue.push(MOST_WAITING, false, |_| ());
            matches!(receipt.settle(), Settlement::Awaited(_))
        };
        for _ in 0..2 {
            assert!(is_pushed() && !is_pushed());
            assert!(matches!(queue.take(Some(Duration::ZERO)), Taken::Batch(_)));
            queue.leave();
        }
    }

    #[test]
    fn what_waits_behind_what_is_taken_keeps_its_room() {
        let queue = Queue::<Vec<u8>>::by(1);
        let is_pushed = |bytes| {
            let receipt = queue.push(bytes, true, |_| ());
            matches!(receipt.settle(), Settlement::Awaited(_))
        };
        let half = MOST_WAITING / 2;
        assert!(is_pushed(half) && is_pushed(half));
        assert!(queue.take_now().is_some());
        assert!(is_pushed(half) && !is_pushed(1));
    }

    #[test]
    fn what_waits_in_one_leaves_less_room_in_others_even_in_new_ones() {
        let first = Queue::<Vec<u8>>::by(1);
        let is_pushed = |queue: &Queue<Vec<u8>>, bytes| {
            let receipt = queue.push(bytes, true, |_| ());
            matches!(receipt.settle(), Settlement::Awaited(_))
        };
        let half = MOST_WAITING / 2;
        assert!(is_pushed(&first, half));
        let second = first.beside();
        assert!(is_pushed(&second, half) && !is_pushed(&second, 1) && !is_pushed(&first, 1));
        drop(second.taker());
        let third = first.beside();
        assert!(is_pushed(&third, half) && !is_pushed(&third, 1));
    }
}
