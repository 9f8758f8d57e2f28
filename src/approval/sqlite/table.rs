//! The requests of one server, as rows of the file.

use std::time::SystemTime;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};

use super::Shared;
use super::act::Done;
use crate::approval::request::{ApprovalId, ApprovalRequest, ApprovalState};
use crate::approval::{
    ApprovalAsked, HOUR, KNOWN_FOR, MOST_BYTES, MOST_ENDED, MOST_IN_FORCE,
    MOST_IN_FORCE_OF_A_CALLER, MOST_NEW_IN_AN_HOUR, MOST_NEW_OF_ALL, MOST_PENDING,
    MOST_PENDING_OF_A_CALLER,
};
use crate::sqlite::{Failure, in_microseconds, since_1970};
use crate::store::StoreError;

/// So many that are over are ended at once: the others when something is asked next.
const SWEEP: i64 = 256;

/// So many changes are kept for processes that have not heard of them yet.
const MOST_CHANGES: i64 = 1_024;

const COLUMNS: &str = "number, in_force, ends, request, shown, id, digest";

/// The requests at a time, in a transaction.
pub(super) struct Table<'a> {
    file: &'a Connection,
    shared: &'a Shared,
    now: SystemTime,
    done: Done,
}

/// A request as it is now, and what the file says of it.
struct Found {
    number: i64,
    request: ApprovalRequest,
    state: ApprovalState,
    is_in_force: bool,
    ends: i64,
}

/// A row that has not been looked at.
pub(super) struct Written {
    pub(super) number: i64,
    is_in_force: bool,
    ends: i64,
    /// Not read as text: what is none concerns this row alone.
    request: Vec<u8>,
    shown: Option<Vec<u8>>,
    id: Vec<u8>,
    digest: Vec<u8>,
}

/// The text or bytes in a column, whatever they are; `None` of anything else.
fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Vec<u8>>> {
    let value = row.get_ref(column)?;
    Ok(match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
        _ => None,
    })
}

/// Of a row that does not hold the request that it is kept as.
const NO_REQUEST: StoreError = StoreError::of(
    "the state file holds a request for approval that this program has not written: restore the \
     file, or name another",
);

impl Written {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            is_in_force: row.get(1)?,
            ends: row.get(2)?,
            request: bytes(row, 3)?.unwrap_or_default(),
            shown: bytes(row, 4)?,
            id: bytes(row, 5)?.unwrap_or_default(),
            digest: bytes(row, 6)?.unwrap_or_default(),
        })
    }

    /// The request as it is at this time.
    fn read(self, now: SystemTime) -> Result<Found, StoreError> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| NO_REQUEST);
        let shown = self.shown.map(text).transpose()?;
        let mut request = ApprovalRequest::from_stored(&text(self.request)?, shown.as_deref())?;
        let is_this = self.id == request.id().to_string().as_bytes()
            && self.digest == request.digest().as_bytes();
        let state = request.state();
        if !is_this || state.is_open() && !self.is_in_force {
            return Err(NO_REQUEST);
        }
        if self.is_in_force && is_over(&request, now) {
            request.expire();
        }
        Ok(Found {
            number: self.number,
            request,
            state,
            is_in_force: self.is_in_force,
            ends: self.ends,
        })
    }

    pub(super) fn request(self, now: SystemTime) -> Result<ApprovalRequest, StoreError> {
        self.read(now).map(|found| found.request)
    }
}

