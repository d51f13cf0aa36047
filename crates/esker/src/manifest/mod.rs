//! Floor room `manifest`; being built.
