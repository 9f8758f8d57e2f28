//! A record as JSON, in one line.
//!
//! It says what `serde_json` makes of the record, byte for byte, for a fifth of the
//! instructions: there are two records of every call.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::AuditRecord;
use super::members::{Members, Name, in_microseconds, timestamp};
use super::record::DecisionId;
use crate::json::write;
use crate::policy::Truth;

/// Longer than nearly all are, with a line break behind.
const USUAL: usize = 1_024;

/// The record as one JSON object, in this memory.
pub(super) fn json(record: &AuditRecord, mut memory: Vec<u8>) -> Vec<u8> {
    memory.clear();
    memory.reserve(USUAL);
    let mut line = Line(memory);
    let Ok(()) = record.members(&mut line);
    let mut json = line.0;
    // Each member has a comma before it.
    if let Some(first) = json.first_mut() {
        *first = b'{';
    }
    json.push(b'}');
    json
}

/// The members up to now.
struct Line(Vec<u8>);

impl Line {
    #[inline(always)]
    fn put(&mut self, json: &str) {
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Ends a list, of which every element has a comma behind it.
    #[inline]
    fn end_list(&mut self) {
        if self.0.last() == Some(&b',') {
            self.0.pop();
        }
        self.0.push(b']');
    }
}

impl Members for Line {
    type Error = Infallible;

    #[inline(always)]
    fn word(&mut self, name: Name, word: &'static str) -> Result<(), Infallible> {
        self.put(name.json_quote);
        self.put(word);
        self.0.push(b'"');
        Ok(())
    }

    #[inline(always)]
    fn text(&mut self, name: Name, text: &str) -> Result<(), Infallible> {
        self.put(name.json);
        write::string(text, &mut self.0);
        Ok(())
    }

    #[inline(always)]
    fn text_if_any(&mut self, name: Name, text: Option<&str>) -> Result<(), Infallible> {
        match text {
            Some(text) => self.text(name, text),
            None => Ok(()),
        }
    }

    fn texts<'t>(
        &mut self,
        name: Name,
        texts: impl Iterator<Item = &'t str> + Clone,
    ) -> Result<(), Infallible> {
        self.put(name.json);
        self.0.push(b'[');
        for text in texts {
            write::string(text, &mut self.0);
            self.0.push(b',');
        }
        self.end_list();
        Ok(())
    }

    fn time(&mut self, name: Name, time: SystemTime) -> Result<(), Infallible> {
        self.put(name.json_quote);
        push_time(time, &mut self.0);
        self.0.push(b'"');
        Ok(())
    }

    fn id(&mut self, name: Name, id: DecisionId) -> Result<(), Infallible> {
        self.put(name.json_quote);
        self.0.extend_from_slice(&digits(id));
        self.0.push(b'"');
        Ok(())
    }

    fn conditions(
        &mut self,
        name: Name,
        conditions: &[(impl AsRef<str>, Truth)],
    ) -> Result<(), Infallible> {
        self.put(name.json);
        self.0.push(b'[');
        for (place, truth) in conditions {
            self.put(r#"{"place":"#);
            write::string(place.as_ref(), &mut self.0);
            self.put(match truth {
                Truth::True => r#","truth":"true"},"#,
                Truth::False => r#","truth":"false"},"#,
                Truth::Undecidable => r#","truth":"undecidable"},"#,
            });
        }
        self.end_list();
        Ok(())
    }

    #[inline(always)]
    fn yes(&mut self, name: Name) -> Result<(), Infallible> {
        self.put(name.json);
        self.put("true");
        Ok(())
    }

    #[inline(always)]
    fn status_if_any(&mut self, name: Name, status: Option<u16>) -> Result<(), Infallible> {
        if let Some(status) = status {
            self.put(name.json);
            self.put(itoa::Buffer::new().format(status));
        }
        Ok(())
    }

    #[inline(always)]
    fn microseconds(&mut self, name: Name, duration: Duration) -> Result<(), Infallible> {
        self.put(name.json);
        self.put(itoa::Buffer::new().format(in_microseconds(duration)));
        Ok(())
    }
}

/// What its `Display` writes.
fn digits(id: DecisionId) -> [u8; 32] {
    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(id.to_bytes()) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}

thread_local! {
    /// A second since 1970, and as what it is written. Most records are of the same second
    /// as the one before, and to find out the date takes as long as all the rest.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
}

fn push_time(time: SystemTime, json: &mut Vec<u8>) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let second = since.and_then(|since| second(since.as_secs()));
    let (Some(since), Some(second)) = (since, second) else {
        // Writing to memory does not fail.
        let _ = write!(json, "{:.6}", timestamp(time));
        return;
    };
    json.extend_from_slice(&second);
    let mut fraction = *b".000000Z";
    let [_, digits @ .., _] = &mut fraction;
    let mut rest = since.subsec_micros();
    for digit in digits.iter_mut().rev() {
        // Less than ten.
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    json.extend_from_slice(&fraction);
}

/// Date and time of a second since 1970, if the year has four digits.
fn second(number: u64) -> Option<[u8; 19]> {
    let (last, text) = SECOND.get();
    if last == number {
        return Some(text);
    }
    let text = written_out(number)?;
    SECOND.set((number, text));
    Some(text)
}

#[inline(never)]
fn written_out(second: u64) -> Option<[u8; 19]> {
    let time = jiff::Timestamp::from_second(i64::try_from(second).ok()?);
    let text = time.ok()?.to_string();
    text.strip_suffix('Z')?.as_bytes().try_into().ok()
}

#[cfg(test)]
mod tests;
