//! Keeps requests on a Redis server.

mod requests;
mod scripts;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::changes::ApprovalChanges;
use super::digest::CallDigest;
use super::question::ApprovalQuestion;
use super::request::{ApprovalId, ApprovalRequest, ApprovalState, Used};
use super::ruling::{NotDecided, Ruling};
use super::{ApprovalStore, Asked};
use crate::clock::Moment;
use crate::remote::{Link, Remote};
use crate::store::{Answer, StoreError};
use requests::Requests;
use scripts::{SCRIPTS, Scripts};

/// How often it is looked for what other processes changed, while somebody listens.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An [`ApprovalStore`] on a Redis server, from version 7, or a Valkey server: several
/// processes in front of one server know what waits, an approval is used once, whichever
/// of them the call comes to, and requests outlive them.
///
/// There is room for as much as in a
/// [`MemoryApprovalStore`](crate::MemoryApprovalStore), for each server. Time goes by the
/// clock of the Redis server. What becomes of a request in another process is heard of
/// within about 250 ms, while somebody listens. While the server is away, nothing can be
/// asked, decided or used; see [`RedisLimitStore`](crate::RedisLimitStore) for what happens
/// on one that is full or loses something. A server that forgets that an approval was
/// used, because it crashed before it was written to its disk, lets the call pass once
/// more: `appendfsync always` forgets nothing that it has answered.
///
/// # Arguments
///
/// The arguments of a call are in the memory of the server until its request has ended,
/// and expire with it although nobody asks. What the server writes to its disk, or sends
/// to replicas, holds them for longer. Whoever can read there can read them, and whoever
/// can write there can approve anything.
///
/// ```no_run
/// use std::sync::Arc;
/// use mcp_policy::{Approvals, Policy, PolicyLayer, RedisApprovalStore};
///
/// # fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisApprovalStore::connect("redis://redis.internal/0")?.server_name("files");
/// let store = Arc::new(store);
/// let approvals = Approvals::new(store.clone());
/// let layer = PolicyLayer::new(Policy::from_path("policy.json")?)
///     .server_name("files")
///     .approval_store(store);
/// # Ok(())
/// # }
/// ```
pub struct RedisApprovalStore {
    remote: Remote,
    requests: Arc<Requests>,
}

impl RedisApprovalStore {
    /// Begins to connect to the server at this URL; see
    /// [`RedisLimitStore::connect`](crate::RedisLimitStore::connect).
    ///
    /// # Errors
    ///
    /// If this is no such URL, or no thread can be made.
    pub fn connect(url: &str) -> Result<Self, StoreError> {
        Self::open(url, &SCRIPTS)
    }

    fn open(url: &str, scripts: &'static Scripts) -> Result<Self, StoreError> {
        let remote = Remote::open(url, scripts.all())?;
        let requests = Arc::new(Requests::new(scripts));
        let begun = Arc::new(Notify::new());
        let begins = Arc::clone(&begun);
        requests.changes.when_heard(move || begins.notify_one());
        let heard = Arc::clone(&requests);
        remote.repeat(LOOK_EVERY, move |link| {
            let (requests, begun) = (Arc::clone(&heard), Arc::clone(&begun));
            async move {
                while !requests.changes.are_heard() {
                    begun.notified().await;
                }
                requests.hear(&link).await;
            }
        });
        Ok(Self { remote, requests })
    }

    /// In front of which server calls wait: layers in front of different servers, and their
    /// operators, have nothing in common then. By default the name is empty.
    #[must_use]
    pub fn server_name(self, name: &str) -> Self {
        self.requests.set_server(name);
        self
    }

    /// Waits until the server has answered.
    ///
    /// # Errors
    ///
    /// If it cannot be connected to, does not answer within 3 s, or forgets keys when its
    /// memory is full.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.remote.ready().await
    }

    /// Asks the server, which goes on whether anybody waits for the answer or not.
    fn begin<T, W>(&self, work: impl FnOnce(Arc<Requests>, Link) -> W + Send + 'static) -> Answer<T>
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

impl ApprovalStore for RedisApprovalStore {
    fn ask(&self, question: &ApprovalQuestion) -> Answer<Asked> {
        let question = question.clone();
        self.begin(async move |requests, link| requests.ask(&link, &question).await)
    }

    fn use_up(&self, request: ApprovalId, call: &CallDigest, now: Moment) -> Answer<Used> {
        let call = *call;
        self.begin(async move |requests, link| {
            let use_up = |request: &mut ApprovalRequest, _| request.use_up(&call);
            let used = requests.change(&link, request, now, use_up).await?;
            Ok(used.map_or(Used::NotApproved, |(used, _)| used))
        })
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> Answer<Result<ApprovalRequest, NotDecided>> {
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

    fn cancel(&self, request: ApprovalId, now: Moment) -> Answer<bool> {
        self.begin(async move |requests, link| {
            let cancel = |request: &mut ApprovalRequest, _| request.cancel();
            let cancelled = requests.change(&link, request, now, cancel).await?;
            Ok(cancelled.is_some_and(|(cancelled, _)| cancelled))
        })
    }

    fn get(&self, request: ApprovalId, now: Moment) -> Answer<Option<ApprovalRequest>> {
        self.begin(async move |requests, link| requests.get(&link, request, now).await)
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> Answer<Vec<ApprovalRequest>> {
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
