//! Stores of approvals that answer later, fail while a call waits, or say otherwise.

use std::sync::PoisonError;

use futures::executor::block_on;
use mcp_policy::{
    ApprovalChanges, ApprovalQuestion, ApprovalRequest, ApprovalUsed, CallDigest,
    MemorySessionStore, Moment, NotDecided, SessionOwner, SessionStore as _, StoreAnswer,
    StoreError,
};

use super::*;
use crate::later::{Later, later};

/// A store that does something else than it should.
#[derive(Default)]
pub(crate) struct Odd {
    memory: MemoryApprovalStore,
    answers_later: bool,
    oddity: Mutex<Oddity>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Oddity {
    #[default]
    None,
    /// It says this of each use.
    Says(ApprovalUsed),
    FailsToUse,
    PanicsAtUse,
    FailsToGet,
    PanicsAtGet,
    FailsToDecide,
    PanicsAtDecide,
    Forgets,
}

impl Odd {
    fn answer<T: Send + 'static>(&self, answer: StoreAnswer<T>) -> StoreAnswer<T> {
        match self.answers_later {
            true => later(answer),
            false => answer,
        }
    }

    pub(crate) fn set(&self, oddity: Oddity) {
        *self.oddity.lock().unwrap_or_else(PoisonError::into_inner) = oddity;
    }

    fn is(&self, oddity: Oddity) -> bool {
        *self.oddity.lock().unwrap_or_else(PoisonError::into_inner) == oddity
    }
}

impl ApprovalStore for Odd {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        self.answer(self.memory.ask(question))
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        assert!(!self.is(Oddity::PanicsAtUse));
        let oddity = *self.oddity.lock().unwrap();
        self.answer(match oddity {
            Oddity::Says(used) => StoreAnswer::known(used),
            Oddity::FailsToUse => StoreAnswer::failed(StoreError::new("down")),
            _ => self.memory.use_up(request, call, now),
        })
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        assert!(!self.is(Oddity::PanicsAtDecide));
        self.answer(match self.is(Oddity::FailsToDecide) {
            true => StoreAnswer::failed(StoreError::new("down")),
            false => self.memory.decide(request, ruling, now),
        })
    }

    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        self.answer(self.memory.cancel(request, now))
    }

    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        assert!(!self.is(Oddity::PanicsAtGet));
        self.answer(match *self.oddity.lock().unwrap() {
            Oddity::FailsToGet => StoreAnswer::failed(StoreError::new("down")),
            Oddity::Forgets => StoreAnswer::known(None),
            _ => self.memory.get(request, now),
        })
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        self.answer(self.memory.list(states, now))
    }

    fn changes(&self) -> ApprovalChanges {
        self.memory.changes()
    }
}

fn with(answers_later: bool, layer: PolicyLayer) -> (Arc<Odd>, Guarded) {
    let store = Arc::new(Odd {
        answers_later,
        ..Odd::default()
    });
    let guarded = Guarded {
        layer: layer.approval_store(Arc::clone(&store)),
        approvals: Approvals::new(Arc::clone(&store)),
        ran: Arc::default(),
    };
    (store, guarded)
}

fn layer() -> PolicyLayer {
    PolicyLayer::new(POLICY.parse().unwrap())
}

/// What a call is answered about which somebody decides while it is held.
async fn held(guarded: &Guarded, body: &str, ruling: Ruling) -> Value {
    let mut changes = guarded.approvals.changes();
    let operator = async {
        let Some(ApprovalEvent::Changed(id, ApprovalState::Pending)) = changes.next().await else {
            panic!("nobody is asked");
        };
        guarded.approvals.decide(id, &ruling).await.unwrap();
    };
    tokio::join!(guarded.asks(body), operator).0
}

fn approved() -> Ruling {
    Ruling::approve("dora")
}

#[tokio::test]
async fn a_store_that_answers_later_is_waited_for() {
    let (_, guarded) = with(true, layer());
    let body = call("pay", "{}");
    assert!(passed(&held(&guarded, &body, approved()).await));
    assert_eq!(guarded.ran(), [&*body]);
    let denied = held(&guarded, &body, Ruling::deny("dora")).await;
    let (text, _) = refused(&denied);
    assert!(text.contains("has denied exactly this call"), "{text}");
    refused(&guarded.asks(&body).await);
    assert_eq!(guarded.ran(), [""; 0]);
}

