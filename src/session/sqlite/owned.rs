//! What belongs to whom, as rows of a table.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use crate::sqlite::{Reply, Task, since_1970};
use crate::store::StoreError;

/// As the file holds it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Session = 0,
    Task = 1,
}

/// A digest: who reads the file learns no id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name([u8; 32]);

impl Name {
    pub(super) fn of(id: &str) -> Self {
        Self(Sha256::digest(id).into())
    }
}

/// A session or a task.
#[derive(Clone, Debug)]
pub(super) struct Which {
    pub(super) server: Arc<str>,
    pub(super) kind: Kind,
    pub(super) name: Name,
}

/// How many sessions or tasks of a server are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) in_all: i64,
    pub(super) of_one: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            in_all: 100_000,
            of_one: 1_000,
        }
    }
}

/// Whose it is, and what else was said of it.
type Owner = (Arc<str>, Option<Arc<str>>);

/// Microseconds since 1970.
fn now() -> i64 {
    since_1970(SystemTime::now())
}

/// Remembers whose it is; who had it first keeps it.
pub(super) struct Begin {
    which: Which,
    owner: Owner,
    bounds: Bounds,
    reply: Reply<()>,
}

impl Begin {
    pub(super) fn new(which: Which, owner: Owner, bounds: Bounds, reply: Reply<()>) -> Self {
        Self {
            which,
            owner,
            bounds,
            reply,
        }
    }
}

impl Task for Begin {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Which { server, kind, name } = &self.which;
        let (kind, (owner, detail)) = (*kind as i64, &self.owner);
        let is_known = connection
            .prepare_cached("SELECT 1 FROM owned WHERE server = ? AND kind = ? AND id = ?")?
            .exists(params![server, kind, name.0])?;
        if is_known {
            return Ok(());
        }
        let number = |sql, owner: Option<&str>| {
            let mut count = connection.prepare_cached(sql)?;
            let count = count.query_row(params![server, kind, owner], |row| row.get(0));
            Ok::<i64, rusqlite::Error>(count.optional()?.unwrap_or(0))
        };
        let of_one = "SELECT entries FROM owner WHERE server = ?1 AND kind = ?2 AND owner = ?3";
        if number(of_one, Some(owner))? >= self.bounds.of_one {
            remove_oldest(connection, (server, kind), owner)?;
        }
        let in_all = "SELECT entries FROM kept WHERE server = ?1 AND kind = ?2 AND ?3 IS NULL";
        if number(in_all, None)? >= self.bounds.in_all {
            // Whoever has the most can spare one.
            let largest: Option<Arc<str>> = connection
                .prepare_cached(
                    "SELECT owner FROM owner WHERE server = ? AND kind = ?
                     ORDER BY entries DESC, oldest LIMIT 1",
                )?
                .query_row(params![server, kind], |row| row.get(0))
                .optional()?;
            if let Some(largest) = largest {
                remove_oldest(connection, (server, kind), &largest)?;
            }
        }
        connection
            .prepare_cached(
                "INSERT INTO owned (server, kind, id, owner, detail, used)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![server, kind, name.0, owner, detail, now()])?;
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Ok(()));
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}

fn remove_oldest(
    connection: &Connection,
    (server, kind): (&str, i64),
    owner: &str,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM owned WHERE (server, kind, id) IN (
                 SELECT server, kind, id FROM owned
                 WHERE server = ? AND kind = ? AND owner = ? ORDER BY used LIMIT 1
             )",
        )?
        .execute(params![server, kind, owner])?;
    Ok(())
}

/// Forgets it.
pub(super) struct End {
    which: Which,
    reply: Reply<()>,
}

impl End {
    pub(super) fn new(which: Which, reply: Reply<()>) -> Self {
        Self { which, reply }
    }
}

impl Task for End {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Which { server, kind, name } = &self.which;
        connection
            .prepare_cached("DELETE FROM owned WHERE server = ? AND kind = ? AND id = ?")?
            .execute(params![server, *kind as i64, name.0])?;
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Ok(()));
        None
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}

/// Finds whose it is.
pub(super) struct Find<T, F> {
    which: Which,
    asking: Arc<str>,
    use_every: Duration,
    make: F,
    reply: Reply<Option<T>>,
    found: Option<Owner>,
    /// Whether the owner asks, and has not for some time.
    is_used: bool,
}

impl<T, F> Find<T, F> {
    pub(super) fn new(
        which: Which,
        (asking, use_every): (Arc<str>, Duration),
        make: F,
        reply: Reply<Option<T>>,
    ) -> Self {
        Self {
            which,
            asking,
            use_every,
            make,
            reply,
            found: None,
            is_used: false,
        }
    }
}

impl<T: Send, F: Fn(Owner) -> Option<T> + Send> Task for Find<T, F> {
    fn is_wanted(&self) -> bool {
        !self.reply.is_canceled()
    }

    fn only_reads(&self) -> bool {
        true
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Which { server, kind, name } = &self.which;
        let found = connection
            .prepare_cached(
                "SELECT owner, detail, used FROM owned
                 WHERE server = ? AND kind = ? AND id = ?",
            )?
            .query_row(params![server, *kind as i64, name.0], |row| {
                Ok(((row.get(0)?, row.get(1)?), row.get(2)?))
            })
            .optional()?;
        let Some((owner, used)) = found else {
            return Ok(());
        };
        let (owner, used): (Owner, i64) = (owner, used);
        let age = now().saturating_sub(used).unsigned_abs();
        self.is_used = owner.0 == self.asking && u128::from(age) >= self.use_every.as_micros();
        self.found = Some(owner);
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Ok(self.found.and_then(&self.make)));
        let used: Box<dyn Task> = Box::new(Used(self.which));
        self.is_used.then_some(used)
    }

    fn failed(self: Box<Self>, error: &StoreError) -> Option<Box<dyn Task>> {
        let _ = self.reply.send(Err(error.clone()));
        None
    }
}

/// Writes down that it was used. If that fails, it is when it is used again.
struct Used(Which);

impl Task for Used {
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Which { server, kind, name } = &self.0;
        connection
            .prepare_cached("UPDATE owned SET used = ? WHERE server = ? AND kind = ? AND id = ?")?
            .execute(params![now(), server, *kind as i64, name.0])?;
        Ok(())
    }

    fn done(self: Box<Self>) -> Option<Box<dyn Task>> {
        None
    }

    fn failed(self: Box<Self>, _: &StoreError) -> Option<Box<dyn Task>> {
        None
    }
}
