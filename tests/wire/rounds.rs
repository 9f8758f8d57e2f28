//! Calls of 2026-07-28 that take several rounds: to be approved, or because the server
//! asks for more.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt as _;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use mcp_policy::{
    ApprovalState, Approvals, AuditRecord, AuditSink, Caller, Clock, Ending, MemoryApprovalStore,
    Moment, PolicyLayer, Receipt, RequestBody, RequestStateKeys, Verdict,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::{Layer as _, ServiceExt as _, service_fn};

mod attacked;
mod connection;

use crate::server::{Body, OK, pieces, post};

const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": {
        "ask": { "require_approval": { "reason": "It is costly." } },
        "own": { "require_approval": { "approver": "caller" } },
        "twice": { "rate_limit": { "max": 2, "window": 60 } },
        "one": { "max_concurrent": { "max": 1 } },
        "both": { "require_approval": true, "rate_limit": { "max": 1, "window": 60 } },
        "free": {}
    },
    "prompts": { "letter": { "require_approval": true } },
    "resources": { "db:*": { "require_approval": true } }
}"#;

const OURS: &str = "io.github.mcp-policy/approval";

/// What a server answers to a body.
type Answers = dyn Fn(&Value) -> String + Send + Sync;

#[derive(Clone)]
struct Guarded {
    layer: PolicyLayer,
    approvals: Approvals,
    ran: Arc<Mutex<Vec<Value>>>,
    answers: Arc<Answers>,
    /// How many calls the server still answers.
    open: Arc<Semaphore>,
}

/// A clock that is set.
#[derive(Clone, Default)]
pub(crate) struct Hands(Arc<Mutex<Duration>>);

impl Hands {
    pub(crate) fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for Hands {
    fn now(&self) -> Moment {
        static BEGAN: std::sync::OnceLock<(Instant, SystemTime)> = std::sync::OnceLock::new();
        let (instant, system) = *BEGAN.get_or_init(|| (Instant::now(), SystemTime::now()));
        let passed = *self.0.lock().unwrap();
        Moment {
            instant: instant + passed,
            system: system + passed,
        }
    }
}

fn guarded() -> Guarded {
    of(layer())
}

fn layer() -> PolicyLayer {
    PolicyLayer::new(POLICY.parse().unwrap()).approval_wait(Duration::ZERO)
}

fn of(layer: PolicyLayer) -> Guarded {
    let store = Arc::new(MemoryApprovalStore::default());
    Guarded {
        layer: layer.approval_store(Arc::clone(&store)),
        approvals: Approvals::new(store),
        ran: Arc::default(),
        answers: Arc::new(|_| OK.to_owned()),
        open: Arc::new(Semaphore::new(1_000)),
    }
}

/// A server that asks for `needed` more rounds of every call before it does anything.
fn asking(needed: u64) -> impl Fn(&Value) -> String + Send + Sync {
    move |body| {
        let state = body["params"]["requestState"].as_str();
        let round: u64 = state.map_or(0, |state| state["server-".len()..].parse().unwrap());
        if round >= needed {
            return OK.to_owned();
        }
        json!({"jsonrpc": "2.0", "id": body["id"], "result": {
            "resultType": "input_required",
            "inputRequests": {"name": {"method": "elicitation/create", "params": {}}},
            "requestState": format!("server-{}", round + 1),
        }})
        .to_string()
    }
}

impl Guarded {
    fn before(self, answers: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        Self {
            answers: Arc::new(answers),
            ..self
        }
    }

    /// The server answers so many calls.
    fn answering(self, most: usize) -> Self {
        let open = Arc::new(Semaphore::new(most));
        Self { open, ..self }
    }

    async fn asks(&self, call: &Value) -> Value {
        self.asks_as("alice", call).await
    }

    async fn asks_as(&self, caller: &str, call: &Value) -> Value {
        let params = &call["params"];
        let mut request = post(call.to_string());
        let name = params["name"].as_str().or(params["uri"].as_str()).unwrap();
        for (header, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", call["method"].as_str().unwrap()),
            ("mcp-name", name),
        ] {
            request.headers_mut().insert(header, value.parse().unwrap());
        }
        self.sends(caller, request).await.unwrap()
    }

