//! Reading the file.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::schema::AUDIT;
use crate::audit::Verdict;
use crate::sqlite::since_1970;
use crate::store::StoreError;

/// The first and the last number of a time, for which only the index is read.
const FROM: &str = "number >= (
    SELECT min(number) FROM message INDEXED BY message_by_time WHERE time >= ?)";
const TO: &str = "number <= (
    SELECT max(number) FROM message INDEXED BY message_by_time WHERE time < ?)";

/// Reads what a [`SqliteAuditSink`](crate::SqliteAuditSink) keeps, also while it is
/// written.
///
/// It asks the disk and blocks meanwhile: in an async program it belongs on a thread
/// that may. A decision is found at once. Any other filter looks at the messages one by
/// one, until it has found enough: at some 100 000 in a tenth of a second, and only at
/// those of the time that is meant.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use mcp_policy::{AuditFilter, SqliteAuditLog, SqliteAuditSink, Verdict};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("audit.db");
/// # let sink = SqliteAuditSink::open(&path)?;
/// let log = SqliteAuditLog::open(path)?;
/// let yesterday = SystemTime::now() - Duration::from_secs(86_400);
/// let denied = AuditFilter::default().verdict(Verdict::Denied).since(yesterday);
/// let mut page = log.before(None, &denied, 100)?;
/// while let Some(last) = page.last() {
///     page = log.before(Some(last.number()), &denied, 100)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteAuditLog {
    connection: Connection,
}

/// What was decided about a message, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    number: u64,
    decision: String,
    outcome: Option<String>,
}

impl AuditRow {
    /// Its place in the order in which messages were recorded. It stays the same,
    /// and no other message gets it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What was decided, as [`JsonLines`](crate::JsonLines) writes it.
    pub fn decision(&self) -> &str {
        &self.decision
    }

    /// What came of it, as [`JsonLines`](crate::JsonLines) writes it; `None` until it
    /// has ended, and if that could not be recorded.
    pub fn outcome(&self) -> Option<&str> {
        self.outcome.as_deref()
    }
}

/// Which messages are meant: those of which everything is true that was said. By
/// default that is all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    server: Option<Box<str>>,
    caller: Option<Box<str>>,
    name: Option<Box<str>>,
    verdict: Option<Verdict>,
    rule: Option<Box<str>>,
    decision: Option<Box<str>>,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

impl AuditFilter {
    /// To the server of this name.
    #[must_use]
    pub fn server(mut self, server: impl Into<Box<str>>) -> Self {
        self.server = Some(server.into());
        self
    }

    /// Of the caller with this id.
    #[must_use]
    pub fn caller(mut self, caller: impl Into<Box<str>>) -> Self {
        self.caller = Some(caller.into());
        self
    }

    /// About the tool, prompt or resource of this name, also if a dispatcher should
    /// call it.
    #[must_use]
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With this verdict.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// Decided by what stands at this place of the policy or below it, or by what is
    /// called so, like `(default deny)`.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<Box<str>>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// With this [id](crate::DecisionId), in hexadecimal digits.
    #[must_use]
    pub fn decision(mut self, id: impl Into<Box<str>>) -> Self {
        self.decision = Some(id.into());
        self
    }

    /// Decided then or later.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }

    /// Decided before.
    #[must_use]
    pub fn until(mut self, time: SystemTime) -> Self {
        self.until = Some(time);
        self
    }

    /// The same for SQLite: conditions, of which each has one value.
    fn conditions(&self) -> (Vec<&'static str>, Vec<Value>) {
        let text = |text: &Option<Box<str>>| text.as_ref().map(|text| text.to_string().into());
        let time = |time: Option<SystemTime>| time.map(|time| since_1970(time).into());
        let verdict = self.verdict.map(|verdict| verdict.as_str().to_owned());
        let all: [(&str, Option<Value>); 10] = [
            ("server = ?", text(&self.server)),
            ("caller = ?", text(&self.caller)),
            ("? IN (name, inner_name)", text(&self.name)),
            ("verdict = ?", verdict.map(Into::into)),
            ("instr(rule || '/', ? || '/') = 1", text(&self.rule)),
            // What is no id finds nothing.
            ("id = unhex(?)", text(&self.decision)),
            // Numbers and times are not quite in the same order.
            (FROM, time(self.since)),
            ("+time >= ?", time(self.since)),
            (TO, time(self.until)),
            ("+time < ?", time(self.until)),
        ];
        let meant = all
            .into_iter()
            .filter_map(|(sql, value)| Some((sql, value?)));
        meant.unzip()
    }
}

impl SqliteAuditLog {
    /// Opens a file that is there.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or read, if it is one of another program, or if a newer
    /// version of this crate wrote it and it cannot be read by this.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let connection = AUDIT.open_to_read(path.as_ref())?;
        Ok(Self { connection })
    }

    /// The newest messages that are meant, the newest one first: of those before this
    /// number, if there is one, so many at most.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn before(
        &self,
        number: Option<u64>,
        filter: &AuditFilter,
        most: usize,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let number = number.unwrap_or(u64::MAX);
        self.page("number < ?", number, filter, "DESC", most)
    }

    /// The oldest messages that are meant, the oldest one first: of those after this
    /// number, so many at most.
    ///
    /// The last number leads to the next page, and to what is recorded from then on.
    /// What has not ended is not found again when it does: ask for it by its
    /// [decision](AuditFilter::decision).
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn after(
        &self,
        number: u64,
        filter: &AuditFilter,
        most: usize,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.page("number > ?", number, filter, "ASC", most)
    }

    fn page(
        &self,
        start: &'static str,
        number: u64,
        filter: &AuditFilter,
        order: &str,
        most: usize,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let (mut conditions, mut values) = filter.conditions();
        conditions.push(start);
        values.push(i64::try_from(number).unwrap_or(i64::MAX).into());
        values.push(i64::try_from(most).unwrap_or(i64::MAX).into());
        let sql = format!(
            "SELECT number, decision, outcome FROM message WHERE {} \
             ORDER BY number {order} LIMIT ?",
            conditions.join(" AND ")
        );
        self.rows(&sql, values).map_err(|error| AUDIT.error(&error))
    }

    fn rows(&self, sql: &str, values: Vec<Value>) -> rusqlite::Result<Vec<AuditRow>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            Ok(AuditRow {
                number: row.get::<_, i64>(0)?.unsigned_abs(),
                decision: row.get(1)?,
                outcome: row.get(2)?,
            })
        })?;
        rows.collect()
    }
}

impl fmt::Debug for SqliteAuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteAuditLog").finish_non_exhaustive()
    }
}
