//! The entries of a frame: decoding any bytes ends, and what it gives encodes to a size that fits.

#![no_main]

use esker::base::entry::Entries;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let mut bytes = 0;
    for entry in Entries::new(payload).map_while(Result::ok) {
        bytes += entry.key.len() + entry.value.len();
    }
    assert!(bytes <= payload.len(), "entries borrow disjoint parts of the payload");
});
