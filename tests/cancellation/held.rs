//! Calls that are held until somebody has approved them, dropped at whatever point after that.

use std::sync::Arc;
use std::task::Poll;

use mcp_policy::{
    Approvals, Caller, Ending, MemoryApprovalStore, MemoryLimitStore, PolicyLayer, Verdict,
};
use tokio_test::assert_pending;
use tokio_test::task::spawn;
use tower::{Layer, Service};

use super::frames::{PAYING, Recorded, Slow as SlowStore, pending};
use super::support::{body::Script, call, net::post_message};
use super::{MANY, Slow, finish};

/// Whether the call has gone to the server, and how it was recorded to have ended, if it is
/// dropped so many polls after somebody has approved it; `None` if it is done by then.
fn dropped_after(polls: usize) -> Option<(bool, Vec<(Verdict, Ending)>)> {
    let store = Arc::new(MemoryApprovalStore::default());
    let (server, sink) = (Slow::json(), Recorded::default());
    let seen = Arc::clone(&server.seen);
    let mut service = PolicyLayer::new(PAYING.parse().unwrap())
        .limit_store(SlowStore(Arc::<MemoryLimitStore>::default()))
        .approval_store(SlowStore(Arc::clone(&store)))
        .audit(sink.clone())
        .layer(server);
    let approvals = Approvals::new(store);
    let message = call("pay");
    let text = message.to_string();
    let mut request = post_message("http://localhost/", &message);
    request.extensions_mut().insert(Caller::new("alice"));
    let mut future = spawn(service.call(request.map(|_| Script::slow([text.as_bytes()]))));
    for _ in 0..MANY {
        assert_pending!(future.poll());
        if !future.is_woken() {
            break;
        }
    }
    let (decided, _) = finish(approvals.approve(pending(&approvals)[0].id(), "dora"));
    decided.unwrap();
    for _ in 0..polls {
        if let Poll::Ready(answer) = future.poll() {
            assert!(answer.is_ok());
            return None;
        }
    }
    drop(future);
    Some((!seen.called().is_empty(), sink.take()))
}

#[test]
fn that_somebody_was_asked_is_recorded_wherever_the_call_is_dropped() {
    let mut went_on = 0;
    for polls in 0..MANY {
        let Some((goes_on, ended)) = dropped_after(polls) else {
            break;
        };
        let verdict = match goes_on {
            true => Verdict::Allowed,
            false => Verdict::Waiting,
        };
        assert_eq!(ended, [(verdict, Ending::Cancelled)], "after {polls} polls");
        went_on += usize::from(goes_on);
    }
    assert!(went_on > 0);
}