    /// What is answered, if anything is.
    async fn sends(&self, caller: &str, mut request: Request<Body>) -> Option<Value> {
        request.extensions_mut().insert(Caller::new(caller));
        let (ran, answers) = (Arc::clone(&self.ran), Arc::clone(&self.answers));
        let open = Arc::clone(&self.open);
        let server = service_fn(move |request: Request<RequestBody<Body>>| {
            let (ran, answers) = (Arc::clone(&ran), Arc::clone(&answers));
            let open = Arc::clone(&open);
            async move {
                open.acquire().await.unwrap().forget();
                let length = request.headers()["content-length"].clone();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(length, body.len().to_string().as_str());
                let body = serde_json::from_slice(&body).unwrap();
                let answer = answers(&body);
                ran.lock().unwrap().push(body);
                let is_events = answer.starts_with("data:");
                let kind = match is_events {
                    true => "text/event-stream",
                    false => "application/json",
                };
                let response = Response::builder().header("content-type", kind);
                let response = response.header("mcp-session-id", "s1");
                Ok::<_, Infallible>(response.body(pieces([answer])).unwrap())
            }
        });
        let answer = self.layer.layer(server).oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body = body.strip_prefix(b"data: ").unwrap_or(&body).to_vec();
        (!body.is_empty()).then(|| serde_json::from_slice(&body).unwrap())
    }

    fn ran(&self) -> Vec<Value> {
        std::mem::take(&mut self.ran.lock().unwrap())
    }

    async fn in_state(&self, state: ApprovalState) -> usize {
        self.approvals.list(&[state]).await.unwrap().len()
    }

    async fn approve_pending(&self) {
        let pending = self.approvals.list(&[ApprovalState::Pending]).await;
        let pending = pending.unwrap();
        assert_eq!(pending.len(), 1, "{pending:?}");
        let approved = self.approvals.approve(pending[0].id(), "dora").await;
        approved.unwrap();
    }
}

fn request(method: &str, params: Value, elicitation: Value) -> Value {
    let mut params = params;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": elicitation,
    });
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

fn call(tool: &str) -> Value {
    request(
        "tools/call",
        json!({"name": tool, "arguments": {"secret": 7}}),
        json!({}),
    )
}

/// The call of a client that can ask its user.
fn call_by(tool: &str, elicitation: Value) -> Value {
    let params = json!({"name": tool, "arguments": {"secret": 7}});
    request("tools/call", params, json!({"elicitation": elicitation}))
}

/// The same call, with what is brought back.
fn again(call: &Value, state: &Value, responses: Option<Value>) -> Value {
    let mut call = call.clone();
    call["id"] = json!(call["id"].as_u64().unwrap() + 1);
    call["params"]["requestState"] = state.clone();
    if let Some(responses) = responses {
        call["params"]["inputResponses"] = responses;
    }
    call
}

/// The state that an answer wants back.
#[track_caller]
fn state_of(answer: &Value) -> Value {
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    assert!(result["requestState"].is_string(), "{answer}");
    result["requestState"].clone()
}

#[track_caller]
fn passed(answer: &Value) {
    let result = &answer["result"];
    assert!(
        result["content"].is_array() && result["isError"] != true,
        "{answer}"
    );
}

#[track_caller]
fn refused(answer: &Value) -> String {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert_eq!(answer["result"]["resultType"], "complete");
    answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[track_caller]
fn not_ours(answer: &Value) -> String {
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    answer["error"]["message"].as_str().unwrap().to_owned()
}

/// Every client can come back: it needs no capability for that.
#[tokio::test]
async fn a_client_that_can_ask_nobody_comes_back_with_a_state() {
    let guarded = guarded();
    let first = call("ask");
    let answer = guarded.asks(&first).await;
    assert_eq!(answer["result"].get("inputRequests"), None);
    let meta = &answer["result"]["_meta"];
    assert_eq!(meta["io.github.mcp-policy/reason"], "It is costly.");
    assert_eq!(
        meta["io.github.mcp-policy/rule"],
        "/tools/ask/require_approval"
    );
    let mut state = state_of(&answer);
    for _ in 0..3 {
        state = state_of(&guarded.asks(&again(&first, &state, None)).await);
    }
    assert_eq!(guarded.in_state(ApprovalState::Pending).await, 1);
    guarded.approve_pending().await;
    passed(&guarded.asks(&again(&first, &state, None)).await);
    let ran = guarded.ran();
    assert_eq!(ran.len(), 1);
    assert_eq!(ran[0]["params"], first["params"]);
    // Once.
    let answer = guarded.asks(&again(&first, &state, None)).await;
    let text = refused(&answer);
    assert!(text.contains("was used by another call"), "{text}");
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

#[tokio::test]
async fn prompts_and_resources_wait_in_the_same_way() {
    let guarded = guarded();
    for (method, params) in [
        ("prompts/get", json!({"name": "letter"})),
        ("resources/read", json!({"uri": "db:x"})),
    ] {
        let first = request(method, params, json!({}));
        let state = state_of(&guarded.asks(&first).await);
        guarded.approve_pending().await;
        passed(&guarded.asks(&again(&first, &state, None)).await);
        assert_eq!(guarded.ran().len(), 1);
    }
}

#[tokio::test]
async fn a_client_that_can_open_pages_is_sent_to_one_at_once_and_held_when_it_comes_back() {
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap())
        .approval_page(|id| format!("https://gateway.example.com/approvals/{id}")));
    let first = call_by("ask", json!({"url": {}}));
    // Nobody waits 25 s for this.
    let answer = guarded.asks(&first).now_or_never().unwrap();
    let state = state_of(&answer);
    let asked = &answer["result"]["inputRequests"][OURS];
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["params"]["mode"], "url");
    let id = &answer["result"]["_meta"]["io.github.mcp-policy/approvalId"];
    let url = format!(
        "https://gateway.example.com/approvals/{}",
        id.as_str().unwrap()
    );
    assert_eq!(asked["params"]["url"], url);
    let message = asked["params"]["message"].as_str().unwrap();
    assert!(
        message.contains("\"ask\"") && message.contains("It is costly."),
        "{message}"
    );
    assert!(!message.contains('7'), "{message}");

    let accepted = json!({ OURS: {"action": "accept"}, "other": {"action": "accept"} });
    let second = again(&first, &state, Some(accepted));
    let operator = async {
        tokio::task::yield_now().await;
        assert_eq!(guarded.ran(), [Value::Null; 0]);
        guarded.approve_pending().await;
    };
    let (answer, ()) = tokio::join!(guarded.asks(&second), operator);
    passed(&answer);
    let ran = guarded.ran();
    assert_eq!(ran[0]["params"].get("requestState"), None);
    assert_eq!(
        ran[0]["params"]["inputResponses"],
        json!({"other": {"action": "accept"}})
    );
    assert_eq!(ran[0]["id"], 2);
}

