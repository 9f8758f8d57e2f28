use proptest::prelude::*;

use super::super::{Error, ErrorKind, Profile, Reader};
use super::*;

fn end(text: &[u8], levels: u32, portable: bool) -> Option<usize> {
    value(text, 0, Bounds { levels, portable })
}

fn nested(levels: usize) -> Vec<u8> {
    let (open, close) = (r#"[{"a":"#.repeat(levels / 2), "}]".repeat(levels / 2));
    let (odd, end) = match levels % 2 {
        0 => ("", ""),
        _ => ("[", "]"),
    };
    format!("{open}{odd}1{end}{close}").into_bytes()
}

fn skipped(text: &[u8]) -> Result<usize, ErrorKind> {
    let mut reader = Reader::new(text, Profile::ANSWER).unwrap();
    let skipped = reader.skip();
    skipped.map(|span| span.end).map_err(|error| error.kind())
}

#[test]
fn what_is_too_deep_for_the_short_way_goes_the_long_one() {
    for levels in 1..=70 {
        let text = nested(levels);
        let is_short = levels <= MOST_LEVELS as usize;
        let expected = Some(text.len()).filter(|_| is_short);
        assert_eq!(end(&text, u32::MAX, false), expected, "{levels}");
        assert_eq!(skipped(&text), Ok(text.len()), "{levels}");
    }
    let deepest = nested(1024);
    assert_eq!(skipped(&deepest), Ok(deepest.len()));
    assert_eq!(skipped(&nested(1025)), Err(ErrorKind::TooDeep));
}

#[test]
fn what_stands_around_a_value_counts_for_its_depth() {
    for around in 1..=3_usize {
        for levels in 60..=66 {
            let (open, close) = ("[".repeat(around), "]".repeat(around));
            let inside = String::from_utf8(nested(levels)).unwrap();
            let entry = format!(r#"{{"a":{inside}}}"#);
            for (text, deepest) in [(&inside, around + levels), (&entry, around + levels + 1)] {
                let is_entry = deepest > around + levels;
                let text = format!("{open}{text}{close}");
                let mut reader = Reader::new(text.as_bytes(), Profile::JUDGED).unwrap();
                let read = into(&mut reader, around, is_entry);
                let expected = (deepest <= 64).then_some(()).ok_or(ErrorKind::TooDeep);
                assert_eq!(read.map_err(|error| error.kind()), expected, "{text}");
            }
        }
    }
}

/// Reads what stands in so many arrays.
fn into(reader: &mut Reader<'_>, around: usize, is_entry: bool) -> Result<(), Error> {
    if around > 0 {
        return reader.array(|reader| into(reader, around - 1, is_entry));
    }
    if is_entry && reader.plain_object(|_, _| true) {
        return Ok(());
    }
    reader.skip().map(drop)
}

#[test]
fn no_more_levels_are_passed_than_there_may_be() {
    for levels in 1..=5_u32 {
        let text = nested(levels as usize);
        for most in 0..=6 {
            let expected = Some(text.len()).filter(|_| levels <= most);
            assert_eq!(end(&text, most, true), expected, "{levels} of {most}");
        }
    }
}

/// The names and values of an object, if it is plain.
fn told(text: &str, levels: u32) -> Option<Vec<(&str, &str)>> {
    let mut told = Vec::new();
    let portable = false;
    let bounds = Bounds { levels, portable };
    let end = members(text.as_bytes(), 0, bounds, |name, value| {
        told.push((&text[name], &text[value]));
        true
    });
    end.map(|end| assert_eq!(end, text.len()))?;
    // The same where more of it is looked at at once.
    let mut again = Vec::new();
    let long = format!("{text}{}", " ".repeat(100));
    members(long.as_bytes(), 0, bounds, |name, value| {
        again.push((&text[name], &text[value]));
        true
    })?;
    assert_eq!(again, told);
    Some(told)
}

#[test]
fn members_are_told_as_they_are_written() {
    let text = "{ \"a\" : [1,{}] ,\t\"\":\"x\\n\",\"b\":12.5,\"b\":null }";
    let expected = [
        ("a", "[1,{}]"),
        ("", "\"x\\n\""),
        ("b", "12.5"),
        ("b", "null"),
    ];
    assert_eq!(told(text, 3).as_deref(), Some(&expected[..]));
    assert_eq!(told(text, 2), None);
    assert_eq!(told("{ }", 1).as_deref(), Some(&[][..]));
    for length in [15, 16, 17, 63, 64, 65, 200] {
        let name = "a".repeat(length);
        let text = format!("{{\"{name}\":1}}");
        assert_eq!(told(&text, 1), Some(vec![(&*name, "1")]));
    }
    for text in [
        "{}",
        "[]",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{\"a\":1]",
        "{1:1}",
        "{\"\\n\":1}",
        "{\"a name that is long\\n\":1}",
        "{\"a name that is long",
        "{\"a\":01}",
        "{,}",
    ] {
        let levels = u32::from(text != "{}");
        assert_eq!(told(text, levels), None, "{text}");
    }
    let unliked = members(
        b"{\"a\":1}",
        0,
        Bounds {
            levels: 1,
            portable: false,
        },
        |_, _| false,
    );
    assert_eq!(unliked, None);
}

#[test]
fn scalars_end_where_the_long_way_ends_them() {
    let digits = "9".repeat(400);
    for text in [
        "1",
        "10",
        "1234567890123456789",
        "12345678901234567890",
        "123456789012345678901",
        "0",
        "-1",
        "1.5",
        "1e5",
        "1E5",
        "1.",
        "1e",
        "01",
        "00",
        "true",
        "truE",
        "tru",
        "false",
        "null",
        "nul",
        "x",
        "",
        &digits,
    ] {
        for follows in ["", ",", " ", "0", "x", "]"] {
            let text = format!("{text}{follows}");
            for portable in [false, true] {
                let slow = scan::scalar(text.as_bytes(), 0, portable).ok();
                let fast = end(text.as_bytes(), 0, portable);
                // At the very end of a text there is nothing to see what follows.
                let is_end = fast.is_none() && slow == Some(text.len());
                assert!(fast == slow || is_end, "{text}: {fast:?} {slow:?}");
            }
        }
    }
}

#[test]
fn what_is_broken_goes_the_long_way() {
    for text in [
        "",
        "{",
        "[",
        "{]",
        "[}",
        "[1}",
        "{\"a\":1]",
        "{1:1}",
        "{\"a\"}",
        "{\"a\":}",
        "[,]",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[1 2]",
        "[\"]",
        "[\"\\x\"]",
        "[\"\u{1}\"]",
        "[nul]",
        "[01]",
    ] {
        assert_eq!(end(text.as_bytes(), 9, false), None, "{text:?}");
    }
}

#[test]
fn only_what_any_reader_can_hold_is_portable() {
    for text in ["[1e999]", r#"["\ud800"]"#, r#"{"\ud800":1}"#] {
        let length = Some(text.len());
        assert_eq!(end(text.as_bytes(), 9, false), length, "{text}");
        assert_eq!(end(text.as_bytes(), 9, true), None, "{text}");
    }
}

/// Something with many strings, of all lengths and with all that can stand in them.
fn strings() -> impl Strategy<Value = String> {
    let escape = prop::sample::select(vec![
        "\\n",
        "\\\"",
        "\\\\",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\u{e9}",
        "\\ud800",
        "\\x",
    ]);
    let part = prop_oneof![
        4 => "[a-z]{0,6}",
        1 => "[a-z]{50,70}",
        2 => escape.prop_map(str::to_owned),
    ];
    let text = prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat());
    let space = prop::sample::select(vec!["", "", "", "", " ", "\n\t"]);
    let kind = prop::sample::select(vec!["[", "{", "{["]);
    let item = (text, space);
    (kind, prop::collection::vec(item, 0..14)).prop_map(|(kind, items)| {
        let items = items.iter().enumerate();
        let items = items.map(|(index, (text, space))| match kind {
            "[" => format!("{space}\"{text}\"{space}"),
            "{" => format!("{space}\"{text}{index}\"{space}:{space}\"{text}\"{space}"),
            _ => format!("\"{text}{index}\":[{space}\"{text}\",{{\"{text}\":{index}}}]"),
        });
        let items: Vec<_> = items.collect();
        let close = if kind == "[" { "]" } else { "}" };
        format!("{}{}{close}", &kind[..1], items.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn strings_close_where_the_long_way_closes_them(
        text in strings(),
        change in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(b"\"\\a:,\n\x01".to_vec()))),
        behind in prop::sample::select(vec![0, 1, 70]),
    ) {
        let mut text = text.into_bytes();
        if let Some((at, byte)) = change {
            let at = at.index(text.len());
            text[at] = byte;
        }
        text.resize(text.len() + behind, b' ');
        // Names are compared there, too, so that it goes the long way.
        let Ok(mut long) = Reader::new(&text, Profile::MESSAGE) else {
            return Ok(());
        };
        let expected = match long.skip() {
            Ok(span) => Some(span.end),
            Err(error) if error.kind() == ErrorKind::DuplicateKey => return Ok(()),
            Err(_) => None,
        };
        let is_container = matches!(text[0], b'[' | b'{');
        if is_container || expected.is_none() {
            prop_assert_eq!(end(&text, 64, true), expected);
        }
    }
}
