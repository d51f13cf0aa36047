//! Floor room `compaction`; being built.
