//! One message a line, and no line longer than allowed.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A whole line, without its end.
    Line(Vec<u8>),
    /// The line grew past the limit.
    TooLong,
    /// The other side has no more to say (a line without an end is dropped: its sender gave up).
    End,
}

/// Reads one line of at most `limit` bytes; never holds more than that, whatever the other side sends.
pub(super) async fn read(source: &mut (impl AsyncBufRead + Unpin), limit: usize) -> io::Result<Frame> {
    let mut line = Vec::new();
    loop {
        let available = source.fill_buf().await?;
        if available.is_empty() {
            return Ok(Frame::End);
        }
        let end = available.iter().position(|&byte| byte == b'\n');
        let part = end.unwrap_or(available.len());
        if line.len() + part > limit {
            return Ok(Frame::TooLong);
        }
        line.extend_from_slice(&available[..part]);
        source.consume(part + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Frame::Line(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, read};
    use tokio::io::BufReader;

    async fn frames(bytes: &[u8], limit: usize) -> Vec<Frame> {
        // A buffer of 3 bytes makes every line arrive in pieces.
        let mut source = BufReader::with_capacity(3, bytes);
        let mut frames = Vec::new();
        loop {
            frames.push(read(&mut source, limit).await.unwrap());
            if !matches!(frames.last(), Some(Frame::Line(_))) {
                return frames;
            }
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn lines_come_one_by_one() {
        let line = |text: &str| Frame::Line(text.as_bytes().to_vec());
        assert_eq!(frames(b"{}\nhello\n", 5).await, [line("{}"), line("hello"), Frame::End]);
        assert_eq!(frames(b"\n", 5).await, [line(""), Frame::End]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_line_of_the_limit_fits_and_one_byte_more_does_not() {
        assert_eq!(frames(b"12345\n", 5).await.len(), 2);
        assert_eq!(frames(b"123456\n", 5).await, [Frame::TooLong]);
        assert_eq!(frames(b"123456", 5).await, [Frame::TooLong]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn half_a_line_is_no_request() {
        assert_eq!(frames(b"{\"verb\"", 100).await, [Frame::End]);
    }
}
