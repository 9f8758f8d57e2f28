//! What is done on the thread of the file although nobody asks for it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;

use super::Shared;
use super::act::{Act, Done};
use super::table::Table;
use crate::clock::{Clock as _, Moment, SystemClock, since_1970};
use crate::sqlite::{Chore, Failure, Task, empty_log, store_error};

/// How often it is looked for what other processes changed, while somebody listens.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How soon after the last time it is tidied up again, if it is known that there is
/// something to tidy up.
const TIDY_SOON: Duration = Duration::from_secs(1);

/// The same if it is not: a process that was killed may have left something.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// How long something is over until it is ended although nobody asks for anything.
const LINGERS: Duration = Duration::from_secs(5);

/// What the thread knows.
pub(super) struct Upkeep {
    /// The latest time at which anything was asked.
    latest: Option<Moment>,
    /// What time it was when.
    time: (Moment, Instant),
    /// When the first request is over.
    next_end: Option<i64>,
    /// Whether something that was removed may still be found beside the file.
    has_removed: bool,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            latest: None,
            time: (SystemClock.now(), Instant::now()),
            next_end: None,
            has_removed: false,
        }
    }
}

impl Upkeep {
    /// What the clock of the world shows. Who comes late does not turn it back.
    pub(super) fn time(&mut self, moment: Moment) -> SystemTime {
        match self.latest {
            Some(latest) if latest.instant > moment.instant => latest.system,
            _ => {
                self.latest = Some(moment);
                self.time = (moment, Instant::now());
                moment.system
            }
        }
    }

    /// The same for who only knows what was asked, and what has passed since.
    fn time_now(&self) -> Moment {
        let (then, since) = self.time;
        let passed = since.elapsed();
        Moment {
            instant: then.instant.checked_add(passed).unwrap_or(then.instant),
            system: then.system.checked_add(passed).unwrap_or(then.system),
        }
    }

    /// When something is to be ended although nobody asks for it.
    fn ends_at(&self) -> Option<Instant> {
        let (then, since) = self.time;
        let ends = Duration::from_micros(u64::try_from(self.next_end?).unwrap_or_default());
        let then = Duration::from_micros(since_1970(then.system));
        since.checked_add(ends.saturating_add(LINGERS).saturating_sub(then))
    }

    pub(super) fn note(&mut self, done: &Done) {
        self.next_end = done.next_end;
        self.has_removed |= done.has_removed;
    }
}

/// Hears what other processes change, ends what is over, and overwrites what was
/// removed.
pub(super) struct Chores {
    shared: Weak<Shared>,
    /// The last change that was heard of; `None` at the beginning.
    heard: Option<i64>,
    /// Differs whenever others have written.
    version: Option<i64>,
    looked_at: Instant,
    /// `None` at the beginning.
    tidied_at: Option<Instant>,
}

impl Chores {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            heard: None,
            version: None,
            looked_at: Instant::now(),
            tidied_at: None,
        }
    }

    /// When to look for what others changed, if anybody listens.
    fn looks_at(&self, shared: &Shared) -> Option<Instant> {
        let is_heard = shared.changes.are_heard();
        is_heard.then(|| later(self.looked_at, LOOK_EVERY))
    }

    fn tidies_at(&self, shared: &Shared) -> Instant {
        let Some(tidied_at) = self.tidied_at else {
            return self.looked_at;
        };
        let (soon, at_last) = (later(tidied_at, TIDY_SOON), later(tidied_at, TIDY_EVERY));
        let upkeep = shared.upkeep();
        match upkeep.ends_at() {
            _ if upkeep.has_removed => soon,
            Some(ends_at) => ends_at.clamp(soon, at_last),
            None => at_last,
        }
    }

    /// Announces what others changed.
    fn hear(&mut self, file: &Connection, shared: &Shared) -> rusqlite::Result<()> {
        let version = file.query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if self.version == Some(version) {
            return Ok(());
        }
        let (first, last): (Option<i64>, i64) = file
            .prepare_cached(
                "SELECT min(number), max(
                     coalesce(max(number), 0),
                     coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'approval_change'), 0)
                 ) FROM approval_change",
            )?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let heard = self.heard.replace(last);
        let is_whole = heard.filter(|heard| {
            let next = heard.saturating_add(1);
            *heard == last || (*heard < last && first.is_some_and(|first| first <= next))
        });
        let Some(heard) = is_whole else {
            shared.changes.lose();
            self.version = Some(version);
            return Ok(());
        };
        let mut changes = file.prepare_cached(
            "SELECT id, state FROM approval_change
             WHERE number > ? AND number <= ? AND server = ? AND writer != ? ORDER BY number",
        )?;
        let parameters = (heard, last, &shared.server, &shared.writer);
        let changes = changes
            .query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(String, String)>>>();
        match changes {
            Ok(changes) => announce(shared, &changes),
            Err(error) => {
                self.heard = Some(heard);
                return Err(error);
            }
        }
        self.version = Some(version);
        Ok(())
    }

    /// Overwrites what was removed: from the file itself it is gone already. Tells whether
    /// something else is over.
    fn tidy(file: &Connection, shared: &Shared) -> rusqlite::Result<bool> {
        let is_gone = empty_log(file)?;
        shared.upkeep().has_removed = !is_gone;
        let now = shared.upkeep().time_now().system;
        // Others may have begun something, too.
        let next_end = Table::new(file, shared, now).done()?.next_end;
        let mut upkeep = shared.upkeep();
        upkeep.next_end = next_end;
        Ok(upkeep.ends_at().is_some_and(|at| at <= Instant::now()))
    }
}

impl Chore for Chores {
    fn due(&self) -> Option<Instant> {
        let shared = self.shared.upgrade()?;
        let looks_at = self.looks_at(&shared);
        looks_at.into_iter().chain([self.tidies_at(&shared)]).min()
    }

    fn run(&mut self, file: &Connection) -> Option<Box<dyn Task>> {
        let shared = self.shared.upgrade()?;
        let now = Instant::now();
        let is_first = self.tidied_at.is_none();
        let looks_at = self.looks_at(&shared);
        let tidies_at = self.tidies_at(&shared);
        if is_first || looks_at.is_some_and(|at| at <= now) {
            self.looked_at = now;
            if let Err(error) = self.hear(file, &shared) {
                warn(&error);
            }
        }
        if tidies_at > now {
            return None;
        }
        self.tidied_at = Some(now);
        match Self::tidy(file, &shared) {
            Ok(true) => {
                let nothing = |_: &mut Table<'_>| Ok::<(), Failure>(());
                let time = shared.upkeep().time_now();
                Some(Box::new(Act::new(&shared, time, nothing, None)))
            }
            Ok(false) => None,
            Err(error) => {
                warn(&error);
                None
            }
        }
    }
}

/// If there is no such time, at once.
fn later(time: Instant, by: Duration) -> Instant {
    time.checked_add(by).unwrap_or(time)
}

/// Whoever asks for something is told what is wrong.
fn warn(error: &rusqlite::Error) {
    let error = store_error(error);
    tracing::warn!(target: "mcp_policy", %error, "approvals are not kept up to date");
}

fn announce(shared: &Shared, changes: &[(String, String)]) {
    for (id, state) in changes {
        if let (Ok(request), Ok(state)) = (id.parse(), state.parse()) {
            shared.changes.note(request, state);
        }
    }
    if !changes.is_empty() {
        shared.changes.ring();
    }
}