fn is_over(request: &ApprovalRequest, now: SystemTime) -> bool {
    request.is_over(now) || since_1970(request.expires_at()) <= since_1970(now)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl<'a> Table<'a> {
    pub(super) fn new(file: &'a Connection, shared: &'a Shared, now: SystemTime) -> Self {
        Self {
            file,
            shared,
            now,
            done: Done::default(),
        }
    }

    /// What was done.
    pub(super) fn done(mut self) -> rusqlite::Result<Done> {
        self.done.next_end = self
            .file
            .prepare_cached("SELECT min(ends) FROM approval WHERE server = ? AND in_force = 1")?
            .query_row([&self.shared.server], |row| row.get(0))?;
        Ok(self.done)
    }

    /// Ends and forgets whatever has had its time.
    pub(super) fn pass_time(&mut self) -> Result<(), Failure> {
        let server = &self.shared.server;
        let now = since_1970(self.now);
        let over = self
            .file
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM approval
                 WHERE server = ? AND in_force = 1 AND ends <= ? ORDER BY ends LIMIT {SWEEP}"
            ))?
            .query_map(params![server, now], Written::of)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        for written in over {
            let number = written.number;
            match written.read(self.now) {
                Ok(found) => self.save(&found)?,
                // It is over, and nobody can tell what it was.
                Err(_) => self.remove(number)?,
            }
        }
        self.file
            .prepare_cached("DELETE FROM approval WHERE server = ? AND in_force = 0 AND ends <= ?")?
            .execute(params![
                server,
                now.saturating_sub(in_microseconds(KNOWN_FOR))
            ])?;
        self.file
            .prepare_cached("DELETE FROM approval_asked WHERE server = ? AND at <= ?")?
            .execute(params![server, now.saturating_sub(in_microseconds(HOUR))])?;
        Ok(())
    }

    /// What is known of the call, or else this, if there is room.
    pub(super) fn ask(&mut self, new: &ApprovalRequest) -> Result<ApprovalAsked, Failure> {
        // However long it is over, it keeps its place until that is written down.
        let known = self.look_for("digest = ? AND in_force = 1", new.digest().as_bytes())?;
        if let Some(found) = known {
            match found.request.state() {
                ApprovalState::Pending => return Ok(ApprovalAsked::Pending(found.request)),
                ApprovalState::Approved => return Ok(ApprovalAsked::Approved(found.request)),
                ApprovalState::Denied if self.is_in_force(&found.request) => {
                    return Ok(ApprovalAsked::Denied(found.request));
                }
                _ => self.save(&found)?,
            }
        }
        if !self.has_room_for(new)? {
            return Ok(ApprovalAsked::Full);
        }
        self.begin(new)?;
        Ok(ApprovalAsked::Pending(new.clone()))
    }

    /// Does something to a request, if it is known. Also gives it as it is then.
    pub(super) fn change<T>(
        &mut self,
        id: ApprovalId,
        change: impl FnOnce(&mut ApprovalRequest) -> T,
    ) -> Result<Option<(T, ApprovalRequest)>, Failure> {
        let Some(mut found) = self.find(id)? else {
            return Ok(None);
        };
        let answer = change(&mut found.request);
        self.save(&found)?;
        Ok(Some((answer, found.request)))
    }

    pub(super) fn get(&self, id: ApprovalId) -> Result<Option<ApprovalRequest>, Failure> {
        Ok(self.find(id)?.map(|found| found.request))
    }

    /// Those that may be in one of these states, the oldest first: so many, behind the one
    /// of this number.
    pub(super) fn page(
        &self,
        states: &[ApprovalState],
        behind: i64,
        most: usize,
    ) -> Result<Vec<Written>, Failure> {
        let mut wanted: String = states.iter().map(|state| state.as_str()).collect();
        if states.contains(&ApprovalState::Expired) {
            // The file may not say yet that they are.
            wanted += "pending approved";
        }
        let known_since = since_1970(self.now).saturating_sub(in_microseconds(KNOWN_FOR));
        let mut rows = self.file.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM approval
             WHERE server = ? AND instr(?, state) > 0 AND ends > ? AND number > ?
             ORDER BY number LIMIT ?"
        ))?;
        let parameters = params![self.shared.server, wanted, known_since, behind, count(most)];
        let rows = rows.query_map(parameters, Written::of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn find(&self, id: ApprovalId) -> Result<Option<Found>, Failure> {
        let found = self.look_for("id = ?", &id.to_string())?;
        Ok(found.filter(|found| self.is_known(found)))
    }

    fn look_for(&self, which: &str, value: &dyn ToSql) -> Result<Option<Found>, Failure> {
        let written = self
            .file
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM approval WHERE server = ? AND {which}"
            ))?
            .query_row(params![self.shared.server, value], Written::of)
            .optional()?;
        Ok(written.map(|written| written.read(self.now)).transpose()?)
    }

    fn is_in_force(&self, request: &ApprovalRequest) -> bool {
        let may_be = request.state().is_open() || request.state() == ApprovalState::Denied;
        may_be && !is_over(request, self.now)
    }

    fn is_known(&self, found: &Found) -> bool {
        found.ends.saturating_add(in_microseconds(KNOWN_FOR)) > since_1970(self.now)
    }

    fn has_room_for(&self, new: &ApprovalRequest) -> Result<bool, Failure> {
        let server = &self.shared.server;
        let numbers = |sql, parameters: &[&dyn ToSql]| {
            let mut numbers = self.file.prepare_cached(sql)?;
            numbers.query_row(parameters, |row| {
                Ok([row.get(0)?, row.get(1)?, row.get(2)?])
            })
        };
        let [in_force, pending, asked]: [i64; 3] = numbers(
            "SELECT count(*), count(*) FILTER (WHERE state = 'pending'), (
                 SELECT count(*) FROM approval_asked WHERE server = ?1 AND caller = ?2
             ) FROM approval WHERE server = ?1 AND in_force = 1 AND caller = ?2",
            &[server, &new.caller()],
        )?;
        if pending >= count(MOST_PENDING_OF_A_CALLER)
            || asked >= count(MOST_NEW_IN_AN_HOUR)
            || in_force >= count(MOST_IN_FORCE_OF_A_CALLER)
        {
            return Ok(false);
        }
        let [in_force, pending, asked]: [i64; 3] = numbers(
            "SELECT count(*), count(*) FILTER (WHERE state = 'pending'), (
                 SELECT count(*) FROM approval_asked WHERE server = ?1
             ) FROM approval WHERE server = ?1 AND in_force = 1",
            &[server],
        )?;
        let bytes: i64 = self
            .file
            .prepare_cached(
                "SELECT coalesce(sum(bytes), 0) FROM approval WHERE server = ? AND in_force = 1",
            )?
            .query_row([server], |row| row.get(0))?;
        Ok(pending < count(MOST_PENDING)
            && asked < count(MOST_NEW_OF_ALL)
            && in_force < count(MOST_IN_FORCE)
            && bytes.saturating_add(count(new.shown_bytes())) <= count(MOST_BYTES))
    }

    fn begin(&mut self, new: &ApprovalRequest) -> Result<(), Failure> {
        let server = &self.shared.server;
        self.file
            .prepare_cached(
                "INSERT INTO approval
                     (server, id, digest, caller, state, in_force, ends, request, shown, bytes)
                 VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)",
            )?
            .execute(params![
                server,
                new.id().to_string(),
                new.digest().as_bytes(),
                new.caller(),
                new.state().as_str(),
                since_1970(new.expires_at()),
                new.stored()?,
                new.stored_shown()?,
                count(new.shown_bytes()),
            ])?;
        self.file
            .prepare_cached("INSERT INTO approval_asked VALUES (?, ?, ?)")?
            .execute(params![server, new.caller(), since_1970(self.now)])?;
        self.say(new)
    }

    /// Writes down what has become of a request, if anything has.
    fn save(&mut self, found: &Found) -> Result<(), Failure> {
        let request = &found.request;
        let is_in_force = found.is_in_force && self.is_in_force(request);
        if (request.state(), is_in_force) == (found.state, found.is_in_force) {
            return Ok(());
        }
        let ends = match is_in_force {
            true => since_1970(request.expires_at()),
            false => since_1970(request.expires_at()).min(since_1970(self.now)),
        };
        let shown = request.stored_shown()?;
        self.done.has_removed |= shown.is_none();
        self.file
            .prepare_cached(
                "UPDATE approval
                 SET state = ?, in_force = ?, ends = ?, request = ?, shown = ?, bytes = ?
                 WHERE number = ?",
            )?
            .execute(params![
                request.state().as_str(),
                is_in_force,
                ends,
                request.stored()?,
                shown,
                count(request.shown_bytes()),
                found.number,
            ])?;
        if !is_in_force {
            self.forget_first()?;
        }
        match request.state() == found.state {
            true => Ok(()),
            false => self.say(request),
        }
    }

    /// Forgets what has ended first, if it is too much.
    fn forget_first(&self) -> Result<(), Failure> {
        self.file
            .prepare_cached(
                "DELETE FROM approval WHERE number IN (
                     SELECT number FROM approval WHERE server = ? AND in_force = 0
                     ORDER BY ends DESC, number DESC LIMIT -1 OFFSET ?
                 )",
            )?
            .execute(params![self.shared.server, count(MOST_ENDED)])?;
        Ok(())
    }

    fn remove(&mut self, number: i64) -> Result<(), Failure> {
        self.done.has_removed = true;
        self.file
            .prepare_cached("DELETE FROM approval WHERE number = ?")?
            .execute([number])?;
        Ok(())
    }

    /// Lets other processes hear of it, and those who listen here once it is written.
    fn say(&mut self, request: &ApprovalRequest) -> Result<(), Failure> {
        let Shared { server, writer, .. } = self.shared;
        let (id, state) = (request.id(), request.state());
        self.file
            .prepare_cached(
                "INSERT INTO approval_change (server, writer, id, state) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![server, writer, id.to_string(), state.as_str()])?;
        self.file
            .prepare_cached("DELETE FROM approval_change WHERE number <= ?")?
            .execute([self.file.last_insert_rowid().saturating_sub(MOST_CHANGES)])?;
        self.done.changed.push((id, state));
        Ok(())
    }
}
