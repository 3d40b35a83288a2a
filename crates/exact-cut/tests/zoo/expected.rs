//! What a clip must show, computed from a full decode of its recordings and from their names alone.
#![allow(clippy::cast_precision_loss)] // times of a few minutes

use super::cameras::Camera;
use super::film::Film;

/// `JOINT_TOLERANCE_MS`, in microseconds.
const JOINT_TOLERANCE_US: f64 = 1_500_000.0;
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
        let ends = |n: usize| films[n].start_us + films[n].end_us;
        // two films are one where one begins about when the one before it ends
        let is_joined = |n: usize| {
            let shorter = |n: usize| films[n].end_us.min(films[n + 1].end_us);
            n + 1 < films.len() && (starts(n + 1) - ends(n)).abs() <= JOINT_TOLERANCE_US.min(shorter(n) / 4.0)
        };
        // else the one that began last shows an instant
        let shows = |at: f64| (0..films.len()).rev().find(|&n| starts(n) <= at && at < ends(n) - 0.5);
        let mut film_frames = Vec::new();
        for (n, film) in films.iter().enumerate() {
            let walls = film.times_us.iter().map(|time| starts(n) + time).enumerate();
            let shown = walls.filter(|(_, wall)| is_joined(n) || shows(wall + 0.01) == Some(n));
            film_frames.extend(shown.map(|(k, wall)| (wall, n, k)));
        }
        // the first frame that is not shown before an instant
        let place = |at: f64| {
            let reached = (0..films.len()).rev().find(|&n| starts(n) <= at + 1e-3).unwrap_or(0);
            let is_before = |&&(wall, n, _): &&(f64, usize, usize)| n < reached || n == reached && wall < at - 1e-3;
            film_frames.iter().take_while(is_before).count()
        };
        let mut frames = film_frames[place(from)..place(to)].to_vec();
        if frames.is_empty() {
            let in_hole = (0..films.len()).any(|n| is_joined(n) && ends(n) <= from && to <= starts(n + 1));
            frames.push(film_frames[if in_hole { place(from) } else { place(from) - 1 }]);
        }
        // holes between recordings, and at both ends, except for those of joints
        let mut edges = vec![(f64::MIN, from)];
        edges.extend((0..films.len()).map(|n| (starts(n), ends(n))));
        edges.push((to, f64::MAX));
        let is_of_joint = |hole: &(f64, f64)| {
            (0..films.len()).any(|n| is_joined(n) && ends(n) <= hole.0 + 1.0 && hole.1 <= starts(n + 1) + 1.0)
        };
        let holes: Vec<(f64, f64)> = edges
            .windows(2)
            .map(|pair| (pair[0].1.max(from), pair[1].0.min(to)))
            .filter(|hole| hole.0 < hole.1 && !is_of_joint(hole))
            .collect();
        let gaps: Vec<_> = holes.iter().copied().filter(|hole| hole.1 - hole.0 > TOLERANCE_US).collect();
        // how much later a film is shown than its name says, where the clip begins with that one or one before
        let (first, last) = (frames[0].1, frames[frames.len() - 1].1);
        let shift = |n: usize| -> f64 {
            let joints = (first..n).filter(|&n| is_joined(n)).map(|n| ends(n) - starts(n + 1));
            let cut_out = gaps.iter().filter(|gap| gap.1 <= starts(n).max(from) + 1.0).map(|gap| gap.1 - gap.0);
            joints.sum::<f64>() - cut_out.sum::<f64>()
        };
        let held = holes.iter().any(|hole| hole.0 <= from && hole.1 - hole.0 <= TOLERANCE_US);
        let origin = if held { from } else { frames[0].0 + shift(first) };
        let mut times_us: Vec<f64> = frames.iter().map(|&(wall, n, _)| wall + shift(n) - origin).collect();
        times_us[0] = 0.0;
        // a clip is as long as what it shows of its span, unless its last frame ends before
        let &(_, _, frame) = frames.last().expect("a frame");
        let natural = films[last].times_us.get(frame + 1).copied().unwrap_or(films[last].end_us) + starts(last);
        let natural = natural + shift(last) - origin;
        let is_reached = is_joined(last) && starts(last + 1) <= to + 1e-3;
        let shown_until = if is_reached { ends(last) } else { to.min(ends(last)) };
        let tail = holes.last().filter(|hole| hole.1 >= to).map(|hole| hole.1 - hole.0);
        let end_us = match tail {
            Some(hole) if hole <= TOLERANCE_US => to + shift(last) - from, // held
            _ => natural.min((shown_until + shift(last) - from).max(0.0)),
        };
        let end_us = if starts(last) >= to { natural } else { end_us };
        let parts_us = (first..=last)
            .map(|n| {
                let until = if is_joined(n) && n < last { f64::MAX } else { to };
                let taken_over = if n < last && !is_joined(n) { starts(n + 1) } else { f64::MAX };
                let (since, until) = (starts(n).max(from), ends(n).min(until).min(taken_over));
                (n, since, until, origin - shift(n))
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
            main: main.map_or(first, |part| part.0),
            parts_us,
        }
    }
}
