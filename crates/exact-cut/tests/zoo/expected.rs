//! What a clip must show, computed from a full decode of its recordings and from their names alone.
#![allow(clippy::cast_precision_loss)] // times of a few minutes

use super::cameras::Camera;
use super::film::Film;

/// `GAP_TOLERANCE_MS`, in microseconds.
const TOLERANCE_US: f64 = 500_000.0;

/// What a clip must show.
pub struct Expected {
    /// Recording and number of each frame.
    pub frames: Vec<(usize, usize)>,
    pub times_us: Vec<f64>,
    /// Half a frame, in microseconds.
    pub tolerance_us: f64,
    pub end_us: f64,
    /// Parts of the span that no recording shows, in microseconds after the opening of the zoo.
    pub gaps_us: Vec<(f64, f64)>,
    /// The film that shows most of the span; of equals, the first.
    pub main: usize,
    /// The part of each recording that is shown: recording, start, end, and what to subtract to get the time in the clip.
    pub parts_us: Vec<(usize, f64, f64, f64)>,
}

impl Expected {
    pub fn of(camera: &Camera, films: &[Film], (from, to): (i64, i64)) -> Self {
        let (from, to) = (from as f64 * 1e3, to as f64 * 1e3);
        let starts = |n: usize| films[n].start_us;
        // the recording that shows an instant is the one that began last
        let shows =
            |at: f64| (0..films.len()).rev().find(|&n| starts(n) <= at && at < starts(n) + films[n].end_us - 0.5);
        let mut frames = Vec::new();
        for (n, film) in films.iter().enumerate() {
            let walls = film.times_us.iter().map(|time| starts(n) + time).enumerate();
            let inside = walls.filter(|(_, wall)| (from - 1e-3..to - 1e-3).contains(wall));
            frames.extend(inside.filter(|(_, wall)| shows(wall + 0.01) == Some(n)).map(|(k, wall)| (wall, n, k)));
        }
        if frames.is_empty() {
            let n = shows(from).expect("footage");
            let k = films[n].times_us.iter().rposition(|time| starts(n) + time <= from).expect("a frame");
            frames.push((starts(n) + films[n].times_us[k], n, k));
        }
        frames.sort_by(|a, b| a.0.total_cmp(&b.0));
        // holes between recordings, and at both ends
        let mut edges = vec![(f64::MIN, from)];
        edges.extend((0..films.len()).map(|n| (starts(n), starts(n) + films[n].end_us)));
        edges.push((to, f64::MAX));
        let holes: Vec<(f64, f64)> = edges
            .windows(2)
            .map(|pair| (pair[0].1.max(from), pair[1].0.min(to)))
            .filter(|hole| hole.0 < hole.1)
            .collect();
        let gaps: Vec<_> = holes.iter().copied().filter(|hole| hole.1 - hole.0 > TOLERANCE_US).collect();
        let cut_out =
            |wall: f64| -> f64 { gaps.iter().filter(|gap| gap.1 <= wall + 1.0).map(|gap| gap.1 - gap.0).sum() };
        let held = holes.iter().any(|hole| hole.0 <= from && hole.1 - hole.0 <= TOLERANCE_US);
        let origin = if held { from } else { frames[0].0 - cut_out(frames[0].0) };
        let mut times_us: Vec<f64> = frames.iter().map(|(wall, ..)| wall - cut_out(*wall) - origin).collect();
        times_us[0] = 0.0;
        let &(_, last, frame) = frames.last().expect("a frame");
        // a clip is as long as its span without the gaps, unless its last frame ends before
        let natural = films[last].times_us.get(frame + 1).copied().unwrap_or(films[last].end_us) + starts(last);
        let (hole, at_end) = holes.last().map_or((0.0, false), |hole| (hole.1 - hole.0, hole.1 >= to));
        let end = to - from - gaps.iter().map(|gap| gap.1 - gap.0).sum::<f64>();
        let held_to_end = at_end && hole <= TOLERANCE_US;
        let end_us = if held_to_end { end } else { end.min(natural - cut_out(natural) - origin) };
        let parts_us = (0..films.len())
            .map(|n| {
                let until = if n + 1 < films.len() { starts(n + 1) } else { f64::MAX };
                let (since, until) = (starts(n).max(from), (starts(n) + films[n].end_us).min(until).min(to));
                (n, since, until, origin + cut_out(since))
            })
            .filter(|(_, since, until, _)| since < until)
            .collect::<Vec<_>>();
        let main = parts_us.iter().rev().max_by(|a, b| (a.2 - a.1).total_cmp(&(b.2 - b.1)));
        let half = films.iter().map(|film| film.end_us / film.times_us.len() as f64 / 2.0).fold(f64::MAX, f64::min);
        Self {
            frames: frames.iter().map(|&(_, n, k)| (n, k)).collect(),
            end_us,
            times_us,
            tolerance_us: camera.tolerance_us.unwrap_or(half),
            gaps_us: gaps,
            main: main.map_or(0, |part| part.0),
            parts_us,
        }
    }
}
