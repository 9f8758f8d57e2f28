//! Calls that wait until somebody approves exactly them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use mcp_policy::{
    ApprovalAsked, ApprovalEvent, ApprovalId, ApprovalState, ApprovalStore, Approvals, Caller,
    FromClient, LivePolicy, MemoryApprovalStore, MessageGuard, Policy, PolicyLayer, RequestBody,
    Ruling,
};
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};

pub(crate) mod stores;

use crate::server::{Body, OK, pieces, post};

const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "hide": ["ask_secret"],
    "tools": {
        "ask_*": { "require_approval": true },
        "pay": { "rate_limit": { "max": 2, "window": 60, "scope": "caller" },
                 "require_approval": { "reason": "Money is gone for good." } },
        "own": { "require_approval": { "approver": "caller" } },
        "free": {}
    },
    "prompts": { "letter": { "require_approval": true } },
    "resources": { "db:*": { "require_approval": true } }
}"#;

/// A layer, its approvals, and what its server ran.
struct Guarded {
    layer: PolicyLayer,
    approvals: Approvals,
    ran: Arc<Mutex<Vec<String>>>,
}

fn guarded() -> Guarded {
    of(PolicyLayer::new(POLICY.parse().unwrap()))
}

/// What waits is told so at once.
fn impatient() -> Guarded {
    of(PolicyLayer::new(POLICY.parse().unwrap()).approval_wait(Duration::ZERO))
}

fn of(layer: PolicyLayer) -> Guarded {
    let store = Arc::new(MemoryApprovalStore::default());
    Guarded {
        layer: layer.approval_store(Arc::clone(&store)),
        approvals: Approvals::new(store),
        ran: Arc::default(),
    }
}

