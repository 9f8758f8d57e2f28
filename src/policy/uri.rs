//! What is special about names that are URIs.
//!
//! Three things: scheme and host compare in lower case; a pattern matches only
//! URIs that every reader takes for the same thing ([`is_canonical`]); and a
//! URI is mistaken for more than it folds to ([`looks`]). None of this resolves
//! anything: what is not canonical is refused, not mended.

mod looks;

use std::borrow::Cow;
use std::ops::Range;

pub(super) use self::looks::{folded, folded_pattern, look_around, looks};
use super::pattern::Pattern;
use crate::fold::fold;

/// The most bytes that a URI has, unless an entry names it exactly. Matching
/// and folding a longer one is not worth the work that somebody may want to
/// cause.
const LONGEST: usize = 8 << 10;

/// A URI cut into what the rules speak of. A fragment belongs to none of it.
struct Parts<'u> {
    scheme: &'u str,
    authority: Option<&'u str>,
    /// Everything before the path.
    start: &'u str,
    path: &'u str,
    query: Option<&'u str>,
}

impl<'u> Parts<'u> {
    /// Nothing, if the text has no scheme.
    fn of(uri: &'u str) -> Option<Self> {
        Self::with(uri, is_scheme_char)
    }

    /// The same of the text of a pattern, in which a star may be part of the
    /// scheme.
    fn of_pattern(text: &'u str) -> Option<Self> {
        Self::with(text, |c| is_scheme_char(c) || c == '*')
    }

    fn with(uri: &'u str, in_scheme: impl Fn(char) -> bool) -> Option<Self> {
        let (scheme, rest) = uri.split_once(':')?;
        let first = scheme.chars().next()?;
        let starts = in_scheme(first) && (first.is_ascii_alphabetic() || first == '*');
        if !starts || !scheme.chars().all(in_scheme) {
            return None;
        }
        let (authority, rest) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, rest) = cut(rest, &['/', '?', '#']);
                (Some(authority), rest)
            }
            None => (None, rest),
        };
        let start = uri.get(..uri.len() - rest.len())?;
        let (path, rest) = cut(rest, &['?', '#']);
        let query = rest.strip_prefix('?').map(|query| cut(query, &['#']).0);
        Some(Self {
            scheme,
            authority,
            start,
            path,
            query,
        })
    }

    /// Whether something beside the path could be taken for a part of it: by a
    /// server that takes the host for the first segment, or a query for more of
    /// the path.
    fn leads_elsewhere(&self) -> bool {
        let host = self.authority.map_or("", after_userinfo);
        let query = self.query.unwrap_or_default();
        is_misleading(host)
            || query.split(['/', '?']).any(is_misleading)
            || (self.authority.is_some() && self.path.is_empty() && self.query.is_some())
    }

    /// The bytes that compare in lower case: scheme and host. The port is
    /// digits.
    fn without_case(&self) -> [Range<usize>; 2] {
        let host = self.authority.map_or("", after_userinfo);
        let end = self.start.len();
        [0..self.scheme.len(), end - host.len()..end]
    }
}

/// The text before the first of these characters, and the rest from there.
fn cut<'t>(text: &'t str, at: &[char]) -> (&'t str, &'t str) {
    let end = text.find(at).unwrap_or(text.len());
    text.split_at(end)
}

fn after_userinfo(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

fn is_scheme_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// Whether a URI can begin with this before its scheme has ended.
fn is_in_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_scheme_char)
}

/// The form in which a URI is compared: scheme and host in lower case. Costs no
/// allocation if they are.
pub(super) fn spelled(uri: &str) -> Cow<'_, str> {
    match Parts::of(uri) {
        Some(parts) => lower(uri, &parts.without_case()),
        None => Cow::Borrowed(uri),
    }
}

/// The same of how a URI begins, whatever follows.
pub(super) fn spelled_beginning(text: &str) -> Cow<'_, str> {
    if is_in_scheme(text) {
        lower(text, &[0..text.len(), 0..0])
    } else {
        spelled(text)
    }
}

/// The same of a key of the document, escapes and all.
///
/// What follows the first star can be part of the host, or of the path where
/// the star stands for a slash, too. So there are two readings if it has upper
/// case where the text has its scheme or host: the second has lower case there.
pub(super) fn spelled_key(key: &str) -> (Cow<'_, str>, Option<String>) {
    let Some(star) = first_star(key) else {
        return (spelled(key), None);
    };
    let Some(parts) = Parts::of_pattern(key) else {
        let before = key.get(..star).unwrap_or_default();
        let scheme = if is_in_scheme(before) { star } else { 0 };
        return (lower(key, &[0..scheme, 0..0]), None);
    };
    let ranges = parts.without_case();
    let certain = ranges
        .clone()
        .map(|range| range.start.min(star)..range.end.min(star));
    let first = lower(key, &certain);
    let second = lower(key, &ranges);
    let second = (first != second).then(|| second.into_owned());
    (first, second)
}

fn first_star(key: &str) -> Option<usize> {
    let mut escaped = false;
    key.bytes().position(|byte| {
        let literal = std::mem::take(&mut escaped);
        escaped = byte == b'\\' && !literal;
        byte == b'*' && !literal
    })
}

