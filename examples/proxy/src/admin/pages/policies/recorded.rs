//! The last calls that were recorded of those for whom a policy holds.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

use mcp_policy::{AuditFilter, AuditRecord, Caller, SqliteAuditLog};
use serde::Deserialize;

use super::super::super::recent::Recent;
use crate::{audit::Place, running::Use};

/// Messages that are looked at.
const MOST: usize = 10_000;
/// Bytes at the end of a file of lines in which they are looked for.
const MOST_BYTES: u64 = 16 << 20;
/// How long is looked for them.
const PATIENCE: Duration = Duration::from_secs(3);
/// Messages that are read at once.
const PAGE: usize = 1_000;

/// Records, and where they are from.
pub(super) struct Recorded {
    pub(super) lines: Vec<Vec<u8>>,
    pub(super) source: &'static str,
    /// Whether there may be older ones that were not looked at.
    pub(super) is_cut: bool,
}

/// Who called what, of a record.
#[derive(Deserialize)]
struct Of {
    #[serde(default)]
    server: Option<String>,
    #[serde(default)]
    caller: Option<String>,
}

/// For whom a policy holds: for which callers of each server, of whom `None` is everybody.
struct Whom<'u>(HashMap<&'u str, HashSet<Option<String>>>);

impl Recorded {
    /// The last of them, from where they are recorded; else from memory.
    pub(super) fn last(
        audit: Option<&Place>,
        recent: &Recent,
        uses: &[Use],
    ) -> Result<Self, String> {
        let whom = &Whom::of(uses);
        match audit {
            Some(Place::Sqlite(path)) => of_sqlite(path, whom).map_err(|error| error.to_string()),
            Some(Place::Lines(path)) => of_lines(path, whom).map_err(|error| error.to_string()),
            None => Ok(of_memory(recent, whom)),
        }
    }
}

impl<'u> Whom<'u> {
    fn of(uses: &'u [Use]) -> Self {
        let mut servers: HashMap<&str, HashSet<Option<String>>> = HashMap::new();
        for one in uses {
            let label = one.grant.as_ref();
            let caller = label.map(|label| Caller::new(label).id().to_owned());
            servers.entry(&one.server).or_default().insert(caller);
        }
        Self(servers)
    }

    /// Whether a record is about one of them.
    fn are_in(&self, line: &[u8]) -> bool {
        let Ok(Of { server, caller }) = serde_json::from_slice(line) else {
            return false;
        };
        let callers = server.and_then(|server| self.0.get(&*server));
        callers.is_some_and(|callers| callers.contains(&None) || callers.contains(&caller))
    }
}

fn of_memory(recent: &Recent, whom: &Whom<'_>) -> Recorded {
    let messages = recent.messages().into_iter();
    let lines = messages
        .filter_map(|message| serde_json::to_vec(&AuditRecord::Decision(message.decision)).ok());
    Recorded {
        lines: lines.filter(|line| whom.are_in(line)).collect(),
        source: "the last 1 000 messages since the start",
        is_cut: false,
    }
}

fn of_sqlite(path: &Path, whom: &Whom<'_>) -> Result<Recorded, impl std::fmt::Display + use<>> {
    let log = SqliteAuditLog::open(path)?;
    let begun = Instant::now();
    let (mut lines, mut seen, mut last) = (Vec::new(), 0_usize, None);
    let is_cut = loop {
        if seen >= MOST || begun.elapsed() > PATIENCE {
            break true;
        }
        let page = log.before(last, &AuditFilter::default(), PAGE)?;
        let Some(row) = page.last() else {
            break false;
        };
        last = Some(row.number());
        seen = seen.saturating_add(page.len());
        let rows = page.iter().map(|row| row.decision().as_bytes());
        lines.extend(rows.filter(|line| whom.are_in(line)).map(<[u8]>::to_vec));
    };
    Ok::<_, mcp_policy::StoreError>(Recorded {
        lines,
        source: "the audit file",
        is_cut,
    })
}

fn of_lines(path: &Path, whom: &Whom<'_>) -> std::io::Result<Recorded> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let begun = Instant::now();
    let mut reader = BufReader::new(std::io::Read::take(file, MOST_BYTES));
    let mut lines = std::collections::VecDeque::new();
    let (mut is_cut, mut is_first) = (start > 0, start > 0);
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        // Of the first only the end may be there.
        if std::mem::take(&mut is_first) || !whom.are_in(&line) {
            continue;
        }
        lines.push_back(line);
        if lines.len() > MOST {
            lines.pop_front();
            is_cut = true;
        }
        if begun.elapsed() > PATIENCE {
            is_cut = true;
            break;
        }
    }
    Ok(Recorded {
        lines: lines.into(),
        source: "the audit file",
        is_cut,
    })
}
