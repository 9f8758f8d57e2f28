//! Stores of limits that answer later, fail, or do not answer at all.

use std::future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use http::Response;
use mcp_policy::{
    Caller, Clock, FromClient, LimitConclusion, LimitReservation, LimitReserved, LimitStore,
    MemoryLimitStore, MessageGuard, Moment, PolicyLayer, StoreAnswer, StoreError,
};
use tower::{Layer as _, Service as _, service_fn};

use crate::server::{Body, OK, post};
use crate::{Never, Shared, ToServer, admitted, json, layer, meta, passes, policy, run, send};

type Answering = dyn Fn(&LimitReservation) -> StoreAnswer<LimitReserved> + Send + Sync;

/// Writes down what it is told, and answers as it is made to.
#[derive(Clone)]
struct Scripted {
    told: Shared<Vec<String>>,
    answer: Arc<Answering>,
}

impl Scripted {
    fn answering(
        answer: impl Fn(&LimitReservation) -> StoreAnswer<LimitReserved> + Send + Sync + 'static,
    ) -> Self {
        Self {
            told: Arc::default(),
            answer: Arc::new(answer),
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl LimitStore for Scripted {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        self.told.lock().unwrap().push("reserve".to_owned());
        (self.answer)(reservation)
    }

    fn conclude(&self, _: &LimitReservation, conclusion: LimitConclusion, _: Moment) {
        self.told.lock().unwrap().push(format!("{conclusion:?}"));
    }
}

fn limited(on_store_error: &str) -> PolicyLayer {
    layer(&policy(&format!(
        r#"{{ "limits": [ {{ "counter": "a", "window": 60, "max": 3, "on_store_error": "{on_store_error}" }} ] }}"#
    )))
    .0
}

const ADMITTED: LimitReserved = LimitReserved::Admitted { over: None };

#[tokio::test]
async fn a_store_that_fails_refuses_unless_the_limit_says_otherwise() {
    let fails = || StoreAnswer::failed(StoreError::new("it is down"));
    let never = || StoreAnswer::pending(future::pending());
    let told = [&["reserve"][..], &["reserve", "NotSent"]];
    for (answer, told) in [fails as fn() -> StoreAnswer<LimitReserved>, never]
        .into_iter()
        .zip(told)
    {
        let store = Scripted::answering(move |_| answer());
        let denies = limited("deny").limit_store(store.clone());
        let since = Instant::now();
        let (received, refused) = send(&denies, run("{}")).await;
        assert!(received.is_none() && since.elapsed() < Duration::from_secs(10));
        assert_eq!(refused.code(), -31503);
        assert_eq!(refused.json()["error"]["data"]["rule"], "(store)");
        // Where it may have been charged all the same, it is given back.
        assert_eq!(store.take(), told);
        // What is not limited does not depend on it.
        assert!(passes(&denies, post(crate::server::call("safe"))).await);
        assert_eq!(store.take(), [""; 0]);

        let allows = limited("allow").limit_store(store.clone());
        assert_eq!(admitted(&allows, || run("{}")).await, 3);
        let (_, refused) = send(&allows, run("{}")).await;
        assert_eq!(meta(&refused).0, "/tools/run/limits/a");
    }
}

#[tokio::test]
async fn if_one_limit_denies_without_the_store_the_call_is_refused() {
    let (layer, _) = layer(
        r#"{ "version": "1", "default": "allow", "tools": { "run": { "limits": [
             { "counter": "a", "window": 60, "max": 3, "on_store_error": "allow" },
             { "counter": "b", "window": 60, "max": 3 } ] } } }"#,
    );
    let layer = layer.limit_store(Scripted::answering(|_| {
        StoreAnswer::failed(StoreError::new("down"))
    }));
    assert_eq!(send(&layer, run("{}")).await.1.code(), -31503);
    // Sessions are begun all the same, sixty a minute.
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    assert_eq!(admitted(&layer, || post(initialize)).await, 60);
}

#[tokio::test]
async fn a_store_that_is_full_refuses() {
    let layer = limited("allow").limit_store(Scripted::answering(|_| {
        StoreAnswer::known(LimitReserved::Full)
    }));
    let (received, refused) = send(&layer, run("{}")).await;
    assert!(received.is_none());
    assert_eq!(refused.code(), -31503);
    assert_eq!(refused.json()["error"]["data"]["rule"], "(limits full)");
}

/// Neither by what it says nor by the room that it takes.
#[tokio::test]
async fn what_is_only_tried_refuses_nothing_when_a_store_is_full() {
    let of_two = |all: &str| {
        format!(
            r#"{{ "version": "1", "default": "allow",
                "all_tools": {{ "mode": "{all}", "rate_limit": "9/minute" }},
                "tools": {{ "run": {{ "rate_limit": "9/minute" }} }} }}"#
        )
    };
    let has_room_for_one = |reservation: &LimitReservation| match reservation.charges() {
        [one] if one.is_enforced() => ADMITTED,
        _ => LimitReserved::Full,
    };
    let at_once =
        move |reservation: &LimitReservation| StoreAnswer::known(has_room_for_one(reservation));
    let later = move |reservation: &LimitReservation| {
        let answer = has_room_for_one(reservation);
        StoreAnswer::pending(async move { Ok(answer) })
    };
    for store in [Scripted::answering(at_once), Scripted::answering(later)] {
        let tried = layer(&of_two("shadow")).0.limit_store(store.clone());
        assert!(passes(&tried, run("{}")).await);
        assert_eq!(store.take(), ["reserve", "reserve"]);
        let enforced = layer(&of_two("enforce")).0.limit_store(store.clone());
        let (_, refused) = send(&enforced, run("{}")).await;
        assert_eq!(refused.json()["error"]["data"]["rule"], "(limits full)");
        assert_eq!(store.take(), ["reserve"]);
    }
    let full = Scripted::answering(|_| StoreAnswer::known(LimitReserved::Full));
    let only_tried = policy(r#"{ "rate_limit": "9/minute", "mode": "shadow" }"#);
    let only_tried = layer(&only_tried).0.limit_store(full.clone());
    assert!(passes(&only_tried, run("{}")).await);
    // There is nothing to ask for without that.
    assert_eq!(full.take(), ["reserve"]);
}

