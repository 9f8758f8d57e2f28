//! Which processes are there: those that hold a lock.
//!
//! The system takes the lock away when a process ends, however that happens. No
//! clock says when somebody is taken for dead, and nobody has to be awake to be
//! alive.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::file::{make, store_error};
use crate::digest::random_name;
use crate::store::StoreError;

/// Holds the lock of this process on a file of its own, beside the state file.
///
/// The file is an empty one of SQLite, because that knows how to lock on every
/// system, also within one process.
#[derive(Debug)]
pub(crate) struct Presence {
    state: PathBuf,
    name: String,
    /// Holds the lock for as long as it is open.
    _lock: Connection,
}

impl Presence {
    /// Tells all others that this process is there.
    pub(crate) fn announce(connection: &Connection, state: &Path) -> Result<Self, StoreError> {
        let name = random_name();
        let file = file_of(state, &name);
        make(&file)?;
        let lock = lock(&file).map_err(|error| store_error(&error))?;
        // Not before there is a lock: else others would take it for dead.
        connection
            .execute("INSERT INTO process VALUES (?)", [&name])
            .map_err(|error| store_error(&error))?;
        Ok(Self {
            state: state.to_owned(),
            name,
            _lock: lock,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The names of others who have not said that they leave, and are gone.
    pub(crate) fn gone(&self, connection: &Connection) -> rusqlite::Result<Vec<String>> {
        let mut others = connection.prepare_cached("SELECT name FROM process WHERE name != ?")?;
        let mut names = others
            .query_map([&self.name], |row| row.get::<_, String>(0))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        names.retain(|name| is_name(name) && is_free(&file_of(&self.state, name)));
        Ok(names)
    }

    /// Forgets somebody who is gone.
    pub(crate) fn forget(&self, connection: &Connection, name: &str) -> rusqlite::Result<()> {
        connection.execute("DELETE FROM process WHERE name = ?", [name])?;
        // If it stays, nobody looks at it any more.
        let _ = fs::remove_file(file_of(&self.state, name));
        Ok(())
    }
}

fn file_of(state: &Path, name: &str) -> PathBuf {
    let mut file = state.as_os_str().to_owned();
    file.push("-process-");
    file.push(name);
    file.into()
}

/// What is in the file becomes a part of a path.
fn is_name(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn lock(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    // There is nothing to write, so there need not be a further file for that.
    connection.execute_batch("PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE")?;
    Ok(connection)
}

/// Whether nobody holds it. Whatever else is the matter, somebody may.
fn is_free(file: &Path) -> bool {
    match file.try_exists() {
        Ok(true) => lock(file).is_ok(),
        Ok(false) => true,
        Err(_) => false,
    }
}
