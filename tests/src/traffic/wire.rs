//! What rig clients and rig servers say to each other over TCP.
//!
//! ```text
//! request   kind u8 · number u64 · length u32 · payload
//! reply     kind u8 · number u64 · length u32 · payload · name length u8 · name
//! ```
//! All numbers are big-endian. A download's payload follows its reply as a stream and is not counted in `length`.

/// What a record asks for or is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// "Who are you?"
    Name,
    /// Send back what I sent.
    Echo,
    /// Stream `number` bytes; the payload is the pace in bytes a second (u64), 0 for as fast as it goes.
    Download,
    /// From the server alone, unasked, right after it accepted.
    Banner,
    /// From the server alone, unasked, at any time; `number` counts the rounds.
    Push,
    /// "Speak to me every `number` milliseconds."
    Subscribe,
    /// From the server alone, to whoever subscribed; `number` counts from 1, none may be missing.
    Tick,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Name => b'N',
            Self::Echo => b'E',
            Self::Download => b'D',
            Self::Banner => b'B',
            Self::Push => b'P',
            Self::Subscribe => b'S',
            Self::Tick => b'T',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        const ALL: [Kind; 7] =
            [Kind::Name, Kind::Echo, Kind::Download, Kind::Banner, Kind::Push, Kind::Subscribe, Kind::Tick];
        ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) number: u64,
    pub(super) payload: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) request: Request,
    pub(super) name: String,
}

/// Bytes that are no record: somebody rewrote them on the way, or they belong to another stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbled(pub(super) String);

const HEADER: usize = 1 + 8 + 4;
const LARGEST_PAYLOAD: usize = 1 << 20;

impl Request {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.push(self.kind.byte());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&(self.payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Takes one whole request off the front of `buffer`; None when more bytes are needed.
    pub(super) fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, Garbled> {
        let Some((request, used)) = parse(buffer)? else { return Ok(None) };
        buffer.drain(..used);
        Ok(Some(request))
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.request.encode();
        bytes.push(self.name.len() as u8);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// Takes one whole reply off the front of `buffer`; None when more bytes are needed.
    pub(super) fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, Garbled> {
        let Some((request, used)) = parse(buffer)? else { return Ok(None) };
        let Some(&length) = buffer.get(used) else { return Ok(None) };
        let end = used + 1 + usize::from(length);
        let Some(name) = buffer.get(used + 1..end) else { return Ok(None) };
        let name = String::from_utf8(name.to_vec())
            .map_err(|_| Garbled(format!("a name that is no text: {name:?}")))?;
        buffer.drain(..end);
        Ok(Some(Self { request, name }))
    }
}

fn parse(buffer: &[u8]) -> Result<Option<(Request, usize)>, Garbled> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
    let [kind, number @ .., l0, l1, l2, l3] = *header;
    let Some(kind) = Kind::of(kind) else {
        return Err(Garbled(format!("a record of unknown kind {kind:#04x}")));
    };
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length > LARGEST_PAYLOAD {
        return Err(Garbled(format!("a record of {length} bytes, more than anyone sends")));
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let request = Request { kind, number: u64::from_be_bytes(number), payload: payload.to_vec() };
    Ok(Some((request, HEADER + length)))
}

/// Byte `offset` and on of the stream a download delivers: every 8 bytes are the word's own index, mixed, so that no
/// piece lost, doubled or swapped goes unseen.
pub(super) fn download_word(index: u64) -> [u8; 8] {
    index.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes()
}

/// The payload that connection `nonce` sends as its record `number`.
pub fn numbered_payload(nonce: u64, number: u64, length: usize) -> Vec<u8> {
    let words = (0..length.div_ceil(8) as u64).flat_map(|word| download_word(nonce ^ (number << 20) ^ word));
    words.take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_any_segmentation() {
        let request = Request { kind: Kind::Echo, number: 7, payload: numbered_payload(3, 7, 50) };
        let reply = Reply { request, name: "rs1".to_owned() };
        let bytes = reply.encode();
        let mut buffer = Vec::new();
        for byte in &bytes[..bytes.len() - 1] {
            buffer.push(*byte);
            assert_eq!(Reply::take(&mut buffer), Ok(None));
        }
        buffer.push(bytes[bytes.len() - 1]);
        buffer.extend_from_slice(&bytes);
        assert_eq!(Reply::take(&mut buffer), Ok(Some(reply.clone())));
        assert_eq!(Reply::take(&mut buffer), Ok(Some(reply)));
        assert!(buffer.is_empty());
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let mut buffer = b"HTTP/1.1 200 OK\r\n".to_vec();
        assert!(Request::take(&mut buffer).is_err());
    }

    #[test]
    fn payloads_differ_between_connections_and_numbers() {
        let first = numbered_payload(1, 1, 64);
        assert_eq!(first.len(), 64);
        assert_ne!(first, numbered_payload(1, 2, 64));
        assert_ne!(first, numbered_payload(2, 1, 64));
    }
}
