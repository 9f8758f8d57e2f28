//! Server-sent events, split without losing a byte and judged one by one.
//!
//! The framing is that of the WHATWG specification: lines end with LF, CR or
//! CRLF, an empty line ends an event. Lines that not every client understands
//! in the same way are not passed on.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines that an event may have: each costs memory beside its bytes.
const MOST_LINES: usize = 16 * 1024;

/// An event that has data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    /// Its type; empty where none is named.
    pub(crate) name: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on as it is.
    Forward,
    /// Its data is replaced.
    Rewrite(Vec<u8>),
    /// It is left out.
    Drop,
}

/// More bytes without the end of an event than may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Splits a stream of bytes into events.
#[derive(Debug)]
pub(crate) struct Splitter {
    /// The beginning of an event whose end has not come yet.
    held: BytesMut,
    /// How far `held` has been looked at.
    scanned: usize,
    line_start: usize,
    /// The lines of the event so far.
    lines: Vec<Line>,
    /// Bytes that may be held.
    limit: usize,
    /// Whether nothing has been read: a byte order mark may come.
    at_start: bool,
    /// The last byte was a CR, and whether what it ended was passed on: a LF
    /// that follows belongs to it.
    after_return: Option<bool>,
}

#[derive(Clone, Debug)]
struct Line {
    kind: LineKind,
    /// With its line end.
    whole: Range<usize>,
    /// The value of the field.
    value: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineKind {
    /// The end of an event.
    Empty,
    Data,
    /// `event`.
    Name,
    /// `id` or `retry`.
    Field,
    Comment,
    /// Anything else, and what is not plain: some lenient clients would read
    /// it as data.
    Odd,
}

impl Splitter {
    /// A splitter that holds at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            held: BytesMut::new(),
            scanned: 0,
            line_start: 0,
            lines: Vec::new(),
            limit,
            at_start: true,
            after_return: None,
        }
    }

    /// Bytes that are held at the moment.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// The stream has begun with something else: what comes is no longer its
    /// beginning.
    pub(crate) fn begin(&mut self) {
        self.at_start = false;
    }

    /// Takes the next bytes of the stream and appends what may go on to `out`.
    /// `judge` is given each event that has data.
    pub(crate) fn push(
        &mut self,
        mut chunk: Bytes,
        judge: &mut dyn FnMut(Event<'_>) -> Verdict,
        out: &mut VecDeque<Bytes>,
    ) -> Result<(), TooLarge> {
        if !self.held.is_empty() {
            let Some(rest) = self.push_held(chunk, judge, out)? else {
                return Ok(());
            };
            chunk = rest;
        }
        // What lies between the two goes on as it is, in one slice.
        let (mut passed, mut start) = (0, 0);
        loop {
            let rest = chunk.get(start..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            if let Some(goes_on) = self.after_return.take() {
                if rest.first() == Some(&b'\n') {
                    if !goes_on {
                        pass(&chunk, passed..start, out);
                        passed = start.saturating_add(1);
                    }
                    start = start.saturating_add(1);
                    continue;
                }
            }
            let Some(length) = self.scan(rest)? else {
                break;
            };
            let piece = rest.get(..length).unwrap_or_default();
            let end = start.saturating_add(length);
            let instead = match self.complete(piece, judge) {
                Outcome::Whole => None,
                Outcome::Instead(event) => Some(event),
            };
            if let Some(event) = instead {
                pass(&chunk, passed..start, out);
                out.extend(Some(event).filter(|event| !event.is_empty()));
                passed = end;
            }
            start = end;
        }
        pass(&chunk, passed..start, out);
        self.held
            .extend_from_slice(chunk.get(start..).unwrap_or_default());
        self.check_limit()
    }

    /// Shows each event that has data and ends in this chunk, which is still to be
    /// [pushed](Self::push). What is too large is found out then.
    pub(crate) fn look_at(&mut self, chunk: &Bytes, look: &mut dyn FnMut(Event<'_>)) {
        // Nothing ends without a line.
        if memchr::memchr2(b'\n', b'\r', chunk).is_none() {
            return;
        }
        let mut rest = chunk.clone();
        let mut behind = Self {
            at_start: self.at_start,
            after_return: self.after_return,
            ..Self::new(self.limit)
        };
        if !self.held.is_empty() {
            let before = self.held.len();
            let Some((length, after_return)) = self.look_at_held(chunk, look) else {
                return;
            };
            rest = rest.split_off(length.saturating_sub(before));
            (behind.at_start, behind.after_return) = (false, after_return);
        }
        let mut judge = |event: Event<'_>| {
            look(event);
            Verdict::Drop
        };
        let _ = behind.push(rest, &mut judge, &mut VecDeque::new());
    }

    /// The same of the event that began in an earlier chunk: it may be large, so it is not
    /// copied. Gives its length, and what stands behind it if it ended with a CR; `None`
    /// if it does not end here.
    fn look_at_held(
        &mut self,
        chunk: &Bytes,
        look: &mut dyn FnMut(Event<'_>),
    ) -> Option<(usize, Option<bool>)> {
        let (scanned, line_start) = (self.scanned, self.line_start);
        let (at_start, after_return) = (self.at_start, self.after_return);
        let (lines, before) = (self.lines.len(), self.held.len());
        self.held.extend_from_slice(chunk);
        let mut held = std::mem::take(&mut self.held);
        let end = self.scan(&held).ok().flatten();
        if let Some(piece) = end.and_then(|length| held.get(..length)) {
            let data = data_of(piece, &self.lines);
            if let Some(data) = data.as_deref().filter(|data| !data.is_empty()) {
                let name = name_of(piece, &self.lines);
                look(Event { name, data });
            }
        }
        let behind = self.after_return;
        // As if nothing had been seen of it.
        held.truncate(before);
        self.held = held;
        self.lines.truncate(lines);
        (self.scanned, self.line_start) = (scanned, line_start);
        (self.at_start, self.after_return) = (at_start, after_return);
        end.map(|length| (length, behind))
    }

    /// Goes on with an event that began in an earlier chunk. Gives what follows
    /// it in this one; `None` if it has not ended yet.
    fn push_held(
        &mut self,
        mut chunk: Bytes,
        judge: &mut dyn FnMut(Event<'_>) -> Verdict,
        out: &mut VecDeque<Bytes>,
    ) -> Result<Option<Bytes>, TooLarge> {
        let before = self.held.len();
        self.held.extend_from_slice(&chunk);
        let mut held = std::mem::take(&mut self.held);
        let Some(length) = self.scan(&held)? else {
            self.held = held;
            return self.check_limit().map(|()| None);
        };
        held.truncate(length);
        match self.complete(&held, judge) {
            Outcome::Whole => out.push_back(held.freeze()),
            Outcome::Instead(event) => out.extend(Some(event).filter(|event| !event.is_empty())),
        }
        Ok(Some(chunk.split_off(length.saturating_sub(before))))
    }

    fn check_limit(&self) -> Result<(), TooLarge> {
        if self.held.len() > self.limit {
            return Err(TooLarge);
        }
        Ok(())
    }

    /// Looks for the end of the piece that begins with `bytes`: an event, or a
    /// line that belongs to none. Goes on where it stopped the last time.
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, TooLarge> {
        loop {
            let rest = bytes.get(self.scanned..).unwrap_or_default();
            let Some(offset) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.scanned = bytes.len();
                return Ok(None);
            };
            let end = self.scanned.saturating_add(offset);
            let mut next = end.saturating_add(1);
            let line_end = bytes.get(end..).unwrap_or_default();
            if line_end.starts_with(b"\r\n") {
                next = next.saturating_add(1);
            }
            let line = self.line(bytes, end, next);
            let ends = match line.kind {
                LineKind::Empty => true,
                // Outside an event, a line stands alone and does not wait.
                LineKind::Comment | LineKind::Odd => self.lines.is_empty(),
                LineKind::Data | LineKind::Name | LineKind::Field => false,
            };
            if line_end == b"\r" {
                if !ends {
                    // A LF may follow that belongs to this line.
                    self.scanned = end;
                    return Ok(None);
                }
                self.after_return = Some(false);
            }
            self.at_start = false;
            self.scanned = next;
            self.line_start = next;
            self.lines.push(line);
            if self.lines.len() > MOST_LINES {
                return Err(TooLarge);
            }
            if ends {
                return Ok(Some(next));
            }
        }
    }

    /// The line that ends at `end`; the next one begins at `next`.
    fn line(&self, bytes: &[u8], end: usize, next: usize) -> Line {
        let mut start = self.line_start;
        let text = |start| bytes.get(start..end).unwrap_or_default();
        if self.at_start && text(start).starts_with(BYTE_ORDER_MARK) {
            start = start.saturating_add(BYTE_ORDER_MARK.len());
        }
        let line = text(start);
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value_start) = match colon {
            Some(colon) => (line.get(..colon).unwrap_or_default(), start + colon + 1),
            None => (line, end),
        };
        let kind = match field {
            b"" if colon.is_none() => LineKind::Empty,
            b"data" => LineKind::Data,
            _ if !is_plain(line) => LineKind::Odd,
            b"" => LineKind::Comment,
            b"event" => LineKind::Name,
            b"id" | b"retry" => LineKind::Field,
            _ => LineKind::Odd,
        };
        let space = usize::from(text(value_start).starts_with(b" "));
        Line {
            kind,
            whole: self.line_start..next,
            value: value_start.saturating_add(space)..end,
        }
    }

    /// What goes on of a complete piece.
    fn complete(&mut self, piece: &[u8], judge: &mut dyn FnMut(Event<'_>) -> Verdict) -> Outcome {
        let lines = std::mem::take(&mut self.lines);
        self.scanned = 0;
        self.line_start = 0;
        let data = data_of(piece, &lines);
        let verdict = match &data {
            Some(data) if !data.is_empty() => judge(Event {
                name: name_of(piece, &lines),
                data,
            }),
            _ => Verdict::Forward,
        };
        let outcome = match verdict {
            Verdict::Forward if lines.iter().all(|line| line.kind != LineKind::Odd) => {
                Outcome::Whole
            }
            Verdict::Forward => Outcome::Instead(write(piece, &lines, None)),
            Verdict::Rewrite(data) => Outcome::Instead(write(piece, &lines, Some(&data))),
            Verdict::Drop => Outcome::Instead(Bytes::new()),
        };
        if let Some(goes_on) = &mut self.after_return {
            *goes_on = matches!(outcome, Outcome::Whole);
        }
        outcome
    }
}

/// Whether a line that nobody judges can be nothing but what it seems: some
/// clients end lines at other characters too, and some read every line.
fn is_plain(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| {
        line.chars().all(|character| match character {
            '{' | '\u{2028}' | '\u{2029}' => false,
            '\t' => true,
            other => !other.is_control(),
        })
    })
}

/// What goes on in the place of a piece.
enum Outcome {
    /// The piece itself.
    Whole,
    /// This, which may be nothing.
    Instead(Bytes),
}

fn pass(chunk: &Bytes, span: Range<usize>, out: &mut VecDeque<Bytes>) {
    if !span.is_empty() {
        out.push_back(chunk.slice(span));
    }
}

/// The type of an event: the last one named counts.
fn name_of<'p>(piece: &'p [u8], lines: &[Line]) -> &'p [u8] {
    lines
        .iter()
        .rfind(|line| line.kind == LineKind::Name)
        .and_then(|line| piece.get(line.value.clone()))
        .unwrap_or_default()
}

