//! What is special about names that are URIs.
//!
//! Three things: scheme and host compare in lower case; a pattern matches only
//! URIs that every reader takes for the same thing ([`is_canonical`]); and a
//! URI is mistaken for more than it folds to ([`looks`]). None of this resolves
//! anything: what is not canonical is refused, not mended.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::pattern::{Name, Pattern};
use crate::fold::{Folded, fold, fold_name};

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

/// The forms of a canonical URI that are compared with folded entries.
///
/// A server can take a URI for another one: because it resolves escapes, does
/// not care for a trailing slash, for what follows a semicolon, for the query or
/// for user information, knows the port that a scheme has, or takes the host for
/// the first segment of the path. So there is a form with and without each.
pub(super) fn looks(uri: &str) -> SmallVec<[Folded; 1]> {
    let mut looks = SmallVec::new();
    looks.push(look(uri));
    let Some(parts) = Parts::of(uri) else {
        return looks;
    };
    let others = parts
        .authority
        .map(|authority| same_authority(&parts, authority));
    let starts = others.iter().flatten().map(String::as_str);
    for start in std::iter::once(parts.start).chain(starts) {
        for path in [
            parts.path,
            without_slash(parts.path),
            without_rest(parts.path),
        ] {
            for query in once_or_twice(parts.query, None) {
                for uri in other_slashes(parts.scheme, joined(start, path, query)) {
                    let look = look(&uri);
                    if !looks.contains(&look) {
                        looks.push(look);
                    }
                }
            }
        }
    }
    looks
}

/// A path up to what some readers take for its end: a semicolon, or an escaped
/// question mark or number sign.
fn without_rest(path: &str) -> &str {
    let ends = path.char_indices().find_map(|(at, c)| {
        let rest = path.get(at..)?;
        let escaped = ["%3b", "%3f", "%23"].iter().any(|escape| {
            rest.get(..3)
                .is_some_and(|it| it.eq_ignore_ascii_case(escape))
        });
        (c == ';' || escaped).then_some(at)
    });
    path.get(..ends.unwrap_or(path.len())).unwrap_or(path)
}

/// The URI with every number of slashes behind its scheme that there can be:
/// some servers cut the scheme off and take the rest for a path. Of files there
/// is only one canonical form.
fn other_slashes(scheme: &str, uri: String) -> SmallVec<[String; 4]> {
    let mut uris = SmallVec::new();
    if scheme != "file" {
        let rest = uri.get(scheme.len() + 1..).unwrap_or_default();
        let rest = rest.trim_start_matches('/');
        for slashes in ["", "/", "//", "///"] {
            let other = format!("{scheme}:{slashes}{rest}");
            if other != uri {
                uris.push(other);
            }
        }
    }
    uris.insert(0, uri);
    uris
}

fn once_or_twice<T: PartialEq>(one: T, other: T) -> impl Iterator<Item = T> {
    let other = (one != other).then_some(other);
    std::iter::once(one).chain(other)
}

fn look(text: &str) -> Folded {
    if text.contains('%') {
        fold_name(&String::from_utf8_lossy(&decode(text)))
    } else {
        fold_name(text)
    }
}

fn joined(start: &str, path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{start}{path}?{query}"),
        None => format!("{start}{path}"),
    }
}

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// What a URI could as well start with: without user information and the dot
/// behind the host; without and with the port that goes without saying.
fn same_authority(parts: &Parts<'_>, authority: &str) -> SmallVec<[String; 2]> {
    let usual = match parts.scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        "ftp" => Some(21),
        _ => None,
    };
    let host = after_userinfo(authority);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (host, ""),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let port: Option<u16> = port.parse().ok().or(usual);
    let mut starts = SmallVec::new();
    // Without a usual port, a port is nothing that a server would look at.
    if port == usual || usual.is_none() {
        starts.push(format!("{}://{host}", parts.scheme));
    }
    if let Some(port) = port {
        starts.push(format!("{}://{host}:{port}", parts.scheme));
    }
    starts.retain(|start| start != parts.start);
    starts
}

