//! Floor room `memtable`; being built.
