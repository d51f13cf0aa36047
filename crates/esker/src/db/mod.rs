//! Floor room `db`; being built.
