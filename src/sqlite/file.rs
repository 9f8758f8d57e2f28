//! How the file is opened, and what has to be in it.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema::SCHEMA;
use crate::store::StoreError;

/// What a file is for, and what has to be in it.
#[derive(Debug)]
pub(crate) struct Purpose {
    /// What it is called in errors.
    pub(crate) noun: &'static str,
    /// Says whose file it is.
    pub(crate) application: i64,
    /// Of the schema. It becomes greater when older versions of this crate cannot
    /// read it any more.
    pub(crate) version: i64,
    pub(crate) schema: &'static str,
    /// What it means to name another.
    pub(crate) another: &'static str,
}

const STATE: Purpose = Purpose {
    noun: "the state file",
    // "mcpp"
    application: 0x6d63_7070,
    version: 2,
    schema: SCHEMA,
    another: "in which counting begins with nothing",
};

/// Others open it, too, or write a lot. Nobody waits for answers yet.
const PATIENCE_TO_OPEN: Duration = Duration::from_secs(5);

/// How often a millisecond is waited for others who write, while somebody waits
/// for an answer: for less than the 100 ms that they wait at most.
const MOST_TRIES: i32 = 60;

/// What this process remembers of what it charged. It takes part in transactions,
/// and is never written to the disk.
const OF_THIS_PROCESS: &str = "
    PRAGMA temp_store = MEMORY;
    CREATE TEMP TABLE charged (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,
        resets INTEGER NOT NULL
    );
    CREATE TEMP TABLE overtaken (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE
    );
";

/// Opens the state file, or makes it. Also tells what it is really called.
pub(crate) fn open(path: &Path) -> Result<(Connection, PathBuf), StoreError> {
    let (connection, path) = STATE.open(path)?;
    // Waiting for the disk each time costs milliseconds, and where it is busy more than
    // the 100 ms that a call waits. So only a power loss takes something away, and
    // never a process that is killed.
    connection
        .pragma_update(None, "synchronous", "NORMAL")
        // Arguments of calls are not to be found in the file once they are deleted.
        .and_then(|()| connection.pragma_update(None, "secure_delete", true))
        .and_then(|()| connection.execute_batch(OF_THIS_PROCESS))
        .map_err(|error| store_error(&error))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok((connection, path))
}

/// Makes an empty file that nobody else can read. What SQLite puts beside it can be
/// read by the same.
///
/// A file that is there is not touched: closing it would take away the locks that
/// other stores of this process have on it.
pub(super) fn make(path: &Path) -> Result<(), StoreError> {
    STATE.make(path)
}

impl Purpose {
    /// Opens a file, or makes it. Also tells what it is really called.
    pub(crate) fn open(&self, path: &Path) -> Result<(Connection, PathBuf), StoreError> {
        self.make(path)?;
        self.open_existing(path)
    }

