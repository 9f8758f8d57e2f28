//! Writes JSON.

use super::scan::special;

/// Appends a string with its quotes, and escapes what has to be, as RFC 8785 has it.
#[inline(never)]
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    if is_plain(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        escaped(text, out);
    }
}

#[cold]
fn escaped(text: &str, out: &mut Vec<u8>) {
    // Writing to memory does not fail, nor does a string.
    let _ = serde_json::to_writer(out, text);
}

/// Whether nothing has to be escaped.
fn is_plain(text: &[u8]) -> bool {
    let mut sixteens = text.chunks_exact(16).filter_map(<[u8]>::first_chunk);
    if let Some(last) = text.last_chunk() {
        return sixteens.all(|sixteen| special(*sixteen) == 0) && special(*last) == 0;
    }
    // What is shorter is read from both ends, and in the middle perhaps twice.
    let ends = if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        [first, last].map(|eight| u64::from_ne_bytes(*eight))
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let [first, last] = [first, last].map(|four| u64::from(u32::from_ne_bytes(*four)));
        [first | last << 32; 2]
    } else {
        let needs_none = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..b' ');
        return text.iter().all(needs_none);
    };
    let [low, high] = ends.map(u128::from);
    special((low | high << 64).to_ne_bytes()) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        let mut out = b"before".to_vec();
        string(text, &mut out);
        let expected = format!("before{}", serde_json::to_string(text).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn wherever_something_stands_it_is_written_as_its_twin_writes_it() {
        for length in 0..=50 {
            check(&"x".repeat(length));
            for special in ["\"", "\\", "\0", "\n", "\u{1f}", "\u{7f}", " ", "é"] {
                for before in 0..=length {
                    let (before, behind) = ("x".repeat(before), "x".repeat(length - before));
                    check(&[&*before, special, &behind].concat());
                }
            }
        }
    }

    #[test]
    fn every_byte_is_written_as_its_twin_writes_it() {
        for byte in 0..0x80_u8 {
            for length in [1, 7, 8, 15, 16, 17] {
                check(&String::from(char::from(byte)).repeat(length));
            }
        }
    }

    proptest! {
        #[test]
        fn a_string_is_written_as_its_twin_writes_it(text in "[\\x00-\\x7f]{0,40}|\\PC{0,40}|[ -~]{0,70}") {
            check(&text);
        }
    }
}
