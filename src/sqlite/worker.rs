//! The thread that reads and writes the file.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use rusqlite::Connection;

use super::file::store_error;
use crate::lock::lock;
use crate::seam::seam_panicked;
use crate::store::{StoreAnswer, StoreError};

/// Questions that may wait. It takes about 100 ms to answer as many.
const MOST_ASKED: usize = 1_024;

/// Everything that may wait, with what is tried again.
const MOST_TOLD: usize = 65_536;

/// What is done in one transaction.
const BATCH: usize = 64;

/// How long until something is tried again that failed, if nothing else is to be
/// done meanwhile.
const PAUSE: Duration = Duration::from_secs(1);

const BUSY: StoreError = StoreError::of(
    "too much waits for the state file already: its disk is too slow for so many calls, or \
     somebody else has locked it",
);
const ENDED: StoreError =
    StoreError::of("the thread of the state file has ended: start the program again");

/// Of a thread that could not be made for this file.
pub(crate) fn no_thread(whose: &str, error: &io::Error) -> StoreError {
    StoreError::new(format!(
        "no thread can be made for {whose}, perhaps because the process may have no more: {error}"
    ))
}

/// Something to do with the file, together with others in one transaction.
pub(crate) trait Task: Send {
    /// Whether anybody still wants it.
    fn is_wanted(&self) -> bool {
        true
    }

    /// Whether it changes nothing.
    fn only_reads(&self) -> bool {
        false
    }

    /// Does it. An error undoes everything of the same transaction.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// It is in the file now. Perhaps there is more to do.
    fn done(self: Box<Self>) -> Option<Box<dyn Task>>;

    /// Nothing of it is in the file. Perhaps it has to be tried again.
    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>>;
}

/// Something that is done now and then, between what the thread is told.
pub(crate) trait Chore: Send {
    /// When it is to be done next; `None` if nobody wants it any more.
    fn due(&self) -> Option<Instant>;

    /// Does it, outside of any transaction. From then on it is due later than now.
    /// Perhaps there is something to be done in one.
    fn run(&mut self, connection: &Connection) -> Option<Box<dyn Task>>;
}

/// Nothing, which lets the thread look at what is due.
struct Wake;

impl Task for Wake {
    fn is_wanted(&self) -> bool {
        false
    }

    fn run(&mut self, _: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        None
    }

    fn failed(self: Box<Self>, _: &StoreError) -> Option<Box<dyn Task>> {
        None
    }
}

type Chores = Arc<Mutex<Vec<Box<dyn Chore>>>>;

/// Where an answer goes to.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A thread that does what it is told, one after the other. It ends when this is
/// dropped, after what it was told before.
pub(crate) struct Worker {
    queue: Sender<Box<dyn Task>>,
    /// What is not done.
    queued: Arc<AtomicUsize>,
    chores: Chores,
}

impl Worker {
    pub(crate) fn start(connection: Connection) -> Result<Self, StoreError> {
        let (queue, tasks) = mpsc::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let chores = Chores::default();
        let desk = Desk {
            connection,
            tasks,
            queued: Arc::clone(&queued),
            chores: Arc::clone(&chores),
            again: VecDeque::new(),
            has_failed: false,
        };
        thread::Builder::new()
            .name("mcp-policy-sqlite".to_owned())
            .spawn(move || desk.work())
            .map_err(|error| no_thread("the state file", &error))?;
        Ok(Self {
            queue,
            queued,
            chores,
        })
    }

    /// Asks something. It has an answer also if it fails.
    pub(crate) fn ask<T: Send + 'static, K: Task + 'static>(
        &self,
        task: impl FnOnce(Reply<T>) -> K,
    ) -> StoreAnswer<T> {
        let (reply, answer) = oneshot::channel();
        match self.queue(Box::new(task(reply)), MOST_ASKED) {
            Ok(()) => StoreAnswer::pending(async { answer.await.unwrap_or(Err(ENDED)) }),
            Err(error) => StoreAnswer::failed(error),
        }
    }

    /// The same, however long it takes.
    pub(crate) async fn ask_patiently<T, K: Task + 'static>(
        &self,
        task: impl FnOnce(Reply<T>) -> K,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue(Box::new(task(reply)), MOST_ASKED)?;
        answer.await.unwrap_or(Err(ENDED))
    }

    /// Tells something that nobody waits for.
    pub(crate) fn tell(&self, task: impl Task + 'static) {
        if let Err(error) = self.queue(Box::new(task), MOST_TOLD) {
            tracing::error!(target: "mcp_policy", %error, "something is not told to a store");
        }
    }

    /// Does this now and then from now on.
    pub(crate) fn attend_to(&self, chore: impl Chore + 'static) {
        let mut chores = lock(&self.chores);
        chores.push(Box::new(chore));
        drop(chores);
        self.wake();
    }

    /// Lets the thread look at what is due, as it may be earlier than it was.
    pub(crate) fn wake(&self) {
        // If it has too much to do, it does not sleep.
        let _ = self.queue(Box::new(Wake), MOST_TOLD);
    }

    fn queue(&self, task: Box<dyn Task>, most: usize) -> Result<(), StoreError> {
        if self.queued.fetch_add(1, Ordering::Relaxed) >= most {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(BUSY);
        }
        self.queue.send(task).map_err(|_| {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            ENDED
        })
    }

    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.queued.load(Ordering::Relaxed) == 0
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// What the thread has.
struct Desk {
    connection: Connection,
    tasks: Receiver<Box<dyn Task>>,
    queued: Arc<AtomicUsize>,
    /// What is not finished, or failed and is tried again.
    again: VecDeque<Box<dyn Task>>,
    has_failed: bool,
    chores: Chores,
}

