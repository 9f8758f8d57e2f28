//! Stores of somebody else: whatever they need can be had from outside of the crate.
//!
//! All they have is a database, to which everything is text.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use mcp_policy::{
    Amount, ApprovalAsked, ApprovalChanges, ApprovalId, ApprovalQuestion, ApprovalRequest,
    ApprovalState, ApprovalStore, ApprovalUsed, Approvals, CallDigest, Caller, Elicitation,
    IdentifyCaller, LimitCharge, LimitConclusion, LimitReservation, LimitReserved, LimitScope,
    LimitStore, Moment, NotDecided, Period, Policy, PolicyLayer, PolicySource, Quota, RequestBody,
    Ruling, SessionOwner, SessionStore, StateId, StoreAnswer, StoreError, TaskOwner,
};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};

/// What is left of a process when it has ended.
#[derive(Clone, Debug, Default)]
struct Database(Arc<Mutex<BTreeMap<String, String>>>);

type Rows<'a> = MutexGuard<'a, BTreeMap<String, String>>;

impl Database {
    fn rows(&self) -> Rows<'_> {
        self.0.lock().unwrap()
    }

    fn get(&self, key: &str) -> Option<String> {
        self.rows().get(key).cloned()
    }

    /// Who had it first keeps it.
    fn add(&self, key: String, value: &Value) {
        self.rows().entry(key).or_insert_with(|| value.to_string());
    }
}

struct OwnSessions(Database);

impl SessionStore for OwnSessions {
    fn begin_session(&self, session: &str, owner: SessionOwner) -> StoreAnswer<()> {
        let Elicitation { form, url, .. } = owner.elicitation();
        let row = json!([owner.caller(), owner.client(), form, url]);
        self.0.add(format!("session/{session}"), &row);
        StoreAnswer::known(())
    }

    fn session_owner(&self, session: &str, _: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        let row = self.0.get(&format!("session/{session}"));
        StoreAnswer::known(row.map(|row| {
            let (caller, client, form, url): (String, Option<String>, _, _) =
                serde_json::from_str(&row).unwrap();
            let mut elicitation = Elicitation::default();
            (elicitation.form, elicitation.url) = (form, url);
            let owner = SessionOwner::of_id(caller).with_elicitation(elicitation);
            match client {
                Some(client) => owner.with_client(client),
                None => owner,
            }
        }))
    }

    fn end_session(&self, session: &str) -> StoreAnswer<()> {
        self.0.rows().remove(&format!("session/{session}"));
        StoreAnswer::known(())
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) -> StoreAnswer<()> {
        let row = json!([owner.caller(), owner.tool()]);
        self.0.add(format!("task/{task}"), &row);
        StoreAnswer::known(())
    }

    fn task_owner(&self, task: &str, _: &Caller) -> StoreAnswer<Option<TaskOwner>> {
        let row = self.0.get(&format!("task/{task}"));
        StoreAnswer::known(row.map(|row| {
            let (caller, tool): (String, String) = serde_json::from_str(&row).unwrap();
            TaskOwner::of_id(caller, tool)
        }))
    }
}

/// Counts in windows that roll, and in no others.
struct OwnLimits(Database);

/// The rows of a budget begin with this.
fn budget(reservation: &LimitReservation, charge: &LimitCharge) -> String {
    let whose = json!([
        reservation.server(),
        charge.caller(),
        charge.session(),
        charge.quota().id().to_string()
    ]);
    format!("charge/{whose}/")
}

fn micros(time: SystemTime) -> u64 {
    let passed = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    passed.as_micros().try_into().unwrap()
}

/// Whether the charge is too much; `None` if that is not known.
fn is_exceeded(
    rows: &Rows<'_>,
    reservation: &LimitReservation,
    charge: &LimitCharge,
) -> Option<bool> {
    let Period::Rolling(window) = charge.quota().period() else {
        return None;
    };
    let since = micros(reservation.at().system - window);
    let budget = budget(reservation, charge);
    let charged = rows.range(budget.clone()..);
    let charged = charged.take_while(|(key, _)| key.starts_with(&budget));
    let used: u64 = charged
        .map(|(_, row)| serde_json::from_str::<(u64, u64)>(row).unwrap())
        .filter_map(|(at, amount)| (at > since).then_some(amount))
        .sum();
    Some(used + charge.amount().millionths() > charge.quota().max().millionths())
}

