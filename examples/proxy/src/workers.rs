//! Threads on which connections are driven.
//!
//! Each has a runtime of its own, and whatever belongs to a call stays on its thread: the
//! connection of the caller, and that to the server. In one runtime for all threads, either
//! of them would be woken on any thread for each step of a call, and the threads would wake
//! each other.

use std::{cell::Cell, convert::Infallible, fmt, io, iter, sync::Arc, thread};

use tokio::runtime::{self, Handle};

use crate::turns::{Turns, Watch};

/// The most there are. One can do many thousands of calls in a second.
const MOST: usize = 64;

thread_local! {
    /// The place of this thread among them.
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// How many of them there are if there are any, as many as can run at once.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, |most| most.get().min(MOST))
}

/// Something of which each of them has its own. All other threads share that of the first.
pub(crate) struct Each<T>(Arc<(T, Vec<T>)>);

impl<T> Each<T> {
    /// What is made by this.
    pub(crate) fn of(make: impl Fn() -> T) -> Self {
        let Ok(each) = Self::beside(make(), |_| Ok::<_, Infallible>(make()));
        each
    }

    /// This one for the first, and what is made beside it for the others.
    pub(crate) fn beside<E>(first: T, beside: impl Fn(&T) -> Result<T, E>) -> Result<Self, E> {
        let others = (1..count()).map(|_| beside(&first));
        let others = others.collect::<Result<_, _>>()?;
        Ok(Self(Arc::new((first, others))))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        let (first, others) = &*self.0;
        iter::once(first).chain(others)
    }

    /// That of this thread.
    pub(crate) fn here(&self) -> &T {
        let (first, others) = &*self.0;
        let place = PLACE.get().checked_sub(1);
        place.and_then(|place| others.get(place)).unwrap_or(first)
    }
}

impl<T> Clone for Each<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Each<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Each").finish_non_exhaustive()
    }
}

/// Where connections can be driven.
pub(crate) struct Workers(Vec<Worker>);

/// A runtime, and who has work there.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) runtime: Handle,
    /// Clones are what it has to do.
    load: Arc<()>,
}

impl Workers {
    /// Nowhere but here.
    pub(crate) fn here() -> Self {
        Self(vec![Worker::of(Handle::current())])
    }

    /// Starts them; they end with the program.
    pub(crate) fn start() -> io::Result<Self> {
        let watch = Arc::<Watch>::default();
        let started: Vec<_> = (0..count())
            .map(|place| Worker::start(place, &watch))
            .collect::<io::Result<_>>()?;
        let (workers, turns) = started.into_iter().unzip();
        watch.over(turns)?;
        Ok(Self(workers))
    }

    /// The one that has the least to do, until what is given back is dropped.
    pub(crate) fn next(&self) -> Worker {
        let workers = self.0.iter();
        let next = workers.min_by_key(|worker| Arc::strong_count(&worker.load));
        next.cloned()
            .unwrap_or_else(|| Worker::of(Handle::current()))
    }
}

impl Worker {
    fn of(runtime: Handle) -> Self {
        let load = Arc::default();
        Self { runtime, load }
    }

    fn start(place: usize, watch: &Arc<Watch>) -> io::Result<(Self, Arc<Turns>)> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let worker = Self::of(runtime.handle().clone());
        let name = format!("connections-{place}");
        let turns = Turns::start(name, runtime, watch, move || PLACE.set(place))?;
        Ok((worker, turns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_thread_has_its_own_and_others_share_that_of_the_first() {
        let workers = Workers::start().unwrap();
        let each = Each::of(|| Arc::new(()));
        let mut theirs = Vec::new();
        let busy: Vec<_> = (0..count()).map(|_| workers.next()).collect();
        for worker in &busy {
            let each = each.clone();
            let own = worker.runtime.spawn(async move { Arc::clone(each.here()) });
            theirs.push(own.await.unwrap());
        }
        let is_first = |own: &Arc<()>| Arc::ptr_eq(own, each.here());
        assert_eq!(theirs.iter().filter(|own| is_first(own)).count(), 1);
        let pairs = theirs.iter().zip(theirs.iter().skip(1));
        assert!(pairs.into_iter().all(|(one, next)| !Arc::ptr_eq(one, next)));
    }

    #[test]
    fn what_is_made_beside_the_first_is_there_for_each_or_not_at_all() {
        let made = Each::beside(1, |first| Ok::<_, ()>(first + 1));
        let made: Vec<_> = made.unwrap().all().copied().collect();
        let (first, others) = made.split_first().unwrap();
        assert_eq!((*first, made.len()), (1, count()));
        assert!(others.iter().all(|other| *other == 2));
        let failed = Each::beside(1, |_| Err("no"));
        assert_eq!(failed.err(), (count() > 1).then_some("no"));
    }

    #[tokio::test]
    async fn whoever_has_least_to_do_is_next_and_is_a_thread_of_its_own() {
        let workers = Workers::start().unwrap();
        let given: Vec<_> = (0..count()).map(|_| workers.next()).collect();
        let mut places = Vec::new();
        for worker in &given {
            places.push(worker.runtime.spawn(async { PLACE.get() }).await.unwrap());
        }
        places.sort_unstable();
        assert_eq!(places, (0..count()).collect::<Vec<_>>());
        // Whoever was let go of has less to do than the others.
        let busy: Vec<_> = given.into_iter().skip(1).collect();
        let next = workers.next();
        assert_eq!(next.runtime.spawn(async { PLACE.get() }).await.unwrap(), 0);
        drop(busy);
    }
}
