//! The `log` command: what was recorded.

mod follow;

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    process::ExitCode,
};

use mcp_policy::{AuditFilter, SqliteAuditLog, StoreError};

use self::follow::{Source, follow};
use super::show::try_print;
use crate::{
    audit::{
        Place,
        meant::Meant,
        message::{self, Message},
    },
    cli::LogArgs,
    failure::Failure,
    recorded::{
        lines::{Line, Lines},
        unreadable,
    },
};

pub(crate) fn run(args: &LogArgs, json: bool) -> Result<ExitCode, Failure> {
    let meant = Meant::new(&args.meant);
    let most = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let path = args.audit.path();
    let (messages, source) = match &args.audit {
        Place::Lines(_) => newest_lines(path, &meant, most),
        Place::Sqlite(_) => newest_rows(path, &meant, most),
    }?;
    if args.follow {
        follow(messages, source, &meant, json).map_err(|error| unreadable(path, error))?;
        return Ok(ExitCode::SUCCESS);
    }
    for message in messages {
        let text = match json {
            true => message.as_json(),
            false => message.as_text(),
        };
        if try_print(&text).is_err() {
            // Nobody reads any further.
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest so many messages that are meant, the newest last, and where others follow.
type Newest = (Vec<Message>, Source);

fn newest_rows(path: &Path, meant: &Meant<'_>, most: usize) -> Result<Newest, Failure> {
    let read = || {
        let log = SqliteAuditLog::open(path)?;
        let newest = log.before(None, &AuditFilter::default(), 1)?;
        let last = newest.first().map_or(0, |row| row.number());
        let rows = log.before(Some(last.saturating_add(1)), &meant.as_filter(), most)?;
        let messages = rows.iter().rev().filter_map(Message::of_row);
        Ok((messages.collect(), Source::Sqlite { log, last }))
    };
    read().map_err(|error: StoreError| unreadable(path, error))
}

fn newest_lines(path: &Path, meant: &Meant<'_>, most: usize) -> Result<Newest, Failure> {
    let mut lines = Lines::open(path).map_err(|error| unreadable(path, error))?;
    let mut newest = NewestLines::default();
    while let Some(line) = lines.next().map_err(|error| unreadable(path, error))? {
        let Line::Whole(line) = line else { continue };
        newest.add(line, meant, most);
    }
    Ok((newest.messages.into(), Source::Lines(lines)))
}

/// The newest messages of those that went by, and where their outcomes belong.
#[derive(Default)]
struct NewestLines {
    messages: VecDeque<Message>,
    /// How many were dropped of them.
    dropped: usize,
    /// Which message of all a decision is.
    open: HashMap<String, usize>,
}

impl NewestLines {
    fn add(&mut self, line: Vec<u8>, meant: &Meant<'_>, most: usize) {
        let Ok(line) = String::from_utf8(line) else {
            return;
        };
        if let Some(id) = message::ended(&line) {
            let which = self.open.remove(&id);
            let which = which.and_then(|which| which.checked_sub(self.dropped));
            if let Some(message) = which.and_then(|which| self.messages.get_mut(which)) {
                message.end(line);
            }
            return;
        }
        let Some(message) = Message::new(line, None).filter(|message| meant.is(message)) else {
            return;
        };
        let which = self.dropped.saturating_add(self.messages.len());
        self.open.insert(message.id().to_owned(), which);
        self.messages.push_back(message);
        if self.messages.len() > most {
            self.dropped = self.dropped.saturating_add(1);
            let dropped = self.messages.pop_front();
            dropped.map(|message| self.open.remove(message.id()));
        }
    }
}
