//! Reading a large value from where it was first written.
//!
//! A value lies in its log contiguous and as it is stored, so it is read with one positioned read,
//! before its log becomes a blob file and afterwards.
//!
//! 1. What is given out has the digest that its ref says: a flipped bit, a misplaced file or a wrong
//!    offset is `Corruption`, never another value (law 10).
//! 2. Nothing is allocated that does not lie inside the file.

use crate::base::blob::{BlobRef, Codec, digest};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::value::Value;
use crate::env::names::FileName;
use crate::env::{File, read_exact_at};
use std::sync::Arc;

/// The value of `blob`, which is stored at byte `at` of `file`; `bytes` is how long the file is.
///
/// Cost: one read, one pass for the digest. The value owns its bytes. Errors: `Corruption` naming
/// file and offset if the bytes are not those that were written; `Io`.
pub fn read_value(
    file: &dyn File,
    name: FileName,
    bytes: u64,
    blob: &BlobRef,
    at: u64,
) -> Result<Value> {
    let end = at.checked_add(u64::from(blob.stored));
    if end.is_none_or(|end| end > bytes) {
        let want = format!("a value of {} bytes", blob.stored);
        return Err(Error::corruption(name, at, want, format!("a file of {bytes}")));
    }
    let mut stored = vec![0; blob.stored as usize];
    read_exact_at(file, &mut stored, at).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            let want = format!("a value of {} bytes", blob.stored);
            Error::corruption(name, at, want, "the end of the file")
        }
        _ => Error::io(format!("read {name} at byte {at}"), error),
    })?;
    let value = decode(blob, stored).ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, format!("{name} at byte {at}: {:?}", blob.codec))
    })?;
    let found = digest(&value);
    if found != blob.digest || value.len() != blob.len as usize {
        let want = format!("{} bytes with digest {:016x}", blob.len, blob.digest);
        let found = format!("{} bytes with digest {found:016x}", value.len());
        return Err(Error::corruption(name, at, want, found));
    }
    Ok(Value::lent(Arc::new(value), |value| value))
}

/// The value that `stored` stands for; none if this build cannot tell.
fn decode(blob: &BlobRef, stored: Vec<u8>) -> Option<Vec<u8>> {
    (blob.codec == Codec::Raw).then_some(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::blob::Address;
    use crate::base::id::FileId;
    use crate::env::names::FileKind;
    use crate::env::sim::Sim;
    use crate::env::{Env, write_all_at};
    use std::path::Path;

    #[test]
    fn a_value_is_what_was_written_or_an_error_with_its_place() {
        let sim = Sim::new(7);
        let file = sim.create(Path::new("log-000003")).unwrap();
        let value = vec![7; 5000];
        write_all_at(&*file, &value, 100).unwrap();
        let name = FileKind::Log.name(FileId(3));
        let blob = BlobRef::raw(Address::new(FileId(3), 100).unwrap(), &value);
        let read = |blob: &BlobRef, at| read_value(&*file, name, 5100, blob, at);
        assert_eq!(read(&blob, 100).unwrap(), value);
        let long = BlobRef { len: 1 << 30, stored: 1 << 30, ..blob };
        let cases = [(blob, 99), (blob, 101), (blob, u64::MAX), (long, 100)];
        for (blob, at) in cases {
            let error = read(&blob, at).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption);
            assert!(error.message().contains("log-000003"), "{error}");
        }
        write_all_at(&*file, &[8], 200).unwrap();
        assert!(read(&blob, 100).unwrap_err().message().contains("digest"));
    }
}
