//! What is logged of a decision, and what never is. A program of its own, because
//! what other tests log at the same time decides whether anything is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is the point"
)]

#[allow(dead_code, reason = "of all that the tests of the wire need, little")]
#[path = "../wire/server.rs"]
mod server;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mcp_policy::{
    Answer, Caller, Conclusion, LimitStore, MessageGuard, Moment, Reservation, Reserved, StoreError,
};
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

use crate::server::{Exchange, POLICY, post};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// All that is logged meanwhile.
async fn logged(what: impl Future<Output = ()>) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // As long as there is but one, `tracing` asks the thread that comes first
    // to a line whether it is heard, and that may be the thread of another test.
    let second = tracing::Dispatch::new(NoSubscriber::default());
    let guard = tracing::subscriber::set_default(subscriber);
    what.await;
    drop((guard, second));
    let log = log.0.lock().unwrap();
    String::from_utf8(log.clone()).unwrap()
}

#[tokio::test]
async fn a_decision_is_logged_with_names_and_without_values() {
    let log = logged(decisions()).await;
    assert!(!log.contains("hunter2"), "{log}");
    for line in [
        r#"INFO mcp_policy: refused caller="alice" method="tools/call" name="danger" rule="/tools/danger/action""#,
        r#"DEBUG mcp_policy: allowed caller="alice" method="tools/call" name="safe" rule="/tools/safe""#,
        r#"INFO mcp_policy: refused caller="alice" method="tools/call" name="secret" rule="(hidden)""#,
        r#"INFO mcp_policy: refused caller="alice" method="resources/read" name="https://h/p" rule="(default deny)""#,
        r#"INFO mcp_policy: refused caller="alice" method="x/y" rule="(default deny)""#,
        r#"INFO mcp_policy: refused caller="alice" method="tools/call" rule="(protocol)""#,
        "DEBUG mcp_policy: ended decision=",
    ] {
        assert!(log.contains(line), "{line} not in\n{log}");
    }
}

async fn decisions() {
    for body in [
        r#""method":"tools/call","params":{"name":"danger","arguments":{"token":"hunter2"}}"#,
        r#""method":"tools/call","params":{"name":"safe","arguments":{"token":"hunter2"}}"#,
        r#""method":"tools/call","params":{"name":"secret","arguments":{"hunter2":"hunter2"}}"#,
        r#""method":"resources/read","params":{"uri":"https://h/p?token=hunter2"}"#,
        r#""method":"x/y","params":{"token":"hunter2"}"#,
        r#""method":"tools/call","params":{"name":"safe","arguments":"hunter2"}"#,
    ] {
        let mut request = post(format!(r#"{{"jsonrpc":"2.0","id":1,{body}}}"#));
        request.extensions_mut().insert(Caller::new("alice"));
        Exchange::new(POLICY).send(request).await;
    }
}

/// A store that can be away.
#[derive(Clone, Default)]
struct Store(Arc<AtomicBool>);

impl LimitStore for Store {
    fn reserve(&self, _: &Reservation) -> Answer<Reserved> {
        match self.0.load(Ordering::Relaxed) {
            true => Answer::failed(StoreError::new("there is no power")),
            false => Answer::known(Reserved::Admitted { over: None }),
        }
    }

    fn conclude(&self, _: &Reservation, _: Conclusion, _: Moment) {}
}

#[tokio::test]
async fn that_a_limit_store_is_away_is_logged_once_and_that_it_is_back() {
    let policy = r#"{"version":"1","default":"allow","tools":{"run":{"rate_limit":"9/hour"}}}"#;
    let store = Store::default();
    let guard = MessageGuard::new(policy.parse().unwrap()).limit_store(store.clone());
    let connection = guard.connect(Caller::local());
    let run = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run"}}"#;
    let log = logged(async {
        for is_away in [false, true, true, true, false, false, true] {
            store.0.store(is_away, Ordering::Relaxed);
            connection.from_client(run).await;
        }
    });
    let log = log.await;
    let count = |line: &str| log.matches(line).count();
    let away = "ERROR mcp_policy: the limit store did not answer error=there is no power";
    assert_eq!(count(away), 2, "{log}");
    assert_eq!(
        count("INFO mcp_policy: the limit store answers again"),
        1,
        "{log}"
    );
}
