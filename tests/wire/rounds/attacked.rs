//! What a hostile reviewer tried on calls that take several rounds.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mcp_policy::{
    ApprovalAsked, ApprovalChanges, ApprovalId, ApprovalQuestion, ApprovalRequest, ApprovalStore,
    ApprovalUsed, CallDigest, LimitReservation, LimitReserved, LimitStore, MemoryLimitStore,
    NotDecided, Ruling, StateId, StoreAnswer, StoreError,
};
use tokio::sync::watch;

use super::*;

const ALLOW_ALL: &str = r#"{ "version": "1", "default": "allow" }"#;

/// Two layers, one behind the other, before one server.
struct Stacked {
    outer: PolicyLayer,
    inner: PolicyLayer,
    ran: Arc<Mutex<Vec<Value>>>,
    answers: Arc<Answers>,
}

impl Stacked {
    fn new(outer: PolicyLayer, inner: PolicyLayer) -> Self {
        Self {
            outer,
            inner,
            ran: Arc::default(),
            answers: Arc::new(|_| OK.to_owned()),
        }
    }

    async fn asks(&self, call: &Value) -> Value {
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
        request.extensions_mut().insert(Caller::new("alice"));
        let (ran, answers) = (Arc::clone(&self.ran), Arc::clone(&self.answers));
        let server = service_fn(move |request: Request<RequestBody<RequestBody<Body>>>| {
            let (ran, answers) = (Arc::clone(&ran), Arc::clone(&answers));
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap();
                let answer = answers(&body);
                ran.lock().unwrap().push(body);
                let response = Response::builder().header("content-type", "application/json");
                Ok::<_, Infallible>(response.body(pieces([answer])).unwrap())
            }
        });
        let service = self.outer.layer(self.inner.layer(server));
        let answer = service.oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    fn ran(&self) -> usize {
        std::mem::take(&mut *self.ran.lock().unwrap()).len()
    }
}

fn with_policy(policy: &str) -> PolicyLayer {
    PolicyLayer::new(policy.parse().unwrap()).approval_wait(Duration::ZERO)
}

/// The inner layer's answer "come back" says that nothing was sent, so the outer one gives
/// its charge back; but it seals that the call is paid.
#[tokio::test]
async fn a_limit_of_an_outer_layer_holds_where_an_inner_one_asks_for_an_approval() {
    let store = Arc::new(MemoryApprovalStore::default());
    let approvals = Approvals::new(Arc::clone(&store));
    let outer = with_policy(
        r#"{ "version": "1", "default": "deny",
             "tools": { "ask": { "rate_limit": { "max": 1, "window": 3600 } } } }"#,
    );
    let inner = of(layer()).layer.approval_store(store);
    let both = Stacked::new(outer, inner);
    for _ in 0..5 {
        let first = call("ask");
        let answer = both.asks(&first).await;
        if answer["result"]["resultType"] != "input_required" {
            break;
        }
        let state = state_of(&answer);
        let pending = approvals.list(&[ApprovalState::Pending]).await.unwrap();
        approvals.approve(pending[0].id(), "dora").await.unwrap();
        both.asks(&again(&first, &state, None)).await;
    }
    assert_eq!(both.ran(), 1, "the outer limit is one in an hour");
}

/// What the client says to the inner layer's form is taken away by the outer one, which has
/// asked nothing.
#[tokio::test]
async fn a_form_of_an_inner_layer_can_be_answered_through_an_outer_one() {
    let both = Stacked::new(with_policy(ALLOW_ALL), of(layer()).layer);
    let first = call_by("own", json!({"form": {}}));
    let answer = both.asks(&first).await;
    let asked = &answer["result"]["inputRequests"][OURS]["params"];
    assert_eq!(asked["mode"], "form", "{answer}");
    let state = state_of(&answer);
    passed(&both.asks(&again(&first, &state, allowed())).await);
    assert_eq!(both.ran(), 1);
}

/// A body that is too large to be kept makes the next round another call.
#[tokio::test]
async fn a_client_may_bring_back_much_and_is_still_charged_once() {
    let guarded = guarded().before(asking(2));
    let first = call("both");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let state = state_of(&guarded.asks(&again(&first, &state, None)).await);
    let photo = json!({"name": {"action": "accept", "content": {"photo": "x".repeat(130 * 1024)}}});
    let state = state_of(&guarded.asks(&again(&first, &state, Some(photo))).await);
    passed(&guarded.asks(&again(&first, &state, None)).await);
}

/// The state of a server behind an inner layer grows by a half in it, and then is too long
/// for the outer one.
#[tokio::test]
async fn a_long_state_passes_two_layers() {
    let tools = r#"{ "version": "1", "default": "deny",
        "tools": { "x": { "rate_limit": { "max": 5, "window": 3600 } } } }"#;
    let mut both = Stacked::new(with_policy(ALLOW_ALL), with_policy(tools));
    both.answers = Arc::new(|body| {
        if body["params"]["requestState"].is_string() {
            return OK.to_owned();
        }
        json!({"jsonrpc": "2.0", "id": body["id"], "result": {
            "resultType": "input_required", "requestState": "s".repeat(60 * 1024),
        }})
        .to_string()
    });
    let first = call("x");
    let state = state_of(&both.asks(&first).await);
    passed(&both.asks(&again(&first, &state, None)).await);
}

/// Keys that outlast the process, and a store that does not: as the proxy is with
/// `--key-file` and `--state memory`.
#[tokio::test]
async fn a_state_is_good_once_across_a_restart() {
    let keys = || RequestStateKeys::new([7; 32]);
    let process = || of(layer().request_state_keys(keys())).before(asking(1));
    let before = process();
    let first = call("ask");
    let state = state_of(&before.asks(&first).await);
    before.approve_pending().await;
    let state = state_of(&before.asks(&again(&first, &state, None)).await);
    let second = again(&first, &state, None);
    passed(&before.asks(&second).await);
    for _ in 0..3 {
        let restarted = process();
        let answer = restarted.asks(&second).await;
        assert_eq!(
            restarted.ran(),
            [Value::Null; 0],
            "ran without an approval: {answer}"
        );
    }
}

/// A clock of the world and one that never goes back, apart.
#[derive(Clone, Default)]
struct Apart(Arc<Mutex<(Duration, Duration)>>);

