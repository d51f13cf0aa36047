//! Floor room `cache`; being built.
