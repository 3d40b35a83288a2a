//! Where two recordings are one film.
//!
//! The instants in names are not exact to the frame: they are whole seconds, or come from clocks that jitter and drift. The
//! footage is exact. So where a recording begins about when the one before it ends, the two are one film: all frames of the
//! first, then all of the second, each at its natural distance. Nothing is lost, doubled or held there, however far the name
//! is off.
//!
//! Recordings are in the order of (start, end, name). *The one before* a recording is that one of those that began earlier
//! whose end is latest.

use crate::plan::footage::Footage;
use crate::recording_id::{PerRecording, RecordingId};
use crate::time::Timestamp;

/// A joint of at most this part of the shorter recording's length is one.
const PART_OF_LENGTH: i64 = 4;

/// Two recordings that are one film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joint {
    /// The recording that is shown to its end.
    pub before: RecordingId,
    /// The recording that follows with its first frame.
    pub after: RecordingId,
    /// End of the first recording, by its own clock.
    pub end: Timestamp,
    /// Start of the second recording, by its own clock.
    pub start: Timestamp,
}

impl Joint {
    /// Returns how much later than the first recording's end the second one's name begins it, in microseconds. Negative if
    /// it begins it earlier.
    #[must_use]
    pub const fn off_us(self) -> i64 {
        self.start.as_us() - self.end.as_us()
    }
}

/// Returns the recording before the recording `id`.
#[must_use]
pub fn one_before(recordings: &PerRecording<Footage>, id: RecordingId) -> Option<RecordingId> {
    let start = recordings[id].span.start();
    let earlier = recordings.iter().filter(|(_, footage)| footage.span.start() < start);
    earlier.max_by_key(|(id, footage)| (footage.span.end(), *id)).map(|(id, _)| id)
}

/// Returns how far the name of one of two recordings may be off, in microseconds.
#[must_use]
pub fn tolerance_us(one: &Footage, other: &Footage, joint_tolerance_us: i64) -> i64 {
    let shorter = one.span.length_us().min(other.span.length_us());
    joint_tolerance_us.min(shorter / PART_OF_LENGTH)
}

/// Returns the joints of `recordings`. None has a joint if the tolerance is 0.
#[must_use]
pub fn joints(recordings: &PerRecording<Footage>, joint_tolerance_us: i64) -> Vec<Joint> {
    let joint = |(after, second): (RecordingId, &Footage)| {
        let before = one_before(recordings, after)?;
        let first = &recordings[before];
        let joint = Joint { before, after, end: first.span.end(), start: second.span.start() };
        (joint.off_us().abs() <= tolerance_us(first, second, joint_tolerance_us)).then_some(joint)
    };
    if joint_tolerance_us > 0 { recordings.iter().filter_map(joint).collect() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn recordings_are_one_film_where_one_begins_about_when_the_one_before_ends() {
        let of = |recordings: &[(i64, i64)], tolerance: i64| -> Vec<(usize, usize, i64)> {
            let at = Timestamp::from_us;
            let footage = recordings.iter().map(|&(from, to)| Span::new(at(from), at(to)).expect("in order").into());
            let joints = joints(&footage.collect(), tolerance);
            joints.iter().map(|joint| (joint.before.index(), joint.after.index(), joint.off_us())).collect()
        };
        assert_eq!(of(&[(0, 100), (100, 200)], 7), [(0, 1, 0)]);
        assert_eq!(of(&[(0, 100), (93, 200), (207, 300)], 7), [(0, 1, -7), (1, 2, 7)]);
        assert_eq!(of(&[(0, 100), (92, 200), (208, 300)], 7), []);
        assert_eq!(of(&[(0, 100), (100, 200)], 0), []);
        // at most a quarter of the shorter one
        assert_eq!(of(&[(0, 100), (105, 125)], 7), [(0, 1, 5)]);
        assert_eq!(of(&[(0, 100), (106, 126)], 7), []);
        // the one before is the one whose end is latest, not the one that began last
        assert_eq!(of(&[(0, 100), (40, 60), (101, 200)], 7), [(0, 2, 1)]);
    }
}
