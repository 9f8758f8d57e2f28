//! A record on its way into the file.

use std::string::FromUtf8Error;

use rusqlite::{Connection, params};

use crate::audit::{AuditRecord, DecisionRecord, line};
use crate::sqlite::since_1970;

/// What a record takes besides its text, about.
const BESIDES: usize = 256;

/// A record, and the same as JSON.
pub(super) struct Row {
    record: AuditRecord,
    json: String,
}

impl Row {
    /// `None` if there is no JSON of it.
    pub(super) fn new(record: &AuditRecord) -> Option<Self> {
        Some(Self {
            json: json_of(record).ok()?,
            record: record.clone(),
        })
    }

    /// How much memory it takes, about.
    pub(super) fn size(&self) -> usize {
        self.json.len().saturating_add(BESIDES)
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let decision = match &self.record {
            AuditRecord::Decision(decision) => return insert(connection, decision, &self.json),
            AuditRecord::Outcome(outcome) => outcome.decision(),
        };
        if self.end(connection, decision)? {
            return Ok(());
        }
        // What was decided could not be recorded, or is not kept any more.
        let decided = AuditRecord::Decision(decision.clone());
        let json = json_of(&decided)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        insert(connection, decision, &json)?;
        self.end(connection, decision).map(|_| ())
    }

    /// Tells whether there was something to end.
    fn end(&self, connection: &Connection, decision: &DecisionRecord) -> rusqlite::Result<bool> {
        let mut end = connection.prepare_cached("UPDATE message SET outcome = ? WHERE id = ?")?;
        let ended = end.execute(params![self.json, decision.id().to_bytes()])?;
        Ok(ended > 0)
    }
}

fn json_of(record: &AuditRecord) -> Result<String, FromUtf8Error> {
    String::from_utf8(line::json(record, Vec::new()))
}

fn insert(connection: &Connection, decision: &DecisionRecord, json: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO message
             (id, time, server, caller, name, inner_name, verdict, rule, decision)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            decision.id().to_bytes(),
            since_1970(decision.time()),
            decision.server(),
            decision.caller(),
            decision.name(),
            decision.inner(),
            decision.verdict().as_str(),
            decision.rule(),
            json,
        ])?;
    Ok(())
}

/// Forgets what was decided before, so many at most, and tells how many these were.
pub(super) fn forget(connection: &Connection, before: i64, most: usize) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM message WHERE number IN (
                 SELECT number FROM message WHERE time < ? ORDER BY time LIMIT ?
             )",
        )?
        .execute(params![before, i64::try_from(most).unwrap_or(i64::MAX)])
}
