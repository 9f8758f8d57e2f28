//! Changes texts that are JSON, or nearly, in ways that leave them so: bytes
//! that change at random seldom make one message of another.

use std::ops::Range;

/// Words that stand in the place of others.
const WORDS: [&str; 24] = [
    "\"name\"",
    "\"Name\"",
    "\"uri\"",
    "\"taskId\"",
    "\"id\"",
    "\"method\"",
    "\"params\"",
    "\"result\"",
    "\"_meta\"",
    "\"io.modelcontextprotocol/protocolVersion\"",
    "\"ref\"",
    "\"type\"",
    "\"arguments\"",
    "\"notifications\"",
    "\"resourceSubscriptions\"",
    "\"tools\"",
    "\"resourceTemplates\"",
    "\"danger\"",
    "\"secret\"",
    "\"\\ud83d\\ude00\"",
    "null",
    "-0",
    "1e308",
    "{}",
];

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit.max(1)
    }
}

/// Changes what libFuzzer holds, every other time in its own way.
pub fn in_place(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let changed = mutate(&data[..size], seed).filter(|text| text.len() <= max_size);
    match changed.filter(|_| seed.is_multiple_of(2)) {
        Some(text) => {
            data[..text.len()].copy_from_slice(&text);
            text.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
}

/// The text with one change; `None` if there is nothing to change.
fn mutate(text: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut dice = Dice((u64::from(seed) | 1 << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let tokens = tokens(text);
    let index = dice.below(tokens.len());
    let token = tokens.get(index)?.clone();
    let value = value(text, &tokens, index);
    let member = match tokens.get(index + 1) {
        Some(next) if text[next.clone()] == *b":" => {
            token.start..self::value(text, &tokens, index + 2).end
        }
        _ => value.clone(),
    };
    let other = tokens[dice.below(tokens.len())].clone();
    let (place, instead) = match dice.below(8) {
        0 => (token, text[other].to_vec()),
        1 => (token, WORDS[dice.below(WORDS.len())].as_bytes().to_vec()),
        // Twice, beside itself or elsewhere.
        2 => {
            let twice = [&text[member.clone()], b",", &text[member.clone()]].concat();
            (member, twice)
        }
        3 => {
            let behind = [&text[other.clone()], &text[member]].concat();
            (other, behind)
        }
        4 => (with_comma(text, member), Vec::new()),
        5 => {
            let at = token.start + dice.below(token.len());
            let escaped = format!("\\u{:04x}", text[at]);
            (at..at + 1, escaped.into_bytes())
        }
        6 => {
            let inside = [b"[", &text[value.clone()], b"]"].concat();
            (value, inside)
        }
        _ => {
            let key = WORDS[dice.below(17)].as_bytes();
            let inside = [b"{", key, b":", &text[value.clone()], b"}"].concat();
            (value, inside)
        }
    };
    Some([&text[..place.start], &instead, &text[place.end..]].concat())
}

fn with_comma(text: &[u8], place: Range<usize>) -> Range<usize> {
    let comma = text[place.end..].starts_with(b",");
    place.start..place.end + usize::from(comma)
}

/// Strings, single signs, and runs of anything else but space.
fn tokens(text: &[u8]) -> Vec<Range<usize>> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(first) = text.get(at) {
        let rest = &text[at..];
        let length = match first {
            b'"' => {
                let mut escaped = false;
                let end = rest.iter().skip(1).position(|byte| {
                    let ends = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    ends
                });
                end.map_or(rest.len(), |end| end + 2)
            }
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            sign if b"{}[]:,\0".contains(sign) => 1,
            _ => rest
                .iter()
                .position(|byte| b"{}[]:,\0\" \t\r\n".contains(byte))
                .unwrap_or(rest.len()),
        };
        tokens.push(at..at + length);
        at += length;
    }
    tokens
}

/// The value that begins with a token: to the bracket that closes it.
fn value(text: &[u8], tokens: &[Range<usize>], index: usize) -> Range<usize> {
    let mut depth = 0_i32;
    for token in &tokens[index.min(tokens.len())..] {
        match text[token.start] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth <= 0 {
            return tokens[index].start..token.end;
        }
    }
    text.len()..text.len()
}
