//! The body of a response, as far as it must be read to find something in it (RFC 9112, sections 6 and 7).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How much of a body is searched.
const LIMIT: usize = 64 * 1024;
/// The longest line that tells a chunk's size, extensions included.
const SIZE_LINE: usize = 1024;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With a chunk of nothing.
    Chunked,
    /// With the connection.
    Close,
}

impl Framing {
    pub(super) fn of(headers: &[httparse::Header<'_>]) -> Self {
        let value = |name: &str| {
            let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
        };
        match (value("transfer-encoding"), value("content-length")) {
            (Some(coding), _) if coding.ends_with("chunked") => Self::Chunked,
            (None, Some(length)) => length.parse().map_or(Self::Close, Self::Length),
            _ => Self::Close,
        }
    }
}

/// A body in which something is looked for.
pub(super) struct Body<'a> {
    framing: Framing,
    wanted: &'a [u8],
    /// What has come and is not decoded yet.
    raw: Vec<u8>,
    text: Vec<u8>,
    /// Bytes left of the chunk that is being read.
    chunk: u64,
    /// Whether the end of a chunk's line stands before the next one.
    after_chunk: bool,
    found: bool,
    ended: bool,
}

impl<'a> Body<'a> {
    pub(super) fn new(framing: Framing, wanted: &'a [u8]) -> Self {
        let (raw, text) = (Vec::new(), Vec::new());
        Self { framing, wanted, raw, text, chunk: 0, after_chunk: false, found: false, ended: false }
    }

    /// Reads on until it is found, or cannot be any more. `rest` has been read already.
    pub(super) async fn read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        rest: Vec<u8>,
    ) -> io::Result<()> {
        self.raw = rest;
        loop {
            self.decode()?;
            if self.found || self.ended || self.is_cut() {
                return Ok(());
            }
            if stream.read_buf(&mut self.raw).await? == 0 {
                self.ended = true;
            }
        }
    }

    pub(super) fn holds_it(&self) -> bool {
        self.found
    }

    /// Whether there may have been more than was searched.
    pub(super) fn is_cut(&self) -> bool {
        self.text.len() >= LIMIT && !self.ended
    }

    fn decode(&mut self) -> io::Result<()> {
        match self.framing {
            Framing::Close => drop(self.take(u64::MAX)),
            Framing::Length(length) => {
                let left = length - self.text.len() as u64;
                self.take(left);
                self.ended |= self.text.len() as u64 == length;
            }
            Framing::Chunked => while !self.ended && self.decode_chunk()? {},
        }
        Ok(())
    }

    /// Decodes some of a chunk; says whether there may be more to decode.
    fn decode_chunk(&mut self) -> io::Result<bool> {
        if self.chunk > 0 {
            self.chunk -= self.take(self.chunk);
            self.after_chunk = self.chunk == 0;
            return Ok(self.chunk == 0 && !self.is_cut());
        }
        let skip = if self.after_chunk { 2 } else { 0 };
        let Some(line) = self.raw.get(skip..).filter(|line| !line.is_empty()) else { return Ok(false) };
        match httparse::parse_chunk_size(line) {
            Ok(httparse::Status::Complete((used, size))) => {
                self.raw.drain(..skip + used);
                (self.chunk, self.after_chunk, self.ended) = (size, false, size == 0);
                Ok(true)
            }
            Ok(httparse::Status::Partial) if line.len() <= SIZE_LINE => Ok(false),
            _ => Err(io::Error::other("not HTTP (a chunk of no size)")),
        }
    }

    /// Moves at most so many bytes to the text, and looks at them; says how many.
    fn take(&mut self, most: u64) -> u64 {
        let taken = self.raw.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        // What was looked for may have begun before.
        let from = (self.text.len() + 1).saturating_sub(self.wanted.len());
        self.text.extend(self.raw.drain(..taken));
        let searched = &self.text[from..self.text.len().min(LIMIT).max(from)];
        self.found |= searched.windows(self.wanted.len()).any(|part| part == self.wanted);
        taken as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunked(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut framed = Vec::new();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            framed.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            framed.extend(piece);
            framed.extend(b"\r\n");
        }
        framed.extend(b"0\r\n\r\n");
        framed
    }

    async fn found(framing: Framing, wanted: &[u8], bytes: &[u8], cut: usize) -> bool {
        let mut body = Body::new(framing, wanted);
        let (first, mut rest) = bytes.split_at(cut.min(bytes.len()));
        body.read(&mut rest, first.to_vec()).await.expect("well-formed");
        body.holds_it()
    }

    proptest! {
        /// However it is framed and cut into reads, a body is searched as a whole.
        #[test]
        fn framing_and_cuts_do_not_matter(
            pieces in prop::collection::vec(prop::collection::vec(0u8..3, 0..6), 0..6),
            wanted in prop::collection::vec(0u8..3, 1..4),
            cut in 0usize..60,
        ) {
            let whole = pieces.concat();
            let expected = whole.windows(wanted.len()).any(|part| part == wanted);
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            runtime.block_on(async {
                prop_assert_eq!(found(Framing::Close, &wanted, &whole, cut).await, expected);
                let length = Framing::Length(whole.len() as u64);
                let and_more = [&whole[..], &wanted].concat();
                prop_assert_eq!(found(length, &wanted, &and_more, cut).await, expected);
                prop_assert_eq!(found(Framing::Chunked, &wanted, &chunked(&pieces), cut).await, expected);
                Ok(())
            })?;
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            let (first, mut rest) = bytes.split_at(cut.min(bytes.len()));
            let mut body = Body::new(Framing::Chunked, b"x");
            let _ = runtime.block_on(body.read(&mut rest, first.to_vec()));
        }
    }
}
