use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A text of JSON, with blanks wherever they may be.
fn text() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1.0",
        "12345678901234567890",
        "-1e5",
        "true",
        "null",
        "\"\"",
        "\"\\u00e9 é \\\" } ] , :\"",
        "{}",
        "[ ]",
    ]);
    let blank = || prop::sample::select(vec!["", " ", "\n", "\n  ", "\t", "\r\n "]);
    let leaf =
        (blank(), leaf, blank()).prop_map(|(one, leaf, other)| format!("{one}{leaf}{other}"));
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let parts = prop::collection::vec((blank(), blank(), inner), 1..4);
        (blank(), parts, any::<bool>()).prop_map(|(end, parts, is_object)| {
            let parts = parts.into_iter().enumerate();
            let parts = parts.map(|(index, (before, after, value))| match is_object {
                true => format!("{before}\"{}\"{after}:{value}", KEYS[index]),
                false => value,
            });
            let parts = parts.collect::<Vec<_>>().join(",");
            match is_object {
                true => format!("{{{parts}{end}}}{end}"),
                false => format!("[{parts}]{end}"),
            }
        })
    })
}

const KEYS: [&str; 4] = ["a", "~/ \\\" \\u007d", "é", ""];

/// All places of a text.
fn places(node: Node<'_>, place: &[String], found: &mut Vec<Vec<String>>) {
    found.push(place.to_vec());
    let members = node.members().unwrap_or_default().into_iter();
    let elements = node.elements().into_iter().enumerate();
    let elements = elements.map(|(index, node)| (index.to_string(), node));
    for (step, node) in members.chain(elements) {
        places(node, &[place, &[step]].concat(), found);
    }
}

