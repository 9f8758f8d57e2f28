//! Reads a request in every way in which some server reads it, and says what all
//! of them together would execute. The tests and the `attack` command of the proxy
//! share it.

use std::collections::BTreeSet;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderMap;
use unicode_normalization::UnicodeNormalization as _;

use super::loose_json::{Loose, read_all};

const TOOLS: [&str; 4] = ["safe", "danger", "hidden", "call_tool"];
const PROMPTS: [&str; 2] = ["greet", "secret"];

/// As much of a compressed body is unpacked.
const UNPACKED: u64 = 16 << 20;

/// So often JSON in a JSON string is read as JSON.
const STRINGS_IN_STRINGS: u32 = 8;

/// What becomes of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What is executed: tools by name, the others with what they are before it.
    pub(crate) executed: BTreeSet<String>,
    /// An id for the answer, as it is written in JSON.
    pub(crate) id: Option<String>,
}

/// Executes everything that a request could mean.
pub(crate) fn execute_all(headers: &HeaderMap, body: &[u8]) -> Outcome {
    let messages = readings(body);
    let mut executed = BTreeSet::new();
    for message in &messages {
        execute(message, &mut executed);
    }
    execute_headers(headers, &mut executed);
    let id = messages
        .iter()
        .find_map(|message| Some(all(message, "id").first()?.to_json()));
    Outcome { executed, id }
}

// ===== reading =====

/// Every message that somebody could read in a body.
pub(crate) fn readings(body: &[u8]) -> Vec<Loose> {
    let mut plain = Vec::new();
    let unpacked = match body {
        [0x1f, 0x8b, ..] => flate2::read::GzDecoder::new(body)
            .take(UNPACKED)
            .read_to_end(&mut plain),
        [0x78, ..] => flate2::read::ZlibDecoder::new(body)
            .take(UNPACKED)
            .read_to_end(&mut plain),
        _ => Ok(0),
    };
    let bytes = if matches!(unpacked, Ok(length) if length > 0) {
        &plain
    } else {
        body
    };
    let pairs = |read: fn([u8; 2]) -> u16| {
        let pairs = bytes
            .chunks_exact(2)
            .filter_map(|pair| pair.try_into().ok());
        let units = pairs.map(read);
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>()
    };
    let quads = |read: fn([u8; 4]) -> u32| {
        bytes
            .chunks_exact(4)
            .filter_map(|quad| quad.try_into().ok())
            .map(read)
            .map(|number| char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>()
    };
    let utf_8 = loose_utf_8(bytes);
    let mut texts = vec![utf_7(&utf_8), utf_8];
    // Text in the others has NULs in it.
    if bytes.contains(&0) {
        texts.extend([pairs(u16::from_le_bytes), pairs(u16::from_be_bytes)]);
        texts.extend([quads(u32::from_le_bytes), quads(u32::from_be_bytes)]);
    }
    let mut messages = Vec::new();
    for text in &texts {
        for value in read_all(text) {
            flatten(value, STRINGS_IN_STRINGS, &mut messages);
        }
    }
    messages
}

/// Batches, batches in batches, and JSON in a JSON string.
fn flatten(value: Loose, strings: u32, messages: &mut Vec<Loose>) {
    match value {
        Loose::List(items) => {
            for item in items {
                flatten(item, strings, messages);
            }
        }
        Loose::Text(text) => {
            if let Some(strings) = strings.checked_sub(1) {
                for value in read_all(&text) {
                    flatten(value, strings, messages);
                }
            }
        }
        Loose::Object(_) => messages.push(value),
        Loose::Word(_) => {}
    }
}

/// UTF-8 in which letters may be spelt longer than they have to be.
fn loose_utf_8(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = bytes.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let (mut number, more) = match first {
            0..0x80 => (u32::from(first), 0),
            0xc0..0xe0 => (u32::from(first & 0x1f), 1),
            0xe0..0xf0 => (u32::from(first & 0x0f), 2),
            0xf0..0xf8 => (u32::from(first & 0x07), 3),
            _ => (0xfffd, 0),
        };
        for _ in 0..more {
            match rest.next_if(|byte| byte & 0xc0 == 0x80) {
                Some(byte) => number = number << 6 | u32::from(byte & 0x3f),
                None => number = 0xfffd,
            }
        }
        text.push(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    text
}

/// UTF-7; empty if it is none.
fn utf_7(text: &str) -> String {
    let mut pieces = text.split('+');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let Some((shifted, plain)) = piece.split_once('-') else {
            return String::new();
        };
        let Ok(bytes) = STANDARD_NO_PAD.decode(shifted) else {
            return String::new();
        };
        let pairs = bytes
            .chunks_exact(2)
            .filter_map(|pair| pair.try_into().ok());
        let units = pairs.map(u16::from_be_bytes);
        decoded.extend(char::decode_utf16(units).flatten());
        decoded.push_str(plain);
    }
    decoded
}

// ===== executing =====

/// Letters and digits in lower case: what is left when nothing counts that some
/// server ignores.
pub(crate) fn fold(name: &str) -> String {
    name.nfkc()
        .map(|character| match character {
            '\u{430}' => 'a',
            other => other,
        })
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// All values of a member, in whatever spelling, also inherited ones.
fn all<'v>(value: &'v Loose, wanted: &str) -> Vec<&'v Loose> {
    let Loose::Object(members) = value else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in members {
        if fold(key) == fold(wanted) {
            found.push(value);
        } else if key == "__proto__" {
            found.extend(all(value, wanted));
        }
    }
    found
}

