//! Reads requests page by page, so that calls need not wait for all of them.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::Connection;

use super::Shared;
use super::table::{Table, Written};
use crate::approval::request::ApprovalState;
use crate::clock::Moment;
use crate::sqlite::{Reply, Task, own};
use crate::store::StoreError;

/// Rows that are read in one transaction: 4 MiB of arguments at most.
const PAGE: usize = 64;

/// Rows, and what time it is. Whoever asks makes requests of them, rather than the
/// thread.
pub(super) type Rows = (SystemTime, Vec<Written>);

pub(super) struct List {
    shared: Arc<Shared>,
    now: Moment,
    states: Vec<ApprovalState>,
    found: Rows,
    /// `None` until the end, or an error, is reached.
    end: Option<Result<(), StoreError>>,
    reply: Reply<Rows>,
}

impl List {
    pub(super) fn new(
        shared: &Arc<Shared>,
        states: &[ApprovalState],
        now: Moment,
        reply: Reply<Rows>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            now,
            states: states.to_vec(),
            found: (now.system, Vec::new()),
            end: None,
            reply,
        }
    }
}

impl Task for List {
    fn is_wanted(&self) -> bool {
        !self.reply.is_canceled()
    }

    fn only_reads(&self) -> bool {
        true
    }

    fn run(&mut self, file: &Connection) -> rusqlite::Result<()> {
        let now = self.shared.upkeep().time(self.now);
        let (time, found) = &mut self.found;
        *time = now;
        let behind = found.last().map_or(0, |row| row.number);
        let table = Table::new(file, &self.shared, now);
        match own(table.page(&self.states, behind, PAGE))? {
            Ok(page) => {
                self.end = (page.len() < PAGE).then_some(Ok(()));
                found.extend(page);
            }
            Err(error) => self.end = Some(Err(error)),
        }
        Ok(())
    }

    fn done(mut self: Box<Self>) -> Option<Box<dyn Task>> {
        let Some(end) = self.end.take() else {
            return Some(self);
        };
        let Self { reply, found, .. } = *self;
        let _ = reply.send(end.map(|()| found));
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}
