//! Floor room `merge`; being built.