impl LimitStore for OwnLimits {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        let mut rows = self.0.rows();
        let mut over = None;
        for (place, charge) in reservation.charges().iter().enumerate() {
            match is_exceeded(&rows, reservation, charge) {
                None => return StoreAnswer::failed(StoreError::new("it cannot count that")),
                Some(true) if charge.is_enforced() => {
                    return StoreAnswer::known(LimitReserved::Exceeded {
                        charge: place,
                        retry_after: None,
                    });
                }
                Some(true) => over = over.or(Some(place)),
                Some(false) => {}
            }
        }
        for charge in reservation.charges() {
            let key = format!("{}{}", budget(reservation, charge), reservation.id());
            let row = json!([
                micros(reservation.at().system),
                charge.amount().millionths()
            ]);
            rows.insert(key, row.to_string());
        }
        StoreAnswer::known(LimitReserved::Admitted { over })
    }

    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, _: Moment) {
        match conclusion {
            LimitConclusion::NotSent => {
                let id = format!("/{}", reservation.id());
                self.0.rows().retain(|key, _| !key.ends_with(&id));
            }
            LimitConclusion::Ended | LimitConclusion::BrokenOff => {}
        }
    }

    fn keep_state(&self, state: &StateId, caller: &Arc<str>, _: Moment) {
        let key = format!("state/{:?}", state.as_bytes());
        self.0.add(key, &json!(caller));
    }

    fn use_state(&self, state: &StateId) -> StoreAnswer<bool> {
        let key = format!("state/{:?}", state.as_bytes());
        StoreAnswer::known(self.0.rows().remove(&key).is_some())
    }

    fn outlives_process(&self) -> bool {
        true
    }
}

#[derive(Default)]
struct OwnApprovals {
    database: Database,
    changes: ApprovalChanges,
}

/// So many of one caller are pending.
const MOST_PENDING: usize = 20;

impl OwnApprovals {
    /// All requests, as they are now.
    fn all(&self, now: Moment) -> Result<Vec<ApprovalRequest>, StoreError> {
        let rows = self.database.rows();
        let stored = rows.range("request/".to_owned()..);
        let stored = stored.take_while(|(key, _)| key.starts_with("request/"));
        let requests = stored.map(|(key, stored)| {
            let shown = rows.get(&key.replace("request/", "shown/"));
            let mut request = ApprovalRequest::from_stored(stored, shown.map(String::as_str))?;
            if request.is_over(now.system) {
                request.expire();
            }
            Ok(request)
        });
        let mut requests = requests.collect::<Result<Vec<_>, StoreError>>()?;
        requests.sort_by_key(ApprovalRequest::created_at);
        Ok(requests)
    }

    fn find(&self, id: ApprovalId, now: Moment) -> Result<Option<ApprovalRequest>, StoreError> {
        let all = self.all(now)?;
        Ok(all.into_iter().find(|request| request.id() == id))
    }

    fn keep(&self, request: &ApprovalRequest) -> Result<(), StoreError> {
        let (stored, shown) = (request.stored()?, request.stored_shown()?);
        let id = request.id();
        let mut rows = self.database.rows();
        rows.insert(format!("request/{id}"), stored);
        match shown {
            Some(shown) => rows.insert(format!("shown/{id}"), shown),
            None => rows.remove(&format!("shown/{id}")),
        };
        drop(rows);
        self.changes.announce(id, request.state());
        Ok(())
    }

    /// Changes a request, if it is known.
    fn change<T>(
        &self,
        id: ApprovalId,
        now: Moment,
        change: impl FnOnce(&mut ApprovalRequest) -> T,
    ) -> Result<Option<T>, StoreError> {
        let Some(mut request) = self.find(id, now)? else {
            return Ok(None);
        };
        let changed = change(&mut request);
        self.keep(&request)?;
        Ok(Some(changed))
    }
}

fn answer<T>(answer: Result<T, StoreError>) -> StoreAnswer<T> {
    answer.map_or_else(StoreAnswer::failed, StoreAnswer::known)
}

