//! The engines there are, by name. Each is a cargo feature, an adapter file, and a line here.
//!
//! To add one: its crate as an optional dependency and a feature in `Cargo.toml`, a file beside this
//! one, and one line in `engines!`.

use crate::engine::Engine;
use anyhow::{Result, bail};

/// Something to do with an engine whose type is known only by its name.
pub(crate) trait Visit {
    /// Does it.
    fn visit<E: Engine>(self) -> Result<()>;
}

macro_rules! engines {
    ($($feature:literal, $module:ident, $engine:ident;)*) => {
        $(#[cfg(feature = $feature)] mod $module;)*

        /// The engines of this build, in the order of the table.
        pub(crate) const NAMES: &[&str] = &[$(#[cfg(feature = $feature)] $feature,)*];

        /// Lets `visitor` meet the engine called `name`.
        pub(crate) fn with_engine(name: &str, visitor: impl Visit) -> Result<()> {
            match name {
                $(#[cfg(feature = $feature)] $feature => visitor.visit::<$module::$engine>(),)*
                _ => bail!("no engine {name} in this build: it has {}", NAMES.join(", ")),
            }
        }
    };
}

engines! {
    "esker", esker, Esker;
    "rocksdb", rocksdb, RocksDb;
    "fjall", fjall, Fjall;
    "surrealkv", surrealkv, SurrealKv;
    "mace", mace, MaceKv;
    "canopydb", canopydb, Canopy;
    "redb", redb, Redb;
    "heed", heed, Lmdb;
}
