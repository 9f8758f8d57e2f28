//! Messages of connections that are not HTTP, dropped while they are judged.

use mcp_policy::{Caller, Ending, FromClient, FromServer, MessageConnection, MessageGuard};
use tokio_test::assert_pending;
use tokio_test::task::spawn;

use super::finish;
use super::records::SlowSink;
use super::support::{POLICY, call, list};

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"secret"}]}}"#;
const SHOWN: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}"#;

fn connect(sink: &SlowSink) -> MessageConnection {
    MessageGuard::new(POLICY.parse().unwrap())
        .audit(sink.clone())
        .connect(Caller::local())
}

/// The connection is as good as new: a call goes on, and its answer comes back.
fn assert_works(connection: &MessageConnection, sink: &SlowSink) {
    let (verdict, _) = finish(connection.from_client(list().to_string().as_bytes()));
    assert_eq!(verdict, FromClient::Forward);
    let (answer, _) = finish(connection.from_server(ANSWER.as_bytes()));
    assert_eq!(answer, FromServer::Replace(SHOWN.into()));
    assert_eq!(sink.take(), Some(Ending::Answered));
}

#[test]
fn a_message_of_the_client_is_dropped() {
    let sink = SlowSink::default();
    for (message, goes_on) in [
        (list(), true),
        (call("read"), true),
        (call("write"), false),
        (serde_json::json!({ "jsonrpc": "2.0" }), false),
    ] {
        let frame = message.to_string();
        let connection = connect(&sink);
        let (verdict, polls) = finish(connection.from_client(frame.as_bytes()));
        assert_eq!(verdict == FromClient::Forward, goes_on);
        drop(connection);
        let whole = if goes_on {
            Ending::Cancelled
        } else {
            Ending::Refused
        };
        assert_eq!(sink.take(), Some(whole));
        assert!(polls > 2);

        let connection = connect(&sink);
        for k in 0..=polls {
            let mut future = spawn(connection.from_client(frame.as_bytes()));
            for _ in 0..k {
                assert_pending!(future.poll());
            }
            drop(future);
            // Nothing of it waits for an answer.
            let expected = (k > 0).then_some(whole);
            assert_eq!(sink.take(), expected, "after {k} polls");
            assert_works(&connection, &sink);
        }
    }
}

#[test]
fn a_message_of_the_server_is_dropped() {
    let unreadable = ANSWER.replace("[{", "[NaN,{");
    let batch = format!("[{ANSWER},{}]", ANSWER.replace('7', "8"));
    for (frame, answered) in [
        (ANSWER, Ending::Answered),
        (&*unreadable, Ending::Withheld),
        (&*batch, Ending::Answered),
    ] {
        let sink = SlowSink::default();
        let is_batch = frame.starts_with('[');
        let ask = |connection: &MessageConnection| {
            for id in [7, 8].iter().take(1 + usize::from(is_batch)) {
                let mut message = list();
                message["id"] = (*id).into();
                finish(connection.from_client(message.to_string().as_bytes()));
            }
        };
        let connection = connect(&sink);
        ask(&connection);
        let (_, polls) = finish(connection.from_server(frame.as_bytes()));
        assert!(polls > 2);
        drop(connection);
        assert!(sink.take_all().iter().all(|ending| *ending == answered));

        for k in 0..=polls {
            let connection = connect(&sink);
            ask(&connection);
            let mut future = spawn(connection.from_server(frame.as_bytes()));
            for _ in 0..k {
                assert_pending!(future.poll());
            }
            drop(future);
            drop(connection);
            // Each has ended once, however far it came.
            let endings = sink.take_all();
            assert_eq!(endings.len(), 1 + usize::from(is_batch));
            let known = |ending: &Ending| [answered, Ending::Cancelled].contains(ending);
            assert!(endings.iter().all(known), "{endings:?}");
            assert_eq!(endings.contains(&answered), k > 0, "after {k} polls");
        }
    }
}
