//! What is recorded from now on.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    thread,
    time::{Duration, Instant},
};

use mcp_policy::{AuditFilter, SqliteAuditLog};

use super::super::show::try_print;
use crate::{
    audit::{
        meant::Meant,
        message::{self, Message},
    },
    recorded::lines::{Line, Lines},
};

/// How often it is looked for something new.
const PAUSE: Duration = Duration::from_millis(250);

/// What has not ended by then is shown all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// Messages that are read at once.
const PAGE: usize = 1_000;

/// Messages that may be waited for.
const MOST_OPEN: usize = 1_000;

/// Where new messages come from.
pub(super) enum Source {
    Lines(Lines),
    /// Those after this number.
    Sqlite {
        log: SqliteAuditLog,
        last: u64,
    },
}

/// Goes on until nobody reads any more.
pub(super) fn follow(
    messages: Vec<Message>,
    mut source: Source,
    meant: &Meant<'_>,
    json: bool,
) -> Result<(), Box<dyn Error>> {
    let mut open = Open {
        json,
        ..Open::default()
    };
    messages.into_iter().for_each(|message| open.add(message));
    loop {
        open.show_what_takes_long(Instant::now());
        for text in open.said.drain(..) {
            if try_print(&text).is_err() {
                return Ok(());
            }
        }
        if !source.read(meant, &mut open)? {
            thread::sleep(PAUSE);
        }
    }
}

impl Source {
    /// Reads some of what is new, and tells whether there may be more.
    fn read(&mut self, meant: &Meant<'_>, open: &mut Open) -> Result<bool, Box<dyn Error>> {
        match self {
            Self::Lines(lines) => {
                for _ in 0..PAGE {
                    match lines.next()? {
                        Some(Line::Whole(line)) => open.add_line(line, meant),
                        Some(Line::TooLong) => {}
                        None => return Ok(lines.follow()?),
                    }
                }
                Ok(true)
            }
            Self::Sqlite { log, last } => {
                for id in open.ids() {
                    let filter = AuditFilter::default().decision(&*id);
                    let row = log.before(None, &filter, 1)?.pop();
                    if let Some(outcome) = row.as_ref().and_then(|row| row.outcome()) {
                        open.end(&id, outcome.to_owned());
                    }
                }
                let page = log.after(*last, &meant.at_any_time(), PAGE)?;
                for row in &page {
                    *last = row.number();
                    if let Some(message) = Message::of_row(row).filter(|one| meant.is(one)) {
                        open.add(message);
                    }
                }
                Ok(page.len() == PAGE)
            }
        }
    }
}

/// Messages that have not ended, the oldest first, and what is to be said.
#[derive(Default)]
struct Open {
    json: bool,
    next: u64,
    messages: BTreeMap<u64, Waiting>,
    numbers: HashMap<String, u64>,
    said: Vec<String>,
}

struct Waiting {
    message: Message,
    since: Instant,
    is_shown: bool,
}

impl Open {
    fn ids(&self) -> Vec<String> {
        let waiting = self.messages.values();
        waiting
            .map(|waiting| waiting.message.id().to_owned())
            .collect()
    }

    fn add_line(&mut self, line: Vec<u8>, meant: &Meant<'_>) {
        let Ok(line) = String::from_utf8(line) else {
            return;
        };
        if let Some(id) = message::ended(&line) {
            self.end(&id, line);
        } else if let Some(message) = Message::new(line, None).filter(|one| meant.is(one)) {
            self.add(message);
        }
    }

    fn add(&mut self, message: Message) {
        if self.json {
            self.said.push(message.as_json());
        } else if message.has_ended() {
            self.said.push(message.as_text());
        }
        if message.has_ended() {
            return;
        }
        let number = self.next;
        self.next = number.saturating_add(1);
        self.numbers.insert(message.id().to_owned(), number);
        let waiting = Waiting {
            message,
            since: Instant::now(),
            is_shown: self.json,
        };
        self.messages.insert(number, waiting);
        if self.messages.len() > MOST_OPEN {
            self.give_up_the_oldest();
        }
    }

    fn give_up_the_oldest(&mut self) {
        let Some((_, oldest)) = self.messages.pop_first() else {
            return;
        };
        self.numbers.remove(oldest.message.id());
        if !oldest.is_shown {
            self.said.push(oldest.message.as_text());
        }
    }

    fn end(&mut self, id: &str, outcome: String) {
        let number = self.numbers.remove(id);
        let Some(mut waiting) = number.and_then(|number| self.messages.remove(&number)) else {
            return;
        };
        if self.json {
            self.said.push(outcome);
        } else {
            waiting.message.end(outcome);
            self.said.push(waiting.message.as_text());
        }
    }

    fn show_what_takes_long(&mut self, now: Instant) {
        for waiting in self.messages.values_mut() {
            if !waiting.is_shown && now.duration_since(waiting.since) >= PATIENCE {
                waiting.is_shown = true;
                self.said.push(waiting.message.as_text());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str) -> Message {
        let line = format!(
            r#"{{"event":"decision","time":"2026-11-24T22:10:03Z","decision":"{id}","method":"tools/call","name":"tool-{id}","verdict":"allowed","rule":"r"}}"#
        );
        Message::new(line, None).unwrap()
    }

    fn outcome(id: &str) -> String {
        format!(r#"{{"event":"outcome","decision":"{id}","ending":"answered","latency_us":1}}"#)
    }

    #[test]
    fn what_takes_long_is_shown_before_it_has_ended_and_after() {
        let mut open = Open::default();
        open.add(message("a"));
        open.add(message("b"));
        open.end("b", outcome("b"));
        open.end("unknown", outcome("unknown"));
        assert!(open.said.len() == 1 && open.said[0].contains("answered"));
        open.show_what_takes_long(Instant::now());
        assert_eq!(open.said.len(), 1);
        for _ in 0..2 {
            open.show_what_takes_long(Instant::now() + PATIENCE);
            assert_eq!(open.said.len(), 2, "once is enough");
        }
        open.end("a", outcome("a"));
        assert!(open.said[1].contains("tool-a") && !open.said[1].contains("answered"));
        assert!(open.said[2].contains("tool-a") && open.said[2].contains("answered"));
        assert_eq!(open.ids(), [""; 0]);
    }

    #[test]
    fn only_so_many_are_waited_for() {
        let mut open = Open::default();
        (0..=MOST_OPEN).for_each(|id| open.add(message(&id.to_string())));
        assert_eq!(open.ids().len(), MOST_OPEN);
        assert!(open.said.len() == 1 && open.said[0].contains("tool-0"));
    }
}
