use std::fmt;
use std::sync::Arc;

use crate::audit::DecisionRecord;
use crate::caller::Caller;

/// Proof, in the extensions of a request that goes on to the inner service,
/// that the message in its body was judged and may pass.
///
/// Only a [`PolicyLayer`](crate::PolicyLayer) makes one. A service behind the
/// layer can require it, and can use it to answer a message that it cannot
/// read any more:
///
/// ```
/// use mcp_policy::Permit;
///
/// fn upstream_is_down<B>(request: &http::Request<B>) -> String {
///     let permit = request.extensions().get::<Permit>();
///     let id = permit.and_then(Permit::request_id).unwrap_or("null");
///     format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"down"}}}}"#)
/// }
/// # assert!(upstream_is_down(&http::Request::new(())).contains("null"));
/// ```
#[derive(Clone)]
pub struct Permit {
    request_id: Option<Arc<[u8]>>,
    caller: Caller,
    decision: DecisionRecord,
}

impl Permit {
    pub(super) fn new(
        request_id: Option<Arc<[u8]>>,
        caller: Caller,
        decision: DecisionRecord,
    ) -> Self {
        Self {
            request_id,
            caller,
            decision,
        }
    }

    /// Who was judged.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The decision that let it pass: who calls what, and by which rule.
    pub fn decision(&self) -> &DecisionRecord {
        &self.decision
    }

    /// The JSON-RPC request id, as the JSON text that it was written as;
    /// `None` for notifications, responses, batches, and requests without a
    /// message.
    pub fn request_id(&self) -> Option<&str> {
        std::str::from_utf8(self.request_id.as_deref()?).ok()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("decision", &self.decision)
            .finish_non_exhaustive()
    }
}
