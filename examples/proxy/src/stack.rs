//! What stands in front of one server, and how that is asked.

use std::sync::Arc;

use hyper::body::Body;
use mcp_policy::{AuditSink, PolicyLayer, PolicySource};
use tower::BoxError;

use crate::{
    failure::Failure,
    public::PublicUrl,
    state::Stores,
    upstream::{Target, Upstream},
};

/// The layer, whose clients are told of the pages on which they can follow what waits.
pub(crate) fn told_of(public: Option<PublicUrl>, layer: PolicyLayer) -> PolicyLayer {
    match public {
        Some(url) => layer.approval_page(move |request| url.page_of(request)),
        None => layer,
    }
}

/// The policy in front of the server of this name, where it is recorded, and where
/// it is kept what is counted.
pub(crate) fn layer(
    policy: impl PolicySource,
    server: &str,
    audit: Option<Arc<dyn AuditSink>>,
    stores: Stores,
) -> PolicyLayer {
    let layer = PolicyLayer::from_source(policy).server_name(server);
    let layer = stores.under(layer);
    match audit {
        Some(sink) => layer.audit(sink),
        None => layer,
    }
}

pub(crate) fn upstream<B>(target: Target) -> Result<Upstream<B>, Failure>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    Upstream::new(target).map_err(|error| Failure::start(format!("cannot set up TLS: {error}")))
}
