//! The ways in which verbs open a database.

use crate::failure::{Failure, Result};
use esker::{Collection, Db, View};
use std::path::Path;

/// Opens for writing; creates the database if there is none.
pub(crate) fn create(path: &Path) -> Result<Db> {
    Ok(Db::open(path)?)
}

/// Opens for writing what must be there.
pub(crate) fn write(path: &Path) -> Result<Db> {
    Ok(Db::options().create_if_missing(false).open(path)?)
}

/// Opens for reading; no byte in the folder changes.
pub(crate) fn read(path: &Path) -> esker::Result<Db> {
    Db::options().read_only(true).create_if_missing(false).open(path)
}

/// A collection that must be there.
pub(crate) fn collection(db: &Db, path: &Path, name: &str) -> Result<Collection> {
    db.existing_collection(name)?.ok_or_else(|| {
        Failure::new(format!("not found: collection {name:?} in {}", path.display()))
    })
}

/// A collection that must be there, as the snapshot that is named `at` sees it; without one, as it is
/// now.
pub(crate) fn view(db: &Db, path: &Path, name: &str, at: Option<&str>) -> Result<View> {
    let collection = collection(db, path, name)?;
    let Some(at) = at else { return Ok(collection.at(&db.snapshot())) };
    let snapshot = db
        .named_snapshot(at)?
        .ok_or_else(|| Failure::new(format!("not found: snapshot {at:?} in {}", path.display())))?;
    Ok(collection.at(&snapshot))
}
