//! Two layers, of an organisation and of a team: what both allow.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use mcp_policy::{
    AuditRecord, AuditSink, DecisionRecord, PolicyLayer, Receipt, RequestBody, Verdict,
};
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

use crate::server::{Body, call, pieces, post};

const BASELINE: &str = r#"{
    "version": "1",
    "default": "allow",
    "hide": ["secret"],
    "tools": { "wipe": { "action": "deny", "reason": "Not here." } }
}"#;
const TEAM: &str = r#"{
    "version": "1",
    "default": "deny",
    "hide": ["draft"],
    "tools": { "read": {}, "wipe": {}, "secret": {} }
}"#;

type Row = (&'static str, Verdict);

/// Records the decisions of one layer among those of the other.
struct Rows(&'static str, Arc<Mutex<Vec<Row>>>);

impl AuditSink for Rows {
    fn record(&self, record: &AuditRecord) -> Receipt {
        if let AuditRecord::Decision(decision) = record {
            self.1.lock().unwrap().push((self.0, decision.verdict()));
        }
        Receipt::recorded()
    }
}

/// What came of a message: the answer, the decision that a layer above finds,
/// what was recorded, and whether the server was asked.
async fn asked(message: &str) -> (Value, DecisionRecord, Vec<Row>, bool) {
    let rows = Arc::<Mutex<Vec<Row>>>::default();
    let layer = |name, policy: &str| {
        PolicyLayer::new(policy.parse().unwrap()).audit(Rows(name, Arc::clone(&rows)))
    };
    let runs = Mutex::new(false);
    let server = service_fn(|request: Request<RequestBody<RequestBody<Body>>>| async {
        request.into_body().collect().await?;
        *runs.lock().unwrap() = true;
        let names = ["read", "wipe", "secret", "draft", "other"];
        let tools = names
            .map(|name| format!(r#"{{"name":"{name}"}}"#))
            .join(",");
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tools}]}}}}"#);
        let answer = Response::builder().header("content-type", "application/json");
        Ok::<_, Infallible>(answer.body(pieces([text])).unwrap())
    });
    let service = ServiceBuilder::new()
        .layer(layer("organisation", BASELINE))
        .layer(layer("team", TEAM))
        .service(server);
    let (head, body) = service.oneshot(post(message)).await.unwrap().into_parts();
    let decision = head.extensions.get::<DecisionRecord>().unwrap().clone();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = serde_json::from_slice(&body).unwrap();
    let rows = std::mem::take(&mut *rows.lock().unwrap());
    let runs = *runs.lock().unwrap();
    (answer, decision, rows, runs)
}

#[tokio::test]
async fn what_both_allow_runs_and_what_one_refuses_is_refused_once() {
    const ORGANISATION: &str = "organisation";
    let (_, decision, rows, runs) = asked(&call("read")).await;
    let allowed = (ORGANISATION, Verdict::Allowed);
    assert_eq!(rows, [allowed, ("team", Verdict::Allowed)]);
    assert!(runs && decision.is_allowed());

    // Refused by the team, behind a layer that lets it pass.
    let (answer, decision, rows, runs) = asked(&call("other")).await;
    assert_eq!(rows, [allowed, ("team", Verdict::Denied)]);
    assert!(!runs && !decision.is_allowed());
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(answer["result"]["content"].as_array().unwrap().len(), 1);
    assert_eq!(decision.policy().unwrap().document().hide, ["draft"]);

    // Refused before the team is asked.
    let (answer, decision, rows, runs) = asked(&call("wipe")).await;
    assert_eq!(rows, [(ORGANISATION, Verdict::Denied)]);
    assert!(!runs && !decision.is_allowed());
    assert!(answer.to_string().contains("Not here."), "{answer}");
    let (_, _, rows, runs) = asked(&call("secret")).await;
    assert_eq!((rows, runs), (vec![(ORGANISATION, Verdict::Hidden)], false));
    let (_, _, rows, runs) = asked(&call("draft")).await;
    assert_eq!(
        (rows, runs),
        (vec![allowed, ("team", Verdict::Hidden)], false)
    );
}

#[tokio::test]
async fn what_one_hides_is_in_no_list() {
    let (answer, _, rows, _) = asked(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["read", "wipe", "other"]);
    assert_eq!(rows.len(), 2);
}