impl ApprovalStore for OwnApprovals {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        answer(self.all(question.at()).and_then(|all| {
            let now = question.at().system;
            let same = all.iter().find(|known| {
                let is_denied = known.state() == ApprovalState::Denied && !known.is_over(now);
                known.digest() == question.digest() && (known.state().is_open() || is_denied)
            });
            if let Some(request) = same {
                let ask = match request.state() {
                    ApprovalState::Pending => ApprovalAsked::Pending,
                    ApprovalState::Approved => ApprovalAsked::Approved,
                    _ => ApprovalAsked::Denied,
                };
                return Ok(ask(request.clone()));
            }
            let is_pending = |known: &&ApprovalRequest| {
                known.state() == ApprovalState::Pending && known.caller() == &**question.caller()
            };
            if all.iter().filter(is_pending).count() >= MOST_PENDING {
                return Ok(ApprovalAsked::Full);
            }
            let request = ApprovalRequest::new(question)?;
            self.keep(&request)?;
            Ok(ApprovalAsked::Pending(request))
        }))
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        // A digest is bytes in a database.
        let call = CallDigest::from_bytes(*call.as_bytes());
        let used = self.change(request, now, |request| request.use_up(&call));
        answer(used.map(|used| used.unwrap_or(ApprovalUsed::NotApproved)))
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        let decided = self.change(request, now, |request| {
            request.decide(ruling, now.system)?;
            Ok(request.clone())
        });
        answer(decided.map(|decided| decided.unwrap_or(Err(NotDecided::Unknown))))
    }

    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        let cancelled = self.change(request, now, ApprovalRequest::cancel);
        answer(cancelled.map(Option::unwrap_or_default))
    }

    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        answer(self.find(request, now))
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        answer(self.all(now).map(|mut all| {
            all.retain(|request| states.contains(&request.state()));
            all
        }))
    }

    fn changes(&self) -> ApprovalChanges {
        self.changes.clone()
    }

    fn outlives_process(&self) -> bool {
        true
    }
}

const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": {
        "pay": { "require_approval": true },
        "run": { "rate_limit": "2/hour" }
    }
}"#;

/// One process, with what was left by those before it.
struct Process {
    layer: PolicyLayer,
    approvals: Approvals,
}

impl Process {
    fn of(database: &Database) -> Self {
        let approvals = Arc::new(OwnApprovals {
            database: database.clone(),
            changes: ApprovalChanges::default(),
        });
        let layer = PolicyLayer::new(POLICY.parse().unwrap())
            .session_store(OwnSessions(database.clone()))
            .limit_store(OwnLimits(database.clone()))
            .approval_store(approvals.clone())
            .approval_wait(Duration::ZERO);
        let approvals = Approvals::new(approvals);
        Self { layer, approvals }
    }

    async fn answers(&self, address: [u8; 4], message: &str) -> (u16, Value) {
        answers(&self.layer, address, message).await
    }

    async fn pending(&self) -> Vec<ApprovalRequest> {
        let states = [ApprovalState::Pending];
        self.approvals.list(&states).await.unwrap()
    }
}

/// What is answered to somebody of whom only the address is known.
async fn answers(layer: &PolicyLayer, address: [u8; 4], message: &str) -> (u16, Value) {
    let request = Request::post("/")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-session-id", "s1")
        .extension(IpAddr::from(address));
    let request = request.body(Full::new(Bytes::copy_from_slice(message.as_bytes())));
    let server = service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
        let answer = Response::builder()
            .header("content-type", "application/json")
            .header("mcp-session-id", "s1");
        let body = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body))).unwrap())
    });
    let answer = layer.layer(server).oneshot(request.unwrap());
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

const OWNER: [u8; 4] = [203, 0, 113, 7];
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
const RUN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run"}}"#;
const PAY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"to":5}}}"#;

/// The rule that a refusal names; `None` if it is none.
fn rule(answer: &Value) -> Option<&str> {
    answer["result"]["_meta"]["io.github.mcp-policy/rule"].as_str()
}