#[tokio::test]
async fn what_panics_has_not_answered() {
    let store = Scripted::answering(|_| panic!("no answer"));
    let layer = limited("deny").limit_store(store.clone());
    assert_eq!(send(&layer, run("{}")).await.1.code(), -32603);
    // It may have been charged before that.
    assert_eq!(store.take(), ["reserve", "NotSent"]);
    let (layer, _) = crate::layer(&policy("{}"));
    let layer = layer.clock(Stopped);
    assert_eq!(send(&layer, run("{}")).await.1.code(), -32603);
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Moment {
        panic!("it stands")
    }
}

/// What is told to the store if the call is dropped at each of its polls.
#[test]
fn a_call_that_is_dropped_is_given_back_until_the_server_is_called() {
    for answers_at in 0..3 {
        for dropped_at in 0..8 {
            let store = Scripted::answering(move |_| later(answers_at, ADMITTED));
            let called = Arc::new(Mutex::new(false));
            let seen = Arc::clone(&called);
            let server = service_fn(move |_: ToServer| {
                *seen.lock().unwrap() = true;
                async {
                    wait(2).await;
                    Ok::<Response<Body>, Never>(json(OK))
                }
            });
            let layer = crate::layer(&policy(r#"{ "max_concurrent": { "max": 1 } }"#)).0;
            let mut service = layer.limit_store(store.clone()).layer(server);
            let mut call = Box::pin(service.call(run("{}")));
            let mut has_ended = false;
            for _ in 0..dropped_at {
                has_ended = has_ended || poll(&mut call).is_ready();
            }
            let was_asked = !store.told.lock().unwrap().is_empty();
            drop(call);
            let was_called = *called.lock().unwrap();
            let end = match (was_called, has_ended) {
                (false, _) => "NotSent",
                (true, false) => "BrokenOff",
                (true, true) => "Ended",
            };
            match was_asked {
                true => assert_eq!(store.take(), ["reserve", end], "{answers_at} {dropped_at}"),
                false => assert_eq!(store.take(), [""; 0]),
            }
        }
    }
}

fn later<T: Send + 'static>(polls: usize, answer: T) -> StoreAnswer<T> {
    match polls {
        0 => StoreAnswer::known(answer),
        _ => StoreAnswer::pending(async move {
            wait(polls).await;
            Ok(answer)
        }),
    }
}

async fn wait(polls: usize) {
    let mut left = polls;
    future::poll_fn(move |context| {
        context.waker().wake_by_ref();
        match left.checked_sub(1) {
            None => Poll::Ready(()),
            Some(fewer) => {
                left = fewer;
                Poll::Pending
            }
        }
    })
    .await;
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn frames_are_charged_and_given_back_alike() {
    let policy = policy(r#"{ "rate_limit": "3/minute", "max_concurrent": { "max": 1 } }"#);
    let store = Arc::new(MemoryLimitStore::default());
    let guard = MessageGuard::new(policy.parse().unwrap()).limit_store(Arc::clone(&store));
    let connection = guard.connect(Caller::local());
    let call = |id: u32| {
        let call = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"run"}}}}"#
        );
        match block_on(connection.from_client(call.as_bytes())) {
            FromClient::Forward => "forward".to_owned(),
            FromClient::Refuse(reply) => {
                let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
                let meta = &reply["result"]["_meta"];
                meta["io.github.mcp-policy/rule"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            }
            other => panic!("{other:?}"),
        }
    };
    let answer = |id: u32| {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        block_on(connection.from_server(answer.as_bytes()))
    };
    assert_eq!(call(1), "forward");
    assert_eq!(call(2), "/tools/run/max_concurrent");
    answer(1);
    assert_eq!(call(3), "forward");
    answer(3);
    assert_eq!(call(4), "forward");
    answer(4);
    assert_eq!(call(5), "/tools/run/limits/rate");
}

/// Whatever layer a call comes to, and also after a restart.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn what_is_counted_in_a_file_counts_for_all_who_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let limited = || {
        let state = mcp_policy::SqliteState::open(directory.path().join("state.db"));
        limited("deny").limit_store(state.unwrap().limits())
    };
    let layers = [limited(), limited()];
    for layer in [&layers[0], &layers[1], &layers[0]] {
        assert_eq!(refusing_rule(layer).await, None);
    }
    for layer in [&layers[0], &layers[1], &limited()] {
        let rule = refusing_rule(layer).await;
        assert_eq!(rule.as_deref(), Some("/tools/run/limits/a"));
    }
}

/// What refuses a call, once the store has answered: on a machine that is busy it
/// may not do so in time, and then nothing is charged.
#[cfg(feature = "sqlite")]
async fn refusing_rule(layer: &PolicyLayer) -> Option<String> {
    loop {
        let (received, refused) = send(layer, run("{}")).await;
        if received.is_some() {
            return None;
        }
        if refused.json()["error"]["code"] != -31503 {
            return Some(meta(&refused).0);
        }
    }
}