impl Loose {
    /// The texts that somebody could take for the one that is wanted.
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Text(text) | Self::Word(text) => vec![text.clone()],
            Self::List(items) => items.iter().flat_map(Self::texts).collect(),
            Self::Object(_) => all(self, "name")
                .into_iter()
                .flat_map(Self::texts)
                .collect(),
        }
    }

    fn to_json(&self) -> String {
        match self {
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::Word(word) if serde_json::from_str::<serde_json::Value>(word).is_ok() => {
                word.clone()
            }
            _ => "null".to_owned(),
        }
    }
}

/// Every text that a member could be taken for.
fn texts(value: &Loose, member: &str) -> Vec<String> {
    all(value, member)
        .into_iter()
        .flat_map(Loose::texts)
        .collect()
}

fn execute(message: &Loose, executed: &mut BTreeSet<String>) {
    for method in texts(message, "method") {
        let method = fold(&method.to_lowercase().replace("%2f", "/"));
        for params in all(message, "params") {
            execute_method(&method, params, executed);
        }
    }
}

fn execute_method(method: &str, params: &Loose, executed: &mut BTreeSet<String>) {
    match method {
        "toolscall"
        | "toolsinvoke"
        | "toolsrun"
        | "calltool"
        | "systemmulticall"
        | "notificationstoolscall" => {
            let names = match params {
                Loose::Object(_) => texts(params, "name"),
                by_position => by_position.texts(),
            };
            for name in names {
                run(&name, &TOOLS, "", executed);
                if fold(&name) == "calltool" {
                    for arguments in all(params, "arguments") {
                        for inner in texts(arguments, "tool_name") {
                            run(&inner, &TOOLS, "", executed);
                        }
                    }
                }
            }
        }
        "promptsget" => {
            for name in texts(params, "name") {
                run(&name, &PROMPTS, "prompt ", executed);
            }
        }
        "resourcesread" | "resourcessubscribe" => read(&texts(params, "uri"), executed),
        "completioncomplete" => {
            for reference in all(params, "ref") {
                for name in texts(reference, "name") {
                    run(&name, &PROMPTS, "prompt ", executed);
                }
                read(&texts(reference, "uri"), executed);
            }
        }
        "subscriptionslisten" => {
            for wanted in all(params, "notifications") {
                read(&texts(wanted, "resourceSubscriptions"), executed);
                executed.extend(
                    texts(wanted, "taskIds")
                        .iter()
                        .map(|id| format!("task {id}")),
                );
            }
        }
        "tasksget" | "tasksresult" | "tasksupdate" | "taskscancel" => {
            executed.extend(
                texts(params, "taskId")
                    .iter()
                    .map(|id| format!("task {id}")),
            );
        }
        _ => {}
    }
}

/// Runs whichever of these a name could mean.
fn run(name: &str, known: &[&str], kind: &str, executed: &mut BTreeSet<String>) {
    let meant = known.iter().filter(|known| fold(known) == fold(name));
    executed.extend(meant.map(|known| format!("{kind}{known}")));
}

fn read(uris: &[String], executed: &mut BTreeSet<String>) {
    executed.extend(uris.iter().map(|uri| format!("resource {uri}")));
}

/// Acts on the headers alone, as a router might.
fn execute_headers(headers: &HeaderMap, executed: &mut BTreeSet<String>) {
    let lines = |name: &str| {
        let values = headers.get_all(name).iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect::<Vec<_>>()
    };
    if !lines("mcp-method")
        .iter()
        .any(|method| fold(method) == "toolscall")
    {
        return;
    }
    for line in lines("mcp-name") {
        for name in line.split(',') {
            run(name, &TOOLS, "", executed);
            let encoded = name.trim().get(10..).unwrap_or_default();
            let encoded = encoded.trim_end_matches("?=").trim_end_matches('=');
            if let Ok(decoded) = STANDARD_NO_PAD.decode(encoded) {
                run(&String::from_utf8_lossy(&decoded), &TOOLS, "", executed);
            }
        }
    }
}
