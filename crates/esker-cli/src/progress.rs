//! A bar on a terminal while a verb reads or writes many bytes; nothing in a pipe.

use indicatif::{ProgressBar, ProgressStyle};

const STYLE: &str = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const ENDLESS: &str = "{spinner} {bytes} {bytes_per_sec}";

/// Runs `work`, which tells how many bytes of how many are done.
pub(crate) fn with_bar<T>(work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> T) -> T {
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template(STYLE).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let done = work(&mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    done
}

/// For bytes of which nobody knows how many there will be.
pub(crate) fn of_bytes() -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.set_style(
        ProgressStyle::with_template(ENDLESS).unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar
}
