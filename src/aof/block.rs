//! Blocks: the unit in which the log is written, checked and cut.
//!
//! Pure: bytes in, bytes out. A block is a header followed by a payload of RESP commands. The header is itself a RESP
//! command, a `PING` with one argument of fixed width, so that a Redis that loads the file replays it as nothing:
//!
//! ```text
//! *2 $4 PING $88 millstream/1 <lsn:16> <durable:16> <clock ms:12> <payload bytes:10> <payload crc:8> <header crc:8>
//! ```
//!
//! Every number is lower-case hexadecimal. The first block of a file has an empty payload and a longer argument that
//! says what the file is:
//!
//! ```text
//! *2 $4 PING $148 millstream-file/1 <format:4> <directory:32> <file:16> <lsn> … <header crc>
//! ```
//!
//! The file's number is its sequence number in the manifest, with the highest bit set for a base.
//!
//! Two CRC32C sums guard it. The payload's covers the payload. The header's covers the directory id and the file's
//! number (as a salt, not written again), and every byte of the header before it, so also the payload's sum.
//! A header can thus be believed before its payload was read; a block from another directory or another file is
//! noticed; and a client, who does not know the directory id, cannot make a value that looks like a block.

use std::fmt;

/// A position in the log: the sequence number of a block. The first block of a directory has 1; 0 is before it.
pub type Lsn = u64;

/// The version of everything above, written at the start of each file.
pub const FORMAT: u16 = 1;

/// The most payload bytes that a header can express.
pub const PAYLOAD_BYTES_MAX: u64 = (1 << 40) - 1;

/// What every block but a file's first starts with.
pub(super) const PREFIX: &[u8] = b"*2\r\n$4\r\nPING\r\n$88\r\nmillstream/1 ";
/// What a file's first block starts with.
pub(super) const FILE_PREFIX: &[u8] = b"*2\r\n$4\r\nPING\r\n$148\r\nmillstream-file/1 ";

const FIELDS_LEN: usize = 16 + 1 + 16 + 1 + 12 + 1 + 10 + 1 + 8 + 1 + 8;
const IDENTITY_LEN: usize = 4 + 1 + 32 + 1 + 16 + 1;

/// Length of a block's header in bytes.
pub const HEADER_LEN: usize = PREFIX.len() + FIELDS_LEN + 2;
/// Length of a file's first block in bytes.
pub const FILE_START_LEN: usize = FILE_PREFIX.len() + IDENTITY_LEN + FIELDS_LEN + 2;

/// Names a log for life: random, chosen when the directory is created, carried by its manifest and every file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DirectoryId(pub [u8; 16]);

impl DirectoryId {
    /// The id in 32 lower-case hexadecimal digits, or nothing.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; 32] = text.try_into().ok()?;
        let mut id = [0; 16];
        for (byte, digits) in id.iter_mut().zip(text.chunks_exact(2)) {
            *byte = u8::try_from(read_hex(digits)?).ok()?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a file's header sums are salted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(u32);

impl Salt {
    /// The salt of the file with this number in directory `id`.
    pub fn new(id: DirectoryId, number: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(&id.0), &number.to_le_bytes()))
    }
}

/// What a block says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its number.
    pub lsn: Lsn,
    /// The highest number known to be on disk when it was written; always below `lsn`.
    pub durable: Lsn,
    /// Wall clock when it was written, milliseconds since 1970.
    pub clock_ms: u64,
    /// Bytes that follow the header.
    pub payload_len: u64,
    /// CRC32C of those bytes.
    pub payload_crc: u32,
}

/// What a file's first block says about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStart {
    /// The version its blocks are written in.
    pub format: u16,
    /// The log it belongs to.
    pub directory: DirectoryId,
    /// Its number: its sequence number in the manifest, with the highest bit set for a base.
    pub number: u64,
    /// The block itself.
    pub header: Header,
}

