//! Adapters that exist only so that test kits of other crates can be run over Esker: see `tests/`.
//!
//! 1. An adapter translates; what a kit finds is Esker's.

pub mod home;
pub mod linera;
