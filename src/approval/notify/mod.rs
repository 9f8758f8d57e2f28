//! Who is told of what waits, without being asked.

mod notice;
#[cfg(feature = "webhook")]
mod webhook;

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream as _;
use futures_timer::Delay;

use super::changes::{ApprovalEvent, ApprovalEvents};
use super::handle::{ApprovalError, Approvals};
use super::request::{ApprovalId, ApprovalRequest, ApprovalState};
use crate::seam;

pub use notice::ApprovalNotice;
#[cfg(feature = "webhook")]
pub use webhook::{Webhook, WebhookError};

/// How often it is looked whether something has expired, while something can. A store
/// notices when it is asked.
const LOOK: Duration = Duration::from_secs(60);
/// Until a store that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(5);
/// Requests that are remembered besides those that the store knew when it was last
/// asked for all.
const SPARE: usize = 1_024;

/// Is told of every request for approval, and of what becomes of it: something that
/// calls the operators. A closure `Fn(&ApprovalNotice)` is one; see
/// [`Approvals::notify`].
pub trait Notifier: Send + Sync + 'static {
    /// Takes a notice. Must not block: what takes time is begun here, on a thread or in
    /// a task of its own. No call waits for it.
    ///
    /// If it panics, that notice is lost, and nothing else.
    fn notify(&self, notice: &ApprovalNotice);
}

impl<F> Notifier for F
where
    F: Fn(&ApprovalNotice) + Send + Sync + 'static,
{
    fn notify(&self, notice: &ApprovalNotice) {
        self(notice);
    }
}

#[deny(clippy::missing_trait_methods)]
impl<N: Notifier + ?Sized> Notifier for Arc<N> {
    fn notify(&self, notice: &ApprovalNotice) {
        (**self).notify(notice);
    }
}

impl Approvals {
    /// Tells somebody of every new request, and of what becomes of it, for as long as
    /// what this returns is polled: an application spawns it. It never ends.
    ///
    /// What is pending or approved when it is first polled is told as well, because the
    /// process may have ended before anybody was told. If so much changes at once that
    /// some of it is missed, what is known then is told. What has expired is told
    /// within a minute. Where several processes share a store, each tells of
    /// everything.
    ///
    /// ```
    /// use mcp_policy::{ApprovalNotice, Approvals, MemoryApprovalStore};
    ///
    /// # async fn example() {
    /// let approvals = Approvals::new(MemoryApprovalStore::default());
    /// let telling = approvals.notify(|notice: &ApprovalNotice| {
    ///     println!("{} of {} is {}", notice.name(), notice.caller(), notice.state());
    /// });
    /// tokio::spawn(telling);
    /// # }
    /// ```
    pub fn notify<N: Notifier>(&self, notifier: N) -> impl Future<Output = ()> + Send + use<N> {
        let telling = Telling {
            approvals: self.clone(),
            changes: self.changes(),
            notifier,
            told: HashMap::new(),
            room: 0,
            looks_again: true,
        };
        telling.go_on()
    }
}

/// Somebody who is told.
struct Telling<N> {
    approvals: Approvals,
    changes: ApprovalEvents,
    notifier: N,
    /// What was told last of each request, or known when nothing had to be told.
    told: HashMap<ApprovalId, ApprovalState>,
    /// So many may be remembered before the store is asked which of them it knows.
    room: usize,
    looks_again: bool,
}

impl<N: Notifier> Telling<N> {
    async fn go_on(mut self) {
        loop {
            if let Err(error) = self.step().await {
                tracing::warn!(
                    target: "mcp_policy", %error,
                    "nobody can be told of approvals now; trying again"
                );
                Delay::new(PAUSE).await;
            }
        }
    }

    /// Tells what happens next. If the store does not answer, everything is looked at
    /// after that.
    async fn step(&mut self) -> Result<(), ApprovalError> {
        let done = match self.event().await {
            ApprovalEvent::Changed(request, state) => self.changed(request, state).await,
            ApprovalEvent::Missed => self.look().await,
        };
        self.looks_again = done.is_err();
        done
    }

    /// What happens next. It is as if something was missed when it is time to look.
    async fn event(&mut self) -> ApprovalEvent {
        if std::mem::take(&mut self.looks_again) || self.told.len() > self.room {
            return ApprovalEvent::Missed;
        }
        let can_expire = self.told.values().any(|state| state.is_open());
        let mut time_to_look = can_expire.then(|| Delay::new(LOOK));
        std::future::poll_fn(|context| {
            if let Poll::Ready(Some(event)) = Pin::new(&mut self.changes).poll_next(context) {
                return Poll::Ready(event);
            }
            match &mut time_to_look {
                Some(time) => Pin::new(time).poll(context).map(|()| ApprovalEvent::Missed),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Tells what a request has become.
    async fn changed(
        &mut self,
        request: ApprovalId,
        state: ApprovalState,
    ) -> Result<(), ApprovalError> {
        if self.is_told(request, state) {
            return Ok(());
        }
        match self.approvals.get(request).await? {
            Some(known) => self.tell(&known, state),
            None => _ = self.told.remove(&request),
        }
        Ok(())
    }

    /// Tells what is not known yet of anything.
    async fn look(&mut self) -> Result<(), ApprovalError> {
        let all = self.approvals.list(&ApprovalState::ALL).await?;
        for request in &all {
            let state = request.state();
            if self.is_told(request.id(), state) {
                continue;
            }
            // Nobody has to know of what began and ended unnoticed.
            if state.is_open() || self.told.contains_key(&request.id()) {
                self.tell(request, state);
            } else {
                self.told.insert(request.id(), state);
            }
        }
        let known: HashSet<_> = all.iter().map(ApprovalRequest::id).collect();
        self.told.retain(|request, _| known.contains(request));
        self.room = self.told.len().saturating_mul(2).saturating_add(SPARE);
        Ok(())
    }

    /// Whether this, or what comes later, is known: what was listed may still be
    /// announced.
    fn is_told(&self, request: ApprovalId, state: ApprovalState) -> bool {
        let told = self.told.get(&request);
        told.is_some_and(|told| rank(*told) >= rank(state))
    }

    fn tell(&mut self, request: &ApprovalRequest, state: ApprovalState) {
        self.told.insert(request.id(), state);
        let notice = ApprovalNotice::new(request, state);
        // What comes next is still told.
        let _ = seam::asked("notifier", || self.notifier.notify(&notice));
    }
}

/// A request only gets from a lower one to a higher one.
fn rank(state: ApprovalState) -> u8 {
    match state {
        ApprovalState::Pending => 0,
        ApprovalState::Approved | ApprovalState::Denied => 1,
        ApprovalState::Expired | ApprovalState::Used | ApprovalState::Cancelled => 2,
    }
}

#[cfg(test)]
mod tests;
