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
    ApprovalAsked, ApprovalChanges, ApprovalId, ApprovalQuestion, ApprovalRequest, ApprovalState,
    ApprovalStore, ApprovalUsed, CallDigest, Caller, LimitConclusion, LimitReservation,
    LimitReserved, LimitStore, MessageGuard, Moment, NotDecided, Ruling, SessionOwner,
    SessionStore, StoreAnswer, StoreError, TaskOwner,
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

/// Whether a store is away.
#[derive(Clone, Default)]
struct Away(Arc<AtomicBool>);

impl Away {
    fn answer<T>(&self, answer: T) -> StoreAnswer<T> {
        match self.0.load(Ordering::Relaxed) {
            true => StoreAnswer::failed(StoreError::new("there is no power")),
            false => StoreAnswer::known(answer),
        }
    }

    /// What is logged of this store if it is away twice, for several messages each time.
    async fn is_told(&self, name: &str, mut send: impl AsyncFnMut()) {
        let log = logged(async {
            for is_away in [false, true, true, true, false, false, true] {
                self.0.store(is_away, Ordering::Relaxed);
                send().await;
            }
        });
        let log = log.await;
        let count = |line: &str| log.matches(line).count();
        let away = format!("ERROR mcp_policy: the {name} did not answer error=there is no power");
        assert_eq!(count(&away), 2, "{log}");
        let again = format!("INFO mcp_policy: the {name} answers again");
        assert_eq!(count(&again), 1, "{log}");
    }
}

impl LimitStore for Away {
    fn reserve(&self, _: &LimitReservation) -> StoreAnswer<LimitReserved> {
        self.answer(LimitReserved::Admitted { over: None })
    }

    fn conclude(&self, _: &LimitReservation, _: LimitConclusion, _: Moment) {}
}

impl SessionStore for Away {
    fn begin_session(&self, _: &str, _: SessionOwner) -> StoreAnswer<()> {
        self.answer(())
    }

    fn session_owner(&self, _: &str, _: &Caller) -> StoreAnswer<Option<SessionOwner>> {
        self.answer(None)
    }

    fn end_session(&self, _: &str) -> StoreAnswer<()> {
        self.answer(())
    }

    fn begin_task(&self, _: &str, _: TaskOwner) -> StoreAnswer<()> {
        self.answer(())
    }

    fn task_owner(&self, _: &str, _: &Caller) -> StoreAnswer<Option<TaskOwner>> {
        self.answer(None)
    }
}

impl ApprovalStore for Away {
    fn ask(&self, _: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        self.answer(ApprovalAsked::Full)
    }

    fn use_up(&self, _: ApprovalId, _: &CallDigest, _: Moment) -> StoreAnswer<ApprovalUsed> {
        self.answer(ApprovalUsed::NotApproved)
    }

    fn decide(
        &self,
        _: ApprovalId,
        _: &Ruling,
        _: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        self.answer(Err(NotDecided::Unknown))
    }

    fn cancel(&self, _: ApprovalId, _: Moment) -> StoreAnswer<bool> {
        self.answer(false)
    }

    fn get(&self, _: ApprovalId, _: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        self.answer(None)
    }

    fn list(&self, _: &[ApprovalState], _: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        self.answer(Vec::new())
    }

    fn changes(&self) -> ApprovalChanges {
        ApprovalChanges::default()
    }
}

const GUARDED: &str = r#"{"version":"1","default":"allow",
    "tools":{"run":{"rate_limit":"9/hour"},"pay":{"require_approval":true}}}"#;

#[tokio::test]
async fn that_a_store_is_away_is_logged_once_and_that_it_is_back() {
    let call = |name: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#)
    };
    let task = r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t"}}"#;
    let guard = || MessageGuard::new(GUARDED.parse().unwrap());
    let (limits, approvals, sessions) = (Away::default(), Away::default(), Away::default());
    for (away, name, guard, message) in [
        (
            limits.clone(),
            "limit store",
            guard().limit_store(limits),
            call("run"),
        ),
        (
            approvals.clone(),
            "approval store",
            guard().approval_store(approvals),
            call("pay"),
        ),
        (
            sessions.clone(),
            "session store",
            guard().session_store(sessions),
            task.to_owned(),
        ),
    ] {
        let connection = guard.connect(Caller::local());
        let send = async || drop(connection.from_client(message.as_bytes()).await);
        away.is_told(name, send).await;
    }
}
