//! Who is told of what waits for an approval, with `--webhook`.

use std::{env, sync::Arc, time::Duration};

use http::{Uri, uri::Scheme};
use mcp_policy::{Approvals, Webhook, WebhookError};
use tokio::time::{sleep, timeout};

use crate::{access, environment::WEBHOOK_SECRET, failure::Failure, secret::Secret};

/// What a secret reads like, and how to get one.
const READS_LIKE: &str = "whsec_ and 24 to 64 random bytes in base64, as \
                          `echo whsec_$(openssl rand -base64 32)` prints it";

/// How long it may take until what happened last is known where it is told.
const SETTLING: Duration = Duration::from_millis(500);
/// How long the last notices may take at the end.
const LAST: Duration = Duration::from_secs(5);

/// Somebody who is told of what waits.
pub(crate) struct Told(Arc<Webhook>);

/// Tells of what waits there, and of what becomes of it, until the program ends.
pub(crate) fn tell(webhook: Webhook, approvals: &Approvals) -> Told {
    let webhook = Arc::new(webhook);
    tokio::spawn(approvals.notify(Arc::clone(&webhook)));
    Told(webhook)
}

impl Told {
    /// Sends what is left, when nothing more is served.
    pub(crate) async fn end(self) {
        sleep(SETTLING).await;
        if timeout(LAST, self.0.flush()).await.is_err() {
            tracing::warn!("the webhook does not take the last notices of what waits");
        }
    }
}

/// Begins to send to this URL. The errors repeat neither it nor the secret.
pub(crate) fn open(url: &Secret) -> Result<Webhook, Failure> {
    let secret = env::var_os(WEBHOOK_SECRET).ok_or_else(|| {
        Failure::usage(format!(
            "a webhook needs the secret that its receiver checks, in the environment variable \
             {WEBHOOK_SECRET}: {READS_LIKE}"
        ))
    })?;
    let secret = secret.to_str().unwrap_or_default();
    let webhook = Webhook::new(url.expose(), secret).map_err(|error| match error {
        WebhookError::Url => Failure::usage(
            "the URL of the webhook has to begin with http:// or https:// and a host, without a user \
             name or password",
        ),
        WebhookError::Secret => {
            Failure::usage(format!("{WEBHOOK_SECRET} has to read like {READS_LIKE}"))
        }
        error => Failure::start(error.to_string()),
    })?;
    if goes_in_the_clear(url.expose()) {
        tracing::warn!("what waits is told to the webhook unencrypted: https:// would not");
    }
    Ok(webhook)
}

/// Whether others can read it on its way.
fn goes_in_the_clear(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    uri.scheme() == Some(&Scheme::HTTP) && !uri.host().is_some_and(access::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_unencrypted_is_known() {
        for (url, expected) in [
            ("http://hooks.example.com/x", true),
            ("http://192.0.2.7:80/", true),
            ("https://hooks.example.com/x", false),
            ("http://127.0.0.1:9/x", false),
            ("http://[::1]:9/x", false),
            ("http://localhost/x", false),
        ] {
            assert_eq!(goes_in_the_clear(url), expected, "{url}");
        }
    }
}