/// A user is bothered once, however long it takes.
#[tokio::test]
async fn who_has_opened_a_page_is_not_sent_to_it_again() {
    let page = layer().approval_page(|id| format!("https://gateway.example.com/{id}"));
    let guarded = of(page);
    let asked = |answer: &Value| answer["result"]["inputRequests"][OURS]["params"]["url"].clone();
    let first = call_by("ask", json!({"url": {}}));
    let answer = guarded.asks(&first).await;
    let url = asked(&answer);
    // Who says nothing may not have understood.
    let answer = guarded.asks(&again(&first, &state_of(&answer), None)).await;
    assert!(url.is_string() && asked(&answer) == url, "{answer}");
    let accepted = json!({ OURS: {"action": "accept"} });
    let second = again(&first, &state_of(&answer), Some(accepted));
    let mut state = state_of(&guarded.asks(&second).await);
    for _ in 0..3 {
        let answer = guarded.asks(&again(&first, &state, None)).await;
        assert_eq!(answer["result"].get("inputRequests"), None, "{answer}");
        state = state_of(&answer);
    }
    guarded.approve_pending().await;
    passed(&guarded.asks(&again(&first, &state, None)).await);
    // The next request has another page.
    let next = asked(&guarded.asks(&first).await);
    assert!(next.is_string() && next != url, "{next}");
}

