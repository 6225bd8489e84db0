//! One frame out of a capture file (pcap or pcapng).

use crate::api::{Failure, FailureKind};
use crate::dataplane::FRAME_LENGTHS;
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

/// The first block of a pcapng file (its section header).
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// What the file holds of a frame.
struct Captured {
    link: DataLink,
    bytes: Vec<u8>,
    /// As long as it was on the wire.
    length: usize,
}

/// The frame with this number, from 1. What was cut off when it was captured is filled up with zeros.
///
/// # Errors
/// With the file, the frame and the remedy.
pub fn frame(path: &Path, number: usize) -> Result<Vec<u8>, Failure> {
    let at = format!("{}: frame {number}", path.display());
    let refuse = |what: String| Failure::new(FailureKind::Refused, format!("{at}: {what}"));
    let captured = nth(path, number).map_err(refuse)?;
    if captured.link != DataLink::ETHERNET {
        let what =
            format!("its link type is {:?}; capture on an Ethernet interface, not on 'any'", captured.link);
        return Err(refuse(what));
    }
    let mut bytes = captured.bytes;
    let length = captured.length.max(bytes.len());
    if !FRAME_LENGTHS.contains(&length) {
        let (least, most) = (FRAME_LENGTHS.start(), FRAME_LENGTHS.end());
        let what = format!(
            "it has {length} bytes, and {least} to {most} can be explained; capture in front of segmentation offloads"
        );
        return Err(refuse(what));
    }
    bytes.resize(length, 0);
    Ok(bytes)
}

fn nth(path: &Path, number: usize) -> Result<Captured, String> {
    let open = || File::open(path).map(BufReader::new).map_err(|error| format!("cannot be read: {error}"));
    let mut magic = [0; 4];
    open()?.read_exact(&mut magic).map_err(|error| format!("no capture file: {error}"))?;
    if magic == PCAPNG { nth_of_pcapng(open()?, number) } else { nth_of_pcap(open()?, number) }
}

fn nth_of_pcap(file: BufReader<File>, number: usize) -> Result<Captured, String> {
    let mut reader = PcapReader::new(file).map_err(|error| format!("neither pcap nor pcapng: {error}"))?;
    let link = reader.header().datalink;
    let mut seen = 0;
    while let Some(packet) = reader.next_packet() {
        let packet = packet.map_err(|error| format!("the file is damaged: {error}"))?;
        seen += 1;
        if seen == number {
            let length = packet.orig_len as usize;
            return Ok(Captured { link, bytes: packet.data.into_owned(), length });
        }
    }
    Err(too_few(seen))
}

fn nth_of_pcapng(file: BufReader<File>, number: usize) -> Result<Captured, String> {
    let mut reader = PcapNgReader::new(file).map_err(|error| format!("the file is damaged: {error}"))?;
    let mut seen = 0;
    while let Some(block) = reader.next_block() {
        let block = block.map_err(|error| format!("the file is damaged: {error}"))?.into_owned();
        let (interface, bytes, length) = match block {
            Block::EnhancedPacket(packet) => (packet.interface_id, packet.data, packet.original_len),
            Block::SimplePacket(packet) => (0, packet.data, packet.original_len),
            _ => continue,
        };
        seen += 1;
        if seen == number {
            let described = reader.interfaces().get(interface as usize);
            let link = described.ok_or("the file does not describe its interface")?.linktype;
            return Ok(Captured { link, bytes: bytes.into_owned(), length: length as usize });
        }
    }
    Err(too_few(seen))
}

fn too_few(seen: usize) -> String {
    match seen {
        0 => "the file holds no frame".to_owned(),
        1 => "the file holds 1 frame".to_owned(),
        _ => format!("the file holds {seen} frames"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
    use pcap_file::pcapng::PcapNgWriter;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
    use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
    use std::borrow::Cow;
    use std::time::Duration;

    const FRAMES: [[u8; 60]; 2] = [[1; 60], [2; 60]];

    fn pcap(link: DataLink, whole: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let header = PcapHeader { datalink: link, ..PcapHeader::default() };
        let mut writer = PcapWriter::with_header(file.reopen().unwrap(), header).unwrap();
        for frame in &FRAMES {
            writer.write_packet(&PcapPacket::new(Duration::ZERO, whole, frame)).unwrap();
        }
        file
    }

    fn pcapng() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = PcapNgWriter::new(file.reopen().unwrap()).unwrap();
        let interface =
            InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options: Vec::new() };
        writer.write_pcapng_block(interface).unwrap();
        for frame in &FRAMES {
            let packet = EnhancedPacketBlock {
                interface_id: 0,
                timestamp: Duration::ZERO,
                original_len: 60,
                data: Cow::Borrowed(frame),
                options: Vec::new(),
            };
            writer.write_pcapng_block(packet).unwrap();
        }
        file
    }

    #[test]
    fn both_forms_give_the_frame_that_was_asked_for() {
        for file in [pcap(DataLink::ETHERNET, 60), pcapng()] {
            assert_eq!(frame(file.path(), 1).unwrap(), FRAMES[0]);
            assert_eq!(frame(file.path(), 2).unwrap(), FRAMES[1]);
            assert!(frame(file.path(), 3).unwrap_err().message.ends_with("frame 3: the file holds 2 frames"));
        }
    }

    #[test]
    fn what_was_cut_off_is_filled_up() {
        let found = frame(pcap(DataLink::ETHERNET, 100).path(), 2).unwrap();
        assert_eq!((&found[..60], &found[60..]), (&FRAMES[1][..], &[0; 40][..]));
    }

    #[test]
    fn what_cannot_be_explained_is_refused_with_its_reason() {
        let said = |path: &Path| frame(path, 1).unwrap_err().message;
        assert!(said(pcap(DataLink::LINUX_SLL, 60).path()).contains("not on 'any'"));
        assert!(said(pcap(DataLink::ETHERNET, 9000).path()).contains("9000 bytes"));
        assert!(said(Path::new("/nowhere.pcap")).contains("cannot be read"));
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "not a capture, but long enough to have a header").unwrap();
        assert!(said(text.path()).contains("neither pcap nor pcapng"));
    }
}