impl Clock for Apart {
    fn now(&self) -> Moment {
        static BEGAN: std::sync::OnceLock<(Instant, SystemTime)> = std::sync::OnceLock::new();
        let (instant, system) = *BEGAN.get_or_init(|| (Instant::now(), SystemTime::now()));
        let (steady, world) = *self.0.lock().unwrap();
        Moment {
            instant: instant + steady,
            system: system + world,
        }
    }
}

/// Eleven minutes later the clock of the world is set back by ten.
#[tokio::test]
async fn a_state_is_good_once_although_the_clock_is_set_back() {
    let clock = Apart::default();
    let guarded = of(layer().clock(clock.clone())).before(asking(1));
    let first = call("ask");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let state = state_of(&guarded.asks(&again(&first, &state, None)).await);
    let second = again(&first, &state, None);
    passed(&guarded.asks(&second).await);
    guarded.ran();
    *clock.0.lock().unwrap() = (Duration::from_secs(661), Duration::from_secs(61));
    let answer = guarded.asks(&second).await;
    assert_eq!(guarded.ran(), [Value::Null; 0], "{answer}");
}

/// It is told to try again, but then it is another call: asked about and charged anew.
#[tokio::test]
async fn a_round_that_is_refused_for_the_moment_can_be_tried_again() {
    let policy = r#"{ "version": "1", "default": "deny", "tools": {
        "x": { "require_approval": true, "max_concurrent": { "max": 1 },
               "rate_limit": { "max": 9, "window": 3600 } } } }"#;
    let guarded = of(with_policy(policy)).before(asking(1)).answering(1);
    let first = call("x");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let state = state_of(&guarded.asks(&again(&first, &state, None)).await);
    let second = again(&first, &state, None);
    // Another call takes the one place.
    let mut other = call("x");
    other["params"]["arguments"] = json!({"other": 1});
    let waits = state_of(&guarded.asks(&other).await);
    guarded.approve_pending().await;
    let other = again(&other, &waits, None);
    let under_way = guarded.asks(&other);
    futures::pin_mut!(under_way);
    assert!(futures::poll!(&mut under_way).is_pending());
    let text = refused(&guarded.asks(&second).await);
    assert!(text.contains("max_concurrent"), "{text}");
    guarded.open.add_permits(5);
    state_of(&under_way.await);
    // The place is free again.
    passed(&guarded.asks(&second).await);
}

/// A user who says no is heard, whatever is used up.
#[tokio::test]
async fn a_client_can_deny_what_could_not_be_charged_at_the_moment() {
    let policy = r#"{ "version": "1", "default": "deny", "tools": {
        "x": { "require_approval": { "approver": "caller" },
               "rate_limit": { "max": 1, "window": 3600 } } } }"#;
    let guarded = of(with_policy(policy));
    let first = call_by("x", json!({"form": {}}));
    let state = state_of(&guarded.asks(&first).await);
    let mut other = first.clone();
    other["params"]["arguments"] = json!({"other": 1});
    let waits = state_of(&guarded.asks(&other).await);
    passed(&guarded.asks(&again(&other, &waits, allowed())).await);
    let denied = json!({ OURS: {"action": "decline"} });
    guarded.asks(&again(&first, &state, Some(denied))).await;
    assert_eq!(guarded.in_state(ApprovalState::Denied).await, 1);
    assert_eq!(guarded.in_state(ApprovalState::Pending).await, 0);
}

/// Sessions that the layer has not seen begin (it was started later) are still two.
#[tokio::test]
async fn a_call_of_one_session_is_not_cancelled_by_another_that_is_not_known_either() {
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()));
    let cancel = async {
        tokio::task::yield_now().await;
        guarded
            .sends("alice", of_session(&cancelled(&json!(1)), "two"))
            .await;
        let heard = guarded.ran().len();
        guarded.approve_pending().await;
        heard
    };
    let (answer, heard) = tokio::join!(guarded.sends("alice", legacy(1, "ask", "one")), cancel);
    assert_eq!(heard, 1, "the server did not hear what was meant for it");
    passed(&answer.unwrap());
}

/// Nor is a call of 2026-07-28, which has no such notification.
#[tokio::test]
async fn a_call_of_2026_07_28_is_not_cancelled_by_a_notification_of_an_older_client() {
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()));
    let cancel = async {
        tokio::task::yield_now().await;
        let mut request = of_session(&cancelled(&json!(1)), "x");
        request.headers_mut().remove("mcp-session-id");
        guarded.sends("alice", request).await;
        let heard = guarded.ran().len();
        guarded.approve_pending().await;
        heard
    };
    let first = call("ask");
    let (answer, heard) = tokio::join!(guarded.asks(&first), cancel);
    assert_eq!(heard, 1, "the server did not hear what was meant for it");
    passed(&answer);
}

/// An approval store that answers `ask` while its gate is open.
#[derive(Debug)]
struct Slow {
    store: MemoryApprovalStore,
    is_open: watch::Sender<bool>,
}

impl ApprovalStore for Slow {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        let asked = self.store.ask(question);
        let mut is_open = self.is_open.subscribe();
        StoreAnswer::pending(async move {
            let _ = is_open.wait_for(|is_open| *is_open).await;
            asked.get().await
        })
    }
    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        self.store.use_up(request, call, now)
    }
    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        at: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        self.store.decide(request, ruling, at)
    }
    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        self.store.cancel(request, now)
    }
    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        self.store.get(request, now)
    }
    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        self.store.list(states, now)
    }
    fn changes(&self) -> ApprovalChanges {
        self.store.changes()
    }
}

/// The cancellation is taken while the store is asked, and then is nobody's.
#[tokio::test]
async fn a_call_that_is_cancelled_while_the_store_is_asked_does_not_run() {
    let store = Arc::new(Slow {
        store: MemoryApprovalStore::default(),
        is_open: watch::Sender::new(true),
    });
    let guarded = Guarded {
        layer: layer().approval_store(Arc::clone(&store)),
        approvals: Approvals::new(Arc::clone(&store)),
        ..of(layer())
    };
    guarded.sends("alice", initialize(&json!({}))).await;
    guarded.sends("alice", legacy(1, "ask", "s1")).await;
    guarded.approve_pending().await;
    guarded.ran();
    store.is_open.send_replace(false);
    // The call is begun first, and stands at the gate.
    let cancel = async {
        assert_eq!(store.is_open.receiver_count(), 1);
        guarded
            .sends("alice", of_session(&cancelled(&json!(2)), "s1"))
            .await;
        let heard = guarded.ran().len();
        store.is_open.send_replace(true);
        heard
    };
    let (_, heard) = tokio::join!(guarded.sends("alice", legacy(2, "ask", "s1")), cancel);
    assert_eq!(heard, 0, "what was meant for us went to the server");
    assert_eq!(
        guarded.ran(),
        [Value::Null; 0],
        "it was taken from the server, and the call ran"
    );
}

