//! The file: a magic line with the version, then parts, each with its length and its CRC, the last one empty. The first has the
//! [`Header`], the others have [`Record`]s. Postcard's encoding.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lb_common::identity::FlowId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::replication::record::{Class, Pair};

const MAGIC: [u8; 16] = *b"xlvs snapshot 1\n";

/// Records in a part.
const AT_A_TIME: usize = 4096;

/// What holds of all records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// What the hash key makes of a tuple that no packet has: flow ids of another key lead nowhere.
    pub key: u64,
    /// Which table it was, as [`lb_common::entry::About::since`] names it.
    pub table: u64,
    /// Unix seconds.
    pub written: u64,
    /// What the records' numbers stand for.
    pub names: Vec<Pair>,
}

/// A connection, or a client's seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`FlowId::bits`].
    pub flow: u64,
    /// Its server in [`Header::names`].
    pub name: u32,
    pub class: Class,
    /// Seconds of silence after which it would be over.
    pub left: u32,
    /// Whose connection it is, if that was noted.
    pub ends: Option<Ends>,
}

/// What of a tuple its server does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    pub client: std::net::IpAddr,
    pub client_port: u16,
    pub vip_port: u16,
}

/// A file that is being written, beside the place where it is to be.
pub struct Writer {
    aside: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    part: Vec<Record>,
    records: u64,
}

impl Writer {
    /// # Errors
    /// What the file system says.
    pub fn begin(path: &Path, header: &Header) -> io::Result<Self> {
        let aside = path.with_extension("new");
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        let mut file = BufWriter::new(file);
        file.write_all(&MAGIC)?;
        put(&mut file, &encoded(header))?;
        Ok(Self { aside, path: path.to_owned(), file, part: Vec::with_capacity(AT_A_TIME), records: 0 })
    }

    /// # Errors
    /// What the file system says.
    pub fn add(&mut self, record: Record) -> io::Result<()> {
        self.part.push(record);
        self.records += 1;
        if self.part.len() == AT_A_TIME { self.flush() } else { Ok(()) }
    }

    /// It is on the disk, and in its place, when this returns; how many records it has.
    ///
    /// # Errors
    /// What the file system says; what was in that place is there still.
    pub fn finish(mut self) -> io::Result<u64> {
        if !self.part.is_empty() {
            self.flush()?;
        }
        put(&mut self.file, &[])?;
        self.file.into_inner()?.sync_all()?;
        std::fs::rename(&self.aside, &self.path)?;
        Ok(self.records)
    }

    fn flush(&mut self) -> io::Result<()> {
        put(&mut self.file, &encoded(&self.part))?;
        self.part.clear();
        Ok(())
    }
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("these have nothing that postcard cannot write")
}

fn put(file: &mut impl io::Write, part: &[u8]) -> io::Result<()> {
    let length = u32::try_from(part.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&crc32fast::hash(part).to_le_bytes())?;
    file.write_all(part)
}

/// A file that was found whole.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    pub header: Header,
}

/// Why a file cannot be used.
#[derive(Debug)]
pub enum Unfit {
    Unreadable(io::Error),
    /// Of another version, or none at all.
    NotOurs,
    /// Cut off or changed, so many bytes from its beginning.
    Damaged(u64),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::NotOurs => f.write_str("it is no snapshot, or another version's"),
            Self::Damaged(at) => write!(f, "it is damaged, {at} bytes from its beginning"),
        }
    }
}

impl Snapshot {
    /// Reads all of it; `None` if there is none.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(path: &Path) -> Result<Option<Self>, Unfit> {
        let mut parts = match Parts::open(path) {
            Err(Unfit::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            parts => parts?,
        };
        let header: Header = parts.next()?.ok_or(Unfit::Damaged(parts.at))?;
        while let Some(records) = parts.next::<Vec<Record>>()? {
            let known = |record: &Record| {
                (record.name as usize) < header.names.len()
                    && FlowId::from_bits(record.flow).bits() == record.flow
            };
            if !records.iter().all(known) {
                return Err(Unfit::Damaged(parts.at));
            }
        }
        Ok(Some(Self { path: path.to_owned(), header }))
    }

