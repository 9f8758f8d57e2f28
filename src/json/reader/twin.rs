//! A slow, obvious reader: byte by byte, with recursion, and a set for the names. The fast
//! one has to give the same of every text.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Error, ErrorKind, Kind, Profile, Reader};

struct Slow<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    profile: Profile,
}

/// Reads a text that holds one value.
fn slowly(bytes: &[u8], profile: Profile) -> Result<(), Error> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(Error::new(ErrorKind::NotUtf8, error.valid_up_to()));
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        return Err(Error::new(ErrorKind::ByteOrderMark, 0));
    }
    let mut slow = Slow {
        bytes,
        at: 0,
        depth: 0,
        profile,
    };
    slow.space();
    if slow.at == bytes.len() {
        return Err(slow.error(ErrorKind::Empty));
    }
    slow.value()?;
    slow.space();
    if slow.at < bytes.len() {
        return Err(slow.error(ErrorKind::TrailingData));
    }
    Ok(())
}

impl Slow<'_> {
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.at)
    }

    fn expect(&mut self, expected: u8) -> Result<(), Error> {
        match self.byte() {
            Some(byte) if byte == expected => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(self.error(ErrorKind::UnexpectedByte)),
            None => Err(self.error(ErrorKind::UnexpectedEnd)),
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.expect(byte).is_ok()
    }

    fn space(&mut self) {
        while [b' ', b'\n', b'\r', b'\t'].map(Some).contains(&self.byte()) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<(), Error> {
        self.space();
        match self.byte() {
            Some(b'{') => self.container(b'}'),
            Some(b'[') => self.container(b']'),
            Some(b'"') => self.string().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.expect(b'"'),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Error> {
        word.bytes().try_for_each(|byte| self.expect(byte))
    }

    fn container(&mut self, end: u8) -> Result<(), Error> {
        self.at += 1;
        self.depth += 1;
        if self.depth > self.profile.max_depth {
            return Err(self.error(ErrorKind::TooDeep));
        }
        let mut names = Vec::new();
        self.space();
        if !self.takes(end) {
            loop {
                self.space();
                if end == b'}' {
                    names.push((self.at + 1, self.string()?));
                    if self.profile.unique_keys && names.len() > self.profile.max_keys {
                        return Err(self.error(ErrorKind::TooManyKeys));
                    }
                    self.space();
                    self.expect(b':')?;
                }
                self.value()?;
                self.space();
                if self.takes(end) {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.depth -= 1;
        let mut seen = BTreeSet::new();
        for (at, name) in names {
            if !seen.insert(name) && self.profile.unique_keys {
                return Err(Error::new(ErrorKind::DuplicateKey, at));
            }
        }
        Ok(())
    }

    /// A string, and what it says.
    fn string(&mut self) -> Result<String, Error> {
        self.expect(b'"')?;
        let mut units = Vec::new();
        loop {
            let rest = std::str::from_utf8(&self.bytes[self.at..]).unwrap();
            match rest.chars().next() {
                Some('"') => {
                    self.at += 1;
                    return Ok(String::from_utf16_lossy(&units));
                }
                Some('\\') => {
                    let start = self.at;
                    let unit = self.escape(start)?;
                    units.push(unit);
                    let paired = match unit {
                        0xD800..=0xDBFF if self.bytes[self.at..].starts_with(b"\\u") => {
                            let second = self.escape(start)?;
                            units.push(second);
                            (0xDC00..=0xDFFF).contains(&second)
                        }
                        0xD800..=0xDFFF => false,
                        _ => true,
                    };
                    if !paired && self.profile.portable_scalars {
                        return Err(Error::new(ErrorKind::LoneSurrogate, start));
                    }
                }
                Some('\0'..' ') => return Err(self.error(ErrorKind::ControlCharacter)),
                Some(character) => {
                    units.extend(character.encode_utf16(&mut [0; 2]).iter());
                    self.at += character.len_utf8();
                }
                None => return Err(self.error(ErrorKind::UnexpectedEnd)),
            }
        }
    }

    /// One escape sequence; what is wrong with it is wrong at `start`.
    fn escape(&mut self, start: usize) -> Result<u16, Error> {
        let bad = Error::new(ErrorKind::BadEscape, start);
        self.at += 1;
        let Some(letter) = self.byte() else {
            return Err(self.error(ErrorKind::UnexpectedEnd));
        };
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => letter.into(),
            b'b' => 8,
            b'f' => 12,
            b'n' => 10,
            b'r' => 13,
            b't' => 9,
            b'u' => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = self.byte().map(char::from);
                    let digit = digit.and_then(|digit| digit.to_digit(16)).ok_or(bad)?;
                    unit = unit * 16 + u16::try_from(digit).unwrap();
                    self.at += 1;
                }
                unit
            }
            _ => return Err(bad),
        })
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        let token = std::str::from_utf8(&self.bytes[start..self.at]).unwrap();
        if self.profile.portable_scalars && !token.parse::<f64>().unwrap().is_finite() {
            return Err(Error::new(ErrorKind::NumberOutOfRange, start));
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Error> {
        if !self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            return self.expect(b'0');
        }
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }
}

/// Reads a text as most of the crate does: over what does not matter.
fn over(bytes: &[u8], profile: Profile) -> Result<(), Error> {
    let mut reader = Reader::new(bytes, profile)?;
    reader.skip()?;
    reader.finish()
}

/// Reads a text value by value.
fn into(bytes: &[u8], profile: Profile) -> Result<(), Error> {
    fn value(reader: &mut Reader<'_>) -> Result<(), Error> {
        match reader.kind()? {
            Kind::Object => reader.members(|reader, _| value(reader)),
            Kind::Array => reader.array(value),
            Kind::String => match reader.short_string() {
                Some(_) => Ok(()),
                None => reader.string().map(drop),
            },
            _ => reader.skip().map(drop),
        }
    }
    let mut reader = Reader::new(bytes, profile)?;
    value(&mut reader)?;
    reader.finish()
}

/// Which of several names stands there twice is not told by all in the same way.
fn comparable(result: Result<(), Error>) -> Result<(), (ErrorKind, usize)> {
    result.map_err(|error| match error.kind() {
        ErrorKind::DuplicateKey => (ErrorKind::DuplicateKey, 0),
        kind => (kind, error.offset()),
    })
}

fn select(of: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(of.to_vec()).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    let sound = select(&[
        "",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u0041",
        "\\uD83D\\uDE00",
        "\u{7f}",
        "\u{e9}",
        "\u{1f600}",
    ]);
    let odd = select(&[
        "\\ud83d", "\\udc00", "\\uD83Dx", "\\u00g0", "\\x", "\u{1}", "\u{1f}", "\\", "\"",
    ]);
    let special = prop_oneof![200 => sound, 1 => odd];
    let part = ("[a-z ]{0,3}|[a-z ]{0,40}", special);
    (prop::collection::vec(part, 1..8), "[a-z ]{0,20}").prop_map(|(parts, after)| {
        let parts = parts
            .iter()
            .flat_map(|(before, special)| [&**before, special]);
        format!("\"{}{after}\"", parts.collect::<String>())
    })
}

fn name() -> impl Strategy<Value = String> {
    let few = select(&[
        r#""a""#,
        r#""\u0061""#,
        r#""""#,
        r#""abcdefgh""#,
        r#""abcdefghi""#,
        r#""abcdefghj""#,
        r#""\u0061bcdefgh""#,
    ]);
    let many = (0..10_000_u32).prop_map(|number| format!("\"name_{number}\""));
    prop_oneof![3 => few, 20 => many, 5 => text()]
}

/// A text that is nearly always JSON.
fn value() -> impl Strategy<Value = String> {
    let sound = select(&[
        "0", "-0", "12", "-3.25", "1e5", "1E+5", "2.5e-3", "1e308", "0e999", "true", "false",
        "null",
    ]);
    let odd = select(&[
        "1e309", "-1e999", "01", "1.", "-", ".5", "1e", "nul", "tru", "True", "",
    ]);
    let digits = (300..320_usize).prop_map(|count| "9".repeat(count));
    let leaf = prop_oneof![80 => sound, 60 => text(), 1 => odd, 1 => digits];
    let space = || select(&["", "", "", " ", "\n\t", "\r"]);
    leaf.prop_recursive(6, 80, 20, move |inner| {
        let item =
            (space(), inner.clone()).prop_map(|(space, value)| format!("{space}{value}{space}"));
        let member = (space(), name(), space(), inner).prop_map(|(before, name, space, value)| {
            format!("{before}{name}{space}:{space}{value}{before}")
        });
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..20)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// What happens to a text: nothing, or one byte is another, comes or goes.
fn with_change(text: String, at: usize, change: Option<(u8, u8)>) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    let at = at % (bytes.len() + 1);
    match change {
        Some((0, byte)) => bytes.insert(at, byte),
        Some((1, byte)) if at < bytes.len() => bytes[at] = byte,
        Some((2, _)) if at < bytes.len() => drop(bytes.remove(at)),
        Some((3, _)) => bytes.truncate(at),
        _ => {}
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_fast_reader_gives_what_the_slow_one_gives(
        text in value(),
        at in any::<usize>(),
        change in prop::option::of((0..4_u8, prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[]:,0-".to_vec())])),
    ) {
        let bytes = with_change(text, at, change);
        for profile in [Profile::MESSAGE, Profile::ANSWER, Profile::JUDGED] {
            let expected = comparable(slowly(&bytes, profile));
            prop_assert_eq!(comparable(over(&bytes, profile)), expected);
            prop_assert_eq!(comparable(into(&bytes, profile)), expected);
        }
    }
}

#[test]
fn depth_and_the_number_of_names_are_bounded_to_the_last_one() {
    let profile = Profile {
        max_depth: 3,
        max_keys: 20,
        ..Profile::MESSAGE
    };
    let members = |count: usize| {
        let names = (0..count).map(|name| format!("\"{name:02}\":1"));
        names.collect::<Vec<_>>().join(",")
    };
    for (text, expected) in [
        ("[[[]]]".to_owned(), Ok(())),
        ("[{\"a\":[1]}]".to_owned(), Ok(())),
        ("[[[[]]]]".to_owned(), Err((ErrorKind::TooDeep, 4))),
        (format!("{{{}}}", members(20)), Ok(())),
        (
            format!("{{{}}}", members(21)),
            Err((ErrorKind::TooManyKeys, 145)),
        ),
        (
            format!("{{{},\"x\":{{{}}}}}", members(15), members(20)),
            Ok(()),
        ),
        (
            format!("{{{},\"x\":{{{}}}}}", members(15), members(21)),
            Err((ErrorKind::TooManyKeys, 255)),
        ),
    ] {
        let bytes = text.as_bytes();
        assert_eq!(comparable(slowly(bytes, profile)), expected, "{text}");
        assert_eq!(comparable(over(bytes, profile)), expected, "{text}");
        assert_eq!(comparable(into(bytes, profile)), expected, "{text}");
    }
}
