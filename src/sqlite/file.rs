//! How the file is opened, and what has to be in it.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::schema::SCHEMA;
use crate::store::StoreError;

/// "mcpp": says whose file it is.
const APPLICATION: i64 = 0x6d63_7070;

/// Of what is in [`SCHEMA`]. It becomes greater when older versions of this crate
/// cannot read it any more.
const VERSION: i64 = 2;

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

/// Opens a file, or makes it. Also tells what it is really called.
pub(crate) fn open(path: &Path) -> Result<(Connection, PathBuf), StoreError> {
    make(path)?;
    let path = path.canonicalize().map_err(|error| not_opened(&error))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(|e| store_error(&e))?;
    prepare(&connection)?;
    Ok((connection, path))
}

/// Makes an empty file that nobody else can read. What SQLite puts beside it can be
/// read by the same.
///
/// A file that is there is not touched: closing it would take away the locks that
/// other stores of this process have on it.
pub(super) fn make(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(not_opened(&error)),
        _ => Ok(()),
    }
}

fn not_opened(error: &std::io::Error) -> StoreError {
    StoreError::new(format!("the state file cannot be opened: {error}"))
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    let of_sqlite = |error| store_error(&error);
    connection
        .busy_timeout(PATIENCE_TO_OPEN)
        .map_err(of_sqlite)?;
    // Before anything is changed: it may be somebody else's.
    is_new(connection)?;
    write_ahead(connection)?;
    // Waiting for the disk each time costs milliseconds, and where it is busy more than
    // the 100 ms that a call waits. So only a power loss takes something away, and
    // never a process that is killed.
    let normal = connection.pragma_update(None, "synchronous", "NORMAL");
    normal.map_err(of_sqlite)?;
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(of_sqlite)?;
    if is_new(connection)? {
        connection.execute_batch(SCHEMA).map_err(of_sqlite)?;
        let named = connection.pragma_update(None, "application_id", APPLICATION);
        named.map_err(of_sqlite)?;
        let versioned = connection.pragma_update(None, "user_version", VERSION);
        versioned.map_err(of_sqlite)?;
    }
    connection.execute_batch("COMMIT").map_err(of_sqlite)?;
    // Arguments of calls are not to be found in the file once they are deleted.
    let forgets = connection.pragma_update(None, "secure_delete", true);
    forgets.map_err(of_sqlite)?;
    connection
        .execute_batch(OF_THIS_PROCESS)
        .map_err(of_sqlite)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection
        .busy_handler(Some(wait_for_others))
        .map_err(of_sqlite)
}

/// Whether nothing is in it yet. What is in it has to be ours.
fn is_new(connection: &Connection) -> Result<bool, StoreError> {
    let number = |sql| {
        let number = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        number.map_err(|error| store_error(&error))
    };
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    if application == 0 && version == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(true);
    }
    if application != APPLICATION {
        return Err(StoreError::of(
            "the state file is one of another program; name a file of its own",
        ));
    }
    if version != VERSION {
        return Err(StoreError::new(format!(
            "the state file has version {version} and this program knows {VERSION}; use the \
             program that wrote it, or name another file, in which counting begins with nothing"
        )));
    }
    Ok(false)
}

/// Whoever does the same at the same time is in the way, and SQLite does not wait.
fn write_ahead(connection: &Connection) -> Result<(), StoreError> {
    let since = Instant::now();
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| {
            row.get::<_, String>(0)
        });
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => {
                return Err(StoreError::of(
                    "the state file is at a place where processes cannot share it; name a file \
                     on a disk of this machine",
                ));
            }
            Err(error) if is_busy(&error) && since.elapsed() < PATIENCE_TO_OPEN => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(store_error(&error)),
        }
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

/// What the operator is told.
pub(crate) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::of("the state file is locked by somebody else")
        }
        Some(ErrorCode::DiskFull) => StoreError::of("there is no room for the state file"),
        Some(ErrorCode::ReadOnly) => StoreError::of("the state file cannot be written"),
        Some(ErrorCode::NotADatabase) => {
            StoreError::of("the state file is no SQLite file; name another")
        }
        _ => StoreError::new(format!("the state file: {error}")),
    }
}
