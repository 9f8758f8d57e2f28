//! Stores that answer later, or never.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use std::{future, pin::Pin};

use http::{Method, Response};
use mcp_policy::{
    Caller, MemorySessionStore, PolicyLayer, SessionOwner, SessionStore, StoreAnswer, StoreError,
    TaskOwner,
};

use crate::server::{ALLOW_ALL, Exchange, call, pieces, post};

/// Answers what another store does, at the second poll. It hears of tasks no
/// earlier than that.
#[derive(Clone)]
pub(crate) struct Later<S>(pub(crate) S);

pub(crate) fn later<T: Send + 'static>(answer: StoreAnswer<T>) -> StoreAnswer<T> {
    let mut answer: Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>> =
        Box::pin(answer.get());
    let mut polled = false;
    StoreAnswer::pending(future::poll_fn(move |context| {
        if std::mem::replace(&mut polled, true) {
            return answer.as_mut().poll(context);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }))
}

impl<S: SessionStore + Clone> SessionStore for Later<S> {
    fn begin_session(&self, session: &str, owner: SessionOwner) -> StoreAnswer<()> {
        later(self.0.begin_session(session, owner))
    }

    fn session_owner(&self, session: &str, asking: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        later(self.0.session_owner(session, asking))
    }

    fn end_session(&self, session: &str) -> StoreAnswer<()> {
        later(self.0.end_session(session))
    }

    fn begin_task(&self, task: &str, owner: TaskOwner) -> StoreAnswer<()> {
        let (store, task) = (self.0.clone(), task.to_owned());
        let begin = async move { store.begin_task(&task, owner).get().await };
        later(StoreAnswer::pending(begin))
    }

    fn task_owner(&self, task: &str, asking: &Caller) -> StoreAnswer<Option<TaskOwner>> {
        later(self.0.task_owner(task, asking))
    }
}

/// Never answers, and may say that it always does.
struct Never {
    claims_to_answer: bool,
}

impl SessionStore for Never {
    fn begin_session(&self, _: &str, _: SessionOwner) -> StoreAnswer<()> {
        StoreAnswer::pending(future::pending())
    }

    fn session_owner(&self, _: &str, _: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        StoreAnswer::pending(future::pending())
    }

    fn end_session(&self, _: &str) -> StoreAnswer<()> {
        StoreAnswer::pending(future::pending())
    }

    fn begin_task(&self, _: &str, _: TaskOwner) -> StoreAnswer<()> {
        StoreAnswer::pending(future::pending())
    }

    fn task_owner(&self, _: &str, _: &Caller) -> StoreAnswer<Option<TaskOwner>> {
        StoreAnswer::pending(future::pending())
    }

    fn answers_at_once(&self) -> bool {
        self.claims_to_answer
    }
}

fn layer() -> PolicyLayer {
    PolicyLayer::new(ALLOW_ALL.parse().unwrap())
}

/// Whether a request of the caller's in the session gets to the server, and with
/// which code it is refused.
async fn enters(layer: &PolicyLayer, caller: &str, method: &Method) -> i64 {
    let mut request = post(match *method {
        Method::POST => call("safe"),
        _ => String::new(),
    });
    *request.method_mut() = method.clone();
    let session = "Some-Session".parse().unwrap();
    request.headers_mut().insert("mcp-session-id", session);
    request.extensions_mut().insert(Caller::new(caller));
    let answer = Response::builder()
        .header("content-type", "application/json")
        .body(pieces(["{}"]))
        .unwrap();
    let layer = layer.clone();
    let (received, answer) = Exchange { layer, answer }.send(request).await;
    if received.is_some() { 0 } else { answer.code() }
}

async fn begin(layer: &PolicyLayer, caller: &str) {
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    let mut request = post(initialize);
    request.extensions_mut().insert(Caller::new(caller));
    let answer = Response::builder()
        .header("content-type", "application/json")
        .header("mcp-session-id", "some-session")
        .body(pieces(["{}"]))
        .unwrap();
    let layer = layer.clone();
    let (received, _) = Exchange { layer, answer }.send(request).await;
    assert!(received.is_some());
}

#[tokio::test]
async fn a_session_is_its_beginners_alone_whenever_the_store_answers() {
    let layer = layer().session_store(Later(Arc::new(MemorySessionStore::default())));
    begin(&layer, "alice").await;
    for method in [Method::POST, Method::GET] {
        assert_eq!(enters(&layer, "alice", &method).await, 0);
        assert_eq!(enters(&layer, "bob", &method).await, -32001, "{method}");
    }
    assert_eq!(enters(&layer, "bob", &Method::DELETE).await, -32001);
    assert_eq!(enters(&layer, "alice", &Method::DELETE).await, 0);
    // It has ended.
    assert_eq!(enters(&layer, "bob", &Method::POST).await, 0);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_waited_for_and_then_the_request_is_refused() {
    let layer = layer().session_store(Never {
        claims_to_answer: false,
    });
    // Its session is not known afterwards.
    begin(&layer, "alice").await;
    let since = Instant::now();
    assert_eq!(enters(&layer, "alice", &Method::POST).await, -31503);
    assert!(since.elapsed() >= Duration::from_millis(100));
    assert_eq!(enters(&layer, "alice", &Method::GET).await, -31503);
}

#[tokio::test]
async fn a_store_that_breaks_its_word_has_not_answered() {
    let layer = layer().session_store(Never {
        claims_to_answer: true,
    });
    begin(&layer, "alice").await;
    for method in [Method::POST, Method::GET] {
        assert_eq!(enters(&layer, "alice", &method).await, -31503);
    }
}
