//! Names from outside, made fit to be shown.

use std::borrow::Cow;
use std::sync::Arc;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Characters of a name that are shown.
const SHOWN: usize = 128;

/// A name as it may stand in an error or a log: cut to 128 characters, with
/// control and format characters (bidirectional ones among them) escaped, so
/// that it cannot pretend to be something else.
pub(crate) fn shown(name: &str) -> String {
    shown_text(name).into_owned()
}

/// The same for whoever does not keep it.
pub(crate) fn shown_text(name: &str) -> Cow<'_, str> {
    match is_plain(name) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(escaped(name)),
    }
}

/// The same of a name that is shared, and so is what is shown of it if it can be.
pub(crate) fn shown_shared(name: &Arc<str>) -> Arc<str> {
    match is_plain(name) {
        true => Arc::clone(name),
        false => escaped(name).into(),
    }
}

/// Whether it is shown as it is. Nearly all names are of these characters alone.
fn is_plain(name: &str) -> bool {
    name.len() <= SHOWN && name.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn escaped(name: &str) -> String {
    let mut shown = String::with_capacity(name.len().min(SHOWN));
    for (index, character) in name.chars().enumerate() {
        if index == SHOWN {
            shown.push('…');
            break;
        }
        match character.general_category() {
            // Letters and marks that show as nothing.
            _ if is_blank(character) => shown.extend(character.escape_unicode()),
            GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    shown
}

/// A URI as it may stand in a log: only what names something. Users, queries and
/// parameters hold passwords and tokens, and `data:` is all value.
pub(crate) fn shown_uri(uri: &str) -> String {
    let uri = uri
        .trim_start_matches(|character: char| character.is_whitespace() || character.is_control());
    let is_scheme = |scheme: &str| scheme.bytes().all(|byte| !b"/\\?#@".contains(&byte));
    let (scheme, rest) = match uri.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("", uri),
    };
    if scheme.eq_ignore_ascii_case("data") {
        return "data:".to_owned();
    }
    let lower = rest.to_ascii_lowercase();
    let end = ["?", "#", ";", "%3f", "%23", "%3b"]
        .into_iter()
        .filter_map(|mark| lower.find(mark))
        .min();
    let rest = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
    let slashes = ['/', '\\'];
    let after = rest.trim_start_matches(slashes);
    // Of what has no authority, an address of mail for one, it may be a name.
    let named = if after.len() == rest.len() {
        rest.to_owned()
    } else {
        let (authority, path) = after.split_at(after.find(slashes).unwrap_or(after.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        let before = rest.get(..rest.len().saturating_sub(after.len()));
        format!("{}{host}{path}", before.unwrap_or_default())
    };
    match scheme {
        "" => shown(&named),
        scheme => shown(&format!("{scheme}:{named}")),
    }
}

/// Characters of other categories that are drawn as nothing at all.
fn is_blank(character: char) -> bool {
    matches!(
        character,
        '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_names_stay_as_they_are() {
        assert_eq!(shown("get_weather"), "get_weather");
        assert_eq!(shown("naïve tool 日本"), "naïve tool 日本");
    }

    #[test]
    fn of_a_uri_only_what_names_something_is_shown() {
        for (uri, expected) in [
            ("file:///a/b", "file:///a/b"),
            ("https://h/p?token=x", "https://h/p"),
            ("https://h/p#x", "https://h/p"),
            ("https://h/p%3Ftoken=x", "https://h/p"),
            ("https://h/p%3ftoken=x", "https://h/p"),
            ("https://h/p;jsessionid=x", "https://h/p"),
            ("https://alice:pass@h/p", "https://h/p"),
            ("https://alice:p@ss@h", "https://h"),
            ("https://h/a@b", "https://h/a@b"),
            ("DATA:text/plain,secret", "data:"),
            ("mailto:a@b", "mailto:a@b"),
            (" \tdata:text/plain,secret", "data:"),
            ("https:/alice:pass@h/p", "https:/h/p"),
            ("https:\\\\alice:pass@h", "https:\\\\h"),
            ("//alice:pass@h/p", "//h/p"),
            ("no scheme", "no scheme"),
            ("", ""),
        ] {
            assert_eq!(shown_uri(uri), expected, "{uri}");
        }
    }

    #[test]
    fn others_are_cut_and_escaped() {
        assert_eq!(shown("a\u{202e}b\n"), "a\\u{202e}b\\u{a}");
        assert_eq!(shown("a\u{3164}"), "a\\u{3164}");
        assert_eq!(shown(&"x".repeat(200)).chars().count(), 129);
    }
}
