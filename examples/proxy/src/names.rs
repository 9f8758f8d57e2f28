//! How names from outside look, and how many there are of something.

/// Characters of a name that are shown.
const SHOWN: usize = 128;

/// A name as a person may see it: cut, and without anything that could pretend
/// to be something else.
pub(crate) fn shown(name: &str) -> String {
    let mut shown = String::new();
    for (index, character) in name.chars().enumerate() {
        if index == SHOWN {
            shown.push('…');
            break;
        }
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            // Letters and a pattern that are drawn as nothing.
            '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}' => {
                shown.extend(character.escape_unicode());
            }
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// The beginning of a text that is longer than that.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `1 case`, `2 cases`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_pretend() {
        assert_eq!(shown("a_b/c.d-e \u{e9} \"'\\"), "a_b/c.d-e \u{e9} \"'\\");
        assert_eq!(
            shown("a\nb\u{202e}\u{1b}[31m\u{200b}"),
            r"a\nb\u{202e}\u{1b}[31m\u{200b}"
        );
        assert_eq!(shown("a\u{3164}\u{2800}"), r"a\u{3164}\u{2800}");
        assert_eq!(shown(&"x".repeat(200)).chars().count(), 129);
    }
}
