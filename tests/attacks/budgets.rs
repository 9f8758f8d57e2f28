//! Limits under attack: at the same time, in new sessions, in both eras, with
//! amounts that should count as less, and while the store fails.

use std::sync::Arc;

use futures::future::join_all;
use mcp_policy::{
    LimitConclusion, LimitReservation, LimitReserved, LimitStore, MemoryLimitStore, Moment,
    PolicyLayer, StoreAnswer, StoreError,
};

use crate::cases::Target;

fn layer(rule: &str) -> PolicyLayer {
    let policy = format!(r#"{{"version":"1","default":"deny","tools":{{"safe":{rule}}}}}"#);
    PolicyLayer::new(policy.parse().unwrap())
}

fn call(headers: &str, arguments: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"safe","arguments":{arguments}}}}}"#
    );
    format!(
        "POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn modern_call() -> Vec<u8> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    format!(
        "POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: safe\r\nmcp-session-id: s\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn send(target: &Target, request: &[u8]) -> String {
    let mut connection = target.connect().await;
    connection.exchange(request, "POST").await.unwrap().text()
}

#[tokio::test]
async fn t14_amounts_add_up_exactly_and_never_downwards() {
    let target = Target::guarded(&layer(
        r#"{"limits":[{"counter":"spend","window":"day","max":1,"increment_from":"args.amount"}]}"#,
    ))
    .await;
    for amount in [
        "-1000000",
        "1e308",
        "\"100\"",
        "9007199254740993",
        "1e400",
        "-0.1",
        "1.000001",
        "null",
        "[0]",
        "{}",
        "true",
    ] {
        send(&target, &call("", &format!(r#"{{"amount":{amount}}}"#))).await;
        assert_eq!(target.executed(), [""; 0], "{amount}");
    }
    // Ten times a tenth is one, and what is less than can be counted counts.
    for _ in 0..9 {
        send(&target, &call("", r#"{"amount":0.1}"#)).await;
    }
    send(&target, &call("", r#"{"amount":0.0999985}"#)).await;
    assert_eq!(target.executed().len(), 10);
    for amount in ["-0", "0.0000001"] {
        send(&target, &call("", &format!(r#"{{"amount":{amount}}}"#))).await;
        assert_eq!(target.executed(), ["safe"], "{amount}");
    }
    send(&target, &call("", r#"{"amount":1e-9}"#)).await;
    assert_eq!(target.executed(), [""; 0]);
}

#[tokio::test]
async fn t32_calls_at_the_same_time_do_not_overrun_a_limit() {
    let target = Target::guarded(&layer(
        r#"{"limits":[{"counter":"spend","window":"day","max":5000,"increment_from":"args.amount"}]}"#,
    ))
    .await;
    let request = call("", r#"{"amount":2000}"#);
    let answers = join_all((0..40).map(|_| send(&target, &request))).await;
    assert_eq!(target.executed().len(), 2);
    let refused = |answer: &&String| answer.contains("Policy violation");
    assert_eq!(answers.iter().filter(refused).count(), 38);
}

#[tokio::test]
async fn t33_new_sessions_ids_connections_and_versions_gain_nothing() {
    let limit = r#"{"limits":[{"counter":"runs","window":"hour","max":3,"scope":"SCOPE"}]}"#;
    for scope in ["caller", "session"] {
        let target = Target::guarded(&layer(&limit.replace("SCOPE", scope))).await;
        for number in 0..20 {
            let headers = format!("mcp-session-id: made-up-{number}\r\n");
            send(&target, &call(&headers, "{}")).await;
            send(&target, &modern_call()).await;
            send(&target, &call("", "{}")).await;
        }
        assert_eq!(target.executed().len(), 3, "{scope}");
    }
}

/// Fails every second time, after it has counted.
#[derive(Default)]
struct Fails(MemoryLimitStore, std::sync::atomic::AtomicU32);

impl LimitStore for Fails {
    fn reserve(&self, reservation: &LimitReservation) -> StoreAnswer<LimitReserved> {
        let answer = self.0.reserve(reservation);
        let number = self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match number % 2 {
            0 => answer,
            _ => StoreAnswer::pending(async { Err(StoreError::new("it is down")) }),
        }
    }

    fn conclude(&self, reservation: &LimitReservation, conclusion: LimitConclusion, now: Moment) {
        self.0.conclude(reservation, conclusion, now);
    }
}

#[tokio::test]
async fn t34_a_store_that_fails_admits_nothing_and_keeps_its_count() {
    let layer = layer(r#"{"rate_limit":"3/hour"}"#).limit_store(Arc::new(Fails::default()));
    let target = Target::guarded(&layer).await;
    let mut ran = 0;
    for number in 0..20 {
        let answer = send(&target, &call("", "{}")).await;
        let executed = target.executed().len();
        ran += executed;
        if number % 2 == 1 {
            assert!(executed == 0 && answer.contains("-31503"), "{answer}");
        }
    }
    assert_eq!(ran, 3);
}
