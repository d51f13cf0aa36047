//! The tree of collections: made, listed, called otherwise, set, deleted.

use super::history::Draft;
use super::run::{Done, Run};
use super::state::{Number, Span};
use super::steps::{Author, Path, Style};
use crate::support::reference::Many;
use esker::{ErrorKind, Settings};

#[derive(Clone, Debug)]
pub enum Tree {
    Create(Path, Style),
    Delete(Path),
    Rename(Path, Path),
    Configure(Path, Style),
    /// Deletes, renames and sets what is gone.
    Late(usize),
    /// What there is, and what lies below.
    List(Path),
}

impl Author {
    pub fn tree(&mut self) -> Tree {
        match self.dice.below(12) {
            0..=2 => Tree::Create(self.path(), self.style()),
            3 | 4 => Tree::Delete(self.path()),
            5..=7 => Tree::Rename(self.path(), self.path()),
            8 | 9 => Tree::Configure(self.path(), self.style()),
            10 => Tree::Late(self.dice.index(8)),
            _ => Tree::List(self.path()),
        }
    }
}

impl Draft {
    /// Deletes a collection and what lies below it, and with them all their keys.
    pub fn delete(&mut self, number: Number) -> Result<(), ErrorKind> {
        let gone = self.state.delete(number)?;
        self.touched.extend(gone.into_iter().map(|number| (number, Span::of(&Many::All))));
        Ok(())
    }
}

impl Run {
    pub fn tree(&mut self, step: &Tree) -> Done {
        match step {
            Tree::Create(path, style) => drop(self.collection(path, *style)?),
            Tree::Delete(path) => {
                let Some((number, handle)) = self.existing(path)? else { return Ok(()) };
                let mut draft = self.history.draft();
                let judged = draft.delete(number).map(|()| draft);
                self.commit(judged, None, |db| db.delete_collection(&handle))?;
            }
            Tree::Rename(path, to) => {
                let Some((number, handle)) = self.existing(path)? else { return Ok(()) };
                let mut draft = self.history.draft();
                let judged = draft.state.rename(number, to).map(|()| draft);
                self.commit(judged, None, |db| db.rename_collection(&handle, to))?;
            }
            Tree::Configure(path, style) => {
                let Some((number, handle)) = self.existing(path)? else { return Ok(()) };
                let mut draft = self.history.draft();
                let settings = style.instead_of(&handle.settings());
                let judged = draft.state.configure(number, &settings).map(|()| draft);
                self.commit(judged, None, |_| handle.configure(&settings))?;
            }
            Tree::Late(index) => self.late(*index)?,
            Tree::List(path) => self.list(path)?,
        }
        Ok(())
    }

    fn late(&mut self, index: usize) -> Done {
        let Some((handle, _)) = self.gone.get(index % self.gone.len().max(1)).cloned() else {
            return Ok(());
        };
        let gone = || Err(ErrorKind::NotFound);
        self.commit(gone(), None, |db| db.delete_collection(&handle))?;
        self.commit(gone(), None, |db| db.rename_collection(&handle, "nowhere"))?;
        self.commit(gone(), None, |_| handle.configure(&Settings::default()))?;
        if let Some(path) = handle.path() {
            return Err(format!("what is gone is called {path:?}").into());
        }
        Ok(())
    }

    fn list(&mut self, path: Path) -> Done {
        let state = self.now().clone();
        let found = self.ok(self.db.collections())?;
        if found != state.now.paths() {
            return Err(format!("collections {found:?}, want {:?}", state.now.paths()).into());
        }
        let Some((number, handle)) = self.existing(path)? else { return Ok(()) };
        let below: Vec<String> = state.now.tree(path).split_off(1);
        let found = self.ok(self.db.collections_in(path))?;
        let is_child = |below: &&String| !below[path.len() + 1..].contains('/');
        let children: Vec<String> = below.iter().filter(is_child).cloned().collect();
        if found != below || self.ok(handle.children())? != children {
            return Err(format!("below {path:?} are {found:?}, want {below:?}").into());
        }
        let (called, set) = (handle.path(), handle.settings());
        if called.as_deref() != Some(path) || Some(&set) != state.now.settings(number) {
            return Err(format!("{path:?} is called {called:?}, has {set:?}").into());
        }
        Ok(())
    }
}
