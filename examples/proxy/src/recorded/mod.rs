//! What was recorded with `--audit`: lines of JSON, in a file of their own or in the
//! rows of an SQLite file.

pub(crate) mod call;
pub(crate) mod lines;

use std::{fmt, path::Path};

use mcp_policy::{AuditFilter, SqliteAuditLog};

use self::lines::{Line, Lines};
use crate::{audit::Place, failure::Failure};

/// Messages that are read at once.
const PAGE: usize = 1_000;

/// Visits every record, the oldest first, however many there are; in place of a line
/// that is too long comes nothing.
pub(crate) fn each(place: &Place, mut visit: impl FnMut(Option<&[u8]>)) -> Result<(), Failure> {
    match place {
        Place::Lines(path) => {
            let mut lines = Lines::open(path).map_err(|error| unreadable(path, error))?;
            while let Some(line) = lines.next().map_err(|error| unreadable(path, error))? {
                visit(match &line {
                    Line::Whole(line) => Some(line),
                    Line::TooLong => None,
                });
            }
            if let Some(torn) = lines.rest() {
                visit(Some(torn));
            }
        }
        Place::Sqlite(path) => {
            let log = SqliteAuditLog::open(path).map_err(|error| unreadable(path, error))?;
            let (every, mut last) = (AuditFilter::default(), 0);
            loop {
                let page = log.after(last, &every, PAGE);
                let page = page.map_err(|error| unreadable(path, error))?;
                let Some(row) = page.last() else {
                    break;
                };
                last = row.number();
                for row in &page {
                    visit(Some(row.decision().as_bytes()));
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn unreadable(path: &Path, error: impl fmt::Display) -> Failure {
    Failure::input(format!("cannot read {}: {error}", path.display()))
}
