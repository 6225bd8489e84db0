//! Captured frames in a pcapng file: an interface for each way in, and one for what leaves; the decision is each frame's comment.

use super::capture::decided;
use crate::api::{CapturedBytes, CapturedFrame, Failure, FailureKind};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What leaves, by whatever interface.
const OUT: &str = "out";

/// Times in the file are in nanoseconds (`if_tsresol`).
const NANOSECONDS: u8 = 9;

/// A file that is being written.
pub(super) struct PcapngFile {
    path: PathBuf,
    writer: PcapNgWriter<BufWriter<File>>,
    /// By name, in the order in which they were described.
    interfaces: BTreeMap<String, u32>,
}

impl PcapngFile {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| broken(path, error))?;
        let writer = PcapNgWriter::new(BufWriter::new(file)).map_err(|error| broken(path, error))?;
        let mut file = Self { path: path.to_owned(), writer, interfaces: BTreeMap::new() };
        file.interface(OUT)?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The frame as it came and, if it was sent, as it left.
    pub(super) fn write(&mut self, frame: &CapturedFrame) -> Result<(), Failure> {
        let comment = decided(frame);
        let at = Duration::from_nanos(u64::try_from(frame.at.as_nanosecond()).unwrap_or(0));
        let name = format!("in:{}", frame.interface.as_deref().unwrap_or("?"));
        self.put(&name, at, &frame.before, &format!("in: {comment}"))?;
        match &frame.after {
            Some(after) => self.put(OUT, at, after, &format!("out: {comment}")),
            None => Ok(()),
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let path = &self.path;
        self.writer.get_mut().flush().map_err(|error| broken(path, error))
    }

    fn put(
        &mut self,
        interface: &str,
        at: Duration,
        bytes: &CapturedBytes,
        comment: &str,
    ) -> Result<(), Failure> {
        let block = EnhancedPacketBlock {
            interface_id: self.interface(interface)?,
            timestamp: at,
            original_len: bytes.length as u32,
            data: Cow::Borrowed(&bytes.bytes.0),
            options: vec![EnhancedPacketOption::Comment(Cow::Borrowed(comment))],
        };
        self.writer.write_pcapng_block(block).map(drop).map_err(|error| broken(&self.path, error))
    }

    fn interface(&mut self, name: &str) -> Result<u32, Failure> {
        if let Some(number) = self.interfaces.get(name) {
            return Ok(*number);
        }
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        };
        self.writer.write_pcapng_block(block).map_err(|error| broken(&self.path, error))?;
        let number = self.interfaces.len() as u32;
        self.interfaces.insert(name.to_owned(), number);
        Ok(number)
    }
}

fn broken(path: &Path, error: impl Display) -> Failure {
    Failure::new(FailureKind::Refused, format!("{}: cannot be written: {error}", path.display()))
}
