use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;

use super::*;
use crate::approval::testing::{Asking, demand, question};
use crate::approval::{
    ApprovalAsked, ApprovalChanges, ApprovalQuestion, ApprovalStore, ApprovalUsed, CallDigest,
    MemoryApprovalStore, NotDecided, Ruling,
};
use crate::clock::{Clock as _, Moment, SystemClock};
use crate::store::{StoreAnswer, StoreError};

type Told = Arc<Mutex<Vec<(ApprovalId, ApprovalState)>>>;

/// What waits, somebody who is told, and what they were told.
struct Scene {
    store: Arc<MemoryApprovalStore>,
    approvals: Approvals,
    told: Told,
}

impl Scene {
    fn new() -> Self {
        let store = Arc::new(MemoryApprovalStore::default());
        let approvals = Approvals::new(Arc::clone(&store));
        Self {
            store,
            approvals,
            told: Told::default(),
        }
    }

    fn ask(&self, arguments: &str) -> ApprovalQuestion {
        question(&demand(), "alice", arguments, SystemClock.now())
    }

    fn pending(&self, arguments: &str) -> ApprovalId {
        Asking(&self.store).pending(&self.ask(arguments)).id()
    }

    fn decide(&self, request: ApprovalId, approves: bool) {
        let ruling = match approves {
            true => Ruling::approve("dora"),
            false => Ruling::deny("dora").with_note("hunter2"),
        };
        let decided = Asking(&self.store).decide(request, &ruling, SystemClock.now());
        decided.unwrap();
    }

    fn telling(&self) -> tokio_test::task::Spawn<impl Future<Output = ()> + use<>> {
        let told = Arc::clone(&self.told);
        let notifier = move |notice: &ApprovalNotice| {
            told.lock().unwrap().push((notice.id(), notice.state()));
        };
        tokio_test::task::spawn(self.approvals.notify(notifier))
    }

