//! Values of conditions and of other members, as they are typed.

use super::edit::{Node, quoted};

/// How a value is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A string, without its quotation marks.
    Text,
    /// A list of strings, one in each line.
    Lines,
    /// A list of numbers, one in each line.
    Numbers,
    /// As JSON.
    Json,
}

/// A value as it is typed, and how.
pub(super) fn typed(node: Node<'_>) -> (Form, String) {
    let is_plain =
        |text: &str| !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control);
    if let Some(text) = node.string().filter(|text| is_plain(text)) {
        return (Form::Text, text);
    }
    let elements = node.elements();
    let strings: Option<Vec<String>> = elements.iter().map(|one| one.string()).collect();
    if let Some(strings) =
        strings.filter(|all| !all.is_empty() && all.iter().all(|one| is_plain(one)))
    {
        return (Form::Lines, strings.join("\n"));
    }
    let numbers = elements.iter().map(|one| one.text());
    if !elements.is_empty() && numbers.clone().all(is_number) {
        return (Form::Numbers, numbers.collect::<Vec<_>>().join("\n"));
    }
    (Form::Json, node.text().to_owned())
}

/// The value that is meant by what was typed for an operator, where the argument has a type
/// (empty if that is not known) and what was there before had a form.
pub(super) fn meant(operator: &str, kind: &str, before: Option<Form>, text: &str) -> String {
    let text = text.trim();
    let one = |text: &str| match kind {
        "number" | "integer" => number(text),
        "boolean" => raw(text).unwrap_or_else(|| quoted(text)),
        "string" => quoted(text),
        _ if before == Some(Form::Numbers) => number(text),
        _ if matches!(before, Some(Form::Text | Form::Lines)) => quoted(text),
        _ => raw(text).unwrap_or_else(|| quoted(text)),
    };
    let list = |one: &dyn Fn(&str) -> String| {
        if let Some(list) = raw(text).filter(|_| text.starts_with('[')) {
            return list;
        }
        let ends: &[char] = match before {
            Some(Form::Lines | Form::Numbers) => &['\n'],
            _ => &['\n', ','],
        };
        let all = text.split(ends).map(str::trim);
        let all: Vec<_> = all.filter(|one| !one.is_empty()).map(one).collect();
        format!("[{}]", all.join(", "))
    };
    match operator {
        "in" | "not_in" => list(&one),
        "keys_in" | "host_in" | "path_within" => list(&quoted),
        "exists" => match text {
            "false" | "no" => "false".to_owned(),
            _ => "true".to_owned(),
        },
        "lt" | "lte" | "gt" | "gte" | "length_lte" => number(text),
        "regex" | "starts_with" | "ends_with" => quoted(text),
        // Of a list or a string.
        "contains" if kind == "array" => raw(text).unwrap_or_else(|| quoted(text)),
        _ => one(text),
    }
}

/// What a value becomes when it is for another operator.
pub(super) fn moved(node: Node<'_>, operator: &str) -> Option<String> {
    let is_list = node.text().starts_with('[');
    match operator {
        "in" | "not_in" | "keys_in" | "host_in" => (!is_list).then(|| format!("[{}]", node.text())),
        "exists" => (!matches!(node.text(), "true" | "false")).then(|| "true".to_owned()),
        // These can have one as well.
        "eq" | "neq" | "contains" | "path_within" => None,
        _ if is_list => {
            let first = node.elements().first().map(|one| one.text().to_owned());
            Some(first.unwrap_or_else(|| "\"\"".to_owned()))
        }
        _ => None,
    }
}

/// A number as it was typed. What is none is kept as a string, of which the check says that
/// it is none.
pub(super) fn number(text: &str) -> String {
    let text = text.trim();
    match is_number(text) {
        true => text.to_owned(),
        false => quoted(text),
    }
}

fn is_number(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    begins && raw(text).is_some()
}

/// JSON as it was typed, if it is that.
fn raw(text: &str) -> Option<String> {
    Node::of(text).map(|node| node.text().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_gets_the_type_of_the_argument() {
        for (operator, kind, text, expected) in [
            ("eq", "string", "12", r#""12""#),
            ("eq", "integer", " 12 ", "12"),
            (
                "lte",
                "number",
                "12345678901234567890.10",
                "12345678901234567890.10",
            ),
            ("lte", "number", "many", r#""many""#),
            ("eq", "boolean", "true", "true"),
            (
                "in",
                "string",
                "dev, staging\n1",
                r#"["dev", "staging", "1"]"#,
            ),
            ("in", "string", r#"["a, b"]"#, r#"["a, b"]"#),
            ("in", "integer", "1, 2", "[1, 2]"),
            ("exists", "string", "", "true"),
            ("exists", "string", "false", "false"),
            ("length_lte", "array", "3", "3"),
            ("contains", "array", "3", "3"),
            ("keys_in", "object", "a,b", r#"["a", "b"]"#),
            ("regex", "", "^1$", r#""^1$""#),
            ("eq", "", "1", "1"),
            ("eq", "", "one", r#""one""#),
        ] {
            assert_eq!(
                meant(operator, kind, None, text),
                expected,
                "{operator} {text}"
            );
        }
    }

    #[test]
    fn what_is_shown_means_the_same_when_it_comes_back() {
        for (operator, text, form) in [
            ("eq", r#""12""#, Form::Text),
            ("in", r#"["a", "b"]"#, Form::Lines),
            ("in", "[1.0, 2]", Form::Numbers),
            ("in", r#"["a, b", 1]"#, Form::Json),
            ("eq", "12", Form::Json),
            ("eq", r#"{ "a": [] }"#, Form::Json),
            ("eq", "null", Form::Json),
        ] {
            let (found, shown) = typed(Node::of(text).unwrap());
            assert_eq!(found, form, "{text}");
            assert_eq!(meant(operator, "", Some(found), &shown), text);
        }
    }

    #[test]
    fn a_value_is_made_to_fit_another_operator() {
        for (text, operator, expected) in [
            (r#""a""#, "in", Some(r#"["a"]"#)),
            ("[1.0]", "in", None),
            (r#"["a", "b"]"#, "regex", Some(r#""a""#)),
            ("[]", "lte", Some(r#""""#)),
            (r#"["a"]"#, "eq", None),
            ("500", "gte", None),
            ("500", "exists", Some("true")),
            ("false", "exists", None),
        ] {
            let found = moved(Node::of(text).unwrap(), operator);
            assert_eq!(found.as_deref(), expected, "{text} {operator}");
        }
    }
}
