//! Keeps requests on a Redis server.

mod requests;
mod scripts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Script;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::changes::ApprovalChanges;
use super::digest::CallDigest;
use super::question::ApprovalQuestion;
use super::request::{ApprovalId, ApprovalRequest, ApprovalState, ApprovalUsed};
use super::ruling::{NotDecided, Ruling};
use super::{ApprovalAsked, ApprovalStore};
use crate::clock::Moment;
use crate::remote::{Link, Remote};
use crate::store::{StoreAnswer, StoreError};
use requests::Requests;
use scripts::{SCRIPTS, Scripts};

/// How often it is looked for what other processes changed, while somebody listens.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An [`ApprovalStore`] on the server of a [`RedisState`](crate::RedisState): several
/// processes in front of one server know what waits, an approval is used once, whichever
/// of them the call comes to, and requests outlive them. Clones are the same store.
///
/// There is room for as much as in a
/// [`MemoryApprovalStore`](crate::MemoryApprovalStore), for each server. Time goes by the
/// clock of the Redis server. What becomes of a request in another process is heard of
/// within about 250 ms, while somebody listens. While the server is away, nothing can be
/// asked, decided or used. A server that forgets that an approval was used, because it
/// crashed before it was written to its disk, lets the call pass once more:
/// `appendfsync always` forgets nothing that it has answered.
///
/// # Arguments
///
/// The arguments of a call are in the memory of the server until its request has ended,
/// and expire with it although nobody asks. What the server writes to its disk, or sends
/// to replicas, holds them for longer. Whoever can read there can read them, and whoever
/// can write there can approve anything.
#[derive(Clone)]
pub struct RedisApprovalStore {
    remote: Arc<Remote>,
    requests: Arc<Requests>,
}

impl RedisApprovalStore {
    /// What the server has to know.
    pub(crate) fn scripts() -> Vec<&'static Script> {
        SCRIPTS.all()
    }

    pub(crate) fn new(remote: Arc<Remote>, server: &str) -> Self {
        Self::with(remote, &SCRIPTS, server)
    }

    fn with(remote: Arc<Remote>, scripts: &'static Scripts, server: &str) -> Self {
        let requests = Arc::new(Requests::new(scripts, server));
        let begins = Arc::clone(&requests.woken);
        requests.changes.when_heard(move || begins.notify_one());
        let (heard, woken) = (Arc::downgrade(&requests), Arc::clone(&requests.woken));
        remote.attend_to(|link| listen(heard, woken, link));
        Self { remote, requests }
    }

    /// Asks the server, which goes on whether anybody waits for the answer or not.
    fn begin<T, W>(
        &self,
        work: impl FnOnce(Arc<Requests>, Link) -> W + Send + 'static,
    ) -> StoreAnswer<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let requests = Arc::clone(&self.requests);
        self.remote
            .begin(move |link| work(requests, link))
            .into_answer()
    }
}

/// Hears what others change, while anybody listens here, and for as long as there is the
/// store.
async fn listen(requests: Weak<Requests>, woken: Arc<Notify>, link: Link) {
    loop {
        sleep(LOOK_EVERY).await;
        loop {
            let Some(requests) = requests.upgrade() else {
                return;
            };
            if requests.changes.are_heard() {
                requests.hear(&link).await;
                break;
            }
            drop(requests);
            woken.notified().await;
        }
    }
}

impl ApprovalStore for RedisApprovalStore {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        let question = question.clone();
        self.begin(async move |requests, link| requests.ask(&link, &question).await)
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        let call = *call;
        self.begin(async move |requests, link| {
            let use_up = |request: &mut ApprovalRequest, _| request.use_up(&call);
            let used = requests.change(&link, request, now, use_up).await?;
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
        self.begin(async move |requests, link| {
            let decide = |request: &mut ApprovalRequest, now| request.decide(&ruling, now);
            let decided = requests.change(&link, request, now, decide).await?;
            Ok(match decided {
                Some((decided, request)) => decided.map(|()| request),
                None => Err(NotDecided::Unknown),
            })
        })
    }

    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        self.begin(async move |requests, link| {
            let cancel = |request: &mut ApprovalRequest, _| request.cancel();
            let cancelled = requests.change(&link, request, now, cancel).await?;
            Ok(cancelled.is_some_and(|(cancelled, _)| cancelled))
        })
    }

    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        self.begin(async move |requests, link| requests.get(&link, request, now).await)
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        let states = states.to_vec();
        self.begin(async move |requests, link| requests.list(&link, &states, now).await)
    }

    fn changes(&self) -> ApprovalChanges {
        self.requests.changes.clone()
    }

    fn outlives_process(&self) -> bool {
        true
    }
}

impl fmt::Debug for RedisApprovalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisApprovalStore").finish_non_exhaustive()
    }
}