#[tokio::test]
async fn what_stores_of_ones_own_keep_outlives_the_process() {
    let database = Database::default();
    let first = Process::of(&database);
    assert_eq!(first.answers(OWNER, INITIALIZE).await.0, 200);
    assert_eq!(rule(&first.answers(OWNER, RUN).await.1), None);
    let waits = first.answers(OWNER, PAY).await.1;
    assert_eq!(rule(&waits), Some("/tools/pay/require_approval"), "{waits}");
    drop(first);

    let second = Process::of(&database);
    // Whose session it is.
    assert_eq!(second.answers([198, 51, 100, 1], RUN).await.0, 404);
    // What that session has used up.
    assert_eq!(rule(&second.answers(OWNER, RUN).await.1), None);
    let refused = second.answers(OWNER, RUN).await.1;
    assert_eq!(rule(&refused), Some("/tools/run/limits/rate"), "{refused}");
    // What waits, with what is shown of it.
    let pending = second.pending().await;
    assert_eq!(pending.len(), 1, "{pending:?}");
    assert_eq!(pending[0].caller(), "203.0.113.7");
    assert_eq!(pending[0].arguments().unwrap().text(), r#"{"to":5}"#);
    let approved = second.approvals.approve(pending[0].id(), "dora").await;
    approved.unwrap();
    drop(second);

    let third = Process::of(&database);
    assert_eq!(rule(&third.answers(OWNER, PAY).await.1), None);
    // Once.
    let waits = third.answers(OWNER, PAY).await.1;
    assert_eq!(rule(&waits), Some("/tools/pay/require_approval"), "{waits}");
    let used = third.approvals.get(pending[0].id()).await.unwrap().unwrap();
    assert_eq!(used.state(), ApprovalState::Used);
    assert_eq!(used.arguments(), None);
}

/// Without a layer, as a test of the store alone would do it.
#[tokio::test]
async fn a_store_can_be_asked_without_a_layer() {
    let store = OwnLimits(Database::default());
    let hour = Period::Rolling(Duration::from_secs(3_600));
    let place = "/tools/run/limits/runs";
    let quota = Arc::new(Quota::new(
        "",
        place,
        hour,
        Amount::ONE,
        LimitScope::Session,
    ));
    let call = |session: &str, at: Moment| {
        let charge = LimitCharge::new(quota.clone(), Amount::ONE).of_caller("alice");
        LimitReservation::new("files", [charge.of_session(session)], at)
    };
    let start = Moment::now();
    let admitted = Ok(LimitReserved::Admitted { over: None });
    let first = call("s1", start);
    assert_eq!(store.reserve(&first).get().await, admitted);
    assert_eq!(store.reserve(&call("s2", start)).get().await, admitted);
    let exceeded = store.reserve(&call("s1", start)).get().await;
    let is_exceeded = |said| matches!(said, Ok(LimitReserved::Exceeded { charge: 0, .. }));
    assert!(is_exceeded(exceeded));
    store.conclude(&first, LimitConclusion::NotSent, start);
    assert_eq!(store.reserve(&call("s1", start)).get().await, admitted);

    let tried = LimitCharge::new(quota.clone(), Amount::ONE).of_caller("alice");
    let tried = LimitReservation::new("files", [tried.of_session("s1").tried()], start);
    let over = Ok(LimitReserved::Admitted { over: Some(0) });
    assert_eq!(store.reserve(&tried).get().await, over);

    let state = StateId::from_bytes([7; 24]);
    store.keep_state(&state, &"alice".into(), start);
    assert_eq!(store.use_state(&state).get().await, Ok(true));
    assert_eq!(store.use_state(&state).get().await, Ok(false));
}

/// Somebody's own, who goes on using them.
#[derive(Default)]
struct Shared {
    policy: Mutex<Option<Policy>>,
    asked: AtomicUsize,
}

impl PolicySource for Shared {
    fn policy_for(&self, _: &Caller) -> Option<Policy> {
        self.policy.lock().unwrap().clone()
    }
}

impl IdentifyCaller for Shared {
    fn identify(&self, _: &Parts) -> Option<Caller> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Some(Caller::new("alice"))
    }
}

#[tokio::test]
async fn what_a_layer_was_given_can_be_used_by_others() {
    let shared = Arc::new(Shared::default());
    let source: Arc<dyn PolicySource> = shared.clone();
    let layer = PolicyLayer::from_source(source).caller_with(shared.clone());
    let refused = answers(&layer, OWNER, RUN).await.1;
    assert_eq!(rule(&refused), Some("(no policy)"), "{refused}");
    *shared.policy.lock().unwrap() = Some(POLICY.parse().unwrap());
    assert_eq!(rule(&answers(&layer, OWNER, RUN).await.1), None);
    assert!(shared.asked.load(Ordering::Relaxed) >= 2);
}
