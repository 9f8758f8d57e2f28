//! What a server writes to stderr, as lines of the proxy's own log: only where
//! that was asked for, because servers write arguments there.

use std::fmt::Write;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// Bytes of a line that are logged.
const SHOWN: usize = 1 << 10;
/// How much of the rest of a long line is held while it is skipped.
const SKIPPED_AT_ONCE: u64 = 64 << 10;

/// Logs line by line until there are no more.
pub(super) async fn log(stderr: impl AsyncRead + Unpin) {
    let mut stderr = BufReader::new(stderr);
    while let Some(line) = next(&mut stderr).await {
        if !line.is_empty() {
            tracing::info!(target: "mcp_policy_proxy::server", "{}", harmless(&line));
        }
    }
}

/// The next line, or its beginning.
async fn next(stderr: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let mut rest = Vec::new();
    let taken = stderr.take(SHOWN as u64).read_until(b'\n', &mut line).await;
    if taken.ok()? == 0 {
        return None;
    }
    let mut ended = line.ends_with(b"\n");
    while !ended {
        rest.clear();
        let mut part = stderr.take(SKIPPED_AT_ONCE);
        let taken = part.read_until(b'\n', &mut rest).await;
        ended = taken.ok()? == 0 || rest.ends_with(b"\n");
    }
    line.truncate(line.trim_ascii_end().len());
    Some(line)
}

/// The text without anything that would make a terminal or a reader of the log
/// see something else than is there.
fn harmless(line: &[u8]) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(line).chars() {
        if c.is_control() || is_invisible(c) {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Changes the direction or the lines of the text around it.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_line_is_cut_and_skipped_to_its_end() {
        let long = "x".repeat(200 << 10);
        let text = format!("one\n\n{long}\r\n{long}\ntwo");
        let mut text = text.as_bytes();
        let mut lines = Vec::new();
        while let Some(line) = next(&mut text).await {
            lines.push(String::from_utf8(line).unwrap());
        }
        let cut = "x".repeat(SHOWN);
        assert_eq!(lines, ["one", "", &cut, &cut, "two"]);
    }

    #[test]
    fn nothing_moves_the_cursor_or_turns_the_text_around() {
        let line = "a\u{1b}[2J\r\u{202e}b\té \u{9b}\u{2028}".as_bytes();
        let expected = r"a\u{1b}[2J\u{d}\u{202e}b\u{9}é \u{9b}\u{2028}";
        assert_eq!(harmless(line), expected);
        assert_eq!(harmless(b"\xff"), "\u{fffd}");
    }
}
