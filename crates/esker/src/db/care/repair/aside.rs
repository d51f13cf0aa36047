//! The folder `lost`: what could not be read as a whole, kept for whoever knows more.
//!
//! 1. A file gets its second name there before its first one goes, and that name is durable by then:
//!    a crash in between leaves both.
//! 2. What already lies there stays: a file of the same name gets another one, unless it is the same.

use crate::base::error::{Error, Result};
use crate::db::files::copy::{copy, digest};
use crate::db::folder;
use crate::env::names::FileName;
use crate::env::{Env, path_in};
use std::path::Path;
use std::sync::Arc;

const LOST: &str = "lost";

/// Gives each file a second name in the folder `lost` of `dir`, and makes those durable. Answers
/// the names, with the folder before them.
pub(super) fn link(env: &Arc<dyn Env>, dir: &Path, names: &[FileName]) -> Result<Vec<String>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let lost = dir.join(LOST);
    env.create_dir(&lost)
        .map_err(|error| Error::io(format!("create {}", lost.display()), error))?;
    folder::sync(&**env, dir)?;
    let linked = names.iter().map(|name| link_one(&**env, dir, &lost, *name));
    let linked = linked.collect::<Result<Vec<_>>>()?;
    folder::sync(&**env, &lost)?;
    Ok(linked)
}

fn link_one(env: &dyn Env, dir: &Path, lost: &Path, name: FileName) -> Result<String> {
    let from = path_in(dir, name);
    let mut own = name.to_string();
    for attempt in 1.. {
        let to = lost.join(&own);
        if !env.exists(&to).map_err(|error| Error::io(format!("look for {own}"), error))? {
            if env.link(&from, &to).is_err() {
                copy(env, &from, &to, &mut |_| {})?;
            }
            break;
        }
        if is_same(env, &from, &to) {
            break;
        }
        own = format!("{name}.{attempt}");
    }
    Ok(format!("{LOST}/{own}"))
}

/// Whether two files have the same bytes. One that cannot be read is no other's equal.
fn is_same(env: &dyn Env, a: &Path, b: &Path) -> bool {
    let digest_of = |path| digest(&*env.open(path)?, &mut |_, _| true);
    match (digest_of(a), digest_of(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