/// To open the page, or to say so, approves nothing.
#[tokio::test]
async fn what_a_client_says_is_no_approval_where_an_operator_has_to_give_it() {
    let page = layer().approval_page(|id| format!("https://gateway.example.com/{id}"));
    let guarded = of(page);
    for elicitation in [
        json!({}),
        json!({"form": {}, "url": {}}),
        json!({"url": {}}),
    ] {
        let first = call_by("ask", elicitation);
        let mut state = state_of(&guarded.asks(&first).await);
        for content in [json!({}), json!({"decision": "allow_once"})] {
            let said = json!({ OURS: {"action": "accept", "content": content} });
            let answer = guarded.asks(&again(&first, &state, Some(said))).await;
            state = state_of(&answer);
        }
    }
    assert_eq!(guarded.in_state(ApprovalState::Pending).await, 1);
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

#[tokio::test]
async fn a_client_that_may_approve_its_own_call_is_asked_with_a_form() {
    let guarded = guarded();
    let first = call_by("own", json!({}));
    let answer = guarded.asks(&first).await;
    let asked = &answer["result"]["inputRequests"][OURS]["params"];
    assert_eq!(asked["mode"], "form");
    let decision = &asked["requestedSchema"]["properties"]["decision"];
    assert_eq!(decision["default"], "deny");
    assert_eq!(asked["requestedSchema"]["required"], json!(["decision"]));
    let message = asked["message"].as_str().unwrap();
    assert!(
        message.contains("\"own\"") && message.contains("secret"),
        "{message}"
    );
    assert!(!message.contains('7'), "{message}");

    // What says less than that it is allowed is asked again.
    let state = state_of(&answer);
    for said in [
        None,
        Some(json!({})),
        Some(json!({ OURS: {"action": "accept"} })),
        Some(json!({ OURS: {"action": "accept", "content": {}} })),
        Some(json!({ OURS: {"action": "accept", "content": {"decision": "allow"}} })),
        Some(json!({ OURS: {"action": "accept", "content": {"decision": true}} })),
        Some(json!({ OURS: {"action": "ACCEPT", "content": {"decision": "allow_once"}} })),
        Some(json!({ OURS: "accept" })),
        Some(json!({ "policy": {"action": "accept", "content": {"decision": "allow_once"}} })),
    ] {
        let answer = guarded.asks(&again(&first, &state, said)).await;
        assert_eq!(
            answer["result"]["inputRequests"][OURS]["params"]["mode"],
            "form"
        );
        state_of(&answer);
    }
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

const ALLOWED: &str = r#"{"action": "accept", "content": {"decision": "allow_once"}}"#;

fn allowed() -> Option<Value> {
    Some(json!({ OURS: serde_json::from_str::<Value>(ALLOWED).unwrap() }))
}

#[tokio::test]
async fn a_form_lets_exactly_one_call_pass() {
    let guarded = guarded();
    let first = call_by("own", json!({"form": {}}));
    let state = state_of(&guarded.asks(&first).await);
    passed(&guarded.asks(&again(&first, &state, allowed())).await);
    assert_eq!(guarded.ran()[0]["params"], first["params"]);
    let text = refused(&guarded.asks(&again(&first, &state, allowed())).await);
    assert!(text.contains("was used by another call"), "{text}");
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

/// The answer to a form that nobody has sent.
#[tokio::test]
async fn t28_an_answer_without_a_question_approves_nothing() {
    let guarded = guarded();
    let mut first = call_by("own", json!({"form": {}}));
    first["params"]["inputResponses"] = allowed().unwrap();
    state_of(&guarded.asks(&first).await);
    // To a question that only had a page, or none.
    let mut other = call_by("ask", json!({"form": {}}));
    let state = state_of(&guarded.asks(&other).await);
    other = again(&other, &state, allowed());
    state_of(&guarded.asks(&other).await);
    assert_eq!(guarded.ran(), [Value::Null; 0]);
    // What needs no approval goes on without it. What a server asked may be its own.
    let mut free = call_by("free", json!({"form": {}}));
    free["params"]["inputResponses"] = allowed().unwrap();
    passed(&guarded.asks(&free).await);
    free["params"]["requestState"] = json!("server-1");
    passed(&guarded.asks(&free).await);
    let ran = guarded.ran();
    assert_eq!(ran[0]["params"].get("inputResponses"), None);
    assert_eq!(ran[1], free);
}

#[tokio::test]
async fn what_a_client_does_not_want_is_over() {
    for (said, state) in [
        (
            json!({"action": "accept", "content": {"decision": "deny"}}),
            ApprovalState::Denied,
        ),
        (json!({"action": "decline"}), ApprovalState::Denied),
        (json!({"action": "cancel"}), ApprovalState::Denied),
    ] {
        let guarded = guarded();
        let first = call_by("own", json!({}));
        let sealed = state_of(&guarded.asks(&first).await);
        let answer = again(&first, &sealed, Some(json!({ OURS: said })));
        let text = refused(&guarded.asks(&answer).await);
        assert!(text.contains("denied exactly this call"), "{text}");
        assert_eq!(guarded.in_state(state).await, 1);
        // It cannot be approved by the same state any more.
        refused(&guarded.asks(&again(&first, &sealed, allowed())).await);
        assert_eq!(guarded.ran(), [Value::Null; 0]);
    }
    // Nobody has to decide any more about what an operator was asked.
    let guarded = of(layer().approval_page(|_| "https://gateway.example.com/".to_owned()));
    let first = call_by("ask", json!({"url": {}}));
    let sealed = state_of(&guarded.asks(&first).await);
    let declined = again(
        &first,
        &sealed,
        Some(json!({ OURS: {"action": "decline"} })),
    );
    let text = refused(&guarded.asks(&declined).await);
    assert!(text.contains("It was cancelled"), "{text}");
    assert_eq!(guarded.in_state(ApprovalState::Cancelled).await, 1);
}

/// Although an operator has allowed it meanwhile.
#[tokio::test]
async fn a_client_can_take_back_what_was_approved() {
    let guarded = guarded();
    let first = call_by("own", json!({}));
    let sealed = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let denied = json!({ OURS: {"action": "accept", "content": {"decision": "deny"}} });
    refused(&guarded.asks(&again(&first, &sealed, Some(denied))).await);
    assert_eq!(guarded.ran(), [Value::Null; 0]);
    assert_eq!(guarded.in_state(ApprovalState::Cancelled).await, 1);
}

#[tokio::test]
async fn t28_a_state_is_good_for_one_caller_one_method_and_as_it_was_given() {
    let guarded = guarded();
    let first = call("ask");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let text = state.as_str().unwrap();
    let not_given = "requestState is not what this caller was given";

    let mut changed = text.to_owned().into_bytes();
    let prefix = "mcp-policy.1.".len();
    for place in [prefix, prefix + 5, prefix + 32, prefix + 40, text.len() - 1] {
        let byte = changed[place];
        changed[place] = if byte == b'A' { b'B' } else { b'A' };
        let state = json!(String::from_utf8(changed.clone()).unwrap());
        let answer = guarded.asks(&again(&first, &state, None)).await;
        assert!(not_ours(&answer).contains(not_given));
        changed[place] = byte;
    }
    for cut in [
        "mcp-policy.1.",
        &text[..text.len() - 1],
        &text[..60],
        "mcp-policy.1.====",
        "mcp-policy.1.é",
    ] {
        not_ours(&guarded.asks(&again(&first, &json!(cut), None)).await);
    }
    not_ours(&guarded.asks_as("bob", &again(&first, &state, None)).await);
    let other = request("prompts/get", json!({"name": "letter"}), json!({}));
    not_ours(&guarded.asks(&again(&other, &state, None)).await);
    // A key that nobody has here.
    let foreign = of(layer());
    not_ours(&foreign.asks(&again(&first, &state, None)).await);
    assert_eq!(guarded.ran(), [Value::Null; 0]);
    assert_eq!(foreign.ran(), [Value::Null; 0]);

    // As it was given it is still good.
    passed(&guarded.asks(&again(&first, &state, None)).await);
    assert_eq!(guarded.ran().len(), 1);
}

#[tokio::test]
async fn t28_with_other_arguments_or_another_tool_it_is_another_call() {
    let guarded = guarded();
    let first = call("ask");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let mut other = again(&first, &state, None);
    other["params"]["arguments"] = json!({"secret": 8});
    state_of(&guarded.asks(&other).await);
    assert_eq!(guarded.in_state(ApprovalState::Pending).await, 1);
    let mut tool = again(&call("both"), &state, None);
    tool["params"]["arguments"] = json!({"secret": 7});
    state_of(&guarded.asks(&tool).await);
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

/// Where nobody goes on with it, nobody is misled by it either.
#[tokio::test]
async fn t28_a_state_in_a_call_that_takes_no_rounds_is_refused() {
    let guarded = guarded();
    let state = state_of(&guarded.asks(&call("ask")).await);
    let mut legacy = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "free", "requestState": state}});
    let answer = guarded.sends("alice", post(legacy.to_string())).await;
    not_ours(&answer.unwrap());
    legacy["method"] = json!("tools/list");
    legacy["params"] = json!({"requestState": state});
    let answer = guarded.sends("alice", post(legacy.to_string())).await;
    not_ours(&answer.unwrap());
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

#[tokio::test]
async fn what_looks_like_an_answer_to_us_is_left_in_a_call_that_takes_no_rounds() {
    let guarded = guarded();
    let responses = json!({"inputResponses": allowed()});
    let list = request("tools/list", responses, json!({}));
    let mut request = post(list.to_string());
    for (header, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ] {
        request.headers_mut().insert(header, value.parse().unwrap());
    }
    guarded.sends("alice", request).await;
    assert_eq!(guarded.ran(), [list]);
}

#[tokio::test]
async fn t28_a_state_expires() {
    let clock = Hands::default();
    let guarded = of(layer().clock(clock.clone()));
    let first = call("ask");
    let state = state_of(&guarded.asks(&first).await);
    clock.pass(Duration::from_secs(599));
    let state = state_of(&guarded.asks(&again(&first, &state, None)).await);
    // It counts from the first round.
    clock.pass(Duration::from_secs(2));
    let text = not_ours(&guarded.asks(&again(&first, &state, None)).await);
    assert!(text.contains("expired"), "{text}");
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

#[tokio::test]
async fn after_ten_rounds_it_is_told_in_words() {
    let guarded = guarded();
    let first = call("ask");
    let mut answer = guarded.asks(&first).await;
    for _ in 2..=10 {
        answer = guarded.asks(&again(&first, &state_of(&answer), None)).await;
    }
    let text = refused(&answer);
    assert!(
        text.contains("Make the same call again once it is approved"),
        "{text}"
    );
    guarded.approve_pending().await;
    passed(&guarded.asks(&first).await);
}

#[tokio::test]
async fn replicas_with_the_same_keys_go_on_with_each_others_calls() {
    let [old, new] = ["0f".repeat(32), "1e".repeat(32)];
    let store = Arc::new(MemoryApprovalStore::default());
    let replica = |keys: &str| {
        let keys: RequestStateKeys = keys.parse().unwrap();
        let guarded = of(layer().request_state_keys(keys));
        Guarded {
            layer: guarded.layer.approval_store(Arc::clone(&store)),
            approvals: Approvals::new(Arc::clone(&store)),
            ..guarded
        }
    };
    let first = call("ask");
    let state = state_of(&replica(&old).asks(&first).await);
    for keys in [old.clone(), format!("{new},{old}"), format!("{old}, {new}")] {
        state_of(&replica(&keys).asks(&again(&first, &state, None)).await);
    }
    not_ours(&replica(&new).asks(&again(&first, &state, None)).await);
    let both = replica(&format!("{new},{old}"));
    // The first of them seals.
    let state = state_of(&both.asks(&again(&first, &state, None)).await);
    state_of(&replica(&new).asks(&again(&first, &state, None)).await);
    not_ours(&replica(&old).asks(&again(&first, &state, None)).await);
}

#[tokio::test]
async fn a_round_that_the_server_asks_for_is_not_charged_again() {
    for events in [false, true] {
        let answers = asking(2);
        let guarded = guarded().before(move |body| {
            let answer = answers(body);
            match events {
                true => format!("data: {answer}\n\n"),
                false => answer,
            }
        });
        let first = call("twice");
        for _ in 0..2 {
            let answer = guarded.asks(&first).await;
            let state = state_of(&answer);
            assert!(answer["result"]["inputRequests"]["name"].is_object());
            let name = json!({"name": {"action": "accept"}});
            let second = again(&first, &state, Some(name.clone()));
            let state = state_of(&guarded.asks(&second).await);
            passed(&guarded.asks(&again(&second, &state, None)).await);
            let ran = guarded.ran();
            assert_eq!(ran.len(), 3);
            assert_eq!(ran[0]["params"].get("requestState"), None);
            assert_eq!(ran[1]["params"]["requestState"], "server-1");
            assert_eq!(ran[1]["params"]["inputResponses"], name);
            assert_eq!(ran[2]["params"]["requestState"], "server-2");
        }
        let text = refused(&guarded.asks(&first).await);
        assert!(text.contains("/tools/twice/limits/rate"), "{text}");
        assert_eq!(guarded.ran(), [Value::Null; 0]);
    }
}

#[tokio::test]
async fn t28_a_state_that_is_used_again_is_charged_as_another_call() {
    let guarded = guarded().before(asking(1));
    let first = call("twice");
    let state = state_of(&guarded.asks(&first).await);
    let second = again(&first, &state, None);
    passed(&guarded.asks(&second).await);
    // The second call of the two that are allowed, and no further one.
    passed(&guarded.asks(&second).await);
    let text = refused(&guarded.asks(&second).await);
    assert!(text.contains("/tools/twice/limits/rate"), "{text}");
    assert_eq!(guarded.ran().len(), 3);
}

#[tokio::test]
async fn t28_of_many_that_use_a_state_at_once_one_goes_on() {
    let guarded = guarded().before(asking(1));
    let first = call("both");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let state = state_of(&guarded.asks(&again(&first, &state, None)).await);
    assert_eq!(guarded.ran().len(), 1);
    let second = again(&first, &state, None);
    let answers = futures::future::join_all((0..64).map(|_| guarded.asks(&second))).await;
    let passed = answers
        .iter()
        .filter(|answer| answer["result"]["content"].is_array());
    let passed = passed.filter(|answer| answer["result"]["isError"] != true);
    assert_eq!(passed.count(), 1);
    assert_eq!(guarded.ran().len(), 1);
}

#[tokio::test]
async fn a_call_that_was_approved_is_not_asked_about_again_when_the_server_asks_for_more() {
    let guarded = guarded().before(asking(2));
    let first = call("both");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let mut answer = guarded.asks(&again(&first, &state, None)).await;
    for _ in 0..2 {
        answer = guarded.asks(&again(&first, &state_of(&answer), None)).await;
    }
    passed(&answer);
    assert_eq!(guarded.in_state(ApprovalState::Pending).await, 0);
    let ran = guarded.ran();
    let states: Vec<_> = ran
        .iter()
        .map(|call| &call["params"]["requestState"])
        .collect();
    assert_eq!(
        states,
        [&Value::Null, &json!("server-1"), &json!("server-2")]
    );
}

/// What nobody counts or approves keeps the state that the server gave.
#[tokio::test]
async fn what_costs_nothing_is_passed_on_as_it_is() {
    let guarded = guarded().before(asking(1));
    let first = call("free");
    let state = state_of(&guarded.asks(&first).await);
    assert_eq!(state, "server-1");
    passed(&guarded.asks(&again(&first, &state, None)).await);
    assert_eq!(guarded.ran()[1]["params"]["requestState"], "server-1");
}

#[tokio::test]
async fn what_is_under_way_at_once_counts_in_every_round() {
    let guarded = guarded().before(asking(1)).answering(1);
    let first = call("one");
    let state = state_of(&guarded.asks(&first).await);
    let second = again(&first, &state, None);
    let asks = guarded.asks(&second);
    futures::pin_mut!(asks);
    assert!(futures::poll!(&mut asks).is_pending());
    let text = refused(&guarded.asks(&first).await);
    assert!(text.contains("/tools/one/max_concurrent"), "{text}");
    guarded.open.add_permits(2);
    passed(&asks.await);
    state_of(&guarded.asks(&first).await);
}

/// Two layers with keys of their own, one behind the other.
#[tokio::test]
async fn what_another_layer_behind_has_sealed_is_sealed_once_more() {
    let inner = guarded().before(asking(1));
    let outer_policy = r#"{ "version": "1", "default": "allow" }"#;
    let outer = of(PolicyLayer::new(outer_policy.parse().unwrap()));
    let behind = inner.clone();
    let both = |call: Value| {
        let (outer, behind) = (outer.clone(), behind.clone());
        async move {
            let answer = Arc::new(Mutex::new(String::new()));
            let first = Arc::clone(&answer);
            let outer = outer.before(move |_| first.lock().unwrap().clone());
            // What gets through the outer one is asked of the inner one.
            let probe = outer.clone().before(|_| OK.to_owned());
            passed(&probe.asks(&call).await);
            let forwarded = probe.ran().pop().unwrap();
            *answer.lock().unwrap() = behind.asks(&forwarded).await.to_string();
            let mut answered = outer.asks(&call).await;
            answered["forwarded"] = forwarded;
            answered
        }
    };
    let first = call("twice");
    let answer = both(first.clone()).await;
    let state = state_of(&answer);
    let answer = both(again(&first, &state, None)).await;
    passed(&answer);
    assert_eq!(inner.ran()[1]["params"]["requestState"], "server-1");
}

fn legacy(id: u64, tool: &str, session: &str) -> Request<Body> {
    let body =
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool}});
    of_session(&body, session)
}

