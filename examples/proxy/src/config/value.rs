//! Values that may stand elsewhere, because they are secret: in the environment, or
//! in a file.

use toml_edit::{Item, TableLike};

use super::{
    Reading, files,
    reader::{Fields, Spanned},
};
use crate::secret::Secret;

/// How such a value reads.
pub(super) const READS_LIKE: &str = "a string, { env = \"NAME\" } or { file = \"PATH\" }";

/// The fields of one that stands elsewhere.
pub(super) const ELSEWHERE: [&str; 2] = ["env", "file"];

impl Fields<'_> {
    /// A value, wherever it stands; `None` if it cannot be had, which is said then, or
    /// if nobody wants it.
    pub(super) fn secret(&self, name: &str) -> Option<Spanned<Secret>> {
        let found = self.item(name)?;
        let value = secret(self.reading, name, &found)?;
        Some(Spanned {
            value,
            span: found.span,
        })
    }
}

/// The value of one field.
pub(super) fn secret(reading: &Reading, name: &str, found: &Spanned<&Item>) -> Option<Secret> {
    if let Some(text) = found.value.as_str() {
        return Some(Secret::new(text));
    }
    let Some(table) = found.value.as_table_like() else {
        let message = format!("`{name}` has to be {READS_LIKE}");
        reading.problems.say(&found.span, message);
        return None;
    };
    elsewhere(reading, name, table, found)
}

fn elsewhere(
    reading: &Reading,
    name: &str,
    table: &dyn TableLike,
    found: &Spanned<&Item>,
) -> Option<Secret> {
    let what = format!("`{name}`");
    let fields = Fields::new(table, found.span.clone(), what, &ELSEWHERE, reading);
    let missing = |message: String, help: &str| {
        reading.problems.advise(&found.span, message, help);
        None
    };
    match (fields.has("env"), fields.has("file")) {
        (true, false) => {
            let variable = fields.text("env")?;
            reading.hide(variable.value);
            if !reading.looks_up {
                return None;
            }
            match std::env::var(variable.value) {
                Ok(text) => Some(Secret::new(text)),
                Err(_) => missing(
                    format!(
                        "the environment has no variable `{}` with a text",
                        variable.value
                    ),
                    "set it for the proxy, or name another one",
                ),
            }
        }
        (false, true) => {
            let path = fields.path("file")?;
            if !reading.looks_up {
                return None;
            }
            reading.looked_at(&path.value);
            match files::read(&path.value) {
                Ok(Some(text)) => Some(Secret::new(text.trim_end_matches(['\r', '\n']))),
                Ok(None) => missing(
                    format!("there is no file {}", path.value.display()),
                    "paths are relative to the folder of this document",
                ),
                Err(error) => missing(
                    format!("cannot read {}: {error}", path.value.display()),
                    "the proxy has to be allowed to read it, and it has to be text",
                ),
            }
        }
        _ => {
            let message = format!("`{name}` has to be {READS_LIKE}");
            reading.problems.say(&found.span, message);
            None
        }
    }
}