/// The name or pattern of an entry that [`looks`] are compared with.
pub(super) fn folded(name: &Name) -> Name {
    match name {
        Name::Exact(uri) => {
            let text = match Parts::of(uri).filter(|_| !uri.contains('#')) {
                Some(parts) => joined(parts.start, without_slash(parts.path), parts.query),
                None => uri.clone(),
            };
            Name::Exact(fold(&String::from_utf8_lossy(&decode(&text))))
        }
        Name::Pattern(pattern) => Name::Pattern(folded_pattern(pattern)),
    }
}

/// The same of a pattern. Escapes of which a star cuts off a part can stand for
/// anything here.
pub(super) fn folded_pattern(pattern: &Pattern) -> Pattern {
    let mut runs = Vec::new();
    for run in pattern.runs() {
        let bytes = decode(run);
        let mut text = String::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                runs.push(fold(&std::mem::take(&mut text)));
            }
        }
        runs.push(fold(&text));
    }
    if let Some(suffix) = runs.last_mut() {
        let bare = suffix.strip_suffix('/').filter(|bare| !bare.is_empty());
        if let Some(bare) = bare.map(str::len) {
            suffix.truncate(bare);
        }
    }
    Pattern::from_runs(runs)
}

/// The look of how a URI begins and ends, as far as it does not depend on what
/// is between: characters can compose, but none does so with a slash.
pub(super) fn look_around(prefix: &str, suffix: &str) -> Pattern {
    let prefix = prefix.rfind('/').and_then(|slash| prefix.get(..=slash));
    let suffix = suffix.find('/').and_then(|slash| suffix.get(slash..));
    let fold = |text: &str| fold(&String::from_utf8_lossy(&decode(text)));
    Pattern::between(
        fold(prefix.unwrap_or_default()),
        fold(suffix.unwrap_or_default()),
    )
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
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_two_ways_where_its_first_star_hides_the_host() {
        for (key, first, second) in [
            ("HTTP://A/B", "http://a/B", None),
            ("HTTP://A/*B", "http://a/*B", None),
            ("HTTP://A*B/C", "http://a*B/C", Some("http://a*b/C")),
            ("HTTP://AA*B/C", "http://aa*B/C", Some("http://aa*b/C")),
            (r"HTTP://A\*B*C", r"http://a\*b*C", Some(r"http://a\*b*c")),
            (r"HTTP://A\\*C", r"http://a\\*C", Some(r"http://a\\*c")),
        ] {
            let (one, other) = spelled_key(key);
            assert_eq!((&*one, other.as_deref()), (first, second), "{key}");
        }
    }

    #[test]
    fn a_longer_text_is_in_no_uri() {
        assert!(!is_never_inside(&"a".repeat(LONGEST)));
        for length in [LONGEST + 1, LONGEST + 2] {
            assert!(is_never_inside(&"a".repeat(length)));
        }
    }

    #[test]
    fn the_usual_port_goes_without_saying() {
        for (uri, same) in [
            ("http://h/a", "http://h:80/a"),
            ("https://h/a", "https://h:443/a"),
            ("wss://h/a", "wss://h:443/a"),
            ("ftp://h/a", "ftp://h:21/a"),
            ("http://[::1]/a", "http://[::1]:80/a"),
        ] {
            for (one, other) in [(uri, same), (same, uri)] {
                assert!(looks(one).contains(&look(other)), "{one} {other}");
            }
        }
        assert!(!looks("x://h/a").contains(&look("x://h:80/a")));
    }

    #[test]
    fn a_slash_at_the_end_counts_for_nothing() {
        let folded = |text: &str| match Name::parse(text) {
            Ok(Name::Pattern(pattern)) => folded_pattern(&pattern),
            other => panic!("{text:?} is no pattern: {other:?}"),
        };
        assert_eq!(folded("x:*/a/"), folded("x:*/a"));
        // All of it is one slash: nothing would be left to tell by.
        assert_ne!(folded("x:*/"), folded("x:*"));
    }

    #[test]
    fn what_no_uri_holds_is_escaped() {
        let plain = "a:/b?c=%20&d[0]~";
        assert!(matches!(escaped(plain), Cow::Borrowed(text) if text == plain));
        assert_eq!(escaped("a{b} \u{e9}\"<\n"), "a%7Bb%7D%20%C3%A9%22%3C%0A");
    }
}