fn of_session(body: &Value, session: &str) -> Request<Body> {
    let mut request = post(body.to_string());
    let headers = request.headers_mut();
    headers.insert("mcp-protocol-version", "2025-11-25".parse().unwrap());
    headers.insert("mcp-session-id", session.parse().unwrap());
    request
}

fn initialize(elicitation: &Value) -> Request<Body> {
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "clientInfo": {"name": "c", "version": "1"},
        "capabilities": {"elicitation": elicitation}}});
    post(body.to_string())
}

#[tokio::test]
async fn a_client_of_2025_11_25_that_can_open_pages_gets_the_error_for_it() {
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap())
        .approval_page(|id| format!("https://gateway.example.com/approvals/{id}")));
    guarded
        .sends("alice", initialize(&json!({"form": {}, "url": {}})))
        .await;
    // Nobody waits 25 s for this.
    let answer = guarded
        .sends("alice", legacy(1, "ask", "s1"))
        .now_or_never()
        .flatten()
        .unwrap();
    assert_eq!(answer["error"]["code"], -32042, "{answer}");
    assert_eq!(answer["id"], 1);
    let data = &answer["error"]["data"];
    let asked = &data["elicitations"][0];
    assert_eq!(asked["mode"], "url");
    assert_eq!(asked["elicitationId"], data["approvalId"]);
    let id = data["approvalId"].as_str().unwrap();
    assert_eq!(
        asked["url"],
        format!("https://gateway.example.com/approvals/{id}")
    );
    assert_eq!(data["rule"], "/tools/ask/require_approval");
    assert_eq!(asked["message"], "It is costly.");
    // Whoever could approve it cannot be asked where nothing is held for that.
    let answer = guarded
        .sends("alice", legacy(1, "own", "s1"))
        .now_or_never()
        .flatten()
        .unwrap();
    assert_eq!(answer["error"]["code"], -32042, "{answer}");
    let id = answer["error"]["data"]["approvalId"].as_str().unwrap();
    guarded
        .approvals
        .deny(id.parse().unwrap(), "dora")
        .await
        .unwrap();
    // The same call is held, because it has the address already.
    let operator = async {
        tokio::task::yield_now().await;
        guarded.approve_pending().await;
    };
    let (answer, ()) = tokio::join!(guarded.sends("alice", legacy(2, "ask", "s1")), operator);
    passed(&answer.unwrap());
    assert_eq!(guarded.ran().len(), 2);
}

