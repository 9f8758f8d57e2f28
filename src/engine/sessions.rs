//! What a session store is asked on behalf of one request.
//!
//! Whoever judges asks and gets an answer at once. Where the store has none yet,
//! it is as if it failed, and [`Sessions::pending`] tells: then what was judged
//! does not count, and is judged again once the answers are there.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use super::words::unlooked_up;
use crate::caller::Caller;
use crate::lock::lock;
use crate::mcp::params::Elicitation;
use crate::mcp::reply::Refusal;
use crate::session::{SessionOwner, SessionStore, TaskOwner, folded};
use crate::store::{Settled, StoreAnswer, StoreError, Watched, answer_of};
use crate::waiting::Waiting;

/// A [`SessionStore`] for one request, with what it has answered so far.
#[derive(Clone)]
pub(crate) struct Sessions {
    store: Arc<Watched<dyn SessionStore>>,
    /// `None` where there is never anything to wait for.
    memo: Option<Arc<Mutex<Memo>>>,
}

/// A session that is known to be the caller's.
#[derive(Clone, Debug)]
pub(crate) struct OwnSession {
    /// As it is compared with others.
    pub(crate) id: Arc<str>,
    /// What the client said of itself when it was begun, if that is known.
    pub(crate) client: Option<Arc<str>>,
    /// How it can ask its user.
    pub(crate) elicitation: Elicitation,
}

/// Questions that one message may have answers to wait for; of what is beyond,
/// nothing is known.
const MOST_ASKED: usize = 2_048;

/// Nobody hears of it: what is judged by it does not count.
const UNANSWERED: StoreError = StoreError::of("there is no answer yet");

/// Answers that had to be waited for, and those that still are.
#[derive(Default)]
struct Memo {
    known: HashMap<Question, Known>,
    waiting: Vec<(Question, Asked)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    OwnerOfSession(String),
    OwnerOfTask(String),
    BeginSession(String),
    EndSession(String),
    BeginTask(String),
}

#[derive(Clone)]
enum Known {
    Session(Result<Option<SessionOwner>, StoreError>),
    Task(Result<Option<TaskOwner>, StoreError>),
    Done,
}

enum Asked {
    Session(Waiting<Option<SessionOwner>, StoreError>),
    Task(Waiting<Option<TaskOwner>, StoreError>),
    Done(Waiting<(), StoreError>),
}

impl Sessions {
    pub(super) fn new(store: impl SessionStore) -> Self {
        let store = Watched::<dyn SessionStore>::new("session store", Box::new(store));
        let answers_at_once = || store.answers_at_once();
        let answers_at_once = catch_unwind(AssertUnwindSafe(answers_at_once));
        let memo = (!answers_at_once.unwrap_or(false)).then(Arc::default);
        Self {
            store: Arc::new(store),
            memo,
        }
    }