impl Desk {
    fn work(mut self) {
        loop {
            let (first, is_over) = match self.next(self.rest()) {
                Ok(task) => (Some(task), false),
                Err(RecvTimeoutError::Timeout) => (None, false),
                Err(RecvTimeoutError::Disconnected) => (None, true),
            };
            if is_over && (self.again.is_empty() || self.has_failed) {
                return;
            }
            self.do_chores();
            let batch = self.batch(first);
            self.has_failed = !batch.is_empty() && !self.run(batch);
        }
    }

    /// What is to be done next, unless something else has to be done after so long.
    fn next(&self, rest: Option<Duration>) -> Result<Box<dyn Task>, RecvTimeoutError> {
        let pause = match (self.again.is_empty(), self.has_failed) {
            (true, _) => rest,
            (false, true) => Some(rest.map_or(PAUSE, |rest| rest.min(PAUSE))),
            (false, false) => Some(Duration::ZERO),
        };
        match pause {
            Some(pause) => self.tasks.recv_timeout(pause),
            None => {
                let next = self.tasks.recv();
                next.map_err(|_| RecvTimeoutError::Disconnected)
            }
        }
    }

    fn chores(&self) -> MutexGuard<'_, Vec<Box<dyn Chore>>> {
        lock(&self.chores)
    }

    /// How long it is until something is due, if anything is.
    fn rest(&self) -> Option<Duration> {
        let next = self.chores().iter().filter_map(|chore| chore.due()).min();
        next.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Does what is due.
    fn do_chores(&mut self) {
        // Whoever brings another does not wait meanwhile.
        let mut chores = std::mem::take(&mut *self.chores());
        let now = Instant::now();
        let mut tasks = Vec::new();
        chores.retain_mut(|chore| {
            if chore.due().is_some_and(|at| at <= now) {
                let run = AssertUnwindSafe(|| chore.run(&self.connection));
                match catch_unwind(run) {
                    Ok(task) => tasks.extend(task),
                    Err(_) => {
                        seam_panicked("sqlite store");
                        return false;
                    }
                }
            }
            chore.due().is_some()
        });
        self.chores().append(&mut chores);
        self.queued.fetch_add(tasks.len(), Ordering::Relaxed);
        self.again.extend(tasks);
    }

    /// Half of it is what is tried again, at most.
    fn batch(&mut self, first: Option<Box<dyn Task>>) -> Vec<Box<dyn Task>> {
        let again = self.again.len().min(BATCH / 2);
        let mut batch: Vec<_> = self.again.drain(..again).collect();
        batch.extend(first);
        while batch.len() < BATCH {
            match self.tasks.try_recv() {
                Ok(task) => batch.push(task),
                Err(_) => break,
            }
        }
        let before = batch.len();
        batch.retain(|task| task.is_wanted());
        self.is_done(before.saturating_sub(batch.len()));
        batch
    }

    /// Does all of it, or nothing, and tells whether it did. Who only reads need not
    /// wait until somebody can write.
    fn run(&mut self, batch: Vec<Box<dyn Task>>) -> bool {
        let is_written = batch.iter().any(|task| !task.only_reads());
        match self.run_once(batch, is_written) {
            Ok(()) => true,
            Err(reading) => {
                if !reading.is_empty() {
                    let _ = self.run_once(reading, false);
                }
                false
            }
        }
    }

    /// An error is who only reads, if something else was in the way.
    fn run_once(
        &mut self,
        mut batch: Vec<Box<dyn Task>>,
        is_written: bool,
    ) -> Result<(), Vec<Box<dyn Task>>> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            transact(&self.connection, &mut batch, is_written).map_err(|error| store_error(&error))
        }));
        let error = match done {
            Ok(Ok(())) => {
                let before = batch.len();
                let more: Vec<_> = batch.into_iter().filter_map(|task| task.done()).collect();
                self.is_done(before.saturating_sub(more.len()));
                self.again.extend(more);
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_) => {
                seam_panicked("sqlite store");
                StoreError::PANICKED
            }
        };
        // If it fails, the next transaction begins with it.
        let _ = roll_back(&self.connection);
        let (reading, failed): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|task| is_written && task.only_reads());
        let before = failed.len();
        let mut again: VecDeque<_> = failed
            .into_iter()
            .filter_map(|task| task.failed(&error))
            .collect();
        if error == StoreError::PANICKED && !again.is_empty() {
            tracing::error!(target: "mcp_policy", "what panicked is not tried again");
            again.clear();
        }
        self.is_done(before.saturating_sub(again.len()));
        self.again.append(&mut again);
        Err(reading)
    }

    fn is_done(&self, tasks: usize) {
        self.queued.fetch_sub(tasks, Ordering::Relaxed);
    }
}

fn transact(
    connection: &Connection,
    batch: &mut [Box<dyn Task>],
    is_written: bool,
) -> rusqlite::Result<()> {
    roll_back(connection)?;
    let begin = match is_written {
        true => "BEGIN IMMEDIATE",
        false => "BEGIN",
    };
    connection.prepare_cached(begin)?.execute([])?;
    for task in batch {
        task.run(connection)?;
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(())
}

/// Undoes what was begun, if SQLite has not done so already.
pub(crate) fn roll_back(connection: &Connection) -> rusqlite::Result<()> {
    match connection.is_autocommit() {
        true => Ok(()),
        false => connection.execute_batch("ROLLBACK"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However much was asked of it before.
    #[test]
    fn a_thread_that_has_ended_is_not_said_to_be_busy() {
        let worker = Worker {
            queue: mpsc::channel().0,
            queued: Arc::default(),
            chores: Chores::default(),
        };
        for _ in 0..=MOST_ASKED {
            assert_eq!(worker.queue(Box::new(Wake), MOST_ASKED), Err(ENDED));
        }
    }
}