#[tokio::test]
async fn other_clients_of_that_time_are_told_in_words() {
    let page = |_: &_| "https://gateway.example.com/".to_owned();
    // Only forms, none, or nothing at all is known of the session.
    for (elicitation, session) in [
        (json!({}), "s1"),
        (json!({"form": {}}), "s1"),
        (json!(null), "s1"),
        (json!({"url": {}}), "s2"),
    ] {
        let guarded = of(layer().approval_page(page));
        guarded.sends("alice", initialize(&elicitation)).await;
        let answer = guarded.sends("alice", legacy(1, "ask", session)).await;
        assert_eq!(answer.unwrap()["result"]["isError"], true, "{elicitation}");
    }
    // Nor those of another version, or where there is no page.
    let guarded = of(layer().approval_page(page));
    guarded
        .sends("alice", initialize(&json!({"url": {}})))
        .await;
    let mut older = legacy(1, "ask", "s1");
    older
        .headers_mut()
        .insert("mcp-protocol-version", "2025-06-18".parse().unwrap());
    let answer = guarded.sends("alice", older).await.unwrap();
    assert_eq!(answer["result"]["isError"], true);
    let guarded = of(layer());
    guarded
        .sends("alice", initialize(&json!({"url": {}})))
        .await;
    let answer = guarded
        .sends("alice", legacy(1, "ask", "s1"))
        .await
        .unwrap();
    assert_eq!(answer["result"]["isError"], true);
}