    /// Reads its records once more.
    ///
    /// # Errors
    /// If it has changed since it was opened.
    pub fn each(&self, mut tell: impl FnMut(Record)) -> Result<(), Unfit> {
        let mut parts = Parts::open(&self.path)?;
        let _header: Option<Header> = parts.next()?;
        while let Some(records) = parts.next::<Vec<Record>>()? {
            records
                .into_iter()
                .filter(|record| (record.name as usize) < self.header.names.len())
                .for_each(&mut tell);
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What has been read, and how much there is.
struct Parts {
    file: BufReader<File>,
    at: u64,
    length: u64,
}

impl Parts {
    fn open(path: &Path) -> Result<Self, Unfit> {
        let file = File::open(path).map_err(Unfit::Unreadable)?;
        let length = file.metadata().map_err(Unfit::Unreadable)?.len();
        let mut parts = Self { file: BufReader::new(file), at: 0, length };
        if parts.take(MAGIC.len() as u64).map_err(|_| Unfit::NotOurs)? != MAGIC {
            return Err(Unfit::NotOurs);
        }
        Ok(parts)
    }

    /// The next part; `None` at the end, which must be the file's.
    fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Unfit> {
        let at = self.at;
        let mut number = || {
            let bytes = self.take(4)?;
            Ok(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
        };
        let (length, crc) = (number()?, number()?);
        let part = self.take(u64::from(length))?;
        if crc32fast::hash(&part) != crc {
            return Err(Unfit::Damaged(at));
        }
        if part.is_empty() {
            return if self.at == self.length { Ok(None) } else { Err(Unfit::Damaged(self.at)) };
        }
        match postcard::take_from_bytes(&part) {
            Ok((value, [])) => Ok(Some(value)),
            _ => Err(Unfit::Damaged(at)),
        }
    }

    /// So many bytes, for which no memory is taken unless they are there.
    fn take(&mut self, count: u64) -> Result<Vec<u8>, Unfit> {
        if count > self.length - self.at.min(self.length) {
            return Err(Unfit::Damaged(self.at));
        }
        let mut bytes = vec![0; count as usize];
        self.file.read_exact(&mut bytes).map_err(Unfit::Unreadable)?;
        self.at += count;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::replication::record::{Lease, Stage};

    fn record(number: u64) -> Record {
        let lease = Lease {
            source: "10.0.0.1".parse().unwrap(),
            source_port: 1024,
            client: "2001:db8::1".parse().unwrap(),
            client_port: 7,
            vip_port: 80,
        };
        let class = match number % 3 {
            0 => Class::Established,
            1 => Class::Seat("192.0.2.0".parse().unwrap()),
            _ => Class::Lease(Stage::HalfClosed, lease),
        };
        let ends = Ends { client: "198.51.100.7".parse().unwrap(), client_port: 4711, vip_port: 443 };
        Record { flow: number, name: 0, class, left: 900, ends: number.is_multiple_of(2).then_some(ends) }
    }

    fn header() -> Header {
        let pair = Pair { service: "web".into(), server: "rs1".into(), lane: "nat tcp 192.0.2.1:80".into() };
        Header { key: 5, table: 100, written: 1_800_000_000, names: vec![pair] }
    }

    fn write(path: &Path, records: u64) {
        let mut writer = Writer::begin(path, &header()).unwrap();
        (0..records).for_each(|number| writer.add(record(number)).unwrap());
        assert_eq!(writer.finish().unwrap(), records);
    }

    fn read(path: &Path) -> Result<Vec<Record>, Unfit> {
        let snapshot = Snapshot::open(path)?.expect("it is there");
        assert_eq!(snapshot.header, header());
        let mut records = Vec::new();
        snapshot.each(|record| records.push(record))?;
        Ok(records)
    }

    #[test]
    fn what_was_written_is_read_however_much_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        assert!(Snapshot::open(&path).unwrap().is_none());
        for records in [0, 1, AT_A_TIME as u64, 3 * AT_A_TIME as u64 + 7] {
            write(&path, records);
            assert_eq!(read(&path).unwrap(), (0..records).map(record).collect::<Vec<_>>());
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_cut_off_or_changed_anywhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, path) = (folder.path().join("whole"), folder.path().join("s"));
        write(&whole, 20);
        let whole = std::fs::read(whole).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Snapshot::open(&path).is_err(), "{length} bytes of {}", whole.len());
        }
        for bit in 0..whole.len() * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &changed).unwrap();
            assert!(Snapshot::open(&path).is_err(), "bit {bit} turned");
        }
        std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(matches!(Snapshot::open(&path), Err(Unfit::Damaged(_))), "something behind it");
    }

    #[test]
    fn a_record_that_names_nobody_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        for wrong in [Record { name: 1, ..record(0) }, Record { flow: 1 << 50, ..record(0) }] {
            let mut writer = Writer::begin(&path, &header()).unwrap();
            writer.add(wrong).unwrap();
            writer.finish().unwrap();
            assert!(matches!(Snapshot::open(&path), Err(Unfit::Damaged(_))), "{wrong:?}");
        }
    }

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, b"xlvs snapshot 2\n").unwrap();
        assert!(matches!(Snapshot::open(&path), Err(Unfit::NotOurs)));
    }
}
