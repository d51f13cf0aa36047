//! Floor room `log`; being built.
