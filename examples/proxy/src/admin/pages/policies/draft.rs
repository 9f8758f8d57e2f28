//! A text that is to become a policy, and what somebody looks at of it.

use mcp_policy::Policy;
use unicode_normalization::char::is_combining_mark;

use super::super::{super::api::Refusal, form::Form};
use crate::json_text::visible;

/// What the page is about. It is nowhere but in the form, from one request to the next.
pub(super) struct Draft {
    /// With lines that end in `\n`, as browsers show them whatever they send.
    pub(super) text: String,
    /// The digest of the file that it began with.
    pub(super) base: String,
    /// The place of the rule that is open.
    pub(super) at: Option<String>,
    /// What the names of the tools contain that are shown.
    pub(super) filter: String,
    /// Which part of them is shown, counted from 0.
    pub(super) part: usize,
}

impl Draft {
    /// What stands in a file.
    pub(super) fn of_file(text: &str) -> Self {
        Self {
            text: lines(text),
            base: Policy::digest_of(text),
            at: None,
            filter: String::new(),
            part: 0,
        }
    }

    pub(super) fn of_form(form: &Form) -> Self {
        Self {
            text: lines(&form.get("text")),
            base: form.get("base").into_owned(),
            at: unpacked(&form.get("at")),
            filter: form.get("filter").into_owned(),
            part: form.get("part").parse().unwrap_or_default(),
        }
    }

    /// For the template: the place of the rule that is open, as it is in the form.
    pub(super) fn packed_at(&self) -> Option<String> {
        self.at.as_deref().map(packed)
    }

    /// Has it shown with escapes what was put into it that could fool a reader.
    pub(super) fn put(&mut self, text: &str) {
        self.text = lines(text);
    }

    /// The text as it is to be written in the place of this one.
    pub(super) fn to_write(&self, old: &str) -> String {
        match old.contains("\r\n") {
            true => self.text.replace('\n', "\r\n"),
            false => self.text.clone(),
        }
    }
}

/// The text with lines that end in `\n`, and with escapes for what could fool whoever looks
/// at it: in the strings of a JSON text they mean the same.
fn lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        // Marks belong to the letters of many languages.
        let is_mark = is_combining_mark(character) && !is_invisible(character);
        match character {
            '\n' | '\t' => shown.push(character),
            ' '..='~' => shown.push(character),
            _ if is_mark => shown.push(character),
            _ => shown += &visible(character.encode_utf8(&mut [0; 4])),
        }
    }
    shown
}

/// Marks that are drawn as nothing.
fn is_invisible(mark: char) -> bool {
    matches!(mark, '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// A name or a place as it is in a form: browsers change the line breaks of what they send.
pub(super) fn packed(text: &str) -> String {
    visible(&serde_json::Value::from(text).to_string())
}

fn unpacked(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

/// What the button says that was pressed: what is to be done, and with what.
pub(super) fn pressed(form: &Form) -> Result<Vec<String>, Refusal> {
    match &*form.get("do") {
        "" => Ok(Vec::new()),
        text => serde_json::from_str(text).map_err(|_| {
            let why = "Nothing was done: this is no button of this page. Load the page again.";
            Refusal::new(http::StatusCode::BAD_REQUEST, why)
        }),
    }
}

/// The value of a button that does this.
pub(super) fn button(parts: &[&str]) -> String {
    visible(&serde_json::Value::from(parts.to_vec()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_fool_a_reader_is_shown_by_escapes_that_mean_the_same() {
        let text = "{\r\n\t\"a\": \"\u{202e}x\u{200b} नमस्ते é 🙂\u{fe0f}\"\n}";
        let shown = lines(text);
        let expected = "{\n\t\"a\": \"\\u202ex\\u200b नमस्ते é 🙂\\ufe0f\"\n}";
        assert_eq!(shown, expected);
        assert_eq!(lines(&shown), shown);
        let [one, other] = [text, &shown].map(|text| {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            value
        });
        assert_eq!(one, other);
    }

    #[test]
    fn names_come_back_from_a_form_as_they_were() {
        for name in ["a", "a\r\nb\r", "\"'<>&/~", "\u{202e}\0", "🙂"] {
            assert_eq!(unpacked(&packed(name)).as_deref(), Some(name));
            assert!(packed(name).chars().all(|c| !c.is_control()));
        }
    }
}
