//! The simulated disk: what programs see, what is durable, and what lies between.
//!
//! ```text
//! file     visible = durable + pending, in order         pending: writes and changes of length
//! folder   visible = durable + pending, in order         pending: creations, links, renames, removals
//! ```
//!
//! 1. A change goes to `visible` and to the end of `pending`; a sync moves all of `pending` into
//!    `durable`. Nothing else changes `durable` (but a crash and direct access).
//! 2. A file has no name of its own: names belong to folders, and it may have several. A file without a visible name lives
//!    on while a handle is open, or while a durable or pending name may still bring it back.
//! 3. Cloning a disk copies pointers; contents are copied when either side changes them.

use super::plan::Errno;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::io;
use std::ops::Range;
use std::path::{Component, Path};
use std::sync::Arc;

/// Number of a file or folder on one disk.
pub(super) type NodeId = usize;

/// The folder `/`, in which relative paths begin too.
pub(super) const ROOT: NodeId = 0;

/// Bytes, and zeros up to a length.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    bytes: Arc<Vec<u8>>,
    len: u64,
}

impl Content {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len() as u64, bytes: Arc::new(bytes) }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, buffer: &mut [u8], at: u64) -> usize {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let (buffer, _) = buffer.split_at_mut(count);
        let stored = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..));
        let stored = stored.unwrap_or_default();
        let (copied, zeros) = buffer.split_at_mut(count.min(stored.len()));
        copied.copy_from_slice(&stored[..copied.len()]);
        zeros.fill(0);
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: u64) {
        let start = usize::try_from(at).expect("a simulated file fits memory");
        write_into(Arc::make_mut(&mut self.bytes), bytes, start);
        self.len = self.len.max(at + bytes.len() as u64);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.bytes.len() as u64 {
            let keep = usize::try_from(len).unwrap_or(usize::MAX);
            Arc::make_mut(&mut self.bytes).truncate(keep);
        }
        self.len = len;
    }

    /// All of it. Free unless it ends in zeros that were never written.
    pub(super) fn whole(&self) -> Arc<Vec<u8>> {
        let len = usize::try_from(self.len).expect("a simulated file fits memory");
        if self.bytes.len() == len {
            return Arc::clone(&self.bytes);
        }
        let mut whole = vec![0; len];
        whole[..self.bytes.len()].copy_from_slice(&self.bytes);
        Arc::new(whole)
    }

    /// The written part without trailing zeros: equal contents have equal ones.
    pub(super) fn significant(&self) -> &[u8] {
        let end = self.bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        &self.bytes[..end]
    }
}

/// Writes into a vector at a place, filling a gap with zeros.
pub(super) fn write_into(out: &mut Vec<u8>, bytes: &[u8], at: usize) {
    if at == out.len() {
        out.extend_from_slice(bytes);
        return;
    }
    let end = at + bytes.len();
    if out.len() < end {
        out.resize(end, 0);
    }
    out[at..end].copy_from_slice(bytes);
}

/// A change of a file that is not durable.
#[derive(Clone, Debug, Hash)]
pub(super) enum FileOp {
    /// Bytes, as a place in [`FileNode::unsynced`].
    Write { at: u64, from: Range<usize> },
    /// A new length.
    Length { before: u64, after: u64 },
}

#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    pub(super) visible: Content,
    pub(super) durable: Content,
    pub(super) pending: Vec<FileOp>,
    /// The bytes of all pending writes, one after the other.
    pub(super) unsynced: Vec<u8>,
    /// Whether a failed sync dropped pages, so that `visible` is more than durable and pending.
    diverged: bool,
    /// Places that cannot be read.
    pub(super) broken: Vec<Range<u64>>,
}

/// The arena of a file that was synced is kept up to this size.
const UNSYNCED_BYTES_KEPT: usize = 64 << 10;

impl FileNode {
    pub(super) fn durable(content: Content) -> Self {
        Self { visible: content.clone(), durable: content, ..Self::default() }
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: u64) {
        let from = self.unsynced.len()..self.unsynced.len() + bytes.len();
        self.unsynced.extend_from_slice(bytes);
        self.pending.push(FileOp::Write { at, from });
        self.visible.write(bytes, at);
    }