fn lower<'t>(text: &'t str, ranges: &[Range<usize>]) -> Cow<'t, str> {
    let mut lowered = Cow::Borrowed(text);
    for range in ranges {
        let part = text.get(range.clone()).unwrap_or_default();
        if part.bytes().any(|byte| byte.is_ascii_uppercase()) {
            if let Some(part) = lowered.to_mut().get_mut(range.clone()) {
                part.make_ascii_lowercase();
            }
        }
    }
    lowered
}

/// Whether patterns may match a URI, in the form of [`spelled`].
///
/// Beside what the language lists, this asks for a scheme, for escapes that are
/// escapes and stand for UTF-8 without control characters, for at most
/// [`LONGEST`] bytes, and that no segment looks like one that is not allowed.
pub(super) fn is_canonical(uri: &str) -> bool {
    let Some(parts) = Parts::of(uri) else {
        return false;
    };
    uri.len() <= LONGEST
        && (parts.scheme != "file" || uri.starts_with(FILE))
        && !uri.contains(is_never_part)
        && escapes(uri).all(|escape| matches!(escape, Escape::Byte(byte) if !is_plain(byte)))
        && (!uri.contains('%') || is_text(&decode(uri)))
        && !segments(parts.path).any(is_misleading)
        && !inner_segments(parts.path).any(is_empty)
        && !parts.leads_elsewhere()
}

const FILE: &str = "file:///";

/// Whether no canonical URI begins like this, in the form of
/// [`spelled_beginning`].
pub(super) fn is_hopeless_beginning(text: &str) -> bool {
    if is_never_inside(text) {
        return true;
    }
    if text.is_empty() || is_in_scheme(text) {
        return false;
    }
    let Some(parts) = Parts::of(text) else {
        return true;
    };
    let other_file = parts.scheme == "file" && !text.starts_with(FILE) && !FILE.starts_with(text);
    let finished = || inner_segments(parts.path);
    // Once there is a query, the last segment is finished, too.
    let last = parts.query.and_then(|_| segments(parts.path).next_back());
    other_file || finished().any(is_empty) || finished().chain(last).any(is_misleading)
}

/// Whether no canonical URI has this in it.
pub(super) fn is_never_inside(text: &str) -> bool {
    text.len() > LONGEST
        || text.contains(is_never_part)
        || escapes(text).any(|escape| match escape {
            Escape::Byte(byte) => is_plain(byte),
            Escape::Cut => false,
            Escape::Malformed => true,
        })
}

/// Whether the pattern matches no canonical URI. Not all of these are found.
pub(super) fn is_hopeless(pattern: &Pattern) -> bool {
    is_hopeless_beginning(pattern.prefix()) || pattern.runs().any(is_never_inside)
}

fn is_never_part(c: char) -> bool {
    c == '#' || c == '\\' || c.is_control()
}

/// What no canonical URI escapes: readers that resolve escapes early, twice or
/// not at all would differ in what the URI means.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || br"-._~/\%".contains(&byte)
}

/// The segments of a path; what stands before the first slash is one unless it
/// is empty.
fn segments(path: &str) -> std::str::Split<'_, char> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

/// All but the last one.
fn inner_segments(path: &str) -> impl Iterator<Item = &str> {
    let mut segments = segments(path);
    segments.next_back();
    segments
}

fn is_empty(segment: &str) -> bool {
    seen(segment).is_empty()
}

/// Whether a segment is `.` or `..`, or a server could take it for one, or for
/// several. What follows a semicolon is no part of the name for some, nor what
/// follows an escaped question mark or number sign.
fn is_misleading(segment: &str) -> bool {
    let seen = seen(segment);
    let name = seen.split([';', '?', '#']).next();
    matches!(name, Some("." | "..")) || seen.contains(['/', '\\', '%'])
}

/// What a reader sees of a segment.
fn seen(segment: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    if segment.bytes().all(plain) {
        Cow::Borrowed(segment)
    } else {
        Cow::Owned(fold(&String::from_utf8_lossy(&decode(segment))))
    }
}

/// What stands at a percent sign.
enum Escape {
    Byte(u8),
    /// The text ends too early to tell.
    Cut,
    Malformed,
}

impl Escape {
    fn read(behind: &[u8]) -> Self {
        let mut digits = behind.iter().map(|byte| char::from(*byte).to_digit(16));
        match (digits.next(), digits.next()) {
            (Some(Some(high)), Some(Some(low))) => match u8::try_from(high * 16 + low) {
                Ok(byte) => Self::Byte(byte),
                Err(_) => Self::Malformed,
            },
            (None, _) | (Some(Some(_)), None) => Self::Cut,
            _ => Self::Malformed,
        }
    }
}

fn escapes(text: &str) -> impl Iterator<Item = Escape> {
    text.match_indices('%')
        .map(|(at, _)| Escape::read(text.as_bytes().get(at + 1..).unwrap_or_default()))
}

/// Resolves escapes, once. What is no escape stays.
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, Escape::read(behind)) {
            (b'%', Escape::Byte(escaped)) => {
                bytes.push(escaped);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => bytes.push(byte),
        }
    }
    bytes
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(char::is_control))
}

/// Escapes what no URI holds, as RFC 6570 does with the text of a template.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    let holds = |c: char| c.is_ascii_graphic() && !r#""<>\^`{|}"#.contains(c);
    if text.chars().all(holds) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for c in text.chars() {
        if holds(c) {
            escaped.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                escaped.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests;
