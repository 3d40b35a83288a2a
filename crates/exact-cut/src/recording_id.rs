//! The identity of a recording within one request. A list by recording can only be indexed with such an id, never with a
//! number that counts something else.

use std::ops::{Index, IndexMut};

/// Number of a recording among those that were opened for a request, in the order of their starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId(usize);

impl RecordingId {
    /// Returns the number of the recording, counted from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// One value for each recording, addressed by [`RecordingId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerRecording<T>(Vec<T>);

impl<T> PerRecording<T> {
    /// Returns the values with the ids of their recordings, in order.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (RecordingId, &T)> {
        self.0.iter().enumerate().map(|(index, value)| (RecordingId(index), value))
    }

    /// Returns the values with the ids of their recordings, in order, mutably.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (RecordingId, &mut T)> {
        self.0.iter_mut().enumerate().map(|(index, value)| (RecordingId(index), value))
    }

    /// Returns the values, owned, with the ids of their recordings, in order.
    pub fn into_entries(self) -> impl Iterator<Item = (RecordingId, T)> {
        self.0.into_iter().enumerate().map(|(index, value)| (RecordingId(index), value))
    }

    /// Returns the values in order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// Returns the value of the recording, if it is one of these.
    #[must_use]
    pub fn get(&self, id: RecordingId) -> Option<&T> {
        self.0.get(id.0)
    }

    /// Returns `f` of every value.
    pub fn map<'a, U>(&'a self, f: impl FnMut(&'a T) -> U) -> PerRecording<U> {
        PerRecording(self.0.iter().map(f).collect())
    }

    /// Returns the number of recordings.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no recording.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for PerRecording<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> FromIterator<T> for PerRecording<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> Index<RecordingId> for PerRecording<T> {
    type Output = T;

    fn index(&self, id: RecordingId) -> &T {
        &self.0[id.0]
    }
}

impl<T> IndexMut<RecordingId> for PerRecording<T> {
    fn index_mut(&mut self, id: RecordingId) -> &mut T {
        &mut self.0[id.0]
    }
}