    pub(super) fn set_len(&mut self, after: u64) {
        let before = self.visible.len();
        self.pending.push(FileOp::Length { before, after });
        self.visible.set_len(after);
    }

    pub(super) fn sync(&mut self) {
        // Sharing makes the next write copy the file: worth it when most of it was just written.
        if !self.diverged && self.unsynced.len() as u64 * 2 >= self.visible.len() {
            self.durable = self.visible.clone();
        } else {
            self.durable = self.applied();
        }
        self.forget_pending();
    }

    /// Durable and pending, in order.
    fn applied(&mut self) -> Content {
        let mut content = std::mem::take(&mut self.durable);
        for op in &self.pending {
            match op {
                FileOp::Write { at, from } => content.write(&self.unsynced[from.clone()], *at),
                FileOp::Length { after, .. } => content.set_len(*after),
            }
        }
        content
    }

    /// What a failed sync leaves behind when the kernel drops the pages: `reached` is on disk, the
    /// rest is clean in memory and will never be written.
    pub(super) fn drop_pages(&mut self, reached: Content) {
        self.durable = reached;
        self.diverged = true;
        self.forget_pending();
    }

    /// Forgets pages that are clean: what is read now comes from the disk.
    pub(super) fn evict(&mut self) {
        if self.diverged {
            let durable = self.durable.clone();
            self.visible = self.applied();
            self.durable = durable;
            self.diverged = false;
        }
    }

    fn forget_pending(&mut self) {
        self.pending.clear();
        self.unsynced.clear();
        self.unsynced.shrink_to(UNSYNCED_BYTES_KEPT);
    }
}

/// A change of a folder that is not durable.
#[derive(Clone, Debug, Hash)]
pub(super) enum NameOp {
    Create { name: Arc<str>, node: NodeId },
    Rename { from: Arc<str>, to: Arc<str>, node: NodeId, over: Option<NodeId> },
    Remove { name: Arc<str>, node: NodeId },
}

pub(super) type Names = BTreeMap<Arc<str>, NodeId>;

#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) visible: Names,
    pub(super) durable: Names,
    pub(super) pending: Vec<NameOp>,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<FileNode>),
    Dir(Arc<DirNode>),
}

#[derive(Clone, Debug)]
struct Slot {
    node: Node,
    handles: usize,
}

/// Files and folders.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    slots: Vec<Option<Slot>>,
    free: Vec<NodeId>,
    /// How many nodes there were after the last sweep.
    swept: usize,
    pub(super) capacity: Option<u64>,
}

/// A name in a folder, whether it exists or not.
pub(super) struct Place {
    pub(super) dir: NodeId,
    pub(super) name: Arc<str>,
    pub(super) node: Option<NodeId>,
}

impl Disk {
    pub(super) fn new() -> Self {
        let mut disk = Self { slots: Vec::new(), free: Vec::new(), swept: 0, capacity: None };
        disk.add(Node::Dir(Arc::default()));
        disk
    }

    fn add(&mut self, node: Node) -> NodeId {
        let slot = Some(Slot { node, handles: 0 });
        if let Some(id) = self.free.pop() {
            self.slots[id] = slot;
            return id;
        }
        self.slots.push(slot);
        self.slots.len() - 1
    }

    fn slot(&mut self, id: NodeId) -> &mut Slot {
        self.slots[id].as_mut().expect("a node that is referred to exists")
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.slots[id].as_ref().expect("a node that is referred to exists").node
    }

    pub(super) fn file(&self, id: NodeId) -> &FileNode {
        match self.node(id) {
            Node::File(file) => file,
            Node::Dir(_) => unreachable!("node {id} is a folder"),
        }
    }

    pub(super) fn file_mut(&mut self, id: NodeId) -> &mut FileNode {
        match &mut self.slot(id).node {
            Node::File(file) => Arc::make_mut(file),
            Node::Dir(_) => unreachable!("node {id} is a folder"),
        }
    }

    fn dir(&self, id: NodeId) -> &DirNode {
        match self.node(id) {
            Node::Dir(dir) => dir,
            Node::File(_) => unreachable!("node {id} is a file"),
        }
    }

