//! A slow, obvious splitter of event streams, over the whole text at once.

/// An event that has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: Vec<u8>,
    pub data: Vec<u8>,
}

/// The lines of a text with their ends, which are LF, CR or CRLF; what follows
/// the last end is left out.
fn lines(text: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        let end = if rest[at..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        lines.push((&rest[..at], &rest[at..at + end]));
        rest = &rest[at + end..];
    }
    lines
}

/// The name and the value of a field.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b':') {
        None => (line, b""),
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}

fn without_mark(line: &[u8], is_first: bool) -> &[u8] {
    let mark = "\u{feff}".as_bytes();
    line.strip_prefix(mark).filter(|_| is_first).unwrap_or(line)
}

/// Whether a line may be passed on that is neither data nor the end of an event.
fn goes_on(line: &[u8]) -> bool {
    let is_known = matches!(field(line).0, b"event" | b"id" | b"retry") || (line.starts_with(b":"));
    let is_plain = std::str::from_utf8(line).is_ok_and(|text| {
        text.chars().all(|character| {
            let ends_line = matches!(character, '\u{2028}' | '\u{2029}');
            character == '\t' || !(character == '{' || ends_line || character.is_control())
        })
    });
    is_known && is_plain
}

/// What goes on of a stream, and the events that were judged.
pub fn pass(
    stream: &[u8],
    judge: &mut dyn FnMut(&Event) -> Option<Vec<u8>>,
) -> (Vec<u8>, Vec<Event>) {
    let (mut out, mut judged) = (Vec::new(), Vec::new());
    let mut piece: Vec<(&[u8], &[u8], &[u8])> = Vec::new();
    for (index, (whole, end)) in lines(stream).into_iter().enumerate() {
        let line = without_mark(whole, index == 0);
        piece.push((whole, line, end));
        let is_data = field(line).0 == b"data" || goes_on(line) && !line.starts_with(b":");
        let is_complete = line.is_empty() || (piece.len() == 1 && !is_data);
        if is_complete {
            complete(&std::mem::take(&mut piece), judge, &mut out, &mut judged);
        }
    }
    (out, judged)
}

fn complete(
    piece: &[(&[u8], &[u8], &[u8])],
    judge: &mut dyn FnMut(&Event) -> Option<Vec<u8>>,
    out: &mut Vec<u8>,
    judged: &mut Vec<Event>,
) {
    let values = |name: &'static [u8]| {
        let fields = piece.iter().map(|(_, line, _)| (*line, field(line)));
        fields.filter(move |(line, field)| field.0 == name && (name == b"data" || goes_on(line)))
    };
    let data: Vec<&[u8]> = values(b"data").map(|(_, field)| field.1).collect();
    let data = data.join(&b'\n');
    let mut instead = None;
    if !data.is_empty() {
        let name = values(b"event").next_back().map(|(_, field)| field.1);
        let event = Event {
            name: name.unwrap_or_default().to_vec(),
            data,
        };
        match judge(&event) {
            None => return judged.push(event),
            Some(data) if data == event.data => {}
            Some(data) => instead = Some(data),
        }
        judged.push(event);
    }
    let stays = |line: &[u8]| line.is_empty() || field(line).0 == b"data" || goes_on(line);
    let untouched = instead.is_none() && piece.iter().all(|(_, line, _)| stays(line));
    for (whole, line, end) in piece {
        if untouched {
            out.extend_from_slice(whole);
            out.extend_from_slice(end);
        } else if stays(line) && (instead.is_none() || goes_on(line)) {
            out.extend_from_slice(whole);
            out.push(b'\n');
        }
    }
    if let Some(data) = instead {
        for line in data.split(|byte| *byte == b'\n') {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

/// The data of every event, as a client reads it that takes line ends as the
/// standard does, and as one does that splits at whatever Python takes for one.
pub fn data(stream: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(stream);
    let (mut strict, mut lenient) = (String::new(), String::new());
    for character in text.trim_start_matches('\u{feff}').chars() {
        let ends_line = "\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}".contains(character);
        strict.push(character);
        lenient.push(if ends_line { '\n' } else { character });
    }
    let mut found = Vec::new();
    for stream in [strict, lenient] {
        let mut data: Vec<&[u8]> = Vec::new();
        for (line, _) in lines(stream.as_bytes()) {
            match field(line) {
                (b"", _) if line.is_empty() => found.push(std::mem::take(&mut data).join(&b'\n')),
                (b"data", value) => data.push(value),
                _ => {}
            }
        }
    }
    found
}
