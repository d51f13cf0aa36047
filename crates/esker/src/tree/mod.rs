//! Floor room `tree`; being built.