    fn take(&self) -> Vec<(ApprovalId, ApprovalState)> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

#[test]
fn somebody_is_told_of_everything_that_becomes_of_a_request() {
    use ApprovalState::{Approved, Denied, Pending};

    let scene = Scene::new();
    let mut telling = scene.telling();
    assert!(telling.poll().is_pending());
    assert_eq!(scene.take(), []);
    let (one, other) = (scene.pending("1"), scene.pending("2"));
    assert!(telling.is_woken());
    assert!(telling.poll().is_pending());
    assert_eq!(scene.take(), [(one, Pending), (other, Pending)]);
    // Several things at once are told one after the other.
    scene.decide(one, true);
    let used = Asking(&scene.store).use_up(&scene.ask("1"), one);
    assert_eq!(used, ApprovalUsed::Now);
    scene.decide(other, false);
    let third = scene.pending("3");
    assert!(telling.poll().is_pending());
    let expected = [
        (one, Approved),
        (one, ApprovalState::Used),
        (other, Denied),
        (third, Pending),
    ];
    assert_eq!(scene.take(), expected);
    assert!(telling.poll().is_pending());
    assert_eq!(scene.take(), []);
}

#[test]
fn what_was_not_told_before_is_told_first() {
    use ApprovalState::{Approved, Denied, Pending};

    let scene = Scene::new();
    let (waits, approved, denied) = (scene.pending("1"), scene.pending("2"), scene.pending("3"));
    scene.decide(approved, true);
    scene.decide(denied, false);
    let mut telling = scene.telling();
    // Listened to already, and listed as well.
    scene.decide(waits, true);
    let over = scene.pending("5");
    scene.decide(over, true);
    assert_eq!(
        Asking(&scene.store).use_up(&scene.ask("5"), over),
        ApprovalUsed::Now
    );
    let new = scene.pending("4");
    assert!(telling.poll().is_pending());
    let expected = [(waits, Approved), (approved, Approved), (new, Pending)];
    assert_eq!(scene.take(), expected);
    scene.decide(new, false);
    assert!(telling.poll().is_pending());
    assert_eq!(scene.take(), [(new, Denied)]);
}

#[test]
fn what_was_missed_is_told_as_it_is_then() {
    use ApprovalState::{Cancelled, Pending};

    let scene = Scene::new();
    let mut telling = scene.telling();
    let before = scene.pending("0");
    assert!(telling.poll().is_pending());
    assert_eq!(scene.take(), [(before, Pending)]);
    scene.decide(before, true);
    assert_eq!(
        Asking(&scene.store).use_up(&scene.ask("0"), before),
        ApprovalUsed::Now
    );
    for caller in 0..150 {
        let question = question(&demand(), &caller.to_string(), "1", SystemClock.now());
        let id = Asking(&scene.store).pending(&question).id();
        assert!(Asking(&scene.store).cancel(id, SystemClock.now()));
    }
    let last = scene.pending("99");
    assert!(telling.poll().is_pending());
    assert_eq!(
        scene.take(),
        [(before, ApprovalState::Used), (last, Pending)]
    );
    assert!(Asking(&scene.store).cancel(last, SystemClock.now()));
    assert!(telling.poll().is_pending());
    assert_eq!(scene.take(), [(last, Cancelled)]);
}

#[test]
fn a_notice_says_what_waits_and_no_values() {
    let scene = Scene::new();
    let id = scene.pending(r#"{"to":"hunter2"}"#);
    scene.decide(id, false);
    let known = futures::executor::block_on(scene.approvals.get(id));
    let known = known.unwrap().unwrap();
    let pending = ApprovalNotice::new(&known, ApprovalState::Pending);
    assert_eq!((pending.caller(), pending.server()), ("alice", "server"));
    assert_eq!((pending.method(), pending.name()), ("tools/call", "pay"));
    assert_eq!(pending.reason(), Some("it cannot be undone"));
    assert!(pending.rules().eq(["/tools/pay/require_approval"]));
    // As it was before somebody decided.
    assert_eq!((pending.decided_by(), pending.decided_at()), (None, None));
    let undecided = pending.created_at() + known.expires();
    assert_eq!(pending.expires_at(), undecided);
    let denied = ApprovalNotice::new(&known, ApprovalState::Denied);
    assert_eq!(denied.decided_by(), known.decided_by());
    assert_eq!(denied.expires_at(), known.expires_at());
    assert!(denied.request.arguments().is_none());
    assert!(!format!("{denied:?}").contains("hunter2"));
}

#[test]
fn who_panics_is_told_of_the_next_one() {
    let scene = Scene::new();
    let told = Arc::clone(&scene.told);
    let mut telling =
        tokio_test::task::spawn(scene.approvals.notify(move |notice: &ApprovalNotice| {
            let mut told = told
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            told.push((notice.id(), notice.state()));
            assert_ne!(told.len(), 1, "on purpose");
        }));
    let ids = [scene.pending("1"), scene.pending("2")];
    assert!(telling.poll().is_pending());
    let told = scene
        .told
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    assert_eq!(*told, ids.map(|id| (id, ApprovalState::Pending)));
}

fn telling(approvals: &Approvals, told: Told) -> Telling<impl Notifier + use<>> {
    Telling {
        approvals: approvals.clone(),
        changes: approvals.changes(),
        notifier: move |notice: &ApprovalNotice| {
            told.lock().unwrap().push((notice.id(), notice.state()));
        },
        told: HashMap::new(),
        room: 0,
        looks_again: true,
    }
}

/// Answers nothing for a while.
struct Away {
    store: Arc<MemoryApprovalStore>,
    is_away: Arc<AtomicBool>,
}

impl Away {
    fn or<T>(&self, answer: StoreAnswer<T>) -> StoreAnswer<T> {
        match self.is_away.load(Ordering::SeqCst) {
            true => StoreAnswer::failed(StoreError::new("there is no power")),
            false => answer,
        }
    }
}

impl ApprovalStore for Away {
    fn ask(&self, question: &ApprovalQuestion) -> StoreAnswer<ApprovalAsked> {
        self.or(self.store.ask(question))
    }

    fn use_up(
        &self,
        request: ApprovalId,
        call: &CallDigest,
        now: Moment,
    ) -> StoreAnswer<ApprovalUsed> {
        self.or(self.store.use_up(request, call, now))
    }

    fn decide(
        &self,
        request: ApprovalId,
        ruling: &Ruling,
        now: Moment,
    ) -> StoreAnswer<Result<ApprovalRequest, NotDecided>> {
        self.or(self.store.decide(request, ruling, now))
    }

    fn cancel(&self, request: ApprovalId, now: Moment) -> StoreAnswer<bool> {
        self.or(self.store.cancel(request, now))
    }

    fn get(&self, request: ApprovalId, now: Moment) -> StoreAnswer<Option<ApprovalRequest>> {
        self.or(self.store.get(request, now))
    }

    fn list(&self, states: &[ApprovalState], now: Moment) -> StoreAnswer<Vec<ApprovalRequest>> {
        self.or(self.store.list(states, now))
    }

    fn changes(&self) -> ApprovalChanges {
        self.store.changes()
    }
}

#[test]
fn what_a_store_could_not_say_is_told_later() {
    let scene = Scene::new();
    let is_away = Arc::new(AtomicBool::new(false));
    let store = Away {
        store: Arc::clone(&scene.store),
        is_away: Arc::clone(&is_away),
    };
    let mut telling = telling(&Approvals::new(Arc::new(store)), Arc::clone(&scene.told));
    let mut step = || telling.step().now_or_never().expect("it waits");
    step().unwrap();
    let id = scene.pending("1");
    is_away.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        step().unwrap_err();
    }
    assert_eq!(scene.take(), []);
    is_away.store(false, Ordering::SeqCst);
    step().unwrap();
    assert_eq!(scene.take(), [(id, ApprovalState::Pending)]);
}

#[test]
fn what_is_remembered_has_an_end() {
    let scene = Scene::new();
    let told = Arc::clone(&scene.told);
    let mut telling = telling(&scene.approvals, told);
    telling.looks_again = false;
    let unknown = ApprovalId::new().unwrap();
    telling.told.insert(unknown, ApprovalState::Pending);
    futures::executor::block_on(async {
        assert_eq!(telling.event().await, ApprovalEvent::Missed);
        telling.look().await.unwrap();
        assert!(telling.told.is_empty());
        assert_eq!(telling.room, SPARE);
        // A request that the store has forgotten.
        let gone = telling.changed(unknown, ApprovalState::Used).await;
        gone.unwrap();
        assert!(telling.told.is_empty());
    });
    assert_eq!(scene.take(), []);
}
