//! Tests of sessions.

use super::*;
use mcp_policy::Policy;
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

fn shared() -> Arc<Shared> {
    let policy: Policy = r#"{"version":"1","default":"deny"}"#.parse().unwrap();
    Arc::new(Shared::new(Vec::new(), MessageGuard::new(policy)))
}

#[tokio::test]
async fn who_waits_for_the_server_is_bounded() {
    let session = Session::new(shared(), Caller::new("alice"), Bytes::new());
    let session = Arc::new(session);
    // As if somebody was starting it.
    let _turn = session.turn.lock().await;
    let ask = || {
        let call = Call {
            id: Id::Number(1),
            raw_id: "1",
            progress: None,
            streams: false,
        };
        session.ask(call, Bytes::new())
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting: Vec<_> = (0..MOST_ON_THEIR_WAY).map(|_| Box::pin(ask())).collect();
    for one in &mut waiting {
        assert!(one.as_mut().poll(&mut context).is_pending());
    }
    let Poll::Ready(Err(refused)) = pin!(ask()).poll(&mut context) else {
        panic!("one more waits");
    };
    assert!(refused.text.contains("Too many"), "{}", refused.text);
    waiting.pop();
    assert!(pin!(ask()).poll(&mut context).is_pending());
}

#[test]
fn processes_are_bounded_for_each_caller_until_they_end() {
    let shared = shared();
    let (alice, bob) = (Caller::new("alice"), Caller::new("bob"));
    let mut processes: Vec<_> = (0..2 * MOST_OF_ONE_CALLER)
        .map(|_| shared.process_of(&alice).unwrap())
        .collect();
    assert!(shared.process_of(&alice).is_none());
    assert!(shared.process_of(&bob).is_some());
    processes.pop();
    processes.push(shared.process_of(&alice).unwrap());
    assert!(shared.process_of(&alice).is_none());
    drop(processes);
    assert!(shared.processes().is_empty());
}