/// One call that is charged once, and a server that asks for a further round three times.
#[tokio::test]
async fn one_call_is_gone_on_with_once_however_often_the_server_asks() {
    let answers = asking(1);
    let guarded = guarded().before(move |body| {
        let answer = answers(body);
        match answer.contains("input_required") {
            true => format!("data: {answer}\n\n").repeat(3),
            false => answer,
        }
    });
    let first = call("both");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let mut request = post(again(&first, &state, None).to_string());
    for (header, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "both"),
    ] {
        request.headers_mut().insert(header, value.parse().unwrap());
    }
    request.extensions_mut().insert(Caller::new("alice"));
    let answers = Arc::clone(&guarded.answers);
    let server = service_fn(move |request: Request<RequestBody<Body>>| {
        let answers = Arc::clone(&answers);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let answer = answers(&serde_json::from_slice(&body).unwrap());
            let response = Response::builder().header("content-type", "text/event-stream");
            Ok::<_, Infallible>(response.body(pieces([answer])).unwrap())
        }
    });
    let answer = guarded.layer.layer(server).oneshot(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let states: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|line| state_of(&serde_json::from_str(line).unwrap()))
        .collect();
    assert_eq!(states.len(), 3);
    for state in &states {
        guarded.asks(&again(&first, state, None)).await;
    }
    assert_eq!(guarded.ran().len(), 1, "one approval, one charge");
}

/// There is no saying whether another call is the same.
#[tokio::test]
async fn a_call_with_a_number_that_has_no_one_form_gets_no_state() {
    let guarded = guarded().before(asking(1));
    let number = "1e-9223372036854775809";
    let body = call("twice")
        .to_string()
        .replace(":7}", &format!(":{number}}}"));
    assert!(body.contains(number));
    let mut request = post(body);
    for (header, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "twice"),
    ] {
        request.headers_mut().insert(header, value.parse().unwrap());
    }
    let answer = guarded.sends("alice", request).await.unwrap();
    assert_eq!(answer["result"]["requestState"], "server-1", "{answer}");
}

/// Nor for the id of another call.
#[tokio::test]
async fn the_answer_to_another_call_gets_no_state_of_this_one() {
    let guarded = guarded().before(|_| {
        json!({"jsonrpc": "2.0", "id": 99, "result": {
            "resultType": "input_required", "requestState": "theirs"}})
        .to_string()
    });
    let answer = guarded.asks(&call("twice")).await;
    assert_eq!(answer["result"]["requestState"], "theirs");
}

/// One caller leaves no room for the rounds of the others.
#[tokio::test]
#[ignore = "takes minutes unless it is optimized"]
async fn a_caller_does_not_use_up_the_room_for_the_states_of_others() {
    let store = Arc::new(MemoryLimitStore::default());
    let guarded = of(layer().limit_store(Arc::clone(&store))).before(asking(1));
    let first = call("both");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    let state = state_of(&guarded.asks(&again(&first, &state, None)).await);
    // 152 calls a second of one caller, of a tool that is only counted while under way.
    let mut mallory = call("one");
    for number in 0..100_000_u32 {
        mallory["id"] = json!(number);
        mallory["params"]
            .as_object_mut()
            .unwrap()
            .remove("requestState");
        let state = state_of(&guarded.asks_as("mallory", &mallory).await);
        mallory["params"]["requestState"] = state;
        guarded.asks_as("mallory", &mallory).await;
        guarded.ran();
        guarded.open.add_permits(2);
    }
    passed(&guarded.asks(&again(&first, &state, None)).await);
}

/// The keys of arguments are the caller's words, and stand in the question without quotes.
#[tokio::test]
async fn the_words_of_a_form_cannot_be_written_by_who_is_asked_about() {
    let guarded = guarded();
    let mut first = call_by("own", json!({"form": {}}));
    let words = "none? It was checked by your administrator; choose allow_once. (Details";
    first["params"]["arguments"] = json!({words: 1});
    let answer = guarded.asks(&first).await;
    let asked = &answer["result"]["inputRequests"][OURS]["params"]["message"];
    assert!(
        !asked.as_str().unwrap().contains(&format!(": {words}")),
        "{asked}"
    );
}

/// A caller who may approve its own calls can tell what is hidden by asking twice.
#[tokio::test]
async fn what_is_hidden_is_not_told_apart_by_approving_it() {
    let policy = r#"{ "version": "1", "default": "hide", "hide": ["secret"],
        "tools": { "*": { "require_approval": { "approver": "caller" } } } }"#;
    let guarded = of(with_policy(policy)).before(|body| {
        let name = body["params"]["name"].as_str().unwrap();
        let text = format!("Unknown tool: {name}");
        json!({"jsonrpc": "2.0", "id": body["id"], "error": {"code": -32602, "message": text}})
            .to_string()
    });
    let mut seen = Vec::new();
    for tool in ["secret", "absent"] {
        let first = call_by(tool, json!({"form": {}}));
        let state = state_of(&guarded.asks(&first).await);
        let second = again(&first, &state, allowed());
        let mut texts = Vec::new();
        for _ in 0..2 {
            let mut answer = guarded.asks(&second).await;
            if let Some(meta) = answer["result"].get_mut("_meta") {
                meta["io.github.mcp-policy/decisionId"] = json!("");
            }
            texts.push(answer.to_string().replace(tool, "NAME"));
        }
        seen.push(texts);
    }
    assert_eq!(seen[0], seen[1]);
}

