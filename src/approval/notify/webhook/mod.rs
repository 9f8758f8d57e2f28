//! Tells a URL what waits for approval.

mod delivery;
mod letter;
mod secret;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as threads;
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;
use http::Uri;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{ApprovalNotice, Notifier};
use delivery::{Pace, Queued, Receiver};
use letter::Letter;
use secret::Secret;

/// Notices that wait to be sent.
const QUEUE: usize = 1_000;
/// How long what waits is still sent when nobody tells anything any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// A [`Notifier`] that sends every notice to a URL, signed as
/// [Standard Webhooks](https://www.standardwebhooks.com) says: with the headers
/// `webhook-id`, `webhook-timestamp` and `webhook-signature: v1,…`, an HMAC with
/// SHA-256.
///
/// The body is JSON:
///
/// ```json
/// {
///   "type": "approval.pending",
///   "timestamp": "2026-11-25T05:00:00.000Z",
///   "data": {
///     "id": "00112233445566778899aabbccddeeff",
///     "state": "pending",
///     "server": "bank",
///     "caller": "alice",
///     "method": "tools/call",
///     "name": "refund",
///     "rules": ["/tools/refund/require_approval"],
///     "reason": "Money is gone for good.",
///     "approver": "operator",
///     "createdAt": "2026-11-25T05:00:00.000Z",
///     "expiresAt": "2026-11-25T05:10:00.000Z"
///   }
/// }
/// ```
///
/// Once it was decided, `data` has `decidedBy` and `decidedAt` as well. There are no
/// values of arguments in it.
///
/// Notices are sent one after the other. One that is not answered with a 2xx status
/// within 10 s is sent again after 1, 5, 25 and 125 s, with the same `webhook-id`, and
/// then given up. Redirects are not followed. 1 000 notices wait at most; further
/// ones are [dropped](Self::dropped). What is sent twice, for another process or after
/// a restart, has the same `webhook-id`.
///
/// It has a thread of its own, so it works in every runtime. The thread ends when this
/// is dropped. Needs the feature `webhook`.
///
/// ```no_run
/// use mcp_policy::{Approvals, MemoryApprovalStore, Webhook};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let approvals = Approvals::new(MemoryApprovalStore::default());
/// let secret = std::env::var("WEBHOOK_SECRET")?;
/// let webhook = Webhook::new("https://ops.example.com/approvals", &secret)?;
/// tokio::spawn(approvals.notify(webhook));
/// # Ok(())
/// # }
/// ```
pub struct Webhook {
    queue: mpsc::Sender<Queued>,
    dropped: AtomicU64,
    /// Host and port, without what may hold a key.
    authority: String,
    /// Dropped with this, which is what the thread waits for.
    _ends: oneshot::Sender<()>,
}

impl Webhook {
    /// Sends to this URL, signed with this secret: `whsec_` and 24 to 64 random bytes
    /// in base64.
    ///
    /// # Errors
    ///
    /// If the URL or the secret is none, or no thread can be made. The error does not
    /// repeat them.
    pub fn new(url: &str, secret: &str) -> Result<Self, WebhookError> {
        Self::with(url, secret, Pace::default())
    }

    fn with(url: &str, secret: &str, pace: Pace) -> Result<Self, WebhookError> {
        let uri = endpoint(url).ok_or(WebhookError::Url)?;
        let authority = uri.authority().ok_or(WebhookError::Url)?.to_string();
        let secret = Secret::read(secret).ok_or(WebhookError::Secret)?;
        let receiver = Receiver::new(uri, secret, pace)?;
        let (queue, mut queued) = mpsc::channel(QUEUE);
        let (ends, ended) = oneshot::channel();
        let (tell, told) = threads::channel();
        // The runtime is made there, because not everybody may drop one.
        let work = move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let _ = tell.send(runtime.is_ok());
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let mut sending = std::pin::pin!(receiver.send_all(&mut queued));
                tokio::select! {
                    () = &mut sending => {}
                    _ = ended => {
                        let _ = timeout(FAREWELL, sending).await;
                    }
                }
            });
        };
        let thread = thread::Builder::new().name("mcp-policy-webhook".to_owned());
        thread.spawn(work).map_err(|_| WebhookError::Start)?;
        match told.recv() {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(WebhookError::Start),
        }
        Ok(Self {
            queue,
            dropped: AtomicU64::new(0),
            authority,
            _ends: ends,
        })
    }

    /// Waits until every notice of which it was told before is taken or given up. With a
    /// receiver that does not answer that takes minutes: whoever ends waits only so long.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use mcp_policy::{Approvals, MemoryApprovalStore, Webhook};
    ///
    /// # async fn example(secret: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// let approvals = Approvals::new(MemoryApprovalStore::default());
    /// let webhook = Arc::new(Webhook::new("https://ops.example.com/approvals", secret)?);
    /// tokio::spawn(approvals.notify(Arc::clone(&webhook)));
    /// // And when the program has stopped serving:
    /// tokio::time::timeout(Duration::from_secs(5), webhook.flush()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn flush(&self) {
        let (tell, told) = oneshot::channel();
        // Without its thread nothing is sent any more.
        if self.queue.send(Queued::Asked(tell)).await.is_ok() {
            let _ = told.await;
        }
    }

    /// How many notices were dropped because too many waited. An `Arc` of a webhook can be
    /// told of them as well, by whoever wants to ask this later.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Notifier for Webhook {
    fn notify(&self, notice: &ApprovalNotice) {
        if self
            .queue
            .try_send(Queued::Letter(Letter::of(notice)))
            .is_err()
        {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                target: "mcp_policy", approval = %notice.id(), state = %notice.state(),
                receiver = self.authority, dropped = dropped.saturating_add(1),
                "too many notices wait for the webhook: this one is dropped"
            );
        }
    }
}

/// Without the path and query, which may hold a key.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("receiver", &self.authority)
            .finish_non_exhaustive()
    }
}

/// A URL that can be sent to, and holds no user or password.
fn endpoint(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let by_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority()?;
    let is_plain = !authority.host().is_empty() && !authority.as_str().contains('@');
    (by_http && is_plain).then_some(uri)
}

/// Why there is no [`Webhook`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookError {
    /// The URL is none that can be sent to.
    Url,
    /// The secret is none.
    Secret,
    /// TLS or a thread could not be set up.
    Start,
}

impl fmt::Display for WebhookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => {
                "the URL of a webhook begins with http:// or https:// and a host, and holds no \
                 user name or password"
            }
            Self::Secret => {
                "the secret of a webhook is `whsec_` and 24 to 64 random bytes in base64"
            }
            Self::Start => "TLS or a thread for the webhook cannot be set up",
        })
    }
}

impl std::error::Error for WebhookError {}
