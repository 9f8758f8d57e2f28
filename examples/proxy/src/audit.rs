//! Where decisions are recorded, if that was asked for; [`message`] is one that was, and
//! [`meant`] which of them somebody wants to see.

pub(crate) mod meant;
pub(crate) mod message;

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use mcp_policy::{AuditRecord, AuditSink, JsonLines, Receipt, SqliteAuditSink, Unrecorded};
use tokio::time::{Instant, timeout};

use crate::{failure::Failure, lock::lock, turns::between_turns, workers::Each};

/// For how many days records are kept, unless something else is said.
const DAYS: u32 = 90;

/// What `--audit` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file to which lines of JSON are appended.
    Lines(PathBuf),
    /// `sqlite:PATH`, a file that can be searched and forgets what is old.
    Sqlite(PathBuf),
}

impl From<OsString> for Place {
    fn from(text: OsString) -> Self {
        match text.to_str().and_then(|text| text.strip_prefix("sqlite:")) {
            Some(path) => Self::Sqlite(path.into()),
            None => Self::Lines(text.into()),
        }
    }
}

impl Place {
    /// The same, if it is no whole path, in this folder.
    pub(crate) fn beside(self, folder: &Path) -> Self {
        match self {
            Self::Lines(path) => Self::Lines(folder.join(path)),
            Self::Sqlite(path) => Self::Sqlite(folder.join(path)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Lines(path) | Self::Sqlite(path) => path,
        }
    }
}

/// Where records go. Clones go to the same place.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    Lines(Each<JsonLines>),
    Sqlite(Arc<SqliteAuditSink>),
}

/// How long a disk may take for the last records.
const FAREWELL: Duration = Duration::from_secs(5);

/// Waits until what is on its way is written, when nothing more is served.
pub(crate) async fn close(records: Option<Records>) {
    let closing = async {
        match records {
            None => Ok(()),
            Some(Records::Lines(lines)) => close_all(&lines).await,
            Some(Records::Sqlite(sink)) => sink.close().await,
        }
    };
    if !matches!(timeout(FAREWELL, closing).await, Ok(Ok(()))) {
        tracing::error!("the last audit records could not be written");
    }
}

/// All of them, however it goes with some.
async fn close_all(lines: &Each<JsonLines>) -> Result<(), Unrecorded> {
    let closed = join_all(lines.all().map(JsonLines::close)).await;
    closed.into_iter().collect()
}

impl AuditSink for Records {
    fn record(&self, record: &AuditRecord) -> Receipt {
        match self {
            Self::Lines(lines) => lines.here().record(record),
            Self::Sqlite(sink) => sink.record(record),
        }
    }
}

/// One for each thread that drives connections, none of which has to wake another then.
fn each(lines: JsonLines) -> io::Result<Each<JsonLines>> {
    let first = lines.written_by(between_turns);
    Each::beside(first, |first| Ok(first.beside()?.written_by(between_turns)))
}

/// Opens it, or says why it cannot be had. What is older than so many days is
/// forgotten where that can be.
pub(crate) fn open(place: Option<&Place>, days: Option<u32>) -> Result<Option<Records>, Failure> {
    let Some(place) = place else {
        return Ok(None);
    };
    let records = match place {
        Place::Lines(_) if days.is_some() => {
            return Err(Failure::usage(
                "--audit-keep is for `--audit sqlite:PATH`: nothing is taken out of a file of \
                 lines, which can be rotated instead",
            ));
        }
        Place::Lines(path) => {
            let lines = JsonLines::append_to(path);
            let lines = lines.and_then(each);
            Records::Lines(lines.map_err(|error| unusable("append to", path, error))?)
        }
        Place::Sqlite(path) => {
            let sink = SqliteAuditSink::open(path);
            let sink = sink.map_err(|error| unusable("write", path, error))?;
            let days = u64::from(days.unwrap_or(DAYS));
            let time = Duration::from_secs(days.saturating_mul(86_400));
            Records::Sqlite(Arc::new(sink.keep_for(time)))
        }
    };
    Ok(Some(records))
}

/// By what a call is refused that could not be recorded.
const UNRECORDED: &str = "(audit)";

/// For how long calls are taken to be lost after one was. Then somebody has to try again:
/// nobody knows whether records can be written but by writing one.
const LOST_FOR: Duration = Duration::from_secs(30);

/// When a call was refused the last time because it could not be recorded; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Lost(Arc<Mutex<Option<Instant>>>);

impl Lost {
    /// A sink that takes note of that, and has everything recorded by this one.
    pub(crate) fn beside(&self, sink: Arc<dyn AuditSink>) -> Arc<dyn AuditSink> {
        let lost = self.clone();
        Arc::new(Noting { sink, lost })
    }

    /// Whether that was a short time ago.
    pub(crate) fn is_recent(&self) -> bool {
        let last = lock(&self.0);
        last.is_some_and(|last| last.elapsed() < LOST_FOR)
    }

    fn note(&self) {
        let mut last = lock(&self.0);
        *last = Some(Instant::now());
    }
}

struct Noting {
    sink: Arc<dyn AuditSink>,
    lost: Lost,
}

impl AuditSink for Noting {
    fn record(&self, record: &AuditRecord) -> Receipt {
        // Only how it ended says that a decision was taken back.
        if let AuditRecord::Outcome(outcome) = record
            && outcome.decision().rule() == UNRECORDED
        {
            self.lost.note();
        }
        self.sink.record(record)
    }
}

fn unusable(what: &str, path: &Path, error: impl fmt::Display) -> Failure {
    Failure::start(format!(
        "cannot {what} the audit file {}: {error}; say another with --audit, or `audit` in the \
         configuration",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use futures_util::poll;

    use super::*;
    use crate::{turns::testing::refused_call, workers};

    /// Has everything recorded by the last of them.
    struct Last(Each<JsonLines>);

    impl AuditSink for Last {
        fn record(&self, record: &AuditRecord) -> Receipt {
            self.0.all().last().unwrap().record(record)
        }
    }

    #[tokio::test]
    async fn what_any_thread_has_recorded_is_written_before_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        // None of which does what it promises.
        let first = JsonLines::append_to(&path).unwrap().written_by(|_| true);
        let beside = |first: &JsonLines| Ok::<_, io::Error>(first.beside()?.written_by(|_| true));
        let lines = Each::beside(first, beside).unwrap();
        assert_eq!(lines.all().count(), workers::count());
        // Until their own threads rest, which would write it all the same.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut answer = refused_call(Last(lines.clone()));
        // It is recorded then, and mostly waits for that.
        let asked = poll!(answer.as_mut());
        close(Some(Records::Lines(lines))).await;
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        if asked.is_pending() {
            answer.await;
        }
    }
}
