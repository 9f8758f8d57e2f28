//! Where messages are found that were recorded: in the file that is searched for them, or
//! else among those that are remembered.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use http::StatusCode;
use mcp_policy::{AuditFilter, AuditRecord, Policy, SqliteAuditLog, StoreError};
use serde_json::json;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::super::super::{
    api::Refusal,
    recent::{self, Recent},
};
use crate::{
    audit::meant::MeantMessages,
    audit::{Place, meant::Meant, message::Message},
    lock::lock,
};

/// Pages that are searched for at once.
const AT_ONCE: usize = 4;

/// How long a page is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Recorded messages; clones share how they are found.
#[derive(Clone)]
pub(in super::super) struct Records(Arc<Shared>);

struct Shared {
    /// The file, if there is one that can be searched.
    file: Option<PathBuf>,
    recent: Recent,
    /// Open files that nobody reads at the moment.
    idle: Mutex<Vec<SqliteAuditLog>>,
    turns: Arc<Semaphore>,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// With the newest message; then the ones before, the newest first.
    Newest,
    /// The same before this number.
    Before(u64),
    /// After this number, the oldest first.
    After(u64),
}

/// A message, and its number.
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) message: Message,
}

/// A message, and what decided about it, if that is still known.
pub(super) struct Found {
    pub(super) message: Message,
    pub(super) policy: Option<Policy>,
}

impl Records {
    pub(in super::super) fn new(recent: Recent, audit: Option<&Place>) -> Self {
        let file = match audit {
            Some(Place::Sqlite(path)) => Some(path.clone()),
            Some(Place::Lines(_)) | None => None,
        };
        Self(Arc::new(Shared {
            file,
            recent,
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }))
    }

    /// Whether they are in a file, and not only in memory.
    pub(super) fn are_in_a_file(&self) -> bool {
        self.0.file.is_some()
    }

    /// So many messages at most that are meant.
    pub(super) async fn page(
        &self,
        meant: MeantMessages,
        from: From,
        most: usize,
    ) -> Result<Vec<Row>, Refusal> {
        self.search(move |shared| shared.page(&meant, from, most))
            .await
    }

    /// The decision with this id.
    pub(super) async fn one(&self, id: &str) -> Result<Option<Found>, Refusal> {
        let id = id.to_owned();
        self.search(move |shared| shared.one(&id)).await
    }

    /// Looks on a thread that may wait for the disk, of which there are not too many.
    async fn search<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let shared = Arc::clone(&self.0);
        let turn = Arc::clone(&shared.turns).acquire_owned();
        let looking = async {
            // It is never closed.
            let turn = turn.await.ok();
            // What nobody waits for any more still has its turn until it ends.
            let look = spawn_blocking(move || {
                let found = look(&shared);
                drop(turn);
                found
            });
            look.await
        };
        match timeout(PATIENCE, looking).await {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(error))) => Err(unreadable(&error.to_string())),
            Ok(Err(error)) => Err(unreadable(&error.to_string())),
            Err(_) => {
                let text = "It took too long to find that among the records. Say since when you \
                            are looking for it.";
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    }
}

fn unreadable(why: &str) -> Refusal {
    let text = format!("The records cannot be read now: {why}.");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

impl Shared {
    fn page(&self, said: &MeantMessages, from: From, most: usize) -> Result<Vec<Row>, StoreError> {
        let meant = Meant::new(said);
        if self.file.is_none() {
            return Ok(self.remembered(&meant, from, most));
        }
        let filter = meant.as_filter();
        let rows = self.read(|log| match from {
            From::Newest => log.before(None, &filter, most),
            From::Before(number) => log.before(Some(number), &filter, most),
            From::After(number) => log.after(number, &filter, most),
        })?;
        let rows = rows.iter().filter_map(|row| {
            let number = row.number();
            Message::of_row(row).map(|message| Row { number, message })
        });
        let mut rows: Vec<_> = rows.collect();
        self.end_those_that_have(&mut rows);
        Ok(rows)
    }

    /// What has just ended may not be written yet.
    fn end_those_that_have(&self, rows: &mut [Row]) {
        let is_open = |row: &&mut Row| !row.message.has_ended();
        let mut open: HashMap<_, _> = rows
            .iter_mut()
            .filter(is_open)
            .map(|row| (row.message.id().to_owned(), row))
            .collect();
        if open.is_empty() {
            return;
        }
        for kept in self.recent.messages() {
            let row = open.remove(&kept.decision.id().to_string());
            if let (Some(row), Some(outcome)) = (row, outcome(&kept)) {
                row.message.end(outcome);
            }
        }
    }

    fn remembered(&self, meant: &Meant<'_>, from: From, most: usize) -> Vec<Row> {
        let mut all = self.recent.messages();
        match from {
            From::Newest => {}
            From::Before(number) => all.retain(|message| message.number < number),
            From::After(number) => {
                all.retain(|message| message.number > number);
                all.reverse();
            }
        }
        let rows = all.iter().filter_map(|kept| {
            let number = kept.number;
            of_recent(kept).map(|message| Row { number, message })
        });
        rows.filter(|row| meant.is(&row.message))
            .take(most)
            .collect()
    }

    fn one(&self, id: &str) -> Result<Option<Found>, StoreError> {
        let mut recent = self.recent.messages().into_iter();
        let kept = recent.find(|kept| kept.decision.id().to_string().eq_ignore_ascii_case(id));
        if let Some(kept) = kept {
            let policy = kept.decision.policy().cloned();
            return Ok(of_recent(&kept).map(|message| Found { message, policy }));
        }
        if self.file.is_none() {
            return Ok(None);
        }
        let filter = AuditFilter::default().decision(id);
        let rows = self.read(|log| log.before(None, &filter, 1))?;
        let message = rows.first().and_then(Message::of_row);
        Ok(message.map(|message| Found {
            message,
            policy: None,
        }))
    }

    /// Reads the file, which stays open for the next one who does.
    fn read<T>(
        &self,
        read: impl FnOnce(&SqliteAuditLog) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.idle().pop();
        let log = match (idle, &self.file) {
            (Some(log), _) => log,
            (None, Some(path)) => SqliteAuditLog::open(path)?,
            (None, None) => return Err(StoreError::new("there is no file")),
        };
        let found = read(&log)?;
        self.idle().push(log);
        Ok(found)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SqliteAuditLog>> {
        lock(&self.idle)
    }
}

/// A message that is remembered, as it would be recorded.
fn of_recent(kept: &recent::Message) -> Option<Message> {
    let decision = AuditRecord::Decision(kept.decision.clone());
    Message::new(serde_json::to_string(&decision).ok()?, outcome(kept))
}

/// How it ended, as it would be recorded.
fn outcome(kept: &recent::Message) -> Option<String> {
    let (ending, latency) = kept.ended?;
    let outcome = json!({
        "event": "outcome",
        "decision": kept.decision.id().to_string(),
        "ending": ending.as_str(),
        "latency_us": u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
    });
    Some(outcome.to_string())
}
