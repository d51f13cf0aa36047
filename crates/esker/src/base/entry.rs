//! How an operation looks in a log: the entry variants of the `sst` crate, and two of Esker's own.
