//! What verbs print: keys and values as text, lines of JSON, figures for people.
//!
//! ```text
//! text   printable UTF-8 as it is; \\ \t \n \r; \xNN for every other byte
//! JSON   {"key": "…"} if the bytes are UTF-8, else {"key_base64": "…"}   (standard alphabet, padded)
//! ```
//!
//! 1. Output is buffered; a closed pipe ends the verb and is no error.

use crate::failure::{Failure, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use esker::ValueReader;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufWriter, StdoutLock, Write};

const BUFFER_BYTES: usize = 64 << 10;

/// Standard output, locked and buffered. Call `flush` at the end: a drop would hide its error.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock())
}

/// Gives `pour` all pieces of a value that is not held whole. Errors: one of the value is told as
/// what it is, not as one of standard output.
pub(crate) fn pour(
    value: &mut ValueReader,
    mut pour: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    loop {
        let piece = value.fill_buf().map_err(|error| Failure::new(error.to_string()))?;
        if piece.is_empty() {
            return Ok(());
        }
        pour(piece)?;
        let bytes = piece.len();
        value.consume(bytes);
    }
}

/// `bytes` in one line that says all of them, and that a person can read.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => line.push_str("\\\\"),
                '\t' => line.push_str("\\t"),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                c if c.is_control() => {
                    c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(&mut line, byte));
                }
                c => line.push(c),
            }
        }
        chunk.invalid().iter().for_each(|&byte| escape(&mut line, byte));
    }
    line
}

fn escape(line: &mut String, byte: u8) {
    write!(line, "\\x{byte:02x}").expect("a string takes all");
}

/// One JSON object, in the order in which its fields were put.
#[derive(Default)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    /// With a field of text, number or truth.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// With a field of bytes: as text, or as base64 under `name_base64`.
    pub(crate) fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.with(name, text),
            Err(_) => self.with(&format!("{name}_base64"), STANDARD.encode(bytes)),
        }
    }

    /// Writes it as a line.
    pub(crate) fn write(self, out: &mut impl Write) -> Result<()> {
        serde_json::to_writer(&mut *out, &Value::Object(self.0))?;
        out.write_all(b"\n")?;
        Ok(())
    }
}

/// Bytes for people: `1536` is `1.5 KiB`.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn amount(bytes: u64) -> String {
    let mut scaled = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1024.0 {
            let digits = usize::from(unit != "B");
            return format!("{scaled:.digits$} {unit}");
        }
        scaled /= 1024.0;
    }
    format!("{scaled:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_line_and_says_every_byte() {
        assert_eq!(text("grüße".as_bytes()), "grüße");
        assert_eq!(text(b"a\tb\nc\\d\r\0"), r"a\tb\nc\\d\r\x00");
        assert_eq!(text(b"\xff\xc3"), r"\xff\xc3");
        assert_eq!(text("\u{85}".as_bytes()), r"\xc2\x85");
    }

    #[test]
    fn bytes_that_are_not_utf8_stand_as_base64_under_another_name() {
        let line = |object: Object| {
            let mut out = Vec::new();
            object.write(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(Object::default().bytes("key", b"a\"")), "{\"key\":\"a\\\"\"}\n");
        assert_eq!(
            line(Object::default().bytes("key", b"\xff\x00")),
            "{\"key_base64\":\"/wA=\"}\n"
        );
    }

    #[test]
    fn amounts_are_short() {
        let amounts = [0, 1023, 1536, 5 << 20, 3 << 30, 2 << 40].map(amount);
        assert_eq!(amounts, ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB", "2.0 TiB"]);
    }
}