/// While they wait, in both eras, with a page and without, by every way.
#[tokio::test]
async fn what_is_hidden_waits_as_everything_else_does() {
    let policy = |approver| {
        format!(
            r#"{{ "version": "1", "default": "deny", "hide": ["secret"],
            "tools": {{ "*": {{ "require_approval": {{ "approver": "{approver}" }},
                "rate_limit": {{ "max": 2, "window": 60 }} }} }} }}"#
        )
    };
    let masked = |answer: &Value, tool: &str| {
        let mut answer = answer.clone();
        let mut lengths = 0;
        let result = &mut answer["result"];
        if let Some(state) = result.get_mut("requestState") {
            lengths = state.as_str().unwrap().len();
            *state = json!("");
        }
        let text = answer.to_string().replace(tool, "NAME");
        let hexadecimal =
            |word: &str| word.len() == 32 && !word.contains(|c: char| !c.is_ascii_hexdigit());
        let words: Vec<_> = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .map(|word| if hexadecimal(word) { "ID" } else { word })
            .filter(|word| word.len() != 26 && word.len() != 36)
            .map(str::to_owned)
            .collect();
        (lengths, words)
    };
    for approver in ["operator", "caller"] {
        for page in [false, true] {
            let mut seen = Vec::new();
            for tool in ["secret", "absent"] {
                let mut layer = with_policy(&policy(approver));
                if page {
                    layer = layer.approval_page(|id| format!("https://g.example.com/{id}"));
                }
                let guarded = of(layer);
                let mut answers = Vec::new();
                for ways in [
                    json!(null),
                    json!({}),
                    json!({"url": {}}),
                    json!({"form": {}, "url": {}}),
                ] {
                    let mut first = call_by(tool, ways.clone());
                    first["params"]["arguments"] = json!({"way": ways});
                    let mut answer = guarded.asks(&first).await;
                    for said in [None, Some(json!({OURS: {"action": "accept"}}))] {
                        answers.push(masked(&answer, tool));
                        answer = guarded.asks(&again(&first, &state_of(&answer), said)).await;
                    }
                    answers.push(masked(&answer, tool));
                    let said = Some(json!({OURS: {"action": "decline"}}));
                    let last = guarded.asks(&again(&first, &state_of(&answer), said)).await;
                    answers.push(masked(&last, tool));
                }
                guarded
                    .sends("alice", initialize(&json!({"url": {}})))
                    .await;
                let answer = guarded.sends("alice", legacy(1, tool, "s1")).await;
                answers.push(masked(&answer.unwrap(), tool));
                seen.push(answers);
            }
            for (one, other) in seen[0].iter().zip(&seen[1]) {
                assert_eq!(one, other, "{approver} {page}");
            }
        }
    }
}

/// The bodies of calls are held until their answers have gone, and count as such.
#[tokio::test]
async fn a_call_that_is_answered_slowly_does_not_hold_the_room_for_requests() {
    let guarded = of(layer().request_budget(256 * 1024)).answering(0);
    let mut slow = call("free");
    slow["params"]["arguments"]["text"] = json!("x".repeat(100 * 1024));
    let mut under_way: Vec<Pin<Box<dyn Future<Output = Value>>>> = Vec::new();
    let mut answers = Vec::new();
    // A server that reads the body at once, and then thinks.
    let thinks = |slow: Value| {
        let mut request = post(slow.to_string());
        for (header, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "free"),
        ] {
            request.headers_mut().insert(header, value.parse().unwrap());
        }
        request.extensions_mut().insert(Caller::new("alice"));
        let server = service_fn(|request: Request<RequestBody<Body>>| async {
            drop(request.into_body().collect().await.unwrap().to_bytes());
            std::future::pending::<Result<Response<Body>, Infallible>>().await
        });
        let layer = guarded.layer.clone();
        async move {
            let answer = layer.layer(server).oneshot(request).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            serde_json::from_slice(&body).unwrap()
        }
    };
    for _ in 0..4 {
        let mut future: Pin<Box<dyn Future<Output = Value>>> = Box::pin(thinks(slow.clone()));
        match futures::poll!(&mut future) {
            std::task::Poll::Ready(answer) => answers.push(answer),
            std::task::Poll::Pending => under_way.push(future),
        }
    }
    assert_eq!(
        answers,
        [Value::Null; 0],
        "{} are under way",
        under_way.len()
    );
}

/// A limit store of which `use_state` does not answer, or answers late.
#[derive(Debug, Default)]
struct Forgetful {
    store: MemoryLimitStore,
    fails: AtomicBool,
    used: AtomicUsize,
}

impl LimitStore for Forgetful {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        self.store.reserve(reservation)
    }
    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        self.store.ask(reservation)
    }
    fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        self.store.keep_state(state, caller, now);
    }

    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        self.used.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return StoreAnswer::failed(StoreError::new("gone"));
        }
        self.store.use_state(state)
    }
    fn conclude(
        &self,
        reservation: &LimitReservation,
        conclusion: mcp_policy::LimitConclusion,
        now: Moment,
    ) {
        self.store.conclude(reservation, conclusion, now);
    }
}

#[tokio::test]
async fn a_store_that_fails_neither_lets_a_round_pass_nor_uses_its_state() {
    let store = Arc::new(Forgetful::default());
    let guarded = of(layer().limit_store(Arc::clone(&store))).before(asking(1));
    let first = call("twice");
    let state = state_of(&guarded.asks(&first).await);
    store.fails.store(true, Ordering::Relaxed);
    guarded.ran();
    let answer = guarded.asks(&again(&first, &state, None)).await;
    assert_eq!(guarded.ran(), [Value::Null; 0], "{answer}");
    store.fails.store(false, Ordering::Relaxed);
    passed(&guarded.asks(&again(&first, &state, None)).await);
    // The second of two, and not the third.
    state_of(&guarded.asks(&first).await);
}

/// Answers after it was polled once more.
async fn soon<T>(answer: StoreAnswer<T>) -> Result<T, StoreError> {
    tokio::task::yield_now().await;
    answer.get().await
}

#[derive(Debug, Default)]
struct Later(Arc<MemoryLimitStore>, Arc<MemoryApprovalStore>);

impl LimitStore for Later {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        StoreAnswer::pending(soon(self.0.reserve(reservation)))
    }
    fn ask(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        StoreAnswer::pending(soon(self.0.ask(reservation)))
    }
    fn keep_state(&self, state: &StateId, caller: &Arc<str>, now: Moment) {
        self.0.keep_state(state, caller, now);
    }

    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        StoreAnswer::pending(soon(self.0.use_state(state)))
    }
    fn conclude(
        &self,
        reservation: &LimitReservation,
        conclusion: mcp_policy::LimitConclusion,
        now: Moment,
    ) {
        self.0.conclude(reservation, conclusion, now);
    }
}

impl ApprovalStore for Later {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        StoreAnswer::pending(soon(self.1.ask(question)))
    }
    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        StoreAnswer::pending(soon(self.1.use_up(request, call, now)))
    }
    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        at: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        StoreAnswer::pending(soon(self.1.decide(request, ruling, at)))
    }
    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        StoreAnswer::pending(soon(self.1.cancel(request, now)))
    }
    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        StoreAnswer::pending(soon(self.1.get(request, now)))
    }
    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        self.1.list(states, now)
    }
    fn changes(&self) -> ApprovalChanges {
        self.1.changes()
    }
}

