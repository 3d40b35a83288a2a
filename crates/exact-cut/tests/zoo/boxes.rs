//! The boxes of a file as a tree of bytes, for edits into what no muxer writes: nothing is understood that needs no edit.
//! Where `moov` ends the file it may grow, because then no sample moves.

use std::path::{Path, PathBuf};

/// A box: bytes of its own, boxes inside, and bytes behind these.
#[derive(Clone)]
pub struct Node {
    pub kind: [u8; 4],
    pub own: Vec<u8>,
    pub inner: Vec<Node>,
    pub after: Vec<u8>,
}

/// Returns how many bytes a box has before the boxes inside, or `None` if it holds none.
fn own_bytes(kind: [u8; 4], content: &[u8]) -> Option<usize> {
    match &kind {
        b"moov" | b"trak" | b"mdia" | b"minf" | b"dinf" | b"stbl" | b"edts" | b"mvex" | b"moof" | b"traf" => Some(0),
        b"stsd" => Some(8),
        b"avc1" | b"avc3" | b"hvc1" | b"hev1" => Some(78),
        // QuickTime's version 1 has more bytes, and is left alone
        b"mp4a" if content.len() > 28 && content[9] == 0 => Some(28),
        _ => None,
    }
}

impl Node {
    /// Returns a box without boxes inside.
    pub fn leaf(kind: [u8; 4], own: impl Into<Vec<u8>>) -> Self {
        Self { kind, own: own.into(), inner: Vec::new(), after: Vec::new() }
    }

    /// Reads the boxes in `bytes`. Returns them, and what follows the last one.
    fn read_all(bytes: &[u8]) -> (Vec<Self>, Vec<u8>) {
        let (mut nodes, mut rest) = (Vec::new(), bytes);
        while let Some((size, after)) = rest.split_first_chunk::<4>() {
            let (size, header) = match u32::from_be_bytes(*size) {
                1 => (usize::try_from(u64::from_be_bytes(rest[8..16].try_into().expect("eight"))).expect("small"), 16),
                size => (size as usize, 8),
            };
            let Some(content) = rest.get(header..size) else { break };
            let kind = after[..4].try_into().expect("four");
            nodes.push(Self::read(kind, content));
            rest = &rest[size..];
        }
        (nodes, rest.to_vec())
    }

    fn read(kind: [u8; 4], content: &[u8]) -> Self {
        let Some(own) = own_bytes(kind, content) else { return Self::leaf(kind, content) };
        let (inner, after) = Self::read_all(&content[own..]);
        Self { kind, own: content[..own].to_vec(), inner, after }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let inner: Vec<u8> = self.inner.iter().flat_map(Self::bytes).collect();
        let size = u32::try_from(8 + self.own.len() + inner.len() + self.after.len()).expect("small");
        [&size.to_be_bytes()[..], &self.kind, &self.own, &inner, &self.after].concat()
    }

    /// Returns the box at a path like `trak.1/mdia`: of several of one kind, the number says which.
    pub fn at(&mut self, path: &str) -> &mut Self {
        path.split('/').fold(self, |node, step| {
            let place = node.place(step);
            &mut node.inner[place]
        })
    }

    fn place(&self, step: &str) -> usize {
        let (kind, number) = step.split_once('.').unwrap_or((step, "0"));
        let places = self.inner.iter().enumerate().filter(|(_, node)| node.kind == kind.as_bytes());
        places.map(|(place, _)| place).nth(number.parse().expect("a number")).unwrap_or_else(|| panic!("no {step}"))
    }

    /// Takes out the box of that kind.
    pub fn remove(&mut self, step: &str) -> Self {
        let place = self.place(step);
        self.inner.remove(place)
    }

    /// Replaces the box of that kind.
    pub fn replace(&mut self, step: &str, by: Self) {
        let place = self.place(step);
        self.inner[place] = by;
    }

    /// Returns the bytes behind version and flags, as numbers of 32 bits.
    pub fn words(&self) -> Vec<u32> {
        self.own[4..].chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().expect("four"))).collect()
    }

    /// Sets what [`Self::words`] returns.
    pub fn set_words(&mut self, words: &[u32]) {
        self.own.truncate(4);
        self.own.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }

    /// Sets a table of pairs, which begins with their number.
    pub fn set_pairs(&mut self, pairs: &[(u32, u32)]) {
        let count = u32::try_from(pairs.len()).expect("few");
        let words = pairs.iter().flat_map(|&(a, b)| [a, b]);
        self.set_words(&[count].into_iter().chain(words).collect::<Vec<_>>());
    }

    /// Returns a table of pairs.
    pub fn pairs(&self) -> Vec<(u32, u32)> {
        self.words()[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// A file.
pub struct Boxes(pub Vec<Node>);

impl Boxes {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Node::read_all(bytes).0)
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(Node::bytes).collect()
    }

    /// Returns the box at a path from the top.
    pub fn at(&mut self, path: &str) -> &mut Node {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let node = self.0.iter_mut().find(|node| node.kind == first.as_bytes()).expect("such a box");
        if rest.is_empty() { node } else { node.at(rest) }
    }

    /// Returns a box of the sample table of a track.
    pub fn table(&mut self, track: usize, path: &str) -> &mut Node {
        self.at(&format!("moov/trak.{track}/mdia/minf/stbl/{path}"))
    }

    /// Returns all boxes of that kind at the top.
    pub fn all(&mut self, kind: [u8; 4]) -> Vec<&mut Node> {
        self.0.iter_mut().filter(|node| node.kind == kind).collect()
    }
}

/// Returns the file at `path` after an edit of its bytes. It lies beside the original, and is made once.
pub fn patched(path: &Path, name: &str, edit: impl FnOnce(Vec<u8>) -> Vec<u8>) -> PathBuf {
    let target = path.with_extension(format!("{name}.mp4"));
    if !target.exists() {
        let scratch = tempfile::NamedTempFile::new_in(path.parent().expect("a folder")).expect("a file");
        std::fs::write(scratch.path(), edit(std::fs::read(path).expect("readable"))).expect("written");
        scratch.persist(&target).expect("moved into place");
    }
    target
}

/// Returns the file at `path` after an edit of its boxes.
pub fn reboxed(path: &Path, name: &str, edit: impl FnOnce(&mut Boxes)) -> PathBuf {
    patched(path, name, |bytes| {
        let mut boxes = Boxes::of(&bytes);
        edit(&mut boxes);
        boxes.bytes()
    })
}