/// And it costs nothing.
#[tokio::test]
async fn what_cannot_be_used_lets_nothing_pass() {
    for answers_later in [false, true] {
        let (store, guarded) = with(answers_later, layer().approval_wait(Duration::ZERO));
        let body = call("pay", "{}");
        for turn in 0..2 {
            refused(&guarded.asks(&body).await);
            guarded.approve_pending().await;
            for used in [ApprovalUsed::Before, ApprovalUsed::NotApproved] {
                store.set(Oddity::Says(used));
                let (text, _) = refused(&guarded.asks(&body).await);
                assert!(text.contains("was used by another call"), "{text}");
            }
            for (oddity, code) in [(Oddity::FailsToUse, -31503), (Oddity::PanicsAtUse, -32603)] {
                store.set(oddity);
                let answer = guarded.asks(&body).await;
                assert_eq!(answer["error"]["code"], code, "{oddity:?} {answer}");
            }
            assert_eq!(guarded.ran(), [""; 0]);
            store.set(Oddity::None);
            let answer = guarded.asks(&body).await;
            assert!(passed(&answer), "{turn} {answer}");
            assert_eq!(guarded.ran(), [&*body]);
        }
        let (text, _) = refused(&guarded.asks(&body).await);
        assert!(text.contains("[rule /tools/pay/limits/rate]"), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_up_once_it_is_decided_lets_nothing_pass() {
    for answers_later in [false, true] {
        for (oddity, code) in [
            (Oddity::FailsToGet, Some(-31503)),
            (Oddity::PanicsAtGet, Some(-32603)),
            (Oddity::Forgets, None),
        ] {
            let (store, guarded) = with(answers_later, layer());
            let body = call("pay", "{}");
            let mut asking = Box::pin(guarded.asks(&body));
            let id = loop {
                assert!((&mut asking).now_or_never().is_none());
                let pending = guarded.approvals.list(&[ApprovalState::Pending]).await;
                if let [request] = pending.unwrap().as_slice() {
                    break request.id();
                }
            };
            guarded.approvals.decide(id, &approved()).await.unwrap();
            store.set(oddity);
            let answer = asking.await;
            match code {
                Some(code) => assert_eq!(answer["error"]["code"], code, "{oddity:?} {answer}"),
                None => {
                    let (text, _) = refused(&answer);
                    assert!(text.contains("or is over"), "{text}");
                }
            }
            assert_eq!(guarded.ran(), [""; 0]);
        }
    }
}

/// More than can be remembered: it is looked for what became of its own request.
#[test]
fn who_waits_misses_nothing_for_all_that_happens_meanwhile() {
    let (store, guarded) = with(false, layer());
    let body = call("pay", "{}");
    let mut asking = Box::pin(guarded.asks(&body));
    assert!((&mut asking).now_or_never().is_none());
    let id = block_on(guarded.pending());
    let much_happens = || {
        for _ in 0..300 {
            store.changes().announce(id, ApprovalState::Pending);
        }
    };
    // It waits all the same.
    much_happens();
    assert!((&mut asking).now_or_never().is_none());
    assert_eq!(block_on(guarded.pending()), id);
    block_on(guarded.approvals.decide(id, &approved())).unwrap();
    much_happens();
    let answer = asking.now_or_never().expect("it is approved");
    assert!(passed(&answer), "{answer}");
    assert_eq!(guarded.ran().len(), 1);
}

/// Whose session it is, is asked again.
#[test]
fn a_session_that_was_lost_meanwhile_is_not_the_callers() {
    let sessions = Arc::new(MemorySessionStore::default());
    let begin = |caller: &str| {
        let owner = SessionOwner::new(&Caller::new(caller));
        block_on(sessions.begin_session("s", owner).get()).unwrap();
    };
    begin("alice");
    let layer = layer().session_store(Later(Arc::clone(&sessions)));
    let (_, guarded) = with(false, layer);
    let mut request = post(call("pay", "{}"));
    let session = "s".parse().unwrap();
    request.headers_mut().insert("mcp-session-id", session);
    request.extensions_mut().insert(Caller::new("alice"));
    let server = service_fn(async |_: Request<RequestBody<Body>>| {
        Ok::<_, Infallible>(Response::new(pieces([OK])))
    });
    let mut asking = Box::pin(guarded.layer.layer(server).oneshot(request));
    let id = loop {
        assert!((&mut asking).now_or_never().is_none());
        let pending = block_on(guarded.approvals.list(&[ApprovalState::Pending])).unwrap();
        if let [request] = pending.as_slice() {
            break request.id();
        }
    };
    block_on(sessions.end_session("s").get()).unwrap();
    begin("bob");
    block_on(guarded.approvals.decide(id, &approved())).unwrap();
    let answer = block_on(asking).unwrap();
    assert_eq!(answer.status(), 404);
}
