//! What a server writes to stderr, as lines of the proxy's own log: only where
//! that was asked for, because servers write arguments there.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::names::harmless;

/// Bytes of a line that are logged.
const SHOWN: usize = 1 << 10;
/// How much of the rest of a long line is held while it is skipped.
const SKIPPED_AT_ONCE: u64 = 64 << 10;

/// Logs line by line until there are no more.
pub(super) async fn log(stderr: impl AsyncRead + Unpin) {
    let mut stderr = BufReader::new(stderr);
    while let Some(line) = next(&mut stderr).await {
        if !line.is_empty() {
            let line = harmless(&String::from_utf8_lossy(&line));
            tracing::info!(target: "mcp_policy_proxy::server", "{line}");
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
}