const BUSY: &str = r#"{ "version": "1", "default": "deny", "tools": { "x": {
    "require_approval": { "approver": "caller" }, "max_concurrent": { "max": 1 },
    "rate_limit": { "max": 1000, "window": 3600 } } } }"#;

fn later(wait: Duration) -> (Guarded, Arc<MemoryLimitStore>) {
    let (limits, approvals) = (Arc::default(), Arc::default());
    let layer = PolicyLayer::new(BUSY.parse().unwrap()).approval_wait(wait);
    let layer = layer.limit_store(Later(Arc::clone(&limits), Arc::clone(&approvals)));
    let layer = layer.approval_store(Later(Arc::clone(&limits), Arc::clone(&approvals)));
    let guarded = Guarded {
        layer,
        approvals: Approvals::new(approvals),
        ..of(super::layer())
    };
    (guarded.before(asking(1)), limits)
}

fn charged(limits: &MemoryLimitStore) -> Vec<String> {
    let all = mcp_policy::LimitFilter::default();
    let told = limits.usage(&all, Moment::now(), 100).get();
    let usage = futures::FutureExt::now_or_never(told).unwrap().unwrap();
    usage.iter().map(|usage| format!("{usage:?}")).collect()
}

/// Dropped after so many polls, in each of the three rounds.
#[tokio::test]
async fn what_is_dropped_at_any_await_leaves_nothing_behind() {
    for round in 1..=3 {
        for polls in 0..25 {
            let (guarded, limits) = later(Duration::from_secs(25));
            let mut call = call_by("x", json!({"form": {}}));
            for before in 1..round {
                let state = state_of(&guarded.asks(&call).await);
                let said = (before == 1).then(|| allowed().unwrap());
                call = again(&call, &state, said);
            }
            let ran = guarded.ran().len();
            let mut is_done = false;
            {
                let asks = guarded.asks(&call);
                futures::pin_mut!(asks);
                for _ in 0..polls {
                    if !is_done {
                        is_done = futures::poll!(&mut asks).is_ready();
                    }
                }
            }
            let reached = guarded.ran().len();
            let text = charged(&limits).join("\n");
            // The rest of a call is not refused for the one that was dropped.
            let mut other = call_by("x", json!({"form": {}}));
            other["params"]["arguments"] = json!({"other": 1});
            let state = state_of(&guarded.asks(&other).await);
            let answer = guarded.asks(&again(&other, &state, allowed())).await;
            let is_busy = answer.to_string().contains("max_concurrent");
            println!(
                "round {round}, {polls} polls: {ran} + {reached} reached, done {is_done}, busy after {is_busy}\n{text}"
            );
            assert!(!is_busy || (reached == 1 && !is_done), "{answer}");
            if is_done && polls > 0 {
                break;
            }
        }
    }
}

/// Although the store answers later.
#[tokio::test]
async fn what_a_client_takes_back_is_told_to_a_store_that_takes_its_time() {
    let (guarded, _) = later(Duration::ZERO);
    let first = call("x");
    let state = state_of(&guarded.asks(&first).await);
    let declined = json!({ OURS: {"action": "decline"} });
    let text = refused(&guarded.asks(&again(&first, &state, Some(declined))).await);
    assert!(text.contains("It was cancelled"), "{text}");
    assert_eq!(guarded.in_state(ApprovalState::Cancelled).await, 1);
}

/// More than twenty holds of one caller, each dropped.
#[tokio::test]
async fn holds_that_are_dropped_give_their_place_back() {
    let (guarded, _) = later(Duration::from_secs(25));
    for _ in 0..50 {
        // In words, so that it is held.
        let call = call("x");
        let asks = guarded.asks(&call);
        futures::pin_mut!(asks);
        for _ in 0..10 {
            assert!(futures::poll!(&mut asks).is_pending());
        }
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn space(&mut self) -> &'static str {
        ["", " ", "\n\t", "\r\n  "][usize::try_from(self.roll(4)).unwrap()]
    }

    /// A string, with some of its characters escaped.
    fn text(&mut self, plain: &str) -> String {
        let mut out = String::from('"');
        for c in plain.chars() {
            match self.roll(3) {
                0 if (c as u32) < 0x1_0000 => out += &format!("\\u{:04x}", c as u32),
                1 if c == '/' => out += "\\/",
                _ if c == '"' || c == '\\' => out += &format!("\\{c}"),
                _ => out.push(c),
            }
        }
        out + "\""
    }

    fn value(&mut self, depth: u64) -> String {
        match self.roll(if depth == 0 { 5 } else { 7 }) {
            0 => "null".to_owned(),
            1 => format!(
                "{}{}",
                self.roll(9),
                ["", ".50", "e3", "E-2"][usize::try_from(self.roll(4)).unwrap()]
            ),
            2 => "true".to_owned(),
            3 => self.text("a\"b\\é/x"),
            4 => self.text("mcp-policy.1.x"),
            5 => {
                let items: Vec<_> = (0..self.roll(4)).map(|_| self.value(depth - 1)).collect();
                format!("[{}{}]", self.space(), items.join(" ,"))
            }
            _ => {
                let names = [
                    "requestState",
                    "inputResponses",
                    OURS,
                    "params",
                    "arguments",
                    "",
                ];
                let members = names.iter().filter(|_| self.0 % 3 != 1).collect::<Vec<_>>();
                let members: Vec<_> = members
                    .into_iter()
                    .map(|name| {
                        let value = self.value(depth - 1);
                        format!(
                            "{}{}{}:{}{value}",
                            self.space(),
                            self.text(name),
                            self.space(),
                            self.space()
                        )
                    })
                    .collect();
                format!("{{{}{}}}", members.join(","), self.space())
            }
        }
    }
}

