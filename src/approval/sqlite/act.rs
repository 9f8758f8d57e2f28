//! What the thread of the file is told to do with requests.

use std::sync::Arc;

use rusqlite::Connection;

use super::Shared;
use super::table::Table;
use crate::approval::request::{ApprovalId, ApprovalState};
use crate::clock::Moment;
use crate::sqlite::{Failure, Reply, Task, own};
use crate::store::StoreError;

/// Does something with the requests of one server.
pub(super) struct Act<T, F> {
    shared: Arc<Shared>,
    now: Moment,
    act: F,
    only_reads: bool,
    /// Who waits for it, if anybody does.
    reply: Option<Reply<T>>,
    answer: Option<Result<T, StoreError>>,
    done: Done,
}

/// What was done to requests.
#[derive(Default)]
pub(super) struct Done {
    pub(super) changed: Vec<(ApprovalId, ApprovalState)>,
    /// Whether something was removed that is not to be found in the file any more.
    pub(super) has_removed: bool,
    /// When the first of those in force is over.
    pub(super) next_end: Option<i64>,
}

impl<T, F> Act<T, F> {
    pub(super) fn new(shared: &Arc<Shared>, now: Moment, act: F, reply: Option<Reply<T>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            now,
            act,
            only_reads: false,
            reply,
            answer: None,
            done: Done::default(),
        }
    }

    pub(super) fn only_reading(self) -> Self {
        Self {
            only_reads: true,
            ..self
        }
    }

    fn answer(self, answer: Result<T, StoreError>) {
        if let Some(reply) = self.reply {
            // Who does not wait any more has to ask again.
            let _ = reply.send(answer);
        }
    }
}

impl<T, F> Task for Act<T, F>
where
    T: Send,
    F: FnMut(&mut Table<'_>) -> Result<T, Failure> + Send,
{
    /// What nobody waits for is not used up.
    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_none_or(|reply| !reply.is_canceled())
    }

    fn only_reads(&self) -> bool {
        self.only_reads
    }

    fn run(&mut self, file: &Connection) -> rusqlite::Result<()> {
        let now = self.shared.upkeep().time(self.now);
        let mut table = Table::new(file, &self.shared, now);
        let act = &mut self.act;
        let acted = match self.only_reads {
            true => act(&mut table),
            false => table.pass_time().and_then(|()| act(&mut table)),
        };
        self.answer = Some(own(acted)?);
        if !self.only_reads {
            self.done = table.done()?;
        }
        Ok(())
    }

    fn done(mut self: Box<Self>) -> Option<Box<dyn Task>> {
        if !self.only_reads {
            let done = std::mem::take(&mut self.done);
            self.shared.upkeep().note(&done);
            for (request, state) in &done.changed {
                self.shared.changes.note(*request, *state);
            }
            if !done.changed.is_empty() {
                self.shared.changes.ring();
            }
        }
        if let Some(answer) = self.answer.take() {
            self.answer(answer);
        }
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        self.answer(Err(error.clone()));
        None
    }
}
