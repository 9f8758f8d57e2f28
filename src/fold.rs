//! The folded form of a name: what is left of it when everything is taken away
//! that a person, or a careless server, does not see.

use smallvec::SmallVec;
use unicase::UniCase;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// A folded name that lives on the stack when the name is an ordinary one.
pub(crate) type Folded = SmallVec<[u8; 256]>;

/// NFKC and full case folding, without format characters and white space.
///
/// The result is a fixed point: folding it again changes nothing.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return fold_ascii(text).collect();
    }
    let mut folded = round(text);
    // What one step leaves can be work for another: white space that NFKC made
    // keeps two characters apart that compose once it is gone. Nothing known
    // needs a third round; the bound is there so that the loop has one.
    for _ in 0..MAX_ROUNDS {
        if is_folded(&folded) {
            break;
        }
        let again = round(&folded);
        if again == folded {
            break;
        }
        folded = again;
    }
    folded
}

/// [`fold`] for names that arrive in requests; a plain ASCII name of ordinary
/// length costs no allocation.
pub(crate) fn fold_name(name: &str) -> Folded {
    if !name.is_ascii() {
        return Folded::from_slice(fold(name).as_bytes());
    }
    let mut folded = Folded::from_slice(name.as_bytes());
    folded.make_ascii_lowercase();
    if folded.iter().any(is_space) {
        folded.retain(|byte| !is_space(byte));
    }
    folded
}

/// Whether it is plain to see that a name is its own folded form.
pub(crate) fn is_plainly_folded(name: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'!'..=b'~') && !byte.is_ascii_uppercase();
    name.bytes().all(is_plain)
}

/// Whether a character is one that a reader cannot be relied on to see.
pub(crate) fn is_format(c: char) -> bool {
    !c.is_ascii() && c.general_category() == GeneralCategory::Format
}

/// ASCII is its own NFKC, has no format characters, and folds to lower case.
fn fold_ascii(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_ascii_lowercase())
}

/// Whether an ASCII character is white space, a vertical tab included.
fn is_space(byte: &u8) -> bool {
    char::from(*byte).is_whitespace()
}

fn round(text: &str) -> String {
    let composed: String = text.nfkc().collect();
    UniCase::unicode(composed.as_str())
        .to_folded_case()
        .nfkc()
        .filter(|c| !c.is_whitespace() && !is_format(*c))
        .collect()
}

/// Whether it is plain to see that another round changes nothing: what is left
/// out has been.
fn is_folded(round: &str) -> bool {
    is_nfkc_quick(round.chars()) == IsNormalized::Yes
        && UniCase::unicode(round).to_folded_case() == round
}

const MAX_ROUNDS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_alike_folds_to_the_same() {
        for (text, folded) in [
            ("read_file", "read_file"),
            ("Read_File", "read_file"),
            ("ｒｅａｄ＿ｆｉｌｅ", "read_file"),
            ("read_file\u{200b}", "read_file"),
            ("re\u{ad}ad_file", "read_file"),
            ("\u{feff}read_file", "read_file"),
            ("read\u{202e}_file", "read_file"),
            ("read _\tfile\u{a0}\u{3000}\u{b}", "read_file"),
            ("\u{212a}eep", "keep"),
            ("\u{17f}end", "send"),
            ("Straße", "strasse"),
            ("STRASSE", "strasse"),
            ("ﬁnd", "find"),
            ("ⅷ", "viii"),
            ("", ""),
            (" \u{200b}", ""),
        ] {
            assert_eq!(fold(text), folded, "{text:?}");
            assert_eq!(fold_name(text).as_slice(), folded.as_bytes(), "{text:?}");
        }
        // Another letter stays another letter: homoglyphs are left to the rule
        // about the characters of a name.
        assert_ne!(fold("r\u{435}ad_file"), fold("read_file"));
    }

    #[test]
    fn what_comes_together_composes() {
        assert_eq!(fold("e\u{200b}\u{301}"), "\u{e9}");
        assert_eq!(fold("e\u{a8}"), "\u{eb}");
    }

    #[test]
    fn every_character_folds_to_a_fixed_point() {
        // What comes between and behind is not assigned, or is for private use.
        for c in ('\0'..'\u{32000}').chain('\u{e0000}'..'\u{e1000}') {
            let folded = fold(&String::from(c));
            assert_eq!(fold(&folded), folded, "{c:?}");
        }
    }

    #[test]
    fn only_plain_names_are_plainly_folded() {
        for (name, is_plain) in [
            ("read_file-2.x/y:z~", true),
            ("", true),
            ("Read", false),
            ("re ad", false),
            ("re\tad", false),
            ("r\u{e9}ad", false),
        ] {
            assert_eq!(is_plainly_folded(name), is_plain, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(text in "\\PC{0,12}") {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }

        #[test]
        fn folding_odd_text_twice_is_folding_once(
            text in "[a-fA-F \u{200b}\u{a8}\u{b4}\u{300}-\u{345}\u{1e9e}\u{130}\u{3b1}\u{1fb3}\u{1100}\u{1161}\u{11a8}]{0,10}"
        ) {
            let folded = fold(&text);
            prop_assert_eq!(fold(&folded), folded);
        }

        #[test]
        fn the_short_way_for_ascii_is_the_long_way(text in "[\\x00-\\x7f]{0,20}") {
            let (name, short, long) = (fold_name(&text), fold(&text), round(&text));
            prop_assert_eq!(name.as_slice(), short.as_bytes());
            if is_plainly_folded(&text) {
                prop_assert_eq!(&long, &text);
            }
            prop_assert_eq!(short, long);
        }
    }
}