/// The data of an event: its data lines, joined with LF.
fn data_of<'p>(piece: &'p [u8], lines: &[Line]) -> Option<Cow<'p, [u8]>> {
    let mut values = lines
        .iter()
        .filter(|line| line.kind == LineKind::Data)
        .map(|line| piece.get(line.value.clone()).unwrap_or_default());
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(Cow::Borrowed(first));
    };
    let mut joined = first.to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.push(b'\n');
        joined.extend_from_slice(value);
    }
    Some(Cow::Owned(joined))
}

/// The event without its odd lines, and with other data if there is any.
///
/// Every line ends with LF then: what a CR and a LF mean depends on what
/// stands between them, and that may have gone.
fn write(piece: &[u8], lines: &[Line], data: Option<&[u8]>) -> Bytes {
    let mut event = Vec::with_capacity(piece.len().saturating_add(16));
    for line in lines {
        match line.kind {
            LineKind::Odd => {}
            LineKind::Data if data.is_some() => {}
            // Comes last, behind the new data.
            LineKind::Empty if data.is_some() => {}
            _ => {
                let text = line.whole.start..line.value.end;
                event.extend_from_slice(piece.get(text).unwrap_or_default());
                event.push(b'\n');
            }
        }
    }
    if let Some(data) = data {
        write_data(data, &mut event);
    }
    event.into()
}

/// An event of the type `message` that holds `data`.
pub(crate) fn event(data: &[u8]) -> Bytes {
    let mut event = b"event: message\n".to_vec();
    write_data(data, &mut event);
    event.into()
}

fn write_data(data: &[u8], event: &mut Vec<u8>) {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', data).chain([data.len()]) {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(data.get(start..end).unwrap_or_default());
        event.push(b'\n');
        start = end.saturating_add(1);
    }
    event.push(b'\n');
}

#[cfg(test)]
mod tests;