    fn make(&self, path: &Path) -> Result<(), StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(self.not_opened(&error)),
            _ => Ok(()),
        }
    }

    /// The same without making it.
    pub(crate) fn open_existing(&self, path: &Path) -> Result<(Connection, PathBuf), StoreError> {
        let (connection, path) = self.connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        self.prepare(&connection)?;
        Ok((connection, path))
    }

    /// Opens a file that is there, and in which nothing is changed.
    pub(crate) fn open_to_read(&self, path: &Path) -> Result<Connection, StoreError> {
        let (connection, _) = self.connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        match self.is_found_new(&connection)? {
            true => Err(StoreError::new(format!(
                "{} is empty: nothing was written there yet, or it is another one",
                self.noun
            ))),
            false => Ok(connection),
        }
    }

    fn connect(&self, path: &Path, flag: OpenFlags) -> Result<(Connection, PathBuf), StoreError> {
        let path = path
            .canonicalize()
            .map_err(|error| self.not_opened(&error))?;
        let flags = flag | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).and_then(|connection| {
            connection.busy_timeout(PATIENCE_TO_OPEN)?;
            Ok(connection)
        });
        Ok((connection.map_err(|error| self.error(&error))?, path))
    }

    fn not_opened(&self, error: &std::io::Error) -> StoreError {
        StoreError::new(format!(
            "{} cannot be opened: {error}; see that its folder is there, and that this user may use it",
            self.noun
        ))
    }

    fn prepare(&self, connection: &Connection) -> Result<(), StoreError> {
        let of_sqlite = |error| self.error(&error);
        // Before anything is changed: it may be somebody else's.
        self.is_found_new(connection)?;
        self.write_ahead(connection)?;
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(of_sqlite)?;
        if self.is_new(connection)? {
            connection.execute_batch(self.schema).map_err(of_sqlite)?;
            let named = connection.pragma_update(None, "application_id", self.application);
            named.map_err(of_sqlite)?;
            let versioned = connection.pragma_update(None, "user_version", self.version);
            versioned.map_err(of_sqlite)?;
        }
        connection.execute_batch("COMMIT").map_err(of_sqlite)?;
        connection
            .busy_handler(Some(wait_for_others))
            .map_err(of_sqlite)
    }

    /// Whether nothing is in it yet, by one look, between whose parts nobody makes it.
    fn is_found_new(&self, connection: &Connection) -> Result<bool, StoreError> {
        let batch = |sql| {
            let done = connection.execute_batch(sql);
            done.map_err(|error| self.error(&error))
        };
        batch("BEGIN")?;
        let is_new = self.is_new(connection);
        batch("COMMIT")?;
        is_new
    }

    /// Whether nothing is in it yet. What is in it has to be ours. For who has begun a
    /// transaction.
    fn is_new(&self, connection: &Connection) -> Result<bool, StoreError> {
        let number = |sql| {
            let number = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            number.map_err(|error| self.error(&error))
        };
        let application = number("PRAGMA application_id")?;
        let version = number("PRAGMA user_version")?;
        if application == 0 && version == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 {
            return Ok(true);
        }
        let Self {
            noun,
            version: known,
            another,
            ..
        } = self;
        if application != self.application {
            return Err(StoreError::new(format!(
                "{noun} is one of another program; name a file of its own"
            )));
        }
        if version != *known {
            return Err(StoreError::new(format!(
                "{noun} has version {version} and this program knows {known}; use the program \
                 that wrote it, or name another file, {another}"
            )));
        }
        Ok(false)
    }

    /// Whoever does the same at the same time is in the way, and SQLite does not wait.
    fn write_ahead(&self, connection: &Connection) -> Result<(), StoreError> {
        let since = Instant::now();
        loop {
            let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| {
                row.get::<_, String>(0)
            });
            match mode {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(_) => {
                    return Err(StoreError::new(format!(
                        "{} is at a place where processes cannot share it; name a file on a disk \
                         of this machine",
                        self.noun
                    )));
                }
                Err(error) if is_busy(&error) && since.elapsed() < PATIENCE_TO_OPEN => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(self.error(&error)),
            }
        }
    }

    /// What the operator is told.
    pub(crate) fn error(&self, error: &rusqlite::Error) -> StoreError {
        let noun = self.noun;
        StoreError::new(match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("{noun} is locked by somebody else; close what has it open")
            }
            Some(ErrorCode::DiskFull) => format!("there is no room for {noun} on its disk"),
            Some(ErrorCode::ReadOnly) => {
                format!("{noun} cannot be written; let this program write it and its directory")
            }
            Some(ErrorCode::NotADatabase) => {
                format!("{noun} is no SQLite file; name another")
            }
            _ => format!("{noun}: {error}"),
        })
    }
}

/// Empties what SQLite puts beside the file, which holds what was written lately, and
/// with it what has been removed since. Tells whether it is empty: not while somebody
/// else is at it, and nobody waits for that.
pub(crate) fn empty_log(connection: &Connection) -> rusqlite::Result<bool> {
    let checkpoint = |sql| {
        let is_busy = connection.query_row(sql, [], |row| row.get::<_, bool>(0));
        is_busy.map(|is_busy| !is_busy)
    };
    connection.busy_handler(None)?;
    // This one does most of it, and keeps nobody else from writing.
    let emptied = checkpoint("PRAGMA wal_checkpoint(PASSIVE)")
        .and_then(|_| checkpoint("PRAGMA wal_checkpoint(TRUNCATE)"));
    connection.busy_handler(Some(wait_for_others))?;
    emptied
}

/// Shorter than what SQLite does of itself, where whoever has waited for long waits
/// for longer.
fn wait_for_others(tries: i32) -> bool {
    let may_wait = tries < MOST_TRIES;
    if may_wait {
        thread::sleep(Duration::from_millis(1));
    }
    may_wait
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// What the operator is told of the state file.
pub(crate) fn store_error(error: &rusqlite::Error) -> StoreError {
    STATE.error(error)
}