fn cancelled(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
}

#[tokio::test]
async fn a_call_that_is_cancelled_is_not_held_and_the_server_hears_of_neither() {
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()));
    guarded.sends("alice", initialize(&json!({}))).await;
    guarded.ran();
    let cancel = async {
        tokio::task::yield_now().await;
        // Another call, another session and another caller's are none of it.
        for (caller, id, session) in [
            ("alice", json!(7), "s1"),
            ("alice", json!(1), "s2"),
            ("bob", json!(1), "s3"),
        ] {
            guarded
                .sends(caller, of_session(&cancelled(&id), session))
                .await;
        }
        // Nor is another notification, whatever it says.
        let mut other = cancelled(&json!(1));
        other["method"] = json!("notifications/progress");
        guarded.sends("alice", of_session(&other, "s1")).await;
        assert_eq!(guarded.ran().len(), 4);
        let answer = guarded
            .sends("alice", of_session(&cancelled(&json!(1)), "s1"))
            .await;
        assert_eq!(answer, None);
        assert_eq!(guarded.ran(), [Value::Null; 0]);
    };
    let (answer, ()) = tokio::join!(guarded.sends("alice", legacy(1, "ask", "s1")), cancel);
    let answer = answer.unwrap();
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("It was cancelled"), "{text}");
    // What is not held is the server's.
    guarded
        .sends("alice", of_session(&cancelled(&json!(1)), "s1"))
        .await;
    assert_eq!(guarded.ran().len(), 1);
}

