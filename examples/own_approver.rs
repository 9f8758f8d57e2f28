//! Who approves calls, in a way of one's own: here the people on call are told of each
//! request, and somebody looks at its arguments and decides. In a real application they
//! are told by a message with two buttons, and what the buttons do is the same.
//!
//! ```text
//! cargo run --example own_approver
//! ```

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use mcp_policy::{
    ApprovalId, ApprovalNotice, ApprovalState, Approvals, MemoryApprovalStore, Notifier, Policy,
    PolicyLayer, RequestBody, Ruling,
};
use serde_json::Value;
use tokio::sync::mpsc;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

type Error = Box<dyn std::error::Error + Send + Sync>;

const POLICY: &str = r#"{ "version": "1", "default": "deny", "tools": {
    "refund": { "require_approval": { "reason": "Money is gone for good." } }
} }"#;

/// Tells whoever is on call which requests are new.
struct OnCall(mpsc::Sender<ApprovalId>);

impl Notifier for OnCall {
    fn notify(&self, notice: &ApprovalNotice) {
        if notice.state() == ApprovalState::Pending {
            // Whoever does not keep up finds it in the list of what is pending.
            let _ = self.0.try_send(notice.id());
        }
    }
}

/// Decides as dora would, who is on call.
async fn decide(approvals: Approvals, mut requests: mpsc::Receiver<ApprovalId>) {
    while let Some(id) = requests.recv().await {
        let Ok(Some(request)) = approvals.get(id).await else {
            continue;
        };
        // Values are shown to whoever decides, and to nobody else.
        let arguments = request.arguments().map_or("", |arguments| arguments.text());
        let arguments = serde_json::from_str::<Value>(arguments).ok();
        let euros = arguments.and_then(|arguments| arguments.get("amount")?.as_u64());
        let ruling = match euros {
            Some(..=100) => Ruling::approve("dora"),
            _ => Ruling::deny("dora").with_note("Ask the customer for the invoice first."),
        };
        // If somebody was faster, or nobody waits any more, nothing is to be done.
        let _ = approvals.decide(id, &ruling).await;
    }
}

/// Two refunds, as lines that say what became of each.
pub(crate) async fn run() -> Result<Vec<String>, Error> {
    let store = Arc::new(MemoryApprovalStore::default());
    let server = ServiceBuilder::new()
        .layer(PolicyLayer::new(POLICY.parse::<Policy>()?).approval_store(Arc::clone(&store)))
        .service(service_fn(async |_: Request<RequestBody<Full<Bytes>>>| {
            let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"refunded"}]}}"#;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
        }));

    // Somewhere that callers do not get to.
    let approvals = Approvals::new(store);
    let (on_call, requests) = mpsc::channel(100);
    let telling = tokio::spawn(approvals.notify(OnCall(on_call)));
    let deciding = tokio::spawn(decide(approvals, requests));

    let mut lines = Vec::new();
    for amount in [20, 9_000] {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"refund","arguments":{{"amount":{amount}}}}}}}"#
        );
        let request = Request::post("/mcp")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(call))?;
        // The call is held here until somebody has decided.
        let answer = server.clone().oneshot(request).await?;
        let text = String::from_utf8(answer.into_body().collect().await?.to_bytes().to_vec())?;
        lines.push(format!("a refund of {amount}: {text}"));
    }
    telling.abort();
    deciding.abort();
    Ok(lines)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    for line in run().await? {
        println!("{line}");
    }
    Ok(())
}
