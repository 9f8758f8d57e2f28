use std::ops::Range;

/// A string of the input: the span between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it holds escape sequences.
    pub(super) escaped: bool,
}

impl Text {
    /// The span with its quotes.
    pub(crate) const fn quoted(self) -> Range<usize> {
        self.start.saturating_sub(1)..self.end.saturating_add(1)
    }

    /// Bytes between the quotes, escape sequences counted as they are written.
    pub(crate) const fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }
}

/// Resolves the escape sequences of a string that has been read before. A lone
/// surrogate, where a profile lets it pass, becomes U+FFFD.
pub(super) fn unescape(raw: &str) -> String {
    let mut said = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        said.push_str(plain);
        let mut characters = escape.chars();
        match characters.next() {
            Some('b') => said.push('\u{8}'),
            Some('f') => said.push('\u{c}'),
            Some('n') => said.push('\n'),
            Some('r') => said.push('\r'),
            Some('t') => said.push('\t'),
            Some('u') => {
                rest = unescape_unicode(escape, &mut said);
                continue;
            }
            Some(other) => said.push(other),
            None => {}
        }
        rest = characters.as_str();
    }
    said.push_str(rest);
    said
}

/// Resolves one `uXXXX`, or a surrogate pair of two, and gives what follows.
fn unescape_unicode<'a>(escape: &'a str, said: &mut String) -> &'a str {
    let unit = |text: &str| {
        let digits = text.strip_prefix('u')?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(escape) else {
        return "";
    };
    let after_first = escape.get(5..).unwrap_or_default();
    let second = after_first.strip_prefix('\\').and_then(unit);
    if let Some(second @ 0xDC00..=0xDFFF) = second.filter(|_| (0xD800..=0xDBFF).contains(&first)) {
        said.extend(char::decode_utf16([first, second]).flatten());
        return after_first.get(6..).unwrap_or_default();
    }
    said.push(char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER));
    after_first
}