/// Keeps what is recorded.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<AuditRecord>>>);

impl AuditSink for Kept {
    fn record(&self, record: &AuditRecord) -> Receipt {
        self.0.lock().unwrap().push(record.clone());
        Receipt::recorded()
    }
}

#[tokio::test]
async fn who_does_not_wait_any_more_has_asked_all_the_same() {
    let kept = Kept::default();
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()).audit(kept.clone()));
    let first = call("ask");
    {
        let asks = guarded.asks(&first);
        futures::pin_mut!(asks);
        assert!(futures::poll!(&mut asks).is_pending());
        assert!(kept.0.lock().unwrap().is_empty());
    }
    let records = std::mem::take(&mut *kept.0.lock().unwrap());
    let [
        AuditRecord::Decision(decision),
        AuditRecord::Outcome(outcome),
    ] = &records[..]
    else {
        panic!("{records:?}");
    };
    assert_eq!(decision.verdict(), Verdict::Waiting);
    assert_eq!(outcome.ending(), Ending::Cancelled);
    // Nobody is asked again, and the approval is for whoever comes back.
    guarded.approve_pending().await;
    passed(&guarded.asks(&first).await);
    let AuditRecord::Decision(decision) = kept.0.lock().unwrap()[0].clone() else {
        panic!("it is no decision");
    };
    assert_eq!(decision.decided_by(), Some("dora"));
    assert_eq!(decision.approval().map(str::len), Some(32));
    assert_eq!(guarded.ran().len(), 1);
}

#[tokio::test]
async fn what_is_for_us_and_not_for_the_server_is_recorded_as_answered() {
    let kept = Kept::default();
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()).audit(kept.clone()));
    guarded.sends("alice", initialize(&json!({}))).await;
    let cancel = async {
        tokio::task::yield_now().await;
        kept.0.lock().unwrap().clear();
        guarded
            .sends("alice", of_session(&cancelled(&json!(1)), "s1"))
            .await;
        let records = kept.0.lock().unwrap();
        let ending = records.iter().find_map(|record| match record {
            AuditRecord::Outcome(outcome) => Some(outcome.ending()),
            _ => None,
        });
        assert_eq!(ending, Some(Ending::Answered), "{records:?}");
    };
    tokio::join!(guarded.sends("alice", legacy(1, "ask", "s1")), cancel);
}