fn one_place(text: &str, index: prop::sample::Index) -> Vec<String> {
    let mut found = Vec::new();
    places(Node::of(text).unwrap(), &[], &mut found);
    index.get(&found).clone()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn pointer(place: &[&str]) -> String {
    place
        .iter()
        .map(|name| format!("/{}", step(name)))
        .collect()
}

/// Whether one text is the other with one piece put in.
fn differs_in_one_piece(short: &str, long: &str) -> bool {
    let (short, long) = (short.as_bytes(), long.as_bytes());
    let before = short.iter().zip(long).take_while(|(a, b)| a == b).count();
    let after = short.iter().rev().zip(long.iter().rev());
    let after = after.take_while(|(a, b)| a == b).count();
    before + after >= short.len()
}

proptest! {
    #[test]
    fn what_is_set_is_there_and_every_other_byte_is_as_it_was(
        text in text(),
        index in any::<prop::sample::Index>(),
    ) {
        let place = one_place(&text, index);
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        let span = Node::of(&text).unwrap().at(&place).unwrap().span();
        let new = set(&text, &place, "\"new\"").unwrap();
        prop_assert_eq!(&new, &splice(&text, span, "\"new\""));
        prop_assert_eq!(Node::of(&new).unwrap().at(&place).unwrap().text(), "\"new\"");
    }

    #[test]
    fn what_is_removed_is_gone_and_nothing_else_is(
        text in text(),
        index in any::<prop::sample::Index>(),
    ) {
        let place = one_place(&text, index);
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        let Some((last, above)) = place.split_last() else {
            prop_assert!(remove(&text, &place).is_err());
            return Ok(());
        };
        let new = remove(&text, &place).unwrap();
        let mut expected = value(&text);
        match expected.pointer_mut(&pointer(above)).unwrap() {
            Value::Object(members) => drop(members.remove(*last)),
            Value::Array(elements) => drop(elements.remove(last.parse().unwrap())),
            other => panic!("{other}"),
        }
        prop_assert_eq!(value(&new), expected);
        prop_assert!(differs_in_one_piece(&new, &text), "{} {}", text, new);
    }

    #[test]
    fn what_is_added_can_be_taken_out_again(
        text in text(),
        index in any::<prop::sample::Index>(),
    ) {
        let above = one_place(&text, index);
        let above: Vec<&str> = above.iter().map(String::as_str).collect();
        let node = Node::of(&text).unwrap().at(&above).unwrap();
        let last = match node.members() {
            Some(_) => "new".to_owned(),
            None => node.elements().len().to_string(),
        };
        let place = [&*above, &[&*last]].concat();
        let added = r#"{ "x": [ { "y": 1.0 } ] }"#;
        let Ok(new) = set(&text, &place, added) else {
            prop_assert!(node.members().is_none() && !node.text().starts_with('['), "not added");
            return Ok(());
        };
        let found = Node::of(&new).unwrap().at(&place).unwrap();
        prop_assert_eq!(value(found.text()), value(added));
        prop_assert!(found.text().contains("1.0"));
        let is_empty = node.members().is_none_or(|all| all.is_empty()) && node.elements().is_empty();
        prop_assert!(is_empty || differs_in_one_piece(&text, &new), "{} {}", text, new);
        prop_assert_eq!(value(&remove(&new, &place).unwrap()), value(&text));
    }
}

#[test]
fn new_members_are_written_in_the_way_of_those_that_are_there() {
    let rule = r#"{ "action": "deny" }"#;
    for (text, expected) in [
        ("{}", r#"{ "tools": { "a": { "action": "deny" } } }"#),
        (
            r#"{"v":1}"#,
            r#"{"v":1,"tools":{ "a": { "action": "deny" } }}"#,
        ),
        (
            "{\n  \"v\": 1\n}\n",
            "{\n  \"v\": 1,\n  \"tools\": {\n    \"a\": { \"action\": \"deny\" }\n  }\n}\n",
        ),
        (
            "{\n\t\"tools\": {}\n}",
            "{\n\t\"tools\": {\n\t\t\"a\": { \"action\": \"deny\" }\n\t}\n}",
        ),
        (
            "{\n  \"tools\": { \"b\": {} }\n}",
            "{\n  \"tools\": { \"b\": {}, \"a\": { \"action\": \"deny\" } }\n}",
        ),
        (
            "{\n  \"tools\": {\n      \"b\" : {}\n  }\n}",
            "{\n  \"tools\": {\n      \"b\" : {},\n      \"a\" : { \"action\": \"deny\" }\n  }\n}",
        ),
    ] {
        assert_eq!(set(text, &["tools", "a"], rule).unwrap(), expected);
    }
    let list = r#"[ { "conditions": [ { "path": "args.a", "op": "in", "value": ["x"] } ] } ]"#;
    let laid_out = "{\n  \"r\": {\n    \"require\": [\n      {\n        \"conditions\": [\n          {\n            \
                        \"path\": \"args.a\",\n            \"op\": \"in\",\n            \"value\": [\"x\"]\n          }\n        ]\n      }\n    ]\n  }\n}";
    let text = "{\n  \"r\": {}\n}";
    assert_eq!(set(text, &["r", "require"], list).unwrap(), laid_out);
}

#[test]
fn a_text_can_be_laid_out_anew() {
    let text = "{\"version\":\"1\",\n\"tools\":{\"a\":{},\"b\" :{\"n\":[1.0 ,\n2,[ ]]}, \"c\":{\"action\":\"deny\"}}}";
    let expected = "{\n  \"version\": \"1\",\n  \"tools\": {\n    \"a\": {},\n    \"b\": {\n      \
                        \"n\": [\n        1.0,\n        2,\n        [ ]\n      ]\n    },\n    \
                        \"c\": {\"action\":\"deny\"}\n  }\n}\n";
    assert_eq!(laid_out(text).unwrap(), expected);
    assert_eq!(laid_out(expected).unwrap(), expected);
    assert_eq!(value(text), value(expected));
}

#[test]
fn blanks_are_not_multiplied_by_what_is_written() {
    let wide = format!("{{\n{}\"a\": {{}}\n}}", " ".repeat(100_000));
    let list = format!("[{}]", vec!["1"; 1_000].join(", "));
    let deep = format!("{}{list}{}", "[".repeat(100), "]".repeat(100));
    for value in [&list, &deep] {
        let text = set(&wide, &["a", "b"], value).unwrap();
        assert!(text.len() < wide.len() + 1_000_000, "{}", text.len());
        let written = Node::of(&text).unwrap().at(&["a", "b"]).unwrap();
        assert_eq!(self::value(written.text()), self::value(value));
    }
    let long = format!("\"{}\"", "x".repeat(LONGEST_VALUE));
    assert_eq!(set(&wide, &["a", "b"], &long), Err(TOO_LONG));
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    for (text, place) in [
        ("no", &["a"] as &[&str]),
        ("1", &["a"]),
        (r#"{"a":1}"#, &["a", "b"]),
        ("[1]", &["a"]),
        ("[1]", &["3"]),
    ] {
        assert!(set(text, place, "1").is_err(), "{text}");
        assert!(remove(text, place).is_err(), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(Node::of(&deep).is_none());
}

#[test]
fn names_are_parts_of_pointers() {
    for name in ["a", "a/b", "~1", "~", "", "é\n"] {
        assert_eq!(
            steps(&format!("/tools/{}", step(name))).unwrap(),
            ["tools", name]
        );
    }
    assert_eq!(steps(""), Some(Vec::new()));
    assert_eq!(steps("tools"), None);
}
