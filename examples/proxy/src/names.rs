//! How names and texts from outside look, and how many there are of something.

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
        push(&mut shown, character);
    }
    shown
}

/// A text of which nothing could pretend to be something else.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars()
        .for_each(|character| push(&mut shown, character));
    shown
}

fn push(shown: &mut String, character: char) {
    if is_harmless(character) {
        shown.push(character);
    } else if is_blank(character) {
        shown.extend(character.escape_unicode());
    } else {
        shown.extend(character.escape_debug());
    }
}

/// Whether a character looks like what it is, commands no terminal, and does nothing to the
/// text around it.
pub(crate) fn is_harmless(character: char) -> bool {
    let is_plain = matches!(character, ' '..='~');
    is_plain || (!is_blank(character) && character.escape_debug().len() == 1)
}

/// Letters and a pattern that are drawn as nothing.
fn is_blank(character: char) -> bool {
    matches!(
        character,
        '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
    )
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

    #[test]
    fn nothing_moves_the_cursor_or_turns_the_text_around() {
        let text = "a\u{1b}[2J\r\u{202e}b\té \u{9b}\u{2028}\u{e0041}\u{3164}";
        let expected = r"a\u{1b}[2J\r\u{202e}b\té \u{9b}\u{2028}\u{e0041}\u{3164}";
        assert_eq!(harmless(text), expected);
    }
}
