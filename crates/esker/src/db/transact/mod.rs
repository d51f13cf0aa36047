//! Reads and writes that take place as one step.
//!
//! ```text
//!   snapshot ─▶ transaction ─ reads, noted ─┐
//!                  │  overlay: own writes   ├─▶ checked and numbered in one moment ─▶ visible, or conflict
//!                  └─ writes, in memory ────┘
//!   atomic    a transaction of one key, begun again until nobody came between
//! ```
//!
//! 1. Nothing of a transaction is seen before it commits, and nothing of one that conflicts ever.
//! 2. It reads one moment, with its own writes over it.

mod atomic;
pub(crate) mod overlay;
pub(crate) mod transaction;
