//! What a thread that drives connections does while none of them has anything to do.
//!
//! Between two turns something may be done that blocks as long as a disk does, like writing
//! down at once what is recorded of all calls of a turn. If that takes long, another thread
//! drives the connections from then on: they wait for no disk.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    task::{Poll, Waker},
    thread::{self, Thread},
    time::Duration,
};

use mcp_policy::WrittenLines;
use tokio::runtime::Runtime;

/// Something to do between two turns. Whoever waits for it is told in the next, or at once if
/// another thread has begun that.
pub(crate) type Work = Arc<dyn Fn() -> WrittenLines + Send + Sync>;

/// How long connections wait for it at least before another thread drives them. It is at
/// most twice as long.
const PATIENCE: Duration = Duration::from_millis(20);

thread_local! {
    /// What is to be done after this turn.
    static WORK: RefCell<Option<Work>> = const { RefCell::new(None) };
    /// Who ends this turn, on a thread that has turns.
    static END: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// Has this done after this turn, unless this thread has none, or something else to do then.
pub(crate) fn between_turns(work: &Work) -> bool {
    WORK.with_borrow_mut(|waiting| match waiting {
        Some(waiting) => Arc::ptr_eq(waiting, work),
        None => END.with_borrow(|end| {
            let Some(end) = end else { return false };
            *waiting = Some(Arc::clone(work));
            end.wake_by_ref();
            true
        }),
    })
}

/// Begins with telling what was done before it, where those run who wait for that. Ends once
/// there is something to do, and nothing that is to be done before.
async fn turn(done: WrittenLines) -> Work {
    if catch_unwind(AssertUnwindSafe(|| drop(done))).is_err() {
        tracing::error!("to tell of what was done between two turns has panicked");
    }
    poll_fn(|context| match WORK.take() {
        Some(work) => Poll::Ready(work),
        None => {
            END.set(Some(context.waker().clone()));
            Poll::Pending
        }
    })
    .await
}

/// The connections of a runtime, and whichever thread drives them.
pub(crate) struct Turns {
    name: String,
    runtime: Runtime,
    /// What a thread does before it drives them.
    begin: Box<dyn Fn() + Send + Sync>,
    /// Even during a turn, and odd between two.
    count: AtomicU64,
    /// Between which two turns a thread was last started, which only the watch does once
    /// there is one.
    started: AtomicU64,
    watch: Arc<Watch>,
}

impl Turns {
    /// Has a thread of this name drive them, which does this first.
    pub(crate) fn start(
        name: String,
        runtime: Runtime,
        watch: &Arc<Watch>,
        begin: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Arc<Self>> {
        let turns = Arc::new(Self {
            name,
            runtime,
            begin: Box::new(begin),
            count: AtomicU64::new(1),
            started: AtomicU64::new(0),
            watch: Arc::clone(watch),
        });
        turns.go_on(1)?;
        Ok(turns)
    }

    /// Starts a thread that drives them if nobody does: if they are still between the same
    /// two turns. One is enough, however long it takes until it runs: says whether it is
    /// started now.
    fn go_on(self: &Arc<Self>, between: u64) -> io::Result<bool> {
        if self.started.load(SeqCst) == between {
            return Ok(false);
        }
        let turns = Arc::clone(self);
        let name = self.name.clone();
        thread::Builder::new().name(name).spawn(move || {
            if let Some(next) = turns.begin_after(between) {
                (turns.begin)();
                turns.drive(next);
            }
        })?;
        self.started.store(between, SeqCst);
        Ok(true)
    }

    /// The next turn, unless somebody else has begun it.
    fn begin_after(&self, between: u64) -> Option<u64> {
        let next = between.wrapping_add(1);
        let begun = self.count.compare_exchange(between, next, SeqCst, SeqCst);
        begun.is_ok().then_some(next)
    }

    /// From this turn on, until somebody else does.
    fn drive(&self, mut count: u64) {
        let mut done = WrittenLines::default();
        loop {
            let work = self.runtime.block_on(turn(done));
            let between = count.wrapping_add(1);
            self.count.store(between, SeqCst);
            self.watch.wake();
            done = catch_unwind(AssertUnwindSafe(|| work())).unwrap_or_else(|_| {
                tracing::error!("what is done between two turns has panicked");
                WrittenLines::default()
            });
            match self.begin_after(between) {
                Some(next) => count = next,
                // To let go of it tells those who wait, from outside.
                None => return drop(done),
            }
        }
    }
}

/// Sees to it that there is always somebody who drives them.
#[derive(Default)]
pub(crate) struct Watch {
    /// Whether nothing has been done between turns for a while, so that nobody looks.
    is_resting: AtomicBool,
    looking: OnceLock<Thread>,
}

impl Watch {
    /// Starts a thread that watches these, for as long as the program runs.
    pub(crate) fn over(self: Arc<Self>, turns: Vec<Arc<Turns>>) -> io::Result<()> {
        let name = "connections-watch".to_owned();
        thread::Builder::new()
            .name(name)
            .spawn(move || self.look(&turns))?;
        Ok(())
    }

    fn look(&self, turns: &[Arc<Turns>]) {
        let counts = || turns.iter().map(|turns| turns.count.load(SeqCst));
        let is_between = |count: &u64| count % 2 == 1;
        // Before it can be needed.
        self.looking.get_or_init(thread::current);
        loop {
            let before: Vec<_> = counts().collect();
            thread::sleep(PATIENCE);
            let mut is_quiet = true;
            for ((turns, before), now) in turns.iter().zip(before).zip(counts()) {
                is_quiet &= before == now;
                if before == now && is_between(&now) && turns.go_on(now).is_err() {
                    // It is tried again, as long as that takes.
                    tracing::debug!("no thread can be started to drive connections");
                }
            }
            self.is_resting.store(is_quiet, SeqCst);
            // Whoever has begun since then may not have known.
            while self.is_resting.load(SeqCst) && !counts().any(|count| is_between(&count)) {
                thread::park();
            }
            self.is_resting.store(false, SeqCst);
        }
    }

    /// Something is done between two turns.
    fn wake(&self) {
        if self.is_resting.load(SeqCst)
            && self.is_resting.swap(false, SeqCst)
            && let Some(looking) = self.looking.get()
        {
            looking.unpark();
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::future::{BoxFuture, FutureExt};
    use http::{Request, Response};
    use http_body_util::Full;
    use mcp_policy::{AuditSink, PolicyLayer, RequestBody};
    use tower::{Layer, ServiceExt};

    /// A call that is refused, and twice recorded.
    pub(crate) fn refused_call(sink: impl AuditSink) -> BoxFuture<'static, ()> {
        let policy = r#"{ "version": "1", "default": "deny" }"#.parse().unwrap();
        let layer = PolicyLayer::new(policy).audit(sink);
        let server = layer.layer(tower::service_fn(
            async |_: Request<RequestBody<Full<Bytes>>>| {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
            },
        ));
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
        let request = Request::post("/mcp").header("content-type", "application/json");
        let request = request.body(Full::<Bytes>::from(message)).unwrap();
        server
            .oneshot(request)
            .map(|answer| drop(answer.unwrap()))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, mpsc},
        task::{Context, Wake},
        thread::ThreadId,
        time::Instant,
    };

    use mcp_policy::JsonLines;
    use tokio::{
        runtime::{self, Handle},
        time::{sleep, timeout},
    };

    use super::testing::refused_call;
    use super::*;
    use crate::lock::lock;

    const LONG: Duration = Duration::from_secs(60);

    fn started() -> Arc<Turns> {
        let watch = Arc::<Watch>::default();
        let turns = started_under(&watch);
        watch.over(vec![Arc::clone(&turns)]).unwrap();
        turns
    }

    fn started_under(watch: &Arc<Watch>) -> Arc<Turns> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        Turns::start("turns".to_owned(), runtime.unwrap(), watch, || ()).unwrap()
    }

    /// What a task finds there.
    async fn there<T: Send + 'static>(
        turns: &Turns,
        find: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let task = turns.runtime.spawn(async { find() });
        timeout(LONG, task).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn what_is_asked_for_several_times_is_done_once_after_the_turn() {
        let turns = started();
        let (done, mut is_done) = tokio::sync::mpsc::unbounded_channel();
        let work: Work = Arc::new(move || {
            done.send(thread::current().id()).unwrap();
            WrittenLines::default()
        });
        let other: Work = Arc::new(|| panic!("nobody promised that"));
        assert!(!between_turns(&work), "there are no turns here");
        let asked = there(&turns, move || {
            assert!(between_turns(&work) && between_turns(&work));
            assert!(!between_turns(&other));
            thread::current().id()
        });
        let asked = asked.await;
        assert_eq!(timeout(LONG, is_done.recv()).await.unwrap(), Some(asked));
        // And nothing more, in the turns that follow.
        there(&turns, || ()).await;
        assert!(is_done.try_recv().is_err());
    }

    #[tokio::test]
    async fn whoever_works_for_long_is_replaced_each_time() {
        let turns = started();
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let (go_on, is_over) = mpsc::channel::<()>();
        let is_over = Mutex::new(is_over);
        let work: Work = Arc::new(move || {
            begun.send(thread::current().id()).unwrap();
            lock(&is_over).recv().unwrap();
            WrittenLines::default()
        });
        let mut threads = Vec::new();
        for _ in 0..3 {
            // Nor does it matter that nobody looked.
            while !turns.watch.is_resting.load(SeqCst) {
                sleep(PATIENCE).await;
            }
            let work = Arc::clone(&work);
            there(&turns, move || assert!(between_turns(&work))).await;
            // What comes before that may still belong to the same turn.
            let working = timeout(LONG, has_begun.recv()).await.unwrap();
            threads.push(working.unwrap());
            // Only another one can tell.
            let next = there(&turns, || thread::current().id()).await;
            assert_ne!(threads.last(), Some(&next));
            go_on.send(()).unwrap();
        }
        // Whoever comes back finds that it is not needed.
        let last = there(&turns, || thread::current().id()).await;
        assert!(!threads.contains(&last), "{threads:?} {last:?}");
    }

    #[tokio::test]
    async fn one_thread_is_started_for_each_wait_however_long_that_takes() {
        // Nobody watches, who might start some, too.
        let turns = started_under(&Arc::default());
        let is_started = |between| turns.go_on(between).unwrap();
        assert!(!is_started(1), "one was, with all the rest");
        assert!(is_started(3) && !is_started(3) && is_started(5));
        // None of these waits is there, so none of these threads stays.
        there(&turns, || ()).await;
    }

    #[tokio::test]
    async fn whoever_waits_for_what_is_done_is_told_where_tasks_are_driven() {
        /// Tells where it was woken.
        struct Told(tokio::sync::mpsc::UnboundedSender<(ThreadId, bool)>);
        impl Wake for Told {
            fn wake(self: Arc<Self>) {
                let is_driving = Handle::try_current().is_ok();
                self.0.send((thread::current().id(), is_driving)).unwrap();
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let lines = JsonLines::append_to(folder.path().join("audit.jsonl")).unwrap();
        let lines = Arc::new(lines.written_by(between_turns));
        let turns = started();
        let until = Instant::now() + LONG;
        loop {
            let (told, mut is_told) = tokio::sync::mpsc::unbounded_channel();
            let waker = Waker::from(Arc::new(Told(told)));
            let lines = Arc::clone(&lines);
            let asked = there(&turns, move || {
                let mut answer = refused_call(lines);
                let asked = answer.as_mut().poll(&mut Context::from_waker(&waker));
                (thread::current().id(), asked.is_pending().then_some(answer))
            });
            let (here, answer) = asked.await;
            // The thread of the sink may have been faster, or the disk so slow that another
            // one drives.
            if answer.is_some()
                && timeout(LONG, is_told.recv()).await.unwrap() == Some((here, true))
            {
                return;
            }
            assert!(Instant::now() < until, "nobody is told there");
        }
    }

    #[tokio::test]
    async fn a_panic_between_turns_ends_nothing() {
        fn panicking() -> WrittenLines {
            panic!("on purpose");
        }
        let turns = started();
        let work: Work = Arc::new(panicking);
        for _ in 0..3 {
            let work = Arc::clone(&work);
            there(&turns, move || assert!(between_turns(&work))).await;
        }
    }
}
