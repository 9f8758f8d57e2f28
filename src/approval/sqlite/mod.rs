//! Keeps requests in a file, which processes on one machine can share.

mod act;
mod list;
mod table;
#[cfg(test)]
mod tests;
mod upkeep;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::changes::ApprovalChanges;
use super::digest::CallDigest;
use super::question::ApprovalQuestion;
use super::request::{ApprovalId, ApprovalRequest, ApprovalState, ApprovalUsed};
use super::ruling::{NotDecided, Ruling};
use super::{ApprovalAsked, ApprovalStore};
use crate::clock::Moment;
use crate::digest::random_name;
use crate::lock::lock;
use crate::sqlite::{Failure, Worker};
use crate::store::StoreAnswer;
use act::Act;
use list::List;
use table::Table;
use upkeep::{Chores, Upkeep};

/// An [`ApprovalStore`] in the file of a [`SqliteState`](crate::SqliteState). Clones are the
/// same store.
///
/// Requests are still known when the process has ended, and to other processes that
/// have the same file open: an approval is used once, whichever of them the call comes
/// to. For each server there is room for as much as in a
/// [`MemoryApprovalStore`](crate::MemoryApprovalStore). What becomes of a request in
/// another process is heard of within about 250 ms, while somebody listens. While the
/// file is locked, or cannot be written, nothing can be asked, decided or used, but
/// requests can still be read.
///
/// # Arguments
///
/// The arguments of a call are in the file until its request has ended, so that whoever
/// decides can see them after a restart. Then they are overwritten, within about a
/// second, while a process has the file open. A file that is made can only be read
/// and written by the user of this process. Whoever can write it can approve
/// anything.
///
/// # Time
///
/// It goes by the clock of the world. If that goes back, what is open stays so for
/// longer by as much; what would end later than if it had just begun is over.
#[derive(Clone)]
pub struct SqliteApprovalStore {
    worker: Arc<Worker>,
    shared: Arc<Shared>,
}

/// What the store has in common with the thread of the file.
struct Shared {
    server: Arc<str>,
    /// Tells what this store says from what others do.
    writer: String,
    changes: ApprovalChanges,
    upkeep: Mutex<Upkeep>,
}

impl Shared {
    /// Only the thread locks it. What a panic left behind in it is no worse than what
    /// it knew before.
    fn upkeep(&self) -> MutexGuard<'_, Upkeep> {
        lock(&self.upkeep)
    }
}

impl SqliteApprovalStore {
    pub(crate) fn new(worker: &Arc<Worker>, server: Arc<str>) -> Self {
        let shared = Arc::new(Shared {
            server,
            writer: random_name(),
            changes: ApprovalChanges::default(),
            upkeep: Mutex::default(),
        });
        worker.attend_to(Chores::of(&shared));
        // Whoever listens keeps no thread.
        let woken = Arc::downgrade(worker);
        shared.changes.when_heard(move || {
            if let Some(worker) = woken.upgrade() {
                worker.wake();
            }
        });
        Self {
            worker: Arc::clone(worker),
            shared,
        }
    }

    /// Does something in a transaction with others.
    fn act<T: Send + 'static>(
        &self,
        now: Moment,
        act: impl FnMut(&mut Table<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> StoreAnswer<T> {
        self.worker
            .ask(|reply| Act::new(&self.shared, now, act, Some(reply)))
    }

    /// The same with what changes nothing.
    fn read<T: Send + 'static>(
        &self,
        now: Moment,
        read: impl FnMut(&mut Table<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> StoreAnswer<T> {
        self.worker
            .ask(|reply| Act::new(&self.shared, now, read, Some(reply)).only_reading())
    }
}

impl ApprovalStore for SqliteApprovalStore {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        match ApprovalRequest::new(question) {
            Ok(request) => self.act(question.at(), move |table| table.ask(&request)),
            Err(error) => StoreAnswer::failed(error),
        }
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        let call = *call;
        self.act(now, move |table| {
            let used = table.change(request, |request| request.use_up(&call))?;
            Ok(used.map_or(ApprovalUsed::NotApproved, |(used, _)| used))
        })
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        let ruling = ruling.clone();
        self.act(now, move |table| {
            let decided = table.change(request, |request| request.decide(&ruling, now.system))?;
            Ok(match decided {
                Some((decided, request)) => decided.map(|()| request),
                None => Err(NotDecided::Unknown),
            })
        })
    }

    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        self.act(now, move |table| {
            let cancelled = table.change(request, ApprovalRequest::cancel)?;
            Ok(cancelled.is_some_and(|(cancelled, _)| cancelled))
        })
    }

    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        self.read(now, move |table| table.get(request))
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        let rows = self
            .worker
            .ask(|reply| List::new(&self.shared, states, now, reply));
        let states = states.to_vec();
        rows.and_then(move |(now, rows)| {
            let requests = rows.into_iter().map(|row| row.request(now));
            let is_meant = |request: &Result<ApprovalRequest, _>| {
                let state = request.as_ref().map(ApprovalRequest::state);
                state.is_ok_and(|state| states.contains(&state)) || request.is_err()
            };
            requests.filter(is_meant).collect()
        })
    }

    fn changes(&self) -> ApprovalChanges {
        self.shared.changes.clone()
    }

    fn outlives_process(&self) -> bool {
        true
    }
}

impl fmt::Debug for SqliteApprovalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteApprovalStore")
            .finish_non_exhaustive()
    }
}
