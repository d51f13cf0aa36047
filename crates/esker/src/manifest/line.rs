//! One line of a manifest, and the chain that ties it to the line before.
//!
//! ```text
//! | crc: 8 hex digits | ' ' | text | LF |       crc = CRC-32C(text), continued from the crc of the
//!                                               line before; the first from CRC-32C(file number)
//! ```
//!
//! 1. Text is printable ASCII. In it, fields are parted by single spaces; other bytes of a key,
//!    spaces and backslashes among them, are written `\xNN`.
//! 2. There is one way to write anything: lower-case hexadecimal, decimals without zeros in front.

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use crate::base::id::FileId;
use std::fmt::{Display, Write};
use std::str::FromStr;

/// Bytes before the text.
const CRC_BYTES: usize = 9;

/// Where in the chain of one file a line stands.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    crc: u32,
}

/// What a line should have begun with, and what it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The checksum that its text has here.
    pub want: String,
    /// The bytes in its place, escaped.
    pub found: String,
}

impl Chain {
    /// Before the first line of manifest `file`.
    pub fn new(file: FileId) -> Self {
        Self { crc: crc32c::crc32c(&file.0.to_le_bytes()) }
    }

    /// Appends the line with `text` to `out`.
    pub fn seal(&mut self, text: &str, out: &mut Vec<u8>) {
        debug_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "text is printable");
        self.crc = crc32c::crc32c_append(self.crc, text.as_bytes());
        out.extend_from_slice(format!("{:08x} {text}\n", self.crc).as_bytes());
    }

    /// The text of `line` (without its LF), if it belongs here; the chain moves on.
    pub fn check<'a>(&mut self, line: &'a [u8]) -> Result<&'a str, Mismatch> {
        let (front, text) = line.split_at_checked(CRC_BYTES).unwrap_or((line, b""));
        let crc = crc32c::crc32c_append(self.crc, text);
        let want = format!("{crc:08x} ");
        match std::str::from_utf8(text) {
            Ok(text) if *front == *want.as_bytes() => {
                self.crc = crc;
                Ok(text)
            }
            _ => Err(Mismatch { want, found: front.escape_ascii().to_string() }),
        }
    }
}

/// The ordinal that a line claims if it looks like the end of a transaction, whatever its checksum
/// and even if a lost write has put zeros over its beginning.
pub fn claims_end(line: &[u8]) -> Option<u64> {
    let rest = line.rsplit(|&byte| byte == 0).next()?;
    let (before, ordinal) = std::str::from_utf8(rest).ok()?.rsplit_once("end ")?;
    // No key has a space in it, so this cannot be part of one.
    (before.is_empty() || before.ends_with(' ')).then(|| canonical(ordinal)).flatten()
}

/// Parses what `Display` writes, and nothing else.
pub fn canonical<T: FromStr + Display>(text: &str) -> Option<T> {
    let parsed: T = text.parse().ok()?;
    (parsed.to_string() == text).then_some(parsed)
}

/// Appends a key in printable form.
pub fn escape(key: &[u8], out: &mut String) {
    for &byte in key {
        if byte.is_ascii_graphic() && byte != b'\\' {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// The key that [`escape`] wrote.
pub fn unescape(text: &str) -> Option<Box<[u8]>> {
    let mut key = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            key.push(byte);
            rest = after;
            continue;
        }
        let (hex, after) = after.strip_prefix(b"x")?.split_first_chunk::<2>()?;
        key.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = after;
    }
    let mut again = String::with_capacity(text.len());
    escape(&key, &mut again);
    (again == text).then(|| key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_byte_round_trip_and_stay_readable() {
        let all: Vec<u8> = (0..=255).collect();
        for key in [&b""[..], b"\0\0\0\x01alice", b"a b\\c=d", &all] {
            let mut text = String::new();
            escape(key, &mut text);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(unescape(&text).as_deref(), Some(key));
        }
        let mut text = String::new();
        escape(b"\0\0\0\x01alice", &mut text);
        assert_eq!(text, r"\x00\x00\x00\x01alice");
    }

    #[test]
    fn there_is_one_way_to_write_a_key_and_a_number() {
        for odd in [r"\x4", r"\x", r"\", r"\x41", r"\xFF", r"\x+1", "a b", "é"] {
            assert_eq!(unescape(odd), None, "{odd}");
        }
        for odd in ["", "+1", "01", "1 ", "-1", "18446744073709551616"] {
            assert_eq!(canonical::<u64>(odd), None, "{odd}");
        }
        assert_eq!(canonical::<u64>("0"), Some(0));
    }

    /// F-36: a line only belongs where it was written.
    #[test]
    fn a_line_lost_repeated_moved_or_from_another_file_is_seen() {
        let mut bytes = Vec::new();
        let mut chain = Chain::new(FileId(7));
        for text in ["one", "two", "three", "three"] {
            chain.seal(text, &mut bytes);
        }
        let lines: Vec<_> = bytes.split(|&byte| byte == b'\n').collect();
        let fits = |file, order: &[usize]| {
            let mut chain = Chain::new(FileId(file));
            order.iter().all(|&i| chain.check(lines[i]).is_ok())
        };
        assert!(fits(7, &[0, 1, 2, 3]));
        for order in [&[1][..], &[0, 2], &[0, 0], &[0, 1, 2, 2], &[0, 1, 3], &[1, 0]] {
            assert!(!fits(7, order), "{order:?}");
        }
        assert!(!fits(8, &[0]));
    }

    /// F-33.
    #[test]
    fn every_flipped_bit_of_a_line_is_seen() {
        let mut bytes = Vec::new();
        Chain::new(FileId(7)).seal(r"add level=0 smallest=\x00abc", &mut bytes);
        bytes.pop();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Chain::new(FileId(7)).check(&flipped).is_err(), "bit {bit}");
        }
        assert!(Chain::new(FileId(7)).check(&bytes).is_ok());
    }

    #[test]
    fn an_end_is_recognised_by_its_shape() {
        for end in [&b"00c0ffee end 12"[..], b"00c\0\0ee end 12", b"\0end 12", b"x0c0ffee end 12"] {
            assert_eq!(claims_end(end), Some(12));
        }
        for odd in [&b"00c0ffee end 012"[..], b"00c0ffee_end 1", b"end", b"00c0ffee end 1\0", b""] {
            assert_eq!(claims_end(odd), None);
        }
    }
}