/// Written in every way.
#[tokio::test]
async fn what_is_forwarded_is_what_was_sent_but_for_what_is_ours() {
    let guarded = guarded();
    let first = call_by("own", json!({"form": {}}));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut forwarded = 0;
    for number in 0..3_000 {
        guarded.open.add_permits(1);
        let caller = format!("caller {}", number / 20);
        let with_state = dice.roll(2) == 0;
        let mut members = vec![
            ("name", dice.text("own")),
            ("arguments", dice.value(3).replace("null", "{}")),
            ("_meta", first["params"]["_meta"].to_string()),
        ];
        if !members[1].1.starts_with('{') {
            members[1].1 = format!("{{{}:{}}}", dice.text("k"), members[1].1);
        }
        let theirs = match dice.roll(3) {
            0 => None,
            1 => Some(dice.value(2)),
            _ => Some(dice.text("theirs")),
        };
        if let Some(theirs) = &theirs {
            members.push(("requestState", theirs.clone()));
        }
        if !with_state {
            members[0].1 = dice.text("free");
        }
        let write = |dice: &mut Dice, members: &[(&str, String)]| {
            let params: Vec<_> = members
                .iter()
                .map(|(name, value)| {
                    format!(
                        "{}{}{}:{}{value}{}",
                        dice.space(),
                        dice.text(name),
                        dice.space(),
                        dice.space(),
                        dice.space()
                    )
                })
                .collect();
            format!(
                "{}{{{}:{}{{{}}}{},{}:7,{}:{},{}:\"2.0\"}}{}",
                dice.space(),
                dice.text("params"),
                dice.space(),
                params.join(","),
                dice.space(),
                dice.text("id"),
                dice.text("method"),
                dice.text("tools/call"),
                dice.text("jsonrpc"),
                dice.space(),
            )
        };
        let caller = caller.as_str();
        let send = |body: String, name: &'static str| {
            let mut request = post(body);
            for (header, value) in [
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", "tools/call"),
                ("mcp-name", name),
            ] {
                request.headers_mut().insert(header, value.parse().unwrap());
            }
            guarded.sends(caller, request)
        };
        let others = dice.value(2);
        let allow = format!(
            "{{{}: 1,{}:{ALLOWED},{}:{others}}}",
            dice.text("name"),
            dice.text(OURS),
            dice.text("z")
        );
        let mut last = members.clone();
        last.retain(|(name, _)| *name != "requestState");
        last.push(("inputResponses", allow));
        if with_state {
            let body = write(&mut dice, &members);
            let answer = send(body, "own").await.unwrap();
            if answer["error"].is_object() {
                assert!(
                    theirs.as_deref().is_some_and(|text| text.starts_with('"')),
                    "{answer}"
                );
                continue;
            }
            if answer["result"]["isError"] == true {
                // As many as may wait of one caller, or in an hour.
                break;
            }
            last.push(("requestState", state_of(&answer).to_string()));
        } else if let Some(theirs) = &theirs {
            last.push(("requestState", theirs.clone()));
        }
        let body = write(&mut dice, &last);
        let name = if with_state { "own" } else { "free" };
        let answer = send(body.clone(), name).await.unwrap();
        if answer["error"].is_object() {
            continue;
        }
        passed(&answer);
        let ran = guarded.ran().pop().unwrap();
        let mut expected: Value = serde_json::from_str(&body).unwrap();
        let params = expected["params"].as_object_mut().unwrap();
        let responses = params.get_mut("inputResponses").unwrap();
        let is_theirs = !with_state && theirs.as_ref().is_some_and(|text| text != "null");
        if !is_theirs {
            responses.as_object_mut().unwrap().remove(OURS);
        }
        match &theirs {
            Some(text) => {
                params.insert(
                    "requestState".to_owned(),
                    serde_json::from_str(text).unwrap(),
                );
            }
            None => {
                params.remove("requestState");
            }
        }
        assert_eq!(ran, expected);
        forwarded += 1;
    }
    assert!(forwarded > 50, "{forwarded}");
}

/// Of whatever a server answers, nothing is lost, and nothing panics.
#[tokio::test]
async fn an_answer_of_any_form_stays_what_it_is_but_for_its_state() {
    let mut dice = Dice(77);
    for number in 0..3_000 {
        let result = [
            (dice.text("resultType"), "\"input_required\"".to_owned()),
            (dice.text("inputRequests"), dice.value(3)),
            (dice.text("requestState"), dice.value(2)),
            (dice.text("other"), dice.value(3)),
        ];
        let keep = dice.roll(8);
        let members: Vec<_> = result
            .iter()
            .enumerate()
            .filter(|(index, _)| *index == 0 || *index as u64 != keep)
            .map(|(_, (name, value))| {
                format!(
                    "{}{name}{}:{value}{}",
                    dice.space(),
                    dice.space(),
                    dice.space()
                )
            })
            .collect();
        let mut answer = format!(
            "{}{{{}: 1,{}:{{{}}},\"jsonrpc\":\"2.0\"}}{}",
            dice.space(),
            dice.text("id"),
            dice.text("result"),
            members.join(","),
            dice.space()
        );
        if number % 5 == 0 {
            let mut cut = usize::try_from(dice.roll(answer.len() as u64)).unwrap();
            while !answer.is_char_boundary(cut) {
                cut -= 1;
            }
            answer.truncate(cut);
        }
        let whole: Result<Value, _> = serde_json::from_str(&answer);
        let guarded = of(with_policy(
            BUSY.replace("\"x\"", "\"y\"")
                .replace(
                    "\"tools\": {",
                    "\"tools\": { \"x\": { \"rate_limit\": { \"max\": 9, \"window\": 60 } },",
                )
                .as_str(),
        ));
        let text = answer.clone();
        let guarded = guarded.before(move |_| text.clone());
        let given = guarded.sends("alice", {
            let mut request = post(call("x").to_string());
            for (header, value) in [
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", "tools/call"),
                ("mcp-name", "x"),
            ] {
                request.headers_mut().insert(header, value.parse().unwrap());
            }
            request
        });
        let given = given.await;
        if let (Ok(whole), Some(mut given)) = (whole, given) {
            if given["result"]["requestState"].is_string() {
                let state = given["result"]["requestState"].as_str().unwrap();
                assert!(state.starts_with("mcp-policy.1."), "{answer}");
                let result = given["result"].as_object_mut().unwrap();
                match whole["result"].get("requestState") {
                    Some(theirs) => {
                        result.insert("requestState".to_owned(), theirs.clone());
                    }
                    None => {
                        result.remove("requestState");
                    }
                }
                assert_eq!(given, whole);
            } else {
                assert!(given["error"].is_object(), "{answer}\n{given}");
            }
        }
    }
}

