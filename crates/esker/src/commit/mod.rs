//! Floor room `commit`; being built.