fn call(tool: &str, arguments: &str) -> String {
    let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
    request("tools/call", &params)
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

impl Guarded {
    /// What alice is answered.
    async fn asks(&self, body: &str) -> Value {
        self.answers(post(body), "alice").await
    }

    async fn answers(&self, mut request: Request<Body>, caller: &str) -> Value {
        request.extensions_mut().insert(Caller::new(caller));
        let ran = Arc::clone(&self.ran);
        let server = service_fn(move |request: Request<RequestBody<Body>>| {
            let ran = Arc::clone(&ran);
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                ran.lock().unwrap().push(body);
                let answer = Response::builder().header("content-type", "application/json");
                Ok::<_, Infallible>(answer.body(pieces([OK])).unwrap())
            }
        });
        let answer = self.layer.layer(server).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    fn ran(&self) -> Vec<String> {
        std::mem::take(&mut self.ran.lock().unwrap())
    }

    /// The one request that waits.
    async fn pending(&self) -> ApprovalId {
        let pending = self
            .approvals
            .list(&[ApprovalState::Pending])
            .await
            .unwrap();
        assert_eq!(pending.len(), 1, "{pending:?}");
        pending[0].id()
    }

    async fn approve_pending(&self) {
        let id = self.pending().await;
        self.approvals.approve(id, "dora").await.unwrap();
    }
}

/// Text and data of a refusal.
fn refused(answer: &Value) -> (String, BTreeMap<String, Value>) {
    let result = &answer["result"];
    assert_eq!(result["isError"], true, "{answer}");
    let text = result["content"][0]["text"].as_str().unwrap().to_owned();
    let meta = result["_meta"].as_object().unwrap();
    let short = |name: &String| name.trim_start_matches("io.github.mcp-policy/").to_owned();
    let meta = meta
        .iter()
        .map(|(name, value)| (short(name), value.clone()));
    (text, meta.collect())
}

fn passed(answer: &Value) -> bool {
    answer["result"]["content"].is_array() && answer["result"]["isError"] != true
}

#[tokio::test]
async fn a_call_waits_until_somebody_approves_it_and_goes_on_as_it_is() {
    let guarded = guarded();
    let body = call("pay", r#"{ "sum": 1e3 }"#);
    let mut changes = guarded.approvals.changes();
    let operator = async {
        let Some(ApprovalEvent::Changed(id, ApprovalState::Pending)) = changes.next().await else {
            panic!("nobody is asked");
        };
        let request = guarded.approvals.get(id).await.unwrap().unwrap();
        assert_eq!((request.caller(), request.name()), ("alice", "pay"));
        assert_eq!(request.reason(), Some("Money is gone for good."));
        assert_eq!(request.arguments().unwrap().text(), r#"{ "sum": 1e3 }"#);
        assert!(request.rules().eq(["/tools/pay/require_approval"]));
        assert_eq!(guarded.ran(), [""; 0]);
        guarded.approvals.approve(id, "dora").await.unwrap();
        id
    };
    let (answer, id) = tokio::join!(guarded.asks(&body), operator);
    assert!(passed(&answer), "{answer}");
    assert_eq!(guarded.ran(), [body]);
    let request = guarded.approvals.get(id).await.unwrap().unwrap();
    assert_eq!(request.state(), ApprovalState::Used);
    assert!(request.arguments().is_none());
}

#[tokio::test]
async fn who_does_not_wait_makes_the_same_call_again_and_it_passes_once() {
    let guarded = impatient();
    let body = call("pay", r#"{"to":"hunter2","sum":100}"#);
    let (text, meta) = refused(&guarded.asks(&body).await);
    let id = guarded.pending().await;
    let expected = format!(
        "Policy violation: the tool \"pay\" was not used. Money is gone for good. It waits for an \
         approval. Make the same call again once it is approved. \
         [rule /tools/pay/require_approval] [approval {id}]"
    );
    assert_eq!(text, expected);
    assert_eq!(meta["approvalId"], id.to_string());
    assert_eq!(meta["rule"], "/tools/pay/require_approval");
    // Nobody is asked twice.
    refused(&guarded.asks(&body).await);
    guarded.approve_pending().await;
    // However it is written, and whatever clients change when they try again.
    let again = request(
        "tools/call",
        r#"{"arguments": {"sum": 1e2, "to": "hunter2"}, "name": "pay", "_meta": {"progressToken": 7}}"#,
    );
    assert!(passed(&guarded.asks(&again).await));
    assert_eq!(guarded.ran(), [again]);
    refused(&guarded.asks(&body).await);
    assert_ne!(guarded.pending().await, id);
    assert_eq!(guarded.ran(), [""; 0]);
}

/// What is approved is exactly what was shown.
#[tokio::test]
async fn t26_nothing_else_passes_by_an_approval() {
    let guarded = impatient();
    refused(
        &guarded
            .asks(&call("pay", r#"{"sum":9007199254740992}"#))
            .await,
    );
    guarded.approve_pending().await;
    for other in [
        call("pay", r#"{"sum":9007199254740993}"#),
        call("pay", r#"{"sum":"9007199254740992"}"#),
        call("pay", r#"{"sum":9007199254740992,"to":"eve"}"#),
        request(
            "tools/call",
            r#"{"name":"pay","arguments":{"sum":9007199254740992},"task":{}}"#,
        ),
        request(
            "tools/call",
            r#"{"name":"pay","arguments":{"sum":9007199254740992},"_meta":{"x":1}}"#,
        ),
    ] {
        refused(&guarded.asks(&other).await);
    }
    let same = call("pay", r#"{"sum":9007199254740992}"#);
    assert_eq!(guarded.ran(), [""; 0]);
    assert!(passed(&guarded.asks(&same).await));
}

#[tokio::test]
async fn t43_an_approval_without_arguments_is_for_none() {
    let guarded = impatient();
    for arguments in ["{}", "null"] {
        refused(&guarded.asks(&call("pay", arguments)).await);
    }
    let pending = guarded
        .approvals
        .list(&[ApprovalState::Pending])
        .await
        .unwrap();
    for request in pending {
        guarded
            .approvals
            .approve(request.id(), "dora")
            .await
            .unwrap();
    }
    refused(&guarded.asks(&call("pay", r#"{"all":true}"#)).await);
    assert_eq!(guarded.ran(), [""; 0]);
}

#[tokio::test]
async fn t25_an_approval_is_the_callers_alone() {
    let guarded = impatient();
    let body = call("pay", "{}");
    refused(&guarded.asks(&body).await);
    guarded.approve_pending().await;
    refused(&guarded.answers(post(&body), "bob").await);
    assert!(passed(&guarded.asks(&body).await));
}

/// Nor does somebody whose name looks like the caller's.
#[tokio::test]
async fn t27_nobody_approves_a_call_of_their_own() {
    let guarded = impatient();
    let body = call("pay", "{}");
    refused(&guarded.asks(&body).await);
    let id = guarded.pending().await;
    for operator in ["alice", "Alice", "ALICE\u{200b}", " alice", ""] {
        assert!(
            guarded.approvals.approve(id, operator).await.is_err(),
            "{operator:?}"
        );
    }
    refused(&guarded.asks(&body).await);
    assert_eq!(guarded.ran(), [""; 0]);
}

#[tokio::test]
async fn what_was_denied_is_refused_without_asking_again() {
    let guarded = impatient();
    let body = call("pay", "{}");
    refused(&guarded.asks(&body).await);
    let id = guarded.pending().await;
    let ruling = Ruling::deny("dora").with_note("Ask the bank.");
    guarded.approvals.decide(id, &ruling).await.unwrap();
    for _ in 0..2 {
        let (text, meta) = refused(&guarded.asks(&body).await);
        assert!(
            text.contains("was not used. Ask the bank. Making it again"),
            "{text}"
        );
        assert_eq!(meta["approvalId"], id.to_string());
    }
    let pending = guarded.approvals.list(&[ApprovalState::Pending]).await;
    assert!(pending.unwrap().is_empty());
    assert_eq!(guarded.ran(), [""; 0]);
}

#[tokio::test]
async fn who_waits_hears_of_a_denial() {
    let guarded = guarded();
    let mut changes = guarded.approvals.changes();
    let operator = async {
        let Some(ApprovalEvent::Changed(id, _)) = changes.next().await else {
            panic!("nobody is asked");
        };
        guarded.approvals.deny(id, "dora").await.unwrap();
    };
    let body = call("pay", "{}");
    let (answer, ()) = tokio::join!(guarded.asks(&body), operator);
    let (text, _) = refused(&answer);
    assert!(text.contains("has denied exactly this call"), "{text}");
}

#[tokio::test]
async fn t42_what_waits_costs_nothing_and_what_is_too_much_keeps_its_approval() {
    let guarded = impatient();
    let bodies = [1, 2, 3].map(|sum| call("pay", &format!(r#"{{"sum":{sum}}}"#)));
    for body in &bodies {
        for _ in 0..5 {
            refused(&guarded.asks(body).await);
        }
    }
    let pending = guarded
        .approvals
        .list(&[ApprovalState::Pending])
        .await
        .unwrap();
    for request in pending {
        guarded
            .approvals
            .approve(request.id(), "dora")
            .await
            .unwrap();
    }
    assert!(passed(&guarded.asks(&bodies[0]).await));
    assert!(passed(&guarded.asks(&bodies[1]).await));
    let (text, _) = refused(&guarded.asks(&bodies[2]).await);
    assert!(text.contains("[rule /tools/pay/limits/rate]"), "{text}");
    let approved = guarded.approvals.list(&[ApprovalState::Approved]).await;
    assert_eq!(approved.unwrap().len(), 1);
    // Nobody is bothered with what would be too much.
    let (text, _) = refused(&guarded.asks(&call("pay", r#"{"sum":4}"#)).await);
    assert!(text.contains("[rule /tools/pay/limits/rate]"), "{text}");
    let pending = guarded.approvals.list(&[ApprovalState::Pending]).await;
    assert!(pending.unwrap().is_empty());
}

/// However many use it at once.
#[tokio::test(flavor = "multi_thread")]
async fn t26_an_approval_is_used_once() {
    let policy = r#"{"version":"1","default":"deny","tools":{"pay":{"require_approval":true}}}"#;
    let guarded = of(PolicyLayer::new(policy.parse().unwrap()).approval_wait(Duration::ZERO));
    let guarded = Arc::new(guarded);
    let body = call("pay", "{}");
    refused(&guarded.asks(&body).await);
    guarded.approve_pending().await;
    let passes = Arc::new(AtomicUsize::new(0));
    let calls = (0..64).map(|_| {
        let (guarded, body, passes) = (Arc::clone(&guarded), body.clone(), Arc::clone(&passes));
        tokio::spawn(async move {
            if passed(&guarded.asks(&body).await) {
                passes.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!(
        (passes.load(Ordering::Relaxed), guarded.ran().len()),
        (1, 1)
    );
}

#[tokio::test]
async fn another_policy_is_asked_once_it_is_approved() {
    let live = LivePolicy::new(POLICY.parse().unwrap());
    let guarded = of(PolicyLayer::from_source(live.clone()));
    let mut changes = guarded.approvals.changes();
    let operator = async {
        let Some(ApprovalEvent::Changed(id, _)) = changes.next().await else {
            panic!("nobody is asked");
        };
        let denies = r#"{"version":"1","default":"deny","tools":{"pay":{"action":"deny"}}}"#;
        live.replace(denies.parse::<Policy>().unwrap());
        guarded.approvals.approve(id, "dora").await.unwrap();
    };
    let body = call("pay", "{}");
    let (answer, ()) = tokio::join!(guarded.asks(&body), operator);
    assert_eq!(refused(&answer).1["rule"], "/tools/pay/action");
    assert_eq!(guarded.ran(), [""; 0]);
}

#[tokio::test]
async fn who_goes_away_while_it_waits_finds_the_same_request_later() {
    let guarded = guarded();
    let body = call("pay", "{}");
    {
        let mut asking = Box::pin(guarded.asks(&body));
        let mut context = Context::from_waker(Waker::noop());
        assert!(asking.as_mut().poll(&mut context).is_pending());
    }
    guarded.approve_pending().await;
    assert!(passed(&guarded.asks(&body).await));
    assert_eq!(guarded.ran().len(), 1);
}

/// What waits shares one budget with all requests.
#[tokio::test]
async fn what_is_large_does_not_wait_and_passes_when_it_is_sent_again() {
    let guarded = guarded();
    // What is shown of it is not large.
    let of_length = |length: usize| {
        let body = call("ask_it", "{}");
        let spaces = " ".repeat(length - body.len());
        body + &spaces
    };
    let held = of_length(128 * 1024);
    assert!(guarded.asks(&held).now_or_never().is_none());
    let large = of_length(128 * 1024 + 1);
    let answer = guarded.asks(&large).now_or_never().unwrap();
    assert!(refused(&answer).0.contains("waits for an approval"));
    assert_eq!(guarded.ran(), [""; 0]);
    guarded.approve_pending().await;
    assert!(passed(&guarded.asks(&large).await));
    assert_eq!(guarded.ran(), [large]);
}

#[tokio::test]
async fn prompts_and_resources_wait_with_an_error() {
    let guarded = impatient();
    for (method, params) in [
        ("prompts/get", r#"{"name":"letter"}"#),
        ("resources/read", r#"{"uri":"db:x"}"#),
    ] {
        let body = request(method, params);
        let answer = guarded.asks(&body).await;
        let error = &answer["error"];
        assert_eq!(error["code"], -31202, "{answer}");
        let id = guarded.pending().await.to_string();
        assert_eq!(error["data"]["approvalId"], id);
        guarded.approve_pending().await;
        guarded.asks(&body).await;
        assert_eq!(guarded.ran(), [body]);
    }
}

#[tokio::test]
async fn what_cannot_be_held_is_refused() {
    let guarded = guarded();
    for (method, params) in [
        ("resources/subscribe", r#"{"uri":"db:x"}"#),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"db:x"}}"#,
        ),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"letter"}}"#,
        ),
    ] {
        let answer = guarded.asks(&request(method, params)).await;
        assert_eq!(answer["error"]["code"], -31403, "{answer}");
    }
    // Nobody knows who that is.
    let anonymous = Caller::anonymous();
    let mut request = post(call("own", "{}"));
    request.extensions_mut().insert(anonymous);
    let layer = guarded.layer.clone();
    let server = service_fn(
        async |_: Request<RequestBody<Body>>| -> Result<Response<Body>, Infallible> {
            panic!("it gets to the server")
        },
    );
    let answer = layer.layer(server).oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("nobody can give one here"));
    assert!(
        guarded
            .approvals
            .list(&[ApprovalState::Pending])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn in_a_batch_nothing_waits() {
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()).accept_batches());
    let batch = format!(
        "[{},{}]",
        call("pay", "{}"),
        call("free", "{}").replace(":1,", ":2,")
    );
    let answer = guarded.asks(&batch).await;
    assert!(
        answer[0].to_string().contains("send it by itself"),
        "{answer}"
    );
    assert_eq!(answer.as_array().unwrap().len(), 2);
    assert_eq!(guarded.ran(), [""; 0]);
    assert!(
        guarded
            .approvals
            .list(&[ApprovalState::Pending])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn too_many_requests_of_a_caller_are_not_asked() {
    let guarded = impatient();
    for sum in 0..20 {
        refused(
            &guarded
                .asks(&call("pay", &format!(r#"{{"sum":{sum}}}"#)))
                .await,
        );
    }
    let answer = guarded.asks(&call("pay", r#"{"sum":20}"#)).await;
    assert_eq!(answer["error"]["code"], -31503, "{answer}");
    assert_eq!(answer["error"]["data"]["rule"], "(approvals full)");
    let others = guarded.answers(post(call("pay", "{}")), "bob").await;
    refused(&others);
}

/// A store that panics, or fails.
struct Broken(MemoryApprovalStore, bool);

impl ApprovalStore for Broken {
    fn ask(&self, _: &mcp_policy::ApprovalQuestion) -> mcp_policy::StoreAnswer<ApprovalAsked> {
        assert!(self.1, "broken");
        mcp_policy::StoreAnswer::failed(mcp_policy::StoreError::new("down"))
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &mcp_policy::CallDigest,
        now: mcp_policy::Moment,
    ) -> mcp_policy::StoreAnswer<mcp_policy::ApprovalUsed> {
        self.0.use_up(request, call, now)
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: mcp_policy::Moment,
    ) -> mcp_policy::StoreAnswer<Result<mcp_policy::ApprovalRequest, mcp_policy::NotDecided>> {
        self.0.decide(request, ruling, now)
    }

    fn cancel(
        &self,
        request: ApprovalId,
        now: mcp_policy::Moment,
    ) -> mcp_policy::StoreAnswer<bool> {
        self.0.cancel(request, now)
    }

    fn get(
        &self,
        request: ApprovalId,
        now: mcp_policy::Moment,
    ) -> mcp_policy::StoreAnswer<Option<mcp_policy::ApprovalRequest>> {
        self.0.get(request, now)
    }

    fn list(
        &self,
        states: &[ApprovalState],
        now: mcp_policy::Moment,
    ) -> mcp_policy::StoreAnswer<Vec<mcp_policy::ApprovalRequest>> {
        self.0.list(states, now)
    }

    fn changes(&self) -> mcp_policy::ApprovalChanges {
        self.0.changes()
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_lets_nothing_pass() {
    for (fails, code) in [(true, -31503), (false, -32603)] {
        let store = Broken(MemoryApprovalStore::default(), fails);
        let guarded = Guarded {
            layer: PolicyLayer::new(POLICY.parse().unwrap()).approval_store(store),
            ..guarded()
        };
        let answer = guarded.asks(&call("pay", "{}")).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(passed(&guarded.asks(&call("free", "{}")).await));
        assert_eq!(guarded.ran().len(), 1);
    }
}

/// Whoever guesses names is told the same of both.
#[tokio::test]
async fn what_is_hidden_waits_like_what_does_not_exist() {
    let guarded = impatient();
    let mut told = Vec::new();
    for name in ["ask_secret", "ask_others"] {
        let answer = guarded.asks(&call(name, "{}")).await;
        let (text, meta) = refused(&answer);
        let approval = meta["approvalId"].as_str().unwrap();
        let decision = meta["decisionId"].as_str().unwrap();
        let answer = answer
            .to_string()
            .replace(name, "NAME")
            .replace(approval, "ID");
        told.push(answer.replace(decision, "ID"));
        assert!(text.contains("It waits for an approval."), "{text}");
        guarded.approve_pending().await;
    }
    assert_eq!(told[0], told[1]);
    let (text, _) = refused(&guarded.asks(&call("ask_secret", "{}")).await);
    assert!(text.contains("[rule (default deny)]"), "{text}");
    assert_eq!(guarded.ran(), [""; 0]);
    assert!(passed(&guarded.asks(&call("ask_others", "{}")).await));
}

/// Whoever decides sees all that is approved.
#[tokio::test]
async fn what_is_approved_is_shown() {
    let guarded = impatient();
    let read = request(
        "resources/read",
        r#"{"uri":"db:salaries","name":"db:opening-hours"}"#,
    );
    guarded.asks(&read).await;
    let shown = async || {
        let id = guarded.pending().await;
        guarded.approvals.get(id).await.unwrap().unwrap()
    };
    let request_of = shown().await;
    assert_eq!(request_of.name(), "db:salaries");
    assert_eq!(request_of.others(), Some(r#"{"name":"db:opening-hours"}"#));
    guarded.approve_pending().await;
    let params = r#"{"name":"pay","arguments":{"a":1},"task":{},"_meta":{"dryRun":false,"progressToken":1}}"#;
    guarded.asks(&request("tools/call", params)).await;
    let request_of = shown().await;
    assert_eq!(request_of.arguments().unwrap().text(), r#"{"a":1}"#);
    assert_eq!(
        request_of.others(),
        Some(r#"{"_meta":{"dryRun":false},"task":{}}"#)
    );
    guarded.approve_pending().await;
    // Nobody can approve what nobody can look through.
    let padding = " ".repeat(70_000);
    let long = call("pay", &format!(r#"{{"a":"{padding}","to":"eve"}}"#));
    let (text, _) = refused(&guarded.asks(&long).await);
    assert!(text.contains("nobody can give one here"), "{text}");
}

/// Nobody is asked once more because of a call that was held.
#[tokio::test]
async fn of_calls_that_are_held_together_one_passes_and_nobody_is_asked_again() {
    let guarded = guarded();
    let body = call("pay", "{}");
    let mut changes = guarded.approvals.changes();
    let operator = async {
        let Some(ApprovalEvent::Changed(id, _)) = changes.next().await else {
            panic!("nobody is asked");
        };
        guarded.approvals.approve(id, "dora").await.unwrap();
    };
    let asks = || guarded.asks(&body);
    let (one, other, third, ()) = tokio::join!(asks(), asks(), asks(), operator);
    let passes = [&one, &other, &third]
        .into_iter()
        .filter(|answer| passed(answer));
    assert_eq!((passes.count(), guarded.ran().len()), (1, 1));
    let pending = guarded.approvals.list(&[ApprovalState::Pending]).await;
    assert!(pending.unwrap().is_empty());
}

/// An outer layer gives back what an inner one refuses, or has wait.
#[tokio::test]
async fn what_an_inner_layer_refuses_costs_nothing_outside() {
    let guarded = impatient();
    let outer = r#"{"version":"1","default":"allow","tools":{"pay":{"rate_limit":"2/hour"}}}"#;
    let outer = PolicyLayer::new(outer.parse().unwrap());
    let server = service_fn(async |_: Request<RequestBody<RequestBody<Body>>>| {
        let answer = Response::builder().header("content-type", "application/json");
        Ok::<_, Infallible>(answer.body(pieces([OK])).unwrap())
    });
    let service = outer.layer(guarded.layer.layer(server));
    let ask = async || {
        let mut request = post(call("pay", "{}"));
        request.extensions_mut().insert(Caller::new("alice"));
        let answer = service.clone().oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    for _ in 0..5 {
        refused(&ask().await);
    }
    guarded.approve_pending().await;
    assert!(passed(&ask().await));
}

#[tokio::test]
async fn a_connection_is_told_at_once_and_the_same_call_passes_once() {
    let store = Arc::new(MemoryApprovalStore::default());
    let approvals = Approvals::new(store.clone());
    let guard = MessageGuard::new(POLICY.parse().unwrap()).approval_store(store);
    let connection = guard.connect(Caller::local());
    let body = call("pay", "{}");
    let FromClient::Refuse(answer) = connection.from_client(body.as_bytes()).await else {
        panic!("it goes on");
    };
    refused(&serde_json::from_slice(&answer).unwrap());
    let pending = approvals.list(&[ApprovalState::Pending]).await.unwrap();
    approvals.approve(pending[0].id(), "dora").await.unwrap();
    assert_eq!(
        connection.from_client(body.as_bytes()).await,
        FromClient::Forward
    );
    let again = connection.from_client(body.as_bytes()).await;
    assert!(matches!(again, FromClient::Refuse(_)));
}

/// However it came to the server: what is hidden is approved and charged like what does
/// not exist, and does not run.
#[tokio::test]
async fn what_is_hidden_does_not_run_on_a_connection_after_it_is_approved() {
    let policy = r#"{ "version": "1", "default": "deny", "hide": ["ask_secret"], "tools": {
        "ask_*": { "rate_limit": "1/hour", "require_approval": true } } }"#;
    let store = Arc::new(MemoryApprovalStore::default());
    let approvals = Approvals::new(store.clone());
    let guard = MessageGuard::new(policy.parse().unwrap()).approval_store(store);
    let connection = guard.connect(Caller::local());
    let ask = async |tool: &str| connection.from_client(call(tool, "{}").as_bytes()).await;
    let told = |verdict: FromClient| {
        let FromClient::Refuse(answer) = verdict else {
            panic!("it goes on: {verdict:?}");
        };
        refused(&serde_json::from_slice(&answer).unwrap()).0
    };
    let text = told(ask("ask_secret").await);
    assert!(text.contains("It waits for an approval."), "{text}");
    let pending = approvals.list(&[ApprovalState::Pending]).await.unwrap();
    approvals.approve(pending[0].id(), "dora").await.unwrap();
    let text = told(ask("ask_secret").await);
    assert!(text.contains("[rule (default deny)]"), "{text}");
    // It has cost what everything else does.
    let text = told(ask("ask_others").await);
    assert!(text.contains("No more than 1 an hour"), "{text}");
}