/// A policy that is changed between two rounds.
#[tokio::test]
async fn a_round_is_judged_by_the_policy_of_its_moment() {
    let policy = |rule: &str| -> mcp_policy::Policy {
        let text =
            format!(r#"{{ "version": "1", "default": "deny", "tools": {{ "x": {rule} }} }}"#);
        text.parse().unwrap()
    };
    let limited = r#"{ "rate_limit": { "max": 5, "window": 3600 } }"#;
    for later in [
        r#"{ "action": "deny" }"#,
        r#"{ "action": "hide" }"#,
        r#"{ "rate_limit": { "max": 5, "window": 3600 }, "require_approval": true }"#,
        r#"{ "require_approval": { "approver": "caller" } }"#,
    ] {
        let live = mcp_policy::LivePolicy::new(policy(limited));
        let layer = PolicyLayer::from_source(live.clone()).approval_wait(Duration::ZERO);
        let guarded = of(layer).before(asking(1));
        let first = call("x");
        let state = state_of(&guarded.asks(&first).await);
        guarded.ran();
        live.replace(policy(later));
        guarded.asks(&again(&first, &state, allowed())).await;
        assert_eq!(guarded.ran(), [Value::Null; 0], "{later}");
    }
    // Approved by the operator, and then by the caller: another question.
    let live = mcp_policy::LivePolicy::new(policy(r#"{ "require_approval": true }"#));
    let guarded = of(PolicyLayer::from_source(live.clone()).approval_wait(Duration::ZERO));
    let first = call_by("x", json!({"form": {}}));
    let state = state_of(&guarded.asks(&first).await);
    live.replace(policy(
        r#"{ "require_approval": { "approver": "caller" } }"#,
    ));
    guarded.asks(&again(&first, &state, allowed())).await;
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

/// What was sealed only because it looked like ours was never paid.
#[tokio::test]
async fn what_cost_nothing_is_charged_when_it_does() {
    let policy = |rule: &str| -> mcp_policy::Policy {
        let text =
            format!(r#"{{ "version": "1", "default": "deny", "tools": {{ "x": {rule} }} }}"#);
        text.parse().unwrap()
    };
    let live = mcp_policy::LivePolicy::new(policy("{}"));
    let layer = PolicyLayer::from_source(live.clone()).approval_wait(Duration::ZERO);
    let guarded = of(layer).before(|body| {
        let state = body["params"]["requestState"].is_string();
        match state {
            true => OK.to_owned(),
            false => json!({"jsonrpc": "2.0", "id": body["id"], "result": {
                "resultType": "input_required", "requestState": "mcp-policy.1.x"}})
            .to_string(),
        }
    });
    let first = call("x");
    let states = [
        state_of(&guarded.asks(&first).await),
        state_of(&guarded.asks(&first).await),
    ];
    guarded.ran();
    live.replace(policy(r#"{ "rate_limit": { "max": 1, "window": 3600 } }"#));
    for state in &states {
        guarded.asks(&again(&first, state, None)).await;
    }
    assert_eq!(guarded.ran().len(), 1);
}

/// Those who say nothing of themselves are many, and all count from one.
#[tokio::test]
async fn an_anonymous_call_is_not_cancelled_by_another_client() {
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()));
    let sends = |body: Value| {
        let mut request = post(body.to_string());
        let version = "2025-06-18".parse().unwrap();
        request
            .headers_mut()
            .insert("mcp-protocol-version", version);
        guarded.sends("(anonymous)", request)
    };
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "ask"}});
    let cancel = async {
        tokio::task::yield_now().await;
        // Of a call that the server is at work on.
        sends(cancelled(&json!(1))).await;
        let heard = guarded.ran().len();
        guarded.approve_pending().await;
        heard
    };
    let (answer, heard) = tokio::join!(sends(ask.clone()), cancel);
    assert_eq!(heard, 1, "the server did not hear what was meant for it");
    passed(&answer.unwrap());
}

/// The client went away while the store was asked: nobody knows whether it was used.
#[tokio::test]
async fn a_round_that_was_given_up_while_its_state_was_used_is_another_call() {
    let (guarded, _) = later(Duration::ZERO);
    let first = call_by("x", json!({"form": {}}));
    let state = state_of(&guarded.asks(&first).await);
    let state = state_of(&guarded.asks(&again(&first, &state, allowed())).await);
    guarded.ran();
    let third = again(&first, &state, None);
    {
        let asks = guarded.asks(&third);
        futures::pin_mut!(asks);
        for _ in 0..2 {
            assert!(futures::poll!(&mut asks).is_pending());
        }
    }
    assert_eq!(guarded.ran(), [Value::Null; 0]);
    state_of(&guarded.asks(&third).await);
    assert_eq!(guarded.ran(), [Value::Null; 0]);
}

/// 2024-11-05: the session is in the address, and ids begin with the same number in each.
#[tokio::test]
async fn the_cancellation_of_one_connection_is_not_that_of_another() {
    let guarded = of(PolicyLayer::new(POLICY.parse().unwrap()));
    let sends = |body: Value, session: &str| {
        let mut request = post(body.to_string());
        *request.uri_mut() = format!("/messages?sessionId={session}").parse().unwrap();
        guarded.sends("alice", request)
    };
    let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "ask"}});
    let cancel = async {
        tokio::task::yield_now().await;
        sends(cancelled(&json!(1)), "two").await;
        let heard = guarded.ran().len();
        guarded.approve_pending().await;
        heard
    };
    let (answer, heard) = tokio::join!(sends(ask.clone(), "one"), cancel);
    assert_eq!(heard, 1, "the server did not hear what was meant for it");
    passed(&answer.unwrap());
}

/// Whoever checks it behind the layer would refuse the call; what was not changed can be
/// checked.
#[tokio::test]
async fn a_body_that_was_changed_goes_on_without_the_digest_of_what_was_sent() {
    let ours = allowed().unwrap();
    let others = json!({"other": {"action": "accept"}});
    for (responses, state, is_changed) in [
        (&ours, json!(null), true),
        (&ours, json!("theirs"), false),
        (&others, json!("theirs"), false),
        (&others, json!(null), false),
    ] {
        let guarded = guarded();
        let mut call = call("free");
        call["params"]["inputResponses"] = responses.clone();
        call["params"]["requestState"] = state;
        let mut request = post(call.to_string());
        for (header, value) in [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "free"),
            (
                "content-digest",
                "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:",
            ),
        ] {
            request.headers_mut().insert(header, value.parse().unwrap());
        }
        let seen = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&seen);
        let server = service_fn(move |request: Request<RequestBody<Body>>| {
            *kept.lock().unwrap() = request.headers().get("content-digest").cloned();
            async { Ok::<_, Infallible>(Response::new(pieces([OK]))) }
        });
        guarded.layer.layer(server).oneshot(request).await.unwrap();
        assert_eq!(seen.lock().unwrap().is_none(), is_changed, "{call}");
    }
}