/// Writes the header for the payload `block[HEADER_LEN..]` into `block[..HEADER_LEN]`.
pub fn seal(block: &mut [u8], salt: Salt, lsn: Lsn, durable: Lsn, clock_ms: u64) {
    let (head, payload) = block.split_at_mut(HEADER_LEN);
    assert!(durable < lsn && payload.len() as u64 <= PAYLOAD_BYTES_MAX);
    head[..PREFIX.len()].copy_from_slice(PREFIX);
    let header = Header {
        lsn,
        durable,
        clock_ms,
        payload_len: payload.len() as u64,
        payload_crc: crc32c::crc32c(payload),
    };
    write_fields(head, PREFIX.len(), salt, header);
}

/// Encodes a file's first block.
pub fn file_start(directory: DirectoryId, number: u64, lsn: Lsn, durable: Lsn, clock_ms: u64) -> Vec<u8> {
    assert!(durable < lsn);
    let mut block = FILE_PREFIX.to_vec();
    block.extend_from_slice(format!("{FORMAT:04x} {directory} {number:016x} ").as_bytes());
    let at = block.len();
    block.resize(FILE_START_LEN, 0);
    let header = Header { lsn, durable, clock_ms, payload_len: 0, payload_crc: 0 };
    write_fields(&mut block, at, Salt::new(directory, number), header);
    block
}

/// Reads the header at the start of `bytes`. `None` when there is none, when it is cut short, or when a bit of it is
/// wrong or it belongs to another file. The payload has still to be checked with [`payload_is_intact`].
pub fn read_header(bytes: &[u8], salt: Salt) -> Option<Header> {
    let head = bytes.get(..HEADER_LEN)?;
    if !head.starts_with(PREFIX) {
        return None;
    }
    read_fields(head, PREFIX.len(), salt)
}

/// True when `payload` is what `header` was written for.
pub fn payload_is_intact(header: &Header, payload: &[u8]) -> bool {
    payload.len() as u64 == header.payload_len && crc32c::crc32c(payload) == header.payload_crc
}

/// Reads a file's first block; `None` as for [`read_header`].
pub fn read_file_start(bytes: &[u8]) -> Option<FileStart> {
    let block = bytes.get(..FILE_START_LEN)?;
    let identity = block.strip_prefix(FILE_PREFIX)?;
    if identity[4] != b' ' || identity[37] != b' ' || identity[54] != b' ' {
        return None;
    }
    let format = u16::try_from(read_hex(&identity[..4])?).ok()?;
    let directory = DirectoryId::parse(&identity[5..37])?;
    let number = read_hex(&identity[38..54])?;
    let header = read_fields(block, FILE_PREFIX.len() + IDENTITY_LEN, Salt::new(directory, number))?;
    (header.payload_len == 0 && header.payload_crc == 0).then_some(FileStart {
        format,
        directory,
        number,
        header,
    })
}

/// A file's number in words.
pub(super) fn describe_file(number: u64) -> String {
    const BASE: u64 = 1 << 63;
    if number & BASE == 0 { format!("increment {number}") } else { format!("base {}", number & !BASE) }
}

/// Writes the fields that all headers share at `at`, the header's sum and the line end included.
fn write_fields(head: &mut [u8], at: usize, salt: Salt, header: Header) {
    let mut rest = at;
    for (value, width) in [
        (header.lsn, 16),
        (header.durable, 16),
        (header.clock_ms & 0xffff_ffff_ffff, 12),
        (header.payload_len, 10),
        (u64::from(header.payload_crc), 8),
    ] {
        write_hex(&mut head[rest..rest + width], value);
        head[rest + width] = b' ';
        rest += width + 1;
    }
    let crc = crc32c::crc32c_append(salt.0, &head[..rest]);
    write_hex(&mut head[rest..rest + 8], u64::from(crc));
    head[rest + 8..].copy_from_slice(b"\r\n");
}

