//! What is under way on a connection that is not HTTP.

use futures::executor::block_on;
use mcp_policy::{Caller, FromClient, MessageConnection, MessageGuard};

use crate::NOON;
use crate::support::clock::ManualClock;

/// A connection on which two calls of `run` may be under way, whose clock stands.
fn two_at_once() -> (MessageConnection, ManualClock) {
    let clock = ManualClock::at(NOON);
    let policy = r#"{ "version": "1", "default": "allow", "tools": {
        "run": { "max_concurrent": { "max": 2 } }, "count": { "rate_limit": "100000/minute" } } }"#;
    let guard = MessageGuard::new(policy.parse().unwrap()).clock(clock.clone());
    (guard.connect(Caller::local()), clock)
}

fn send(connection: &MessageConnection, message: &str) -> bool {
    block_on(connection.from_client(message.as_bytes())) == FromClient::Forward
}

/// Whether one more call, of this id, may go on.
fn call(connection: &MessageConnection, id: &str) -> bool {
    let message =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"run"}}}}"#);
    send(connection, &message)
}

fn answer(connection: &MessageConnection, id: &str) {
    let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#);
    block_on(connection.from_server(message.as_bytes()));
}

#[test]
fn a_call_counts_until_it_is_answered() {
    let (connection, _) = two_at_once();
    assert!(call(&connection, "1") && call(&connection, "2"));
    assert!(!call(&connection, "3"));
    answer(&connection, "2");
    assert!(call(&connection, "3"));
    assert!(!call(&connection, "4"));
}

/// Nobody can tell which of them an answer is for.
#[test]
fn two_calls_with_one_id_count_until_both_are_answered() {
    let (connection, _) = two_at_once();
    assert!(call(&connection, r#""1""#) && call(&connection, r#""\u0031""#));
    answer(&connection, r#""1""#);
    assert!(!call(&connection, "3"));
    answer(&connection, r#""1""#);
    assert!(call(&connection, "3") && call(&connection, "4"));
    assert!(!call(&connection, "5"));
    // Nor is the first of two answers one to the call, if that has the id of
    // something that waits for long.
    let (connection, _) = two_at_once();
    assert!(call(&connection, "1") && call(&connection, "2"));
    assert!(send(
        &connection,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#
    ));
    answer(&connection, "1");
    assert!(!call(&connection, "3"));
    answer(&connection, "1");
    assert!(call(&connection, "3"));
}

/// It may run on.
#[test]
fn a_call_that_is_given_up_counts_for_another_minute() {
    let (connection, clock) = two_at_once();
    assert!(call(&connection, "1") && call(&connection, "2"));
    let cancelled =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert!(send(&connection, cancelled));
    for (seconds, is_free) in [(0, false), (59, false), (1, true)] {
        clock.advance_secs(seconds);
        assert_eq!(call(&connection, "3"), is_free, "{seconds}");
    }
    // The other is still awaited.
    assert!(!call(&connection, "4"));
    // An answer comes too late to free anything.
    answer(&connection, "1");
    assert!(!call(&connection, "4"));
}

#[test]
fn what_waits_for_nothing_else_pushes_out_no_call() {
    for other in [
        r#""method":"ping""#,
        r#""method":"tools/call","params":{"name":"count"}"#,
    ] {
        let (connection, clock) = two_at_once();
        assert!(call(&connection, r#""a""#) && call(&connection, r#""b""#));
        for id in 0..2_000 {
            let other = format!(r#"{{"jsonrpc":"2.0","id":{id},{other}}}"#);
            assert!(send(&connection, &other));
        }
        clock.advance_secs(61);
        assert!(!call(&connection, r#""c""#), "{other}");
        answer(&connection, r#""a""#);
        assert!(call(&connection, r#""c""#), "{other}");
    }
}
