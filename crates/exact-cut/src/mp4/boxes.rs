//! Boxes and their fields as bytes (ISO/IEC 14496-12, section 4.2).
//!
//! Only what is needed of a file is read, and as tolerantly as players read it: a box that does not fit ends the list of its
//! siblings, a count that is larger than the box holds means as many as it holds.

/// The longest list of boxes that is walked, so that a file cannot make one out of nothing.
const MAX_CHILDREN: usize = 100_000;

/// The type and the content of a box.
pub type Child<'a> = ([u8; 4], &'a [u8]);

/// Returns the boxes in `content`, without their headers. Ends at the first one that does not fit.
pub fn children(content: &[u8]) -> impl Iterator<Item = Child<'_>> {
    let mut rest = content;
    let next = std::iter::from_fn(move || {
        let mut fields = Fields(rest);
        let (size, name) = (fields.u32()?, fields.name()?);
        let (size, header) = match size {
            0 => (rest.len(), 8),
            1 => (usize::try_from(fields.u64()?).ok()?, 16),
            size => (size as usize, 8),
        };
        let (inner, after) = rest.split_at_checked(size)?;
        rest = after;
        Some((name, inner.get(header..)?))
    });
    next.take(MAX_CHILDREN)
}

/// Returns the content of the first box `name` in `content`.
#[must_use]
pub fn child<'a>(content: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    children(content).find(|(found, _)| found == name).map(|(_, inner)| inner)
}

/// Returns the content of the box at the end of `path`.
#[must_use]
pub fn descendant<'a>(content: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(content, |content, name| child(content, name))
}

/// Returns the entries of the table `name`, of `N` bytes each, or `None` if there is no such box.
#[must_use]
pub fn table<'a, const N: usize>(
    content: &'a [u8],
    name: &[u8; 4],
) -> Option<impl Iterator<Item = Fields<'a>> + Clone + use<'a, N>> {
    let mut fields = Fields(child(content, name)?);
    fields.version_and_flags()?;
    let count = fields.u32()?;
    Some(fields.table::<N>(count))
}

/// Returns a box of type `name` around `content`.
#[must_use]
pub fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len() + 8).unwrap_or(0); // 0: up to the end of the file
    [&size.to_be_bytes()[..], name, content].concat()
}

/// Reads fields one after the other, in network byte order. Gives `None` where the bytes end.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    /// Skips `count` bytes.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    /// Returns the type of a box.
    pub fn name(&mut self) -> Option<[u8; 4]> {
        self.bytes()
    }

    /// Returns an unsigned number of 8 bits.
    pub fn u8(&mut self) -> Option<u8> {
        self.bytes().map(|[byte]| byte)
    }

    /// Returns an unsigned number of 16 bits.
    pub fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    /// Returns an unsigned number of 32 bits.
    pub fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// Returns a signed number of 32 bits.
    pub fn i32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_be_bytes)
    }

    /// Returns an unsigned number of 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_be_bytes)
    }

    /// Returns the version and the flags that a full box begins with.
    pub fn version_and_flags(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some((word.to_be_bytes()[0], word & 0x00ff_ffff))
    }

    /// Returns a number of 64 bits if `wide`, else of 32.
    pub fn u64_if(&mut self, wide: bool) -> Option<u64> {
        if wide { self.u64() } else { self.u32().map(u64::from) }
    }

    /// Returns the entries of a table, of `N` bytes each: `count` of them, or as many as there are.
    pub fn table<const N: usize>(self, count: u32) -> impl Iterator<Item = Fields<'a>> + Clone {
        self.0.chunks_exact(N).take(count as usize).map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_boxes_ends_where_one_does_not_fit() {
        let content = [boxed(b"aaaa", &[1]), boxed(b"bbbb", &[2, 3]), vec![0, 0, 0, 9, b'c']].concat();
        let found: Vec<Child<'_>> = children(&content).collect();
        assert_eq!(found, [(*b"aaaa", &[1][..]), (*b"bbbb", &[2, 3])]);
        // `mov` files end a list with four zeros
        let content = [boxed(b"aaaa", &[1]), vec![0; 4]].concat();
        assert_eq!(children(&content).count(), 1);
        assert_eq!(
            child(&[&1_u32.to_be_bytes()[..], b"wide", &17_u64.to_be_bytes(), &[7]].concat(), b"wide"),
            Some(&[7][..])
        );
        assert_eq!(child(&[0, 0, 0, 0, b'l', b'a', b's', b't', 7], b"last"), Some(&[7][..]));
        assert_eq!(child(&[0, 0, 0, 7, b'b', b'a', b'd', b'!'], b"bad!"), None);
    }

    #[test]
    fn a_table_has_as_many_entries_as_its_box_holds() {
        let fields = Fields(&[0, 1, 0, 2, 0]);
        assert_eq!(fields.table::<2>(u32::MAX).filter_map(|mut entry| entry.u16()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(fields.table::<2>(1).count(), 1);
    }
}
