//! Member names that the protocol gives a meaning, and names that some reader
//! takes for them.

/// Every member name that decides what a message is or what it acts on
/// (`protocol.md`, row R1).
const PROTOCOL_KEYS: &[&str] = &[
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "error",
    "name",
    "arguments",
    "uri",
    "taskId",
    "cursor",
    "ref",
    "_meta",
    "inputResponses",
    "requestState",
    "task",
    "notifications",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
];

/// The longest of [`PROTOCOL_KEYS`], in characters.
const LONGEST: usize = 42;

/// Whether a name that is not itself a protocol key could be read as one: some
/// readers ignore case (ASCII, U+017F for `s`, U+212A for `k`), some stop at a
/// NUL. No honest name holds a control character, so those are refused too.
pub(crate) fn is_look_alike(key: &str) -> bool {
    key.chars().any(char::is_control)
        || (!PROTOCOL_KEYS.contains(&key) && folds_onto(key, PROTOCOL_KEYS))
}

/// Whether `key` equals one of `names` once case is ignored and trailing NULs
/// are removed.
pub(crate) fn folds_onto(key: &str, names: &[&str]) -> bool {
    let key = key.trim_end_matches('\0');
    if key.len() > LONGEST * 3 {
        return false;
    }
    names
        .iter()
        .any(|name| key.chars().map(fold).eq(name.chars().map(fold)))
}

fn fold(character: char) -> char {
    match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_key_is_named() {
        let longest = PROTOCOL_KEYS.iter().map(|key| key.len()).max();
        assert_eq!(longest, Some(LONGEST));
    }

    #[test]
    fn look_alikes_are_found() {
        for key in [
            "Method",
            "NAME",
            "param\u{17f}",
            "ta\u{17f}\u{212a}",
            "name\0",
            "name\0\0",
            "taskID",
            "x\u{1}",
        ] {
            assert!(is_look_alike(key), "{key:?}");
        }
        for key in [
            "name",
            "taskId",
            "names",
            "my_name",
            "progressToken",
            "naïve",
            "_meta2",
        ] {
            assert!(!is_look_alike(key), "{key:?}");
        }
    }
}
