//! One of several writers that run side by side until a deadline.
//!
//! The writer makes its own pairs and keeps its own times, so that an engine may run it in a thread
//! or in a task without either costing the other anything.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use crate::data::{Key, Shape, Values, key};
use crate::meter::Times;
use std::time::Instant;

/// A writer: where its keys begin, when it stops, and what each write took.
pub(crate) struct Client {
    next_index: u64,
    deadline: Instant,
    began: Instant,
    values: Values,
    /// One time a write.
    pub times: Times,
}

impl Client {
    /// A writer of scattered keys from `first_index` on, until `deadline`.
    pub(crate) fn new(first_index: u64, deadline: Instant, values: Values) -> Self {
        Self { next_index: first_index, deadline, began: deadline, values, times: Times::new() }
    }

    /// The next pair to write, or nothing once the deadline is past. Starts the clock.
    pub(crate) fn next_pair(&mut self) -> Option<(Key, &[u8])> {
        let key = key(Shape::Scattered, self.next_index);
        let value = self.values.make(&key, self.next_index);
        self.next_index += 1;
        self.began = Instant::now();
        (self.began < self.deadline).then_some((key, value))
    }

    /// Stops the clock: the pair is written as promised.
    pub(crate) fn wrote(&mut self) {
        self.times.add(self.began.elapsed());
    }
}
