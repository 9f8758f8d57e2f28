//! Counts in a file, which processes on one machine can share.

mod ledger;
mod once;
mod rows;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use super::usage::{LimitFilter, LimitUsage};
use super::{LimitConclusion, LimitReservation, LimitReserved, LimitStore, StateId};
use crate::clock::{Moment, since_1970};
use crate::sqlite::presence::Presence;
use crate::sqlite::{Failure, Reply, Task, Worker};
use crate::store::{StoreAnswer, StoreError};
use ledger::Ledger;
use once::{KeepState, UseState};
use tasks::{Conclude, Forget, Leave, Reserve, See};

/// A [`LimitStore`] in the file of a [`SqliteState`](crate::SqliteState): what was counted
/// is still known when the process has ended, and processes on one machine can count
/// together. Clones are the same store.
///
/// Each call is counted in a transaction of SQLite, exactly, whichever process it
/// comes to. Calls that come at once are counted in one transaction. While the file is
/// locked, or cannot be written, or there is more to do than can be done, calls are
/// refused, or what their limits say of a store that does not answer.
///
/// # What is kept
///
/// A process that is killed loses nothing that it counted: it stays charged. What was
/// under way in it is found out when another process opens the file and counts its
/// first call, or has to refuse a call because of what is under way; it counts as
/// under way for another 60 s from then. If the machine loses its power, what was
/// counted in the last seconds before that may be lost.
///
/// There is room for as much as in a [`MemoryLimitStore`](crate::MemoryLimitStore): a
/// million budgets, and 1 000 of one caller on one server.
///
/// # Time
///
/// All windows go by the clock of the world. If it goes back, what is counted stays
/// for longer: for up to 10 s time stands still, and after a longer step what was
/// counted before counts as if it were now. If it goes forward, windows end earlier
/// by as much.
#[derive(Clone, Debug)]
pub struct SqliteLimitStore {
    counting: Arc<Counting>,
}

/// What all clones have in common.
#[derive(Debug)]
struct Counting {
    worker: Arc<Worker>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.worker.tell(Leave::new(&self.ledger, None));
    }
}

/// How many budgets there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) in_all: i64,
    pub(crate) of_one_caller: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            in_all: 1_000_000,
            of_one_caller: 1_000,
        }
    }
}

impl SqliteLimitStore {
    pub(crate) fn new(worker: Arc<Worker>, presence: Presence) -> Self {
        Self::bounded(worker, presence, Bounds::default())
    }

    fn bounded(worker: Arc<Worker>, presence: Presence, bounds: Bounds) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger::new(presence, bounds)));
        Self {
            counting: Arc::new(Counting { worker, ledger }),
        }
    }

    /// Tells others that this process counts nothing any more, once everything that it
    /// was told is in the file.
    pub(crate) async fn close(&self) -> Result<(), StoreError> {
        let Counting { worker, ledger } = &*self.counting;
        let leave = |reply| Leave::new(ledger, Some(reply));
        worker.ask_patiently(leave).await
    }

    /// Asks the thread of the file.
    fn have<T: Send + 'static, K: Task + 'static>(
        &self,
        task: impl FnOnce(&Arc<Mutex<Ledger>>, Reply<T>) -> K,
    ) -> StoreAnswer<T> {
        let Counting { worker, ledger } = &*self.counting;
        worker.ask(|reply| task(ledger, reply))
    }
}

impl LimitStore for SqliteLimitStore {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        let reservation = reservation.clone();
        self.have(|ledger, reply| Reserve::new(ledger, reservation, reply))
    }

    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        let reservation = reservation.clone();
        self.have(|ledger, reply| Reserve::new(ledger, reservation, reply).only_asking())
    }

    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, now: Moment) {
        let Counting { worker, ledger } = &*self.counting;
        let conclude = Conclude::new(ledger, reservation.clone(), (conclusion, now));
        worker.tell(conclude);
    }

    fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        let now = since_1970(now.system);
        let keep = KeepState::new(*state, Arc::clone(caller), now);
        self.counting.worker.tell(keep);
    }

    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        let state = *state;
        self.have(|_, reply| UseState::new(state, reply))
    }

    fn usage(
        &self,
        filter: &LimitFilter,
        now: Moment,
        most: usize,
    ) -> StoreAnswer<Vec<LimitUsage>> {
        let filter = filter.clone();
        self.have(|ledger, reply| See::new(ledger, filter, (now, most), reply))
    }

    fn reset(&self, filter: &LimitFilter, now: Moment) -> StoreAnswer<()> {
        let filter = filter.clone();
        self.have(|ledger, reply| Forget::new(ledger, filter, now, reply))
    }

    fn outlives_process(&self) -> bool {
        true
    }
}
