//! Names and sentences, cut into words.

/// The most words of a sentence that are looked at.
const MOST_WORDS: usize = 64;

/// The words of a name in lower case: at every character that is no letter or
/// digit, and where a capital begins another word (`listAllPods`, `getHTTPPage`).
pub(super) fn of_name(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = name.chars().peekable();
    let mut before = None;
    while let Some(character) = characters.next() {
        if !character.is_alphanumeric() {
            finish(&mut word, &mut words);
            before = None;
            continue;
        }
        let after_small = before.is_some_and(|before: char| !before.is_uppercase());
        let begins = after_small || characters.peek().is_some_and(|next| next.is_lowercase());
        if character.is_uppercase() && begins {
            finish(&mut word, &mut words);
        }
        word.extend(character.to_lowercase());
        before = Some(character);
    }
    finish(&mut word, &mut words);
    words
}

fn finish(word: &mut String, words: &mut Vec<String>) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

/// A word of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    /// As it is written.
    pub(super) written: &'t str,
    pub(super) lower: String,
    /// Whether a comma, a colon, a semicolon or a slash stands before it.
    pub(super) is_listed: bool,
}

/// The words of the first sentence that has any.
pub(super) fn of_sentence(text: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    let mut is_listed = false;
    for piece in text.split_whitespace() {
        for (written, mark) in pieces(piece) {
            if !written.is_empty() {
                words.push(Word {
                    written,
                    lower: written.to_lowercase(),
                    is_listed: std::mem::take(&mut is_listed),
                });
            }
            match mark {
                Some('.' | '!' | '?') if ends_with_letters(&words) => return words,
                Some(',' | ':' | ';' | '/') => is_listed = true,
                _ => {}
            }
        }
        if words.len() >= MOST_WORDS {
            break;
        }
    }
    words.truncate(MOST_WORDS);
    words
}

/// The number of an item, `1.`, ends no sentence.
fn ends_with_letters(words: &[Word<'_>]) -> bool {
    let last = words.last();
    last.is_some_and(|word| word.lower.chars().any(char::is_alphabetic))
}

/// The parts of what stands between two spaces, each with the mark behind it. A
/// full stop within a word (`db.count`) ends nothing.
fn pieces(piece: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    let mut rest = piece;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_mark = |(at, character): &(usize, char)| match character {
            '.' | '!' | '?' | ':' => {
                at + character.len_utf8() == rest.trim_end_matches(is_quote).len()
            }
            other => !other.is_alphanumeric() && !matches!(other, '-' | '_' | '\''),
        };
        let mark = rest.char_indices().find(is_mark);
        let (written, after) = match mark {
            Some((at, character)) => (
                rest.get(..at).unwrap_or_default(),
                rest.get(at + character.len_utf8()..).unwrap_or_default(),
            ),
            None => (rest, ""),
        };
        rest = after;
        Some((written, mark.map(|(_, character)| character)))
    })
}

fn is_quote(character: char) -> bool {
    matches!(character, '"' | '\'' | '`' | ')' | ']' | '*' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_where_people_see_a_word_begin() {
        for (name, expected) in [
            ("get_and_delete", "get and delete"),
            ("listAllPods", "list all pods"),
            ("getHTTPPage", "get http page"),
            ("API-post-search", "api post search"),
            ("kubectl.delete", "kubectl delete"),
            ("DeleteFile", "delete file"),
            ("ns/tool:run v2", "ns tool run v2"),
            ("__", ""),
            ("ÄndereÖl", "ändere öl"),
        ] {
            assert_eq!(of_name(name).join(" "), expected, "{name}");
        }
    }

    #[test]
    fn a_sentence_ends_with_its_full_stop() {
        let words = |text: &str| {
            let words = of_sentence(text);
            let words: Vec<_> = words
                .iter()
                .map(|word| format!("{}{}", if word.is_listed { "," } else { "" }, word.lower))
                .collect();
            words.join(" ")
        };
        assert_eq!(
            words("Get db.count() now. Then delete it."),
            "get db.count now"
        );
        assert_eq!(
            words("Create, update and/or delete \"x\"! Go"),
            "create ,update and ,or delete x"
        );
        assert_eq!(words("1. Retrieves all. 2. More"), "1 retrieves all");
        assert_eq!(words(""), "");
        assert_eq!(of_sentence(&"a ".repeat(10_000)).len(), MOST_WORDS);
    }
}
