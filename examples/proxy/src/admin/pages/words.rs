//! Words from outside, as there is room for them among others.

use std::path::Path;

use form_urlencoded::Serializer;

use crate::{json_text::visible, names::cut, running::policy_id};

/// Characters of a name that are shown.
const SHORT: usize = 200;

/// A name without anything in it that could fool a reader, and not too long.
pub(super) fn short(name: &str) -> String {
    cut(&visible(name), SHORT)
}

/// A path with these fields behind it, without those that are empty.
pub(super) fn link(path: &str, fields: &[(&str, &str)]) -> String {
    let said = fields.iter().filter(|(_, value)| !value.is_empty());
    let query = Serializer::new(String::new()).extend_pairs(said).finish();
    match &*query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Where the policy of a file is shown.
pub(super) fn of_policy(file: &Path) -> String {
    format!("/policies/{}", policy_id(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_links_say_what_is_said() {
        assert_eq!(short("a\u{202e}b"), "a\\u202eb");
        assert_eq!(short(&"é".repeat(10_000)).chars().count(), SHORT + 1);
        let fields = [("server", "a&b"), ("caller", ""), ("rule", "(x y)")];
        assert_eq!(link("/log", &fields), "/log?server=a%26b&rule=%28x+y%29");
        assert_eq!(link("/log", &[]), "/log");
    }
}