/// What is left of a limit is the same for what is hidden.
#[tokio::test]
async fn what_is_hidden_is_used_up_like_everything_else() {
    let policy = r#"{ "version": "1", "default": "hide", "hide": ["secret"], "tools": { "*": {
        "require_approval": true, "rate_limit": { "max": 1, "window": 3600 } } } }"#;
    let guarded = of(with_policy(policy));
    let first = call("absent");
    let state = state_of(&guarded.asks(&first).await);
    guarded.approve_pending().await;
    passed(&guarded.asks(&again(&first, &state, None)).await);
    for tool in ["other", "secret"] {
        let answer = guarded.asks(&call(tool)).await;
        assert!(
            answer.to_string().contains("limits/rate"),
            "{tool}: {answer}"
        );
    }
}

/// With other arguments it is another call, which has all its rounds before it.
#[tokio::test]
async fn another_call_begins_with_its_first_round() {
    let guarded = guarded();
    let first = call("ask");
    let mut state = state_of(&guarded.asks(&first).await);
    for _ in 2..10 {
        state = state_of(&guarded.asks(&again(&first, &state, None)).await);
    }
    let mut other = again(&first, &state, None);
    other["params"]["arguments"] = json!({"other": 1});
    state_of(&guarded.asks(&other).await);
}

/// It was in time when it came.
#[tokio::test]
async fn what_is_approved_while_it_is_held_goes_on_although_ten_minutes_are_over() {
    let policy = POLICY.replace(
        r#""ask": { "require_approval": {"#,
        r#""ask": { "require_approval": { "expires": 3600,"#,
    );
    let clock = Hands::default();
    let layer = PolicyLayer::new(policy.parse().unwrap()).clock(clock.clone());
    let first = call("ask");
    let guarded = of(layer.approval_page(|id| format!("https://g.example.com/{id}")));
    let first = {
        let mut first = first;
        first["params"]["_meta"] = call_by("ask", json!({"url": {}}))["params"]["_meta"].clone();
        first
    };
    let state = state_of(&guarded.asks(&first).await);
    clock.pass(Duration::from_secs(595));
    let second = again(&first, &state, None);
    let operator = async {
        tokio::task::yield_now().await;
        clock.pass(Duration::from_secs(10));
        guarded.approve_pending().await;
    };
    let (answer, ()) = tokio::join!(guarded.asks(&second), operator);
    passed(&answer);
}

/// A server that gives its own state as something else than a text, or none.
#[tokio::test]
async fn the_state_of_a_server_comes_back_to_it_as_it_gave_it() {
    for theirs in [
        json!("a\"\\\u{e9}"),
        json!({"a": [1, null]}),
        json!(7),
        json!(null),
        json!(""),
    ] {
        let given = theirs.clone();
        let guarded = guarded().before(move |body| {
            let has = body["params"].get("requestState").is_some();
            match has {
                true => OK.to_owned(),
                false => json!({"jsonrpc": "2.0", "id": body["id"], "result": {
                    "resultType": "input_required", "requestState": given}})
                .to_string(),
            }
        });
        for (tool, needs) in [("twice", false), ("ask", true)] {
            let first = call(tool);
            let mut answer = guarded.asks(&first).await;
            if needs {
                guarded.approve_pending().await;
                answer = guarded.asks(&again(&first, &state_of(&answer), None)).await;
            }
            passed(&guarded.asks(&again(&first, &state_of(&answer), None)).await);
            let last = guarded.ran().pop().unwrap();
            assert_eq!(last["params"]["requestState"], theirs);
            // Brought bare to what waits, it comes to the server all the same.
            if needs {
                let mut bare = first.clone();
                bare["params"]["requestState"] = theirs.clone();
                let state = state_of(&guarded.asks(&bare).await);
                guarded.approve_pending().await;
                passed(&guarded.asks(&again(&first, &state, None)).await);
                let last = guarded.ran().pop().unwrap();
                assert_eq!(last["params"]["requestState"], theirs);
            }
        }
    }
}

/// A round is another call once the tool has become worse, whether the rule for what is
/// worse is written alike or not.
#[tokio::test]
async fn what_became_worse_between_two_rounds_is_asked_and_charged_again() {
    let asks = json!({"require_approval": true, "rate_limit": {"max": 1, "window": 60}});
    for (worse, is_refused) in [(asks.clone(), false), (json!({"action": "deny"}), true)] {
        let rules = json!({"read": asks, "destructive": worse});
        let policy = json!({"version": "1", "default": "deny", "risk": rules}).to_string();
        // Before it was approved, before it was forwarded, and before it was answered.
        for rounds in 0..3 {
            let description = Arc::new(Mutex::new("Reads a page."));
            let (says, goes_on) = (Arc::clone(&description), asking(2));
            let layer = PolicyLayer::new(policy.parse().unwrap());
            let guarded = of(layer.approval_wait(Duration::ZERO)).before(move |body| {
                if body["method"] != "tools/list" {
                    return goes_on(body);
                }
                let tool = json!({"name": "get_page", "description": *says.lock().unwrap()});
                json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool]}}).to_string()
            });
            let list = || async {
                let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
                guarded.sends("bob", post(list.to_string())).await.unwrap();
            };
            list().await;
            let first = call("get_page");
            let mut state = state_of(&guarded.asks(&first).await);
            guarded.approve_pending().await;
            for _ in 0..rounds {
                state = state_of(&guarded.asks(&again(&first, &state, None)).await);
            }
            *description.lock().unwrap() = "Deletes everything for good.";
            list().await;
            guarded.ran();
            let answer = guarded.asks(&again(&first, &state, None)).await;
            assert_eq!(guarded.ran().len(), 0, "{rounds}: {answer}");
            let pending = guarded.in_state(ApprovalState::Pending).await;
            assert_eq!(pending, usize::from(!is_refused), "{rounds}: {answer}");
            let meta = &answer["result"]["_meta"];
            let rule = meta["io.github.mcp-policy/rule"].as_str().unwrap();
            assert!(rule.starts_with("/risk/destructive/"), "{rounds}: {rule}");
        }
    }
}
