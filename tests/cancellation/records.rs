//! While records are being kept: a sink that takes its time adds states in
//! which a call can be dropped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::Request;
use mcp_policy::{
    AuditRecord, AuditSink, Caller, DecisionId, Ending, PolicyLayer, Receipt, SessionOwner,
    SessionStore, StoreAnswer, TaskOwner,
};
use serde_json::{Value, json};
use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready};
use tower::{Layer, Service};

use super::support::net::post_message;
use super::support::{body::Script, call, guard, list};
use super::{MANY, Slow, assert_works, finish, wait};

/// Takes a few polls to keep a record, and counts what it is handed.
#[derive(Clone, Default)]
pub(super) struct SlowSink(Arc<State>);

#[derive(Default)]
struct State {
    /// The endings of each decision.
    endings: Mutex<HashMap<DecisionId, Vec<Ending>>>,
    /// Decisions that are kept.
    kept: AtomicUsize,
    /// Receipts that somebody still has.
    open: AtomicUsize,
    /// Nothing is ever kept.
    hangs: AtomicBool,
}

/// Somebody waits for a receipt as long as there is one.
struct Open(Arc<State>);

impl Open {
    fn new(state: &Arc<State>) -> Self {
        state.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AuditSink for SlowSink {
    fn record(&self, record: &AuditRecord) -> Receipt {
        let mut endings = self.0.endings.lock().unwrap();
        let is_decision = match record {
            AuditRecord::Decision(decision) => {
                assert_eq!(endings.insert(decision.id(), Vec::new()), None);
                true
            }
            AuditRecord::Outcome(outcome) => {
                let decided = endings.get_mut(&outcome.decision().id());
                decided.expect("decided first").push(outcome.ending());
                false
            }
            other => panic!("{other:?} is not expected"),
        };
        let open = Open::new(&self.0);
        Receipt::pending(async move {
            if open.0.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            wait(3).await;
            if is_decision {
                open.0.kept.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        })
    }
}

impl SlowSink {
    pub(super) fn hang(&self, hangs: bool) {
        self.0.hangs.store(hangs, Ordering::SeqCst);
    }

    fn kept(&self) -> usize {
        self.0.kept.load(Ordering::SeqCst)
    }

    /// How the only message ended there was since the last time, if one was
    /// decided. Each has ended once, and nobody waits for a receipt.
    pub(super) fn take(&self) -> Option<Ending> {
        assert_eq!(self.0.open.load(Ordering::SeqCst), 0, "receipts");
        self.0.kept.store(0, Ordering::SeqCst);
        let endings: Vec<_> = self.0.endings.lock().unwrap().drain().collect();
        assert!(endings.len() <= 1, "{endings:?}");
        let (_, endings) = endings.into_iter().next()?;
        let [ending] = endings[..] else {
            panic!("{endings:?}");
        };
        Some(ending)
    }

    /// The same of any number of messages.
    pub(super) fn take_all(&self) -> Vec<Ending> {
        assert_eq!(self.0.open.load(Ordering::SeqCst), 0, "receipts");
        let endings: Vec<_> = self.0.endings.lock().unwrap().drain().collect();
        assert!(endings.iter().all(|endings| endings.1.len() == 1));
        endings.into_iter().flat_map(|endings| endings.1).collect()
    }
}

/// In chunks of which each keeps the reader waiting.
fn slow(message: &Value) -> Request<Script> {
    let text = message.to_string();
    post_message("http://localhost/", message).map(|_| Script::slow(text.as_bytes().chunks(20)))
}

/// No byte more than one request and its answer need.
fn tight(slow: &Slow, message: &Value, sink: &SlowSink) -> PolicyLayer {
    let longest = message.to_string().len().max(list().to_string().len());
    super::tight(slow)
        .request_budget(longest)
        .audit(sink.clone())
}

/// Drops the future after every possible number of polls. Gives the endings
/// that were seen, in the order of the polls.
fn drop_the_future(slow_server: Slow, message: &Value) -> Vec<Option<Ending>> {
    let (seen, sink) = (Arc::clone(&slow_server.seen), SlowSink::default());
    let runs = message["method"] == "tools/call";
    let mut service = tight(&slow_server, message, &sink).layer(slow_server);
    let (_, polls) = finish(service.call(slow(message)));
    let called = seen.take_called();
    sink.take();

    let mut endings = Vec::new();
    for k in 0..=polls {
        let request = slow(message);
        let body = request.body().watch();
        let mut future = spawn(service.call(request));
        for _ in 0..k {
            assert_pending!(future.poll());
            // What runs something is not sent before its record is kept.
            assert!(!runs || seen.called().is_empty() || sink.kept() == 1);
        }
        drop(future);
        assert!(body.is_dropped(), "after {k} polls");
        assert!(seen.is_idle(), "after {k} polls: {seen:?}");
        let sent = seen.take_called();
        assert!(sent.is_empty() || sent == called, "after {k} polls");
        let ending = sink.take();
        match ending {
            // Its body was being read.
            None => assert_eq!(sent, []),
            Some(Ending::Refused) => assert_eq!((&sent, &called), (&vec![], &vec![])),
            Some(Ending::Answered | Ending::Streaming) => assert_eq!(sent.len(), 1),
            Some(Ending::Cancelled) => {}
            Some(other) => panic!("{other:?} after {k} polls"),
        }
        endings.push(ending);

        assert_works(&mut service);
        let works = sink.take();
        assert!(matches!(works, Some(Ending::Answered | Ending::Streaming)));
        seen.take_called();
    }
    endings.dedup();
    endings
}

#[test]
fn the_future_is_dropped_while_records_are_kept() {
    use Ending::{Answered, Cancelled, Refused, Streaming};
    for message in [list(), call("read")] {
        for (slow, done) in [(Slow::json(), Answered), (Slow::events(), Streaming)] {
            let endings = drop_the_future(slow, &message);
            assert_eq!(endings, [None, Some(Cancelled), Some(done)]);
        }
    }
    for message in [call("write"), call("secret"), json!({ "jsonrpc": "2.0" })] {
        let endings = drop_the_future(Slow::json(), &message);
        assert_eq!(endings, [None, Some(Refused)]);
    }
}

/// A sink that never comes to an end keeps nothing but what waits for it.
#[test]
fn a_sink_that_hangs_wedges_nothing() {
    let (slow_server, sink) = (Slow::json(), SlowSink::default());
    let seen = Arc::clone(&slow_server.seen);
    let message = call("read");
    let mut service = tight(&slow_server, &message, &sink).layer(slow_server);
    for hangs_from in ["the decision", "the outcome"] {
        let mut future = spawn(service.call(slow(&message)));
        sink.hang(hangs_from == "the decision");
        let mut polls = 0;
        loop {
            assert_pending!(future.poll());
            sink.hang(hangs_from == "the decision" || !seen.called().is_empty());
            polls += 1;
            assert!(polls < MANY);
            if !future.is_woken() {
                break;
            }
        }
        let sent = seen.take_called();
        drop(future);
        sink.hang(false);
        let ending = sink.take().unwrap();
        match hangs_from {
            "the decision" => assert_eq!((sent.len(), ending), (0, Ending::Cancelled)),
            _ => assert_eq!((sent.len(), ending), (1, Ending::Answered)),
        }
        assert!(seen.is_idle());
        assert_works(&mut service);
        sink.take();
        seen.take_called();
    }
}

/// Drops the body of the answer after every possible number of polls.
#[test]
fn the_body_is_dropped_after_the_records_are_kept() {
    for (slow_server, ending) in [
        (Slow::json(), Ending::Answered),
        (Slow::events(), Ending::Streaming),
    ] {
        let (seen, sink) = (Arc::clone(&slow_server.seen), SlowSink::default());
        let mut service = tight(&slow_server, &list(), &sink).layer(slow_server);
        for k in 0..60 {
            let (response, _) = finish(service.call(slow(&list())));
            let mut body = response.unwrap().into_body();
            for _ in 0..k {
                let _ = super::poll_body(&mut body);
            }
            drop(body);
            assert!(seen.is_idle(), "after {k} polls");
            assert_eq!(sink.take(), Some(ending), "after {k} polls");
            assert_works(&mut service);
            sink.take();
        }
    }
}

/// A service that fails has ended, too.
#[test]
fn a_service_that_fails_leaves_one_outcome() {
    let sink = SlowSink::default();
    let fails = tower::service_fn(|_: Request<mcp_policy::RequestBody<Script>>| async {
        wait(3).await;
        Err::<http::Response<Script>, _>("out of order")
    });
    let mut service = guard().audit(sink.clone()).layer(fails);
    let (result, polls) = finish(service.call(slow(&call("read"))));
    assert_eq!(result.err(), Some("out of order"));
    assert_eq!(sink.take(), Some(Ending::Failed));
    for k in 0..=polls {
        let mut future = spawn(service.call(slow(&call("read"))));
        for _ in 0..k {
            assert_pending!(future.poll());
        }
        drop(future);
        // At the end only the record of the failure is waited for.
        assert!(matches!(
            sink.take(),
            None | Some(Ending::Cancelled | Ending::Failed)
        ));
    }
}

/// Writes down what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl SessionStore for Told {
    fn begin_session(&self, session: &str, _: SessionOwner) -> StoreAnswer<()> {
        self.0.lock().unwrap().push(format!("begin {session}"));
        StoreAnswer::known(())
    }

    fn session_owner(&self, _: &str, _: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        StoreAnswer::known(None)
    }

    fn end_session(&self, session: &str) -> StoreAnswer<()> {
        self.0.lock().unwrap().push(format!("end {session}"));
        StoreAnswer::known(())
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) -> StoreAnswer<()> {
        let told = format!("{task} of {}", owner.tool());
        self.0.lock().unwrap().push(told);
        StoreAnswer::known(())
    }

    fn task_owner(&self, _: &str, _: &Caller) -> StoreAnswer<Option<TaskOwner>> {
        StoreAnswer::known(None)
    }
}

/// The store is told of what the server did, once, or of nothing: never of what
/// it was not asked to do.
#[test]
fn the_session_store_is_told_once_or_not_at_all() {
    const TASK: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"task","taskId":"t1"}}"#;
    let initialize = json!({ "jsonrpc": "2.0", "id": 7, "method": "initialize", "params": {} });
    let end = || {
        let mut request = slow(&list());
        *request.method_mut() = http::Method::DELETE;
        let headers = request.headers_mut();
        headers.insert("mcp-session-id", "s1".parse().unwrap());
        request
    };
    let cases: [(&dyn Fn() -> Request<Script>, &str); 3] = [
        (&|| slow(&initialize), "begin s1"),
        (&end, "end s1"),
        (&|| slow(&call("read")), "t1 of read"),
    ];
    for (request, expected) in cases {
        let (told, sink) = (Arc::<Told>::default(), SlowSink::default());
        let slow_server = Slow {
            chunks: super::chunks(TASK, 20),
            session: Some("s1"),
            ..Slow::json()
        };
        let seen = Arc::clone(&slow_server.seen);
        let layer = guard().audit(sink.clone()).session_store(Arc::clone(&told));
        let mut service = layer.layer(slow_server);
        let (_, polls) = finish(service.call(request()));
        let take = || std::mem::take(&mut *told.0.lock().unwrap());
        assert_eq!(take(), [expected]);
        assert_eq!(sink.take(), Some(Ending::Answered));
        seen.take_called();

        let mut often = 0;
        for k in 0..=polls {
            let mut future = spawn(service.call(request()));
            for _ in 0..k {
                assert_pending!(future.poll());
            }
            if k == polls {
                assert!(assert_ready!(future.poll()).is_ok());
            }
            drop(future);
            let (told, sent) = (take(), seen.take_called());
            assert!(told.is_empty() || told == [expected], "{told:?}");
            assert!(told.is_empty() || sent.len() == 1);
            often += told.len();
            sink.take();
        }
        assert!((1..=polls).contains(&often), "{often} of {polls}");
    }
}
