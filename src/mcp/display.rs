//! Names from outside, made fit to be shown.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Characters of a name that are shown.
const SHOWN: usize = 128;

/// A name as it may stand in an error or a log: cut to 128 characters, with
/// control and format characters (bidirectional ones among them) escaped, so
/// that it cannot pretend to be something else.
pub(crate) fn shown(name: &str) -> String {
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
    fn others_are_cut_and_escaped() {
        assert_eq!(shown("a\u{202e}b\n"), "a\\u{202e}b\\u{a}");
        assert_eq!(shown("a\u{3164}"), "a\\u{3164}");
        assert_eq!(shown(&"x".repeat(200)).chars().count(), 129);
    }
}
