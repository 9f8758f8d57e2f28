//! Ends the streams of what is gone: of a grant that is revoked, and of a server that is no
//! longer served; and those on which no answer is due, when their token expires. Answers that
//! are no streams still arrive.

use std::sync::Arc;

use http::Response;
use http_body_util::BodyExt;
use tokio::sync::watch;

use super::guarded::Body;
use crate::{
    jwt::Expiry,
    stream::{Bounded, is_stream},
};

/// As long as something is there; clones share it.
#[derive(Clone)]
pub(super) struct Life(Arc<watch::Sender<bool>>);

impl Life {
    pub(super) fn begin() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(super) fn end(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn is_over(&self) -> bool {
        *self.0.borrow()
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Lets an answer, if it is a stream, last no longer than this.
    pub(super) fn bounds(&self, response: Response<Body>) -> Response<Body> {
        if !is_stream(&response) {
            return response;
        }
        let mut ended = self.0.subscribe();
        bounded(response, async move {
            // Nobody is left who could say so: then it is over, too.
            let _ = ended.wait_for(|ended| *ended).await;
        })
    }
}

/// Lets an answer, if it is a stream, last no longer than until then, however late it
/// comes.
pub(super) fn until(Expiry(then): Expiry, response: Response<Body>) -> Response<Body> {
    match is_stream(&response) {
        true => bounded(response, tokio::time::sleep_until(then)),
        false => response,
    }
}

fn bounded(
    response: Response<Body>,
    over: impl Future<Output = ()> + Send + 'static,
) -> Response<Body> {
    response.map(|body| Bounded::by(over, body).boxed_unsync())
}
