//! Messages that are one line each, as MCP frames them on stdio.

use std::io;

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Mutex,
};

/// How much of an over-long line is held while the rest of it is skipped.
const SKIPPED_AT_ONCE: u64 = 64 << 10;

/// What a reader came upon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line, without its end. The last one of all may have had none.
    Whole(Vec<u8>),
    /// A line that is longer than `limit`, and skipped.
    TooLong,
}

/// Reads the next line, of which it holds no more than `limit` bytes.
pub(crate) async fn next(
    reader: &mut (impl AsyncBufRead + Unpin),
    limit: u64,
) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    // One more, for the line end.
    let room = limit.saturating_add(1);
    let taken = reader.take(room).read_until(b'\n', &mut line).await?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        return Ok(Some(Line::Whole(line)));
    }
    if taken == 0 {
        return Ok(None);
    }
    if line.len() as u64 <= limit {
        return Ok(Some(Line::Whole(line)));
    }
    loop {
        line.clear();
        line.shrink_to(0);
        let taken = reader
            .take(SKIPPED_AT_ONCE)
            .read_until(b'\n', &mut line)
            .await?;
        if taken == 0 || line.ends_with(b"\n") {
            return Ok(Some(Line::TooLong));
        }
    }
}

/// Writes whole messages, one line each, whoever wants to write at the moment.
#[derive(Debug)]
pub(crate) struct LineWriter<W>(Mutex<W>);

impl<W: AsyncWrite + Unpin> LineWriter<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self(Mutex::new(writer))
    }

    /// Returns when the message is written, so that whoever produces faster
    /// than the other side reads has to wait.
    ///
    /// To JSON a line end outside of strings is a space like any other, and
    /// inside of them there is none. But many readers, Python's among them, end
    /// a line at a carriage return too, and would see several messages where one
    /// was judged: so spaces are what is written.
    pub(crate) async fn write(&self, mut message: Vec<u8>) -> io::Result<()> {
        for byte in &mut message {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        message.push(b'\n');
        let mut writer = self.0.lock().await;
        writer.write_all(&message).await?;
        writer.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut text: &[u8], limit: u64) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(line) = next(&mut text, limit).await.unwrap() {
            lines.push(line);
        }
        lines
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.into())
    }

    #[tokio::test]
    async fn lines_are_told_apart() {
        assert_eq!(all(b"", 3).await, []);
        assert_eq!(all(b"\n\na\n", 3).await, ["", "", "a"].map(whole));
        assert_eq!(all(b"abc\nabc", 3).await, ["abc", "abc"].map(whole));
        assert_eq!(all(b"a\rb\r\n", 9).await, [whole("a\rb\r")]);
    }

    #[tokio::test]
    async fn a_long_line_is_skipped_to_its_end() {
        let long = "x".repeat(200 << 10);
        for text in ["abcd\nabc\n", &(long.clone() + "\nabc")] {
            assert_eq!(all(text.as_bytes(), 3).await, [Line::TooLong, whole("abc")]);
        }
        for text in ["abcd", "abcd\n", &long] {
            assert_eq!(all(text.as_bytes(), 3).await, [Line::TooLong]);
        }
    }

    #[tokio::test]
    async fn a_message_is_one_line_for_every_reader() {
        let writer = LineWriter::new(Vec::new());
        writer.write(b"{\r\"a\":\n1}\r".to_vec()).await.unwrap();
        writer.write(b"{}".to_vec()).await.unwrap();
        assert_eq!(writer.0.into_inner(), b"{ \"a\": 1} \n{}\n");
    }
}
