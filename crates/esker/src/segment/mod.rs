//! Floor room `segment`; being built.
