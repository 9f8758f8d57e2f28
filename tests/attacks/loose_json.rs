//! A JSON reader that takes everything that any reader takes, and more: what
//! it makes sense of, some server may make sense of.

/// A value in one of its readings: objects keep every member.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Loose {
    Text(String),
    /// A number, a literal, or a word that is none.
    Word(String),
    List(Vec<Loose>),
    Object(Vec<(String, Loose)>),
}

/// How deep values may stand in one another before they are skipped.
const DEEPEST: u32 = 300;

/// Every value in a text, one behind the other, whatever stands between them.
pub(crate) fn read_all(text: &str) -> Vec<Loose> {
    let mut reader = LooseReader {
        characters: text.chars().collect(),
        position: 0,
    };
    let mut values = Vec::new();
    while let Some(character) = reader.peek() {
        match character {
            '{' | '[' | '"' => values.push(reader.value(0)),
            _ => reader.position += 1,
        }
    }
    values
}

struct LooseReader {
    characters: Vec<char>,
    position: usize,
}

impl LooseReader {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.position).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += 1;
        Some(character)
    }

    /// Skips what stands between values: white space and control characters of
    /// every kind, comments, and commas, of which there may be too many.
    fn skip(&mut self) {
        while let Some(character) = self.peek() {
            let ahead = self.characters.get(self.position + 1);
            match (character, ahead) {
                ('/', Some('*')) => {
                    self.position += 2;
                    while let Some(character) = self.next() {
                        if character == '*' && self.peek() == Some('/') {
                            self.position += 1;
                            break;
                        }
                    }
                }
                ('/', Some('/')) | ('#', _) => while !matches!(self.next(), None | Some('\n')) {},
                (',' | ':' | '\u{feff}', _) => self.position += 1,
                (other, _) if other.is_whitespace() || other.is_control() => self.position += 1,
                _ => return,
            }
        }
    }

    fn value(&mut self, depth: u32) -> Loose {
        self.skip();
        match self.peek() {
            Some('{' | '[') if depth > DEEPEST => {
                self.skip_nested();
                Loose::Word(String::new())
            }
            Some('{') => self.object(depth),
            Some('[') => self.list(depth),
            Some(quote @ ('"' | '\'')) => Loose::Text(self.quoted(quote)),
            _ => Loose::Word(self.word()),
        }
    }

    fn object(&mut self, depth: u32) -> Loose {
        self.position += 1;
        let mut members = Vec::new();
        loop {
            self.skip();
            let key = match self.peek() {
                // What has no end ends here.
                None => break,
                Some('}' | ']') => {
                    self.position += 1;
                    break;
                }
                Some(quote @ ('"' | '\'')) => self.quoted(quote),
                _ => self.word(),
            };
            self.skip();
            if matches!(self.peek(), None | Some('}')) {
                continue;
            }
            members.push((key, self.value(depth + 1)));
        }
        Loose::Object(members)
    }

    fn list(&mut self, depth: u32) -> Loose {
        self.position += 1;
        let mut items = Vec::new();
        loop {
            self.skip();
            match self.peek() {
                None => break,
                Some(']' | '}') => {
                    self.position += 1;
                    break;
                }
                _ => items.push(self.value(depth + 1)),
            }
        }
        Loose::List(items)
    }

    /// Skips a value without reading it.
    fn skip_nested(&mut self) {
        let mut open = 0_u32;
        while let Some(character) = self.next() {
            match character {
                '{' | '[' => open += 1,
                '}' | ']' => open -= 1,
                _ => {}
            }
            if open == 0 {
                return;
            }
        }
    }

    fn word(&mut self) -> String {
        let start = self.position;
        while let Some(character) = self.peek() {
            if character.is_whitespace()
                || character.is_control()
                || "{}[],:\"'".contains(character)
            {
                break;
            }
            self.position += 1;
        }
        // Something has to be read, or nothing ever ends.
        self.position = self.position.max(start + 1).min(self.characters.len());
        self.between(start, self.position)
    }

    fn between(&self, start: usize, end: usize) -> String {
        self.characters
            .get(start..end)
            .into_iter()
            .flatten()
            .collect()
    }

    fn quoted(&mut self, quote: char) -> String {
        self.position += 1;
        let mut units = Vec::new();
        while let Some(character) = self.next() {
            if character == quote {
                break;
            }
            if character != '\\' {
                units.extend(character.encode_utf16(&mut [0; 2]).iter());
                continue;
            }
            let escaped = match self.next() {
                Some('u') => self.hexadecimal(4),
                Some('x') => self.hexadecimal(2),
                Some('n') => u16::from(b'\n'),
                Some('t') => u16::from(b'\t'),
                Some('r') => u16::from(b'\r'),
                Some(other) => {
                    units.extend(other.encode_utf16(&mut [0; 2]).iter());
                    continue;
                }
                None => break,
            };
            units.push(escaped);
        }
        String::from_utf16_lossy(&units)
    }

    fn hexadecimal(&mut self, digits: usize) -> u16 {
        let end = self.characters.len().min(self.position + digits);
        let text = self.between(self.position, end);
        self.position = end;
        u16::from_str_radix(&text, 16).unwrap_or(0xfffd)
    }
}