    pub(super) fn dir_mut(&mut self, id: NodeId) -> &mut DirNode {
        match &mut self.slot(id).node {
            Node::Dir(dir) => Arc::make_mut(dir),
            Node::File(_) => unreachable!("node {id} is a file"),
        }
    }

    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut FileNode> {
        self.slots.iter_mut().flatten().filter_map(|slot| match &mut slot.node {
            Node::File(file) => Some(Arc::make_mut(file)),
            Node::Dir(_) => None,
        })
    }

    pub(super) fn opened(&mut self, id: NodeId) {
        self.slot(id).handles += 1;
    }

    pub(super) fn closed(&mut self, id: NodeId) {
        self.slot(id).handles -= 1;
    }

    /// How many handles are open in all.
    pub(super) fn handle_count(&self) -> usize {
        self.slots.iter().flatten().map(|slot| slot.handles).sum()
    }

    /// The folder at `path`.
    pub(super) fn find_dir(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else {
                if component == Component::ParentDir {
                    return Err(odd_path());
                }
                continue;
            };
            let name = name.to_str().ok_or_else(odd_path)?;
            let Some(&next) = self.dir(at).visible.get(name) else {
                return Err(Errno::NotFound.error());
            };
            if let Node::File(_) = self.node(next) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            at = next;
        }
        Ok(at)
    }

    /// What `path` names.
    pub(super) fn find(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(odd_path)?;
        let dir = self.find_dir(path.parent().unwrap_or(Path::new("")))?;
        let names = &self.dir(dir).visible;
        if let Some((name, &node)) = names.get_key_value(name) {
            return Ok(Place { dir, name: Arc::clone(name), node: Some(node) });
        }
        Ok(Place { dir, name: Arc::from(name), node: None })
    }

    /// The file that `path` names.
    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?.node.ok_or_else(|| Errno::NotFound.error())?;
        match self.node(node) {
            Node::File(_) => Ok(node),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        let place = self.find(path)?;
        if place.node.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(self.create_in(place, Node::File(Arc::default())))
    }

    pub(super) fn create_in(&mut self, place: Place, node: Node) -> NodeId {
        let node = self.add(node);
        let dir = self.dir_mut(place.dir);
        dir.visible.insert(Arc::clone(&place.name), node);
        dir.pending.push(NameOp::Create { name: place.name, node });
        node
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let mut so_far = std::path::PathBuf::new();
        for component in path.components() {
            so_far.push(component);
            if !matches!(component, Component::Normal(_)) {
                continue;
            }
            let place = self.find(&so_far)?;
            match place.node.map(|node| self.node(node)) {
                None => drop(self.create_in(place, Node::Dir(Arc::default()))),
                Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                Some(Node::Dir(_)) => {}
            }
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find_file(from)?;
        let (from, to) = (self.find(from)?, self.find(to)?);
        if from.dir != to.dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if to.node == Some(node) {
            return Ok(());
        }
        if to.node.is_some_and(|node| matches!(self.node(node), Node::Dir(_))) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let dir = self.dir_mut(from.dir);
        dir.visible.remove(&from.name);
        dir.visible.insert(Arc::clone(&to.name), node);
        dir.pending.push(NameOp::Rename { from: from.name, to: to.name, node, over: to.node });
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find_file(from)?;
        let Place { dir, name, node: None } = self.find(to)? else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        let dir = self.dir_mut(dir);
        dir.visible.insert(Arc::clone(&name), node);
        // A name that comes to be: that its file has another makes no difference to the folder.
        dir.pending.push(NameOp::Create { name, node });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find_file(path)?;
        let Place { dir, name, .. } = self.find(path)?;
        let dir = self.dir_mut(dir);
        dir.visible.remove(&name);
        dir.pending.push(NameOp::Remove { name, node });
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find_dir(path)?;
        let dir = self.dir_mut(id);
        if !dir.pending.is_empty() {
            dir.durable = dir.visible.clone();
            dir.pending.clear();
        }
        self.sweep_if_due();
        Ok(())
    }

    /// Visible names of a folder with what they name.
    pub(super) fn entries(&self, dir: NodeId) -> impl Iterator<Item = (&Arc<str>, NodeId, &Node)> {
        self.dir(dir).visible.iter().map(|(name, &node)| (name, node, self.node(node)))
    }

    /// How many bytes may still be written at the end of files; none without a capacity.
    pub(super) fn room(&self) -> Option<u64> {
        let capacity = self.capacity?;
        let mut named = vec![false; self.slots.len()];
        for slot in self.slots.iter().flatten() {
            if let Node::Dir(dir) = &slot.node {
                dir.visible.values().for_each(|&node| named[node] = true);
            }
        }
        let used = self.slots.iter().zip(named).filter_map(|(slot, named)| match slot {
            Some(Slot { node: Node::File(file), handles }) if named || *handles > 0 => {
                Some(file.visible.len())
            }
            _ => None,
        });
        Some(capacity.saturating_sub(used.sum()))
    }

    fn sweep_if_due(&mut self) {
        if self.slots.len() - self.free.len() > 2 * self.swept + 16 {
            self.sweep();
        }
    }

    /// Frees files that no name can bring back and no handle holds.
    fn sweep(&mut self) {
        let mut kept = vec![false; self.slots.len()];
        kept[ROOT] = true;
        for slot in self.slots.iter().flatten() {
            let Node::Dir(dir) = &slot.node else { continue };
            let named = dir.visible.values().chain(dir.durable.values()).copied();
            let pending = dir.pending.iter().flat_map(|op| match *op {
                NameOp::Create { node, .. } | NameOp::Remove { node, .. } => [Some(node), None],
                NameOp::Rename { node, over, .. } => [Some(node), over],
            });
            named.chain(pending.flatten()).for_each(|node| kept[node] = true);
        }
        for (id, kept) in kept.into_iter().enumerate() {
            let slot = &mut self.slots[id];
            if !kept && slot.as_ref().is_some_and(|slot| slot.handles == 0) {
                *slot = None;
                self.free.push(id);
            }
        }
        self.swept = self.slots.len() - self.free.len();
    }

    /// How many files and folders there are, nameless ones too.
    #[cfg(test)]
    pub(super) fn node_count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The same disk, as a process that starts now finds it: nothing is open.
    pub(super) fn reopened(&self) -> Self {
        let mut disk = self.clone();
        disk.slots.iter_mut().flatten().for_each(|slot| slot.handles = 0);
        disk.sweep();
        disk
    }

    /// A disk on which the folders have the names, and the files the contents, that `names` and
    /// `content` say; all of it durable, and nothing else exists.
    pub(super) fn rebuilt(
        &self,
        mut names: impl FnMut(&DirNode) -> Names,
        mut content: impl FnMut(&FileNode) -> Content,
    ) -> Self {
        let mut slots = vec![None; self.slots.len()];
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            if slots[id].is_some() {
                continue;
            }
            let node = match self.node(id) {
                Node::File(file) if file.pending.is_empty() && !file.diverged => {
                    Node::File(Arc::clone(file))
                }
                Node::File(file) => {
                    let mut after = FileNode::durable(content(file));
                    after.broken.clone_from(&file.broken);
                    Node::File(Arc::new(after))
                }
                Node::Dir(dir) => {
                    let durable = names(dir);
                    open.extend(durable.values());
                    let visible = durable.clone();
                    Node::Dir(Arc::new(DirNode { visible, durable, pending: Vec::new() }))
                }
            };
            slots[id] = Some(Slot { node, handles: 0 });
        }
        let free: Vec<_> = (0..slots.len()).filter(|&id| slots[id].is_none()).collect();
        let swept = slots.len() - free.len();
        Self { slots, free, swept, capacity: self.capacity }
    }
}

/// By what can be seen or come back; numbers of nodes are hashed as they are, since the same calls
/// give the same ones.
impl Hash for Disk {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for slot in &self.slots {
            match slot.as_ref().map(|slot| &slot.node) {
                None => state.write_u8(0),
                Some(Node::File(file)) => {
                    state.write_u8(1);
                    for content in [&file.visible, &file.durable] {
                        state.write_u64(content.len());
                        content.significant().hash(state);
                    }
                    file.pending.hash(state);
                    file.unsynced.hash(state);
                }
                Some(Node::Dir(dir)) => {
                    state.write_u8(2);
                    dir.visible.hash(state);
                    dir.durable.hash(state);
                    dir.pending.hash(state);
                }
            }
        }
    }
}

fn odd_path() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a path of the simulated disk")
}