    /// The same store for another request.
    pub(super) fn afresh(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            memo: self.memo.as_ref().map(|_| Arc::default()),
        }
    }

    /// Whether there is never anything to wait for.
    pub(crate) fn answer_at_once(&self) -> bool {
        self.memo.is_none()
    }

    /// How to wait for what the store has not answered yet; `None` if everything
    /// that it told is true.
    pub(crate) fn pending(&self) -> Option<Pending> {
        let memo = self.memo.as_ref()?;
        let is_waiting = !lock(memo).waiting.is_empty();
        is_waiting.then(|| Pending {
            memo: Arc::clone(memo),
            store: Arc::clone(&self.store),
        })
    }

    /// Forgets what was answered: it may not be true for ever.
    pub(crate) fn forget(&self) {
        if let Some(memo) = &self.memo {
            *lock(memo) = Memo::default();
        }
    }

    /// Remembers a session. If that fails it is not known, as if another replica
    /// had it.
    pub(crate) fn begin(&self, session: &str, owner: SessionOwner) {
        let session = folded(session);
        self.tell(
            || Question::BeginSession(session.clone()),
            |store| store.begin_session(&session, owner),
        );
    }

    pub(crate) fn end(&self, session: &str) {
        let session = folded(session);
        self.tell(
            || Question::EndSession(session.clone()),
            |store| store.end_session(&session),
        );
    }

    /// Refuses a session that is known to be another caller's. Of one that is known
    /// to be this caller's, by what it is known.
    pub(crate) fn entered(
        &self,
        session: &str,
        caller: &Caller,
    ) -> Result<Option<OwnSession>, Refusal> {
        let session = folded(session);
        let owner = self.ask(
            || Question::OwnerOfSession(session.clone()),
            |store| store.session_owner(&session, caller),
            Asked::Session,
            |known| match known {
                Known::Session(owner) => Some(owner),
                _ => None,
            },
        );
        match owner.map_err(refusal)? {
            Some(owner) if owner.caller() != caller.id() => Err(Refusal::NoSession),
            Some(owner) => Ok(Some(OwnSession {
                id: session.into(),
                elicitation: owner.elicitation(),
                client: owner.into_client(),
            })),
            None => Ok(None),
        }
    }

    /// Remembers a task. If that fails it is not known, and refused.
    pub(crate) fn begin_task(&self, task: &str, owner: TaskOwner) {
        self.tell(
            || Question::BeginTask(task.to_owned()),
            |store| store.begin_task(task, owner),
        );
    }

    /// Asks of all these tasks at once, if that takes time.
    pub(super) fn look_up(&self, tasks: &[impl AsRef<str>], caller: &Caller) {
        if !self.answer_at_once() {
            for task in tasks {
                let _ = self.tool_of(task.as_ref(), caller);
            }
        }
    }

    /// The tool that the caller made the task with; `None` if the task is not
    /// known to be the caller's.
    pub(crate) fn tool_of(&self, task: &str, caller: &Caller) -> Result<Option<String>, Refusal> {
        if self.is_beginning(task) {
            return Err(refusal(UNANSWERED));
        }
        let owner = self.ask(
            || Question::OwnerOfTask(task.to_owned()),
            |store| store.task_owner(task, caller),
            Asked::Task,
            |known| match known {
                Known::Task(owner) => Some(owner),
                _ => None,
            },
        );
        let owner = owner.map_err(refusal)?;
        Ok(owner
            .filter(|owner| owner.caller() == caller.id())
            .map(|owner| owner.tool().to_owned()))
    }

    /// Whether the store is being told of this task: before it has heard of it, it
    /// cannot say whose it is.
    fn is_beginning(&self, task: &str) -> bool {
        let is_it = |(question, _): &(Question, Asked)| match question {
            Question::BeginTask(other) => other == task,
            _ => false,
        };
        let memo = self.memo.as_ref();
        memo.is_some_and(|memo| lock(memo).waiting.iter().any(is_it))
    }

    /// Tells the store something once, however often it is judged.
    fn tell(
        &self,
        what: impl Fn() -> Question,
        tell: impl FnOnce(&dyn SessionStore) -> StoreAnswer<()>,
    ) {
        let is_told = |known| matches!(known, Known::Done).then_some(Ok(()));
        let told = self.ask(&what, tell, Asked::Done, is_told);
        if let Some(memo) = self.memo.as_ref().filter(|_| told != Err(UNANSWERED)) {
            lock(memo).known.insert(what(), Known::Done);
        }
    }

    /// Asks the store, unless it has answered before. What is not known yet is an
    /// error.
    fn ask<T>(
        &self,
        question: impl FnOnce() -> Question,
        ask: impl FnOnce(&dyn SessionStore) -> StoreAnswer<T>,
        asked: impl FnOnce(Waiting<T, StoreError>) -> Asked,
        known: impl FnOnce(Known) -> Option<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let ask = || answer_of("session store", || ask(&**self.store)).settle();
        let note = |answer: &Result<T, StoreError>| self.store.note(answer);
        let Some(memo) = &self.memo else {
            return match ask() {
                Settled::Known(answer) => {
                    note(&answer);
                    answer
                }
                // It said that this would not be.
                Settled::Awaited(_) => Err(UNANSWERED),
            };
        };
        let question = question();
        let mut memo = lock(memo);
        if let Some(answer) = memo.known.get(&question).cloned().and_then(known) {
            return answer;
        }
        let is_asked = |(other, _): &(Question, Asked)| *other == question;
        let asked_before = memo.known.len().saturating_add(memo.waiting.len());
        if asked_before > MOST_ASKED || memo.waiting.iter().any(is_asked) {
            return Err(UNANSWERED);
        }
        match ask() {
            Settled::Known(answer) => {
                note(&answer);
                answer
            }
            Settled::Awaited(waiting) => {
                memo.waiting.push((question, asked(waiting)));
                Err(UNANSWERED)
            }
        }
    }
}

/// How a message is refused that cannot be judged without the answer.
fn refusal(error: StoreError) -> Refusal {
    match error == StoreError::PANICKED {
        true => Refusal::Failed,
        false => unlooked_up(),
    }
}

/// Whose session or task something is belongs to nobody else.
impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

/// Waits until the store has answered everything that it was asked.
pub(crate) struct Pending {
    memo: Arc<Mutex<Memo>>,
    store: Arc<Watched<dyn SessionStore>>,
}

impl Future for Pending {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut memo = lock(&self.memo);
        let Memo { known, waiting } = &mut *memo;
        waiting.retain_mut(|(question, asked)| {
            let Poll::Ready(answer) = asked.poll(&self.store, context) else {
                return true;
            };
            known.insert(question.clone(), answer);
            false
        });
        match waiting.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl Asked {
    fn poll(
        &mut self,
        store: &Watched<dyn SessionStore>,
        context: &mut Context<'_>,
    ) -> Poll<Known> {
        match self {
            Self::Session(waiting) => answered(waiting, store, context).map(Known::Session),
            Self::Task(waiting) => answered(waiting, store, context).map(Known::Task),
            Self::Done(waiting) => answered(waiting, store, context).map(|_| Known::Done),
        }
    }
}

fn answered<T>(
    waiting: &mut Waiting<T, StoreError>,
    store: &Watched<dyn SessionStore>,
    context: &mut Context<'_>,
) -> Poll<Result<T, StoreError>> {
    let answer = ready!(Pin::new(waiting).poll(context));
    store.note(&answer);
    Poll::Ready(answer)
}