fn read_fields(head: &[u8], at: usize, salt: Salt) -> Option<Header> {
    let mut values = [0; 6];
    let mut rest = at;
    for (value, width) in values.iter_mut().zip([16, 16, 12, 10, 8, 8]) {
        *value = read_hex(&head[rest..rest + width])?;
        rest += width + 1;
    }
    let crc_at = rest - 9;
    if &head[crc_at + 8..] != b"\r\n"
        || u64::from(crc32c::crc32c_append(salt.0, &head[..crc_at])) != values[5]
    {
        return None;
    }
    let [lsn, durable, clock_ms, payload_len, payload_crc, _] = values;
    let payload_crc = u32::try_from(payload_crc).ok()?;
    (durable < lsn).then_some(Header { lsn, durable, clock_ms, payload_len, payload_crc })
}

fn write_hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
    debug_assert_eq!(value, 0, "the field is too narrow");
}

/// Up to 16 lower-case digits; upper case is refused, because it is a flipped bit.
fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: DirectoryId = DirectoryId([0xa5; 16]);

    #[test]
    fn the_lengths_in_the_prefixes_are_right() {
        let mut block = vec![0; HEADER_LEN];
        seal(&mut block, Salt::new(ID, 1), 7, 6, 1_700_000_000_000);
        assert_eq!(
            String::from_utf8(block.clone()).unwrap(),
            "*2\r\n$4\r\nPING\r\n$88\r\nmillstream/1 0000000000000007 0000000000000006 018bcfe56800 0000000000 00000000 "
                .to_owned()
                + std::str::from_utf8(&block[HEADER_LEN - 10..]).unwrap()
        );
        let start = file_start(ID, 1, 1, 0, 5);
        for bytes in [block, start] {
            assert_eq!(crate::aof::record::read_command(&bytes, &mut Vec::new()), Ok(bytes.len()));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let salt = Salt::new(ID, 3);
        let mut block = vec![0; HEADER_LEN];
        seal(&mut block, salt, 77, 70, 1_700_000_000_000);
        let mut start = file_start(ID, 3, 78, 77, 1_700_000_000_001);
        for bit in 0..block.len() * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_header(&block, salt), None, "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
        for bit in 0..start.len() * 8 {
            start[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_file_start(&start), None, "bit {bit}");
            start[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(read_header(&block, salt).is_some() && read_file_start(&start).is_some());
    }

    #[test]
    fn a_block_belongs_to_one_file_of_one_directory() {
        let mut block = vec![0; HEADER_LEN];
        seal(&mut block, Salt::new(ID, 3), 77, 70, 5);
        assert!(read_header(&block, Salt::new(ID, 3)).is_some());
        assert!(read_header(&block, Salt::new(ID, 4)).is_none());
        assert!(read_header(&block, Salt::new(DirectoryId([0; 16]), 3)).is_none());
    }

    proptest! {
        #[test]
        fn blocks_read_back(id: [u8; 16], sequence: u64, lsn in 1u64.., behind: u64, clock_ms in 0..1u64 << 48, payload: Vec<u8>) {
            let (id, durable) = (DirectoryId(id), behind % lsn);
            let salt = Salt::new(id, sequence);
            let mut block = vec![0; HEADER_LEN];
            block.extend_from_slice(&payload);
            seal(&mut block, salt, lsn, durable, clock_ms);
            let header = read_header(&block, salt).unwrap();
            prop_assert_eq!((header.lsn, header.durable, header.clock_ms), (lsn, durable, clock_ms));
            prop_assert!(payload_is_intact(&header, &block[HEADER_LEN..]));

            let start = file_start(id, sequence, lsn, durable, clock_ms);
            let read = read_file_start(&start).unwrap();
            prop_assert_eq!((read.format, read.directory, read.number), (FORMAT, id, sequence));
            prop_assert_eq!((read.header.lsn, read.header.durable), (lsn, durable));
        }

        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (read_header(&bytes, Salt(0)), read_file_start(&bytes));
            let keep = bytes.len().min(PREFIX.len());
            bytes[..keep].copy_from_slice(&PREFIX[..keep]);
            let _ = read_header(&bytes, Salt(0));
        }
    }
}
