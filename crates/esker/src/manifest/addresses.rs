//! Addresses as text: where each one lies behind the one before.
//!
//! ```text
//!  000041:4096,+2103,+2103*30,+88,000057:12         ascending; the first of each file in full
//!  └ file:offset │     │             └ another file
//!              gap     └ the same gap, 30 times
//!  000041:0..000041:67108863,000057:9..000057:4095  intervals: ascending, both ends included
//! ```
//!
//! 1. There is one way to write a list: equal gaps stand together, up to [`RUN_MAX`] of them, and a
//!    gap follows its like only if that one's run is as long as it can be.
//! 2. So no text describes more than a fixed number of addresses a byte: what it takes to read a
//!    hostile line grows with its length (F-39).

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::unwrap_used)]

use super::edit::parse_file_id;
use super::line::canonical;
use crate::base::blob::Address;
use std::fmt::Write;

/// Equal gaps that are written as one, at most.
pub(super) const RUN_MAX: u64 = 64;

/// Appends ascending addresses.
pub(super) fn write_list(addresses: &[Address], out: &mut String) {
    let Some(mut last) = addresses.first().copied() else { return };
    let mut rest = addresses.get(1..).unwrap_or_default().iter().copied().peekable();
    // Writing to a string cannot fail.
    let _ = write!(out, "{last}");
    while let Some(next) = rest.next() {
        if next.file() != last.file() {
            let _ = write!(out, ",{next}");
            last = next;
            continue;
        }
        let gap = next.0.saturating_sub(last.0);
        let (mut run, mut end) = (1, next);
        let like = |end: Address| {
            move |at: &Address| at.file() == end.file() && at.0.checked_sub(end.0) == Some(gap)
        };
        while run < RUN_MAX
            && let Some(at) = rest.next_if(like(end))
        {
            (run, end) = (run.saturating_add(1), at);
        }
        let _ = write!(out, ",+{gap}");
        if run > 1 {
            let _ = write!(out, "*{run}");
        }
        last = end;
    }
}

/// The addresses that [`write_list`] wrote: at least one, ascending.
pub(super) fn parse_list(text: &str) -> Option<Vec<Address>> {
    let mut items = text.split(',');
    let mut last = parse(items.next()?)?;
    let mut addresses = vec![last];
    let mut before = None;
    for item in items {
        let Some(gaps) = item.strip_prefix('+') else {
            let next = parse(item).filter(|next| next.file() > last.file())?;
            addresses.push(next);
            (last, before) = (next, None);
            continue;
        };
        let (gap, run) = match gaps.split_once('*') {
            Some((gap, run)) => (gap, number(run).filter(|run| (2..=RUN_MAX).contains(run))?),
            None => (gaps, 1),
        };
        let gap = number(gap).filter(|gap| *gap > 0)?;
        // Two that could have been one.
        if before.is_some_and(|(like, run)| like == gap && run < RUN_MAX) {
            return None;
        }
        for _ in 0..run {
            let offset = last.offset().checked_add(gap)?;
            last = Address::new(last.file(), offset)?;
            addresses.push(last);
        }
        before = Some((gap, run));
    }
    Some(addresses)
}

/// Appends intervals, both ends included.
pub(super) fn write_intervals(intervals: &[(Address, Address)], out: &mut String) {
    for (i, (first, last)) in intervals.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(out, "{comma}{first}..{last}");
    }
}

/// The intervals that [`write_intervals`] wrote: at least one. Their order is not checked.
pub(super) fn parse_intervals(text: &str) -> Option<Vec<(Address, Address)>> {
    let interval = |text: &str| {
        let (first, last) = text.split_once("..")?;
        Some((parse(first)?, parse(last)?))
    };
    text.split(',').map(interval).collect()
}

fn parse(text: &str) -> Option<Address> {
    let (file, offset) = text.split_once(':')?;
    Address::new(parse_file_id(file)?, canonical(offset)?)
}

/// A decimal as `Display` writes it. Lists are long: this allocates nothing.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text.len() == 1 || !text.starts_with('0');
    if digits && shortest { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::FileId;
    use proptest::prelude::*;

    fn at(file: u64, offset: u64) -> Address {
        Address::new(FileId(file), offset).unwrap()
    }

    fn text(addresses: &[Address]) -> String {
        let mut text = String::new();
        write_list(addresses, &mut text);
        text
    }

    /// Golden text: it is a format.
    #[test]
    fn a_list_reads_as_documented() {
        let gaps = [2103, 2103, 2103, 88, 2103];
        let mut list = vec![at(41, 4096)];
        for gap in gaps {
            list.push(Address(list.last().unwrap().0 + gap));
        }
        list.extend([at(57, 12), at(57, 100), at(1_000_000, 0)]);
        let want = "000041:4096,+2103*3,+88,+2103,000057:12,+88,1000000:0";
        assert_eq!(text(&list), want);
        assert_eq!(parse_list(want), Some(list));
        let long: Vec<_> = (0..200).map(|i| at(41, i * 300)).collect();
        assert_eq!(text(&long), "000041:0,+300*64,+300*64,+300*64,+300*7");
        assert_eq!(parse_list(&text(&long)), Some(long));
    }

    /// F-39: one way to write it; neither a run of 2^60 addresses nor one past the end of a file.
    #[test]
    fn other_lists_are_refused_at_once() {
        let odd = [
            "",
            "41:0",
            "000041:00",
            "000041",
            "000041:17179869184",
            "1073741824:0",
            "+5",
            "000041:0,",
            "000041:0,+0",
            "000041:0,+05",
            "000041:0,+",
            "000041:0,5",
            "000041:0,+-5",
            "000041:0,++5",
            "000041:0,+5*1",
            "000041:0,+5*0",
            "000041:0,+5*02",
            "000041:0,+5*",
            "000041:0,+5*65",
            "000041:0,+1*1152921504606846976",
            "000041:0,+18446744073709551615",
            "000041:0,+18446744073709551616",
            "000041:0,+17179869184",
            "000041:1,+17179869183",
            "000041:0,+17179869183*2",
            "000041:0,+5,+5",
            "000041:0,+5*63,+5",
            "000041:0,000041:5",
            "000041:0,000040:5",
        ];
        for odd in odd {
            assert_eq!(parse_list(odd), None, "{odd}");
        }
        for odd in ["", "000041:0", "000041:0..", "000041:0..5", "000041:0..000041:5,"] {
            assert_eq!(parse_intervals(odd), None, "{odd}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_written_is_read_and_nothing_else(
            runs in prop::collection::vec((1_u64..4, 1_u64..200, 0_u64..3), 0..20),
        ) {
            let (mut file, mut offset) = (7, 0);
            let mut list = vec![at(file, offset)];
            for (gap, run, next) in runs {
                for _ in 0..run {
                    offset += gap << 20;
                    list.push(at(file, offset));
                }
                if next > 0 {
                    (file, offset) = (file + next, 5);
                    list.push(at(file, offset));
                }
            }
            prop_assert_eq!(parse_list(&text(&list)), Some(list));
        }

        #[test]
        fn no_text_makes_it_panic(list in "[0-9:,+*.]{0,60}") {
            if let Some(read) = parse_list(&list) {
                prop_assert_eq!(&text(&read), &list);
            }
            let _ = parse_intervals(&list);
        }
    }
}
