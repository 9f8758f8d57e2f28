use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_channel::oneshot;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::WebhookError;
use super::letter::Letter;
use super::secret::Secret;

/// How long a try may take, and how long it is waited before each further one.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) patience: Duration,
    pub(super) pauses: [Duration; 4],
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            pauses: [1, 5, 25, 125].map(Duration::from_secs),
        }
    }
}

/// What comes one after the other.
pub(super) enum Queued {
    Letter(Letter),
    /// Somebody who wants to know when everything before it is done.
    Asked(oneshot::Sender<()>),
}

/// Where letters go.
pub(super) struct Receiver {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    secret: Secret,
    pace: Pace,
}

impl Receiver {
    pub(super) fn new(uri: Uri, secret: Secret, pace: Pace) -> Result<Self, WebhookError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map_err(|_| WebhookError::Start)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        // Letters are rare, and a connection that was kept may be closed by then.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self {
            client,
            uri,
            secret,
            pace,
        })
    }

    /// Sends one after the other, until no more can come.
    pub(super) async fn send_all(&self, queue: &mut mpsc::Receiver<Queued>) {
        while let Some(next) = queue.recv().await {
            match next {
                Queued::Letter(letter) => self.send(&letter).await,
                // Whoever asked may have gone away.
                Queued::Asked(tell) => _ = tell.send(()),
            }
        }
    }

    /// Sends it until it is taken, but not for ever.
    async fn send(&self, letter: &Letter) {
        let message = &*letter.id;
        let mut pauses = self.pace.pauses.into_iter();
        while let Err(failed) = self.try_to_send(letter).await {
            let receiver = self
                .uri
                .authority()
                .map_or("", |authority| authority.as_str());
            let Some(pause) = pauses.next() else {
                tracing::error!(
                    target: "mcp_policy", message, receiver, %failed,
                    "the webhook does not take a notice: it is given up"
                );
                return;
            };
            tracing::warn!(
                target: "mcp_policy", message, receiver, %failed, again_in = ?pause,
                "the webhook did not take a notice"
            );
            sleep(pause).await;
        }
        tracing::debug!(target: "mcp_policy", message, "the webhook has taken a notice");
    }

    async fn try_to_send(&self, letter: &Letter) -> Result<(), Failed> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, "mcp-policy")
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", now)
            .header(
                "webhook-signature",
                self.secret.sign(&letter.id, now, &letter.body),
            )
            .body(Full::from(letter.body.clone()))
            .map_err(|_| Failed::BrokenOff)?;
        match timeout(self.pace.patience, self.client.request(request)).await {
            Err(_) => Err(Failed::Late),
            Ok(Err(error)) if error.is_connect() => Err(Failed::NotReached),
            Ok(Err(_)) => Err(Failed::BrokenOff),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(Failed::Refused(answer.status())),
        }
    }
}

/// Why a letter was not taken. What an error says of itself may repeat the URL.
#[derive(Clone, Copy)]
enum Failed {
    NotReached,
    BrokenOff,
    Late,
    Refused(StatusCode),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReached => f.write_str("it cannot be reached"),
            Self::BrokenOff => f.write_str("it broke off before it answered"),
            Self::Late => f.write_str("it did not answer in time"),
            Self::Refused(status) => write!(f, "it answered {status}"),
        }
    }
}
