//! Where a message ends: four bytes of length (little-endian), then the body.

use super::refusal::Refusal;

/// Longest body, in bytes.
pub const LONGEST: usize = 1 << 20;
const HEADER: usize = 4;

/// The body with its length before it.
///
/// # Panics
/// If the body is longer than [`LONGEST`]; messages are built to stay below.
pub fn framed(body: &[u8]) -> Vec<u8> {
    assert!(body.len() <= LONGEST, "a message of {} bytes", body.len());
    let mut frame = Vec::with_capacity(HEADER + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Bytes as they come in, cut into bodies. Holds at most one frame beyond what one [`Frames::push`] brought.
#[derive(Default, Debug)]
pub struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    /// Takes bytes in and hands out what is complete.
    ///
    /// # Errors
    /// When a length is out of bounds, before memory is taken for it. The stream is of no use any more.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Refusal> {
        while !bytes.is_empty() {
            let wanted = match self.pending.first_chunk::<HEADER>() {
                Some(header) => HEADER + Self::length(*header)?,
                None => HEADER,
            };
            let part = bytes.len().min(wanted - self.pending.len());
            self.pending.extend_from_slice(&bytes[..part]);
            bytes = &bytes[part..];
            if let Some(header) = self.pending.first_chunk::<HEADER>()
                && self.pending.len() == HEADER + Self::length(*header)?
            {
                each(&self.pending[HEADER..]);
                self.pending.clear();
            }
        }
        Ok(())
    }

    fn length(header: [u8; HEADER]) -> Result<usize, Refusal> {
        match u32::from_le_bytes(header) as usize {
            0 => Err(Refusal::FrameEmpty),
            length if length > LONGEST => Err(Refusal::FrameTooLong),
            length => Ok(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bodies_come_out_as_they_went_in_however_the_bytes_are_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
            piece in 1usize..60,
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
            let (mut frames, mut out) = (Frames::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                frames.push(bytes, |body| out.push(body.to_vec())).unwrap();
            }
            prop_assert_eq!(out, bodies);
        }
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_a_byte_of_it_comes() {
        for (length, refusal) in [(0, Refusal::FrameEmpty), (LONGEST as u32 + 1, Refusal::FrameTooLong)] {
            let mut frames = Frames::default();
            assert_eq!(frames.push(&length.to_le_bytes(), |_| panic!("a body")), Err(refusal));
            assert!(frames.pending.capacity() < 100);
        }
        let mut longest = 0;
        Frames::default().push(&framed(&vec![7; LONGEST]), |body| longest = body.len()).unwrap();
        assert_eq!(longest, LONGEST);
    }
}
