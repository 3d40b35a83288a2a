//! The pictures of clips across joints, read back by number.

use std::path::Path;
use std::process::Command;

use testkit::decode::numbers;
use testkit::footage::{Footage, X264};

use crate::film::{Clip, Film, frame_us, rate};

/// 65 s in recordings of about 10 s. Returns the footage without its options.
fn footage(options: &str, rate: &'static str) -> Footage {
    Footage { frames: 1950, rate, size: (192, 108), options: format!("{X264} {options}"), ..Footage::default() }
}

/// Returns the frames that a span shows by the contract: an instant before a recording's name maps at most to the joint in
/// front of it, and from the name on into the recording by its own clock.
fn expected(film: &Film, named_us: &[i64], rate: (i64, i64), (from_us, to_us): (i64, i64)) -> Vec<u32> {
    let first_frame = |number: usize| frame_at(film.starts_us[number], rate);
    let place = |at_us: i64| {
        let number = named_us.iter().rposition(|&named_us| named_us <= at_us).unwrap_or(0);
        let own = frame_at(at_us - named_us[number] + film.starts_us[number], rate);
        film.starts_us.get(number + 1).map_or(own, |_| own.min(first_frame(number + 1)))
    };
    (place(from_us)..place(to_us)).map(|frame| u32::try_from(frame).expect("a frame")).collect()
}

/// Returns the first frame that is shown at an instant or later.
fn frame_at(at_us: i64, rate: (i64, i64)) -> i64 {
    let guess = at_us * rate.0 / rate.1 / 1_000_000;
    (guess - 2..guess + 3).find(|&frame| frame_us(frame, rate) >= at_us).expect("a frame")
}

/// Returns when the frames of a clip are shown, in microseconds.
fn times_us(clip: &Path) -> Vec<f64> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries", "frame=pts_time"])
        .arg(clip)
        .output()
        .expect("Debian's ffprobe, which `make install` installs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_end_matches(',').parse::<f64>().expect("a time") * 1e6)
        .collect()
}

/// Cuts spans across every joint of the film under names that are off, and checks the number and the time of each frame.
async fn check(case: &str, footage: &Footage, off: impl Fn(usize, i64) -> i64, joint_us: i64) {
    let film = tokio::task::block_in_place(|| Film::new(case, footage, 10));
    let rate = rate(footage.rate);
    let named_us: Vec<i64> =
        film.starts_us.iter().enumerate().map(|(number, &start_us)| start_us + off(number, start_us)).collect();
    let listed = film.named(&off);
    let last = film.starts_us.len() - 1;
    // across each joint, and over all of them
    let across = (1..=last).map(|number| (film.starts_us[number] - 1_117_003, film.starts_us[number] + 1_303_001));
    for span in across.chain([(1_117_003, film.starts_us[last] + 301_003)]) {
        let clip = Clip::cut(&listed, span, joint_us).await;
        let expected = expected(&film, &named_us, rate, span);
        let (shown, times) =
            tokio::task::block_in_place(|| (numbers(&clip.file(), footage.size), times_us(&clip.file())));
        assert_eq!(shown, expected, "{case}, {span:?}");
        assert_eq!(clip.coverage.gaps, [], "{case}, {span:?}: a joint is no gap");
        for (frame, time) in (0_i32..).zip(&times) {
            #[allow(clippy::cast_precision_loss)] // a minute
            let film_us = f64::from(frame) * rate.1 as f64 * 1e6 / rate.0 as f64;
            // ffmpeg's clock of the film may be coarser than the rate
            assert!((time - film_us).abs() <= 1100.0, "{case}, {span:?}: frame {frame} is shown at {time} µs");
        }
    }
}

/// Numbers from −1 to 1, one after the other.
fn jitter(number: usize) -> f64 {
    [0.0, 1.0, -1.0, 0.4, -0.7, 1.0, -0.3][number % 7]
}

fn by(us: f64) -> impl Fn(usize, i64) -> i64 {
    #[allow(clippy::cast_possible_truncation)] // seconds
    move |number, _| (jitter(number) * us) as i64
}

const TOLERANCE_US: i64 = 1_500_000;
const PLAIN: &str = "-bf 0 -g 60";
const B_FRAMES: &str = "-bf 3 -b_strategy 0 -g 60 -x264-params b-pyramid=normal:ref=4";

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_off_lose_double_and_hold_no_frame() {
    for (case, off_us) in [("exact", 0.0), ("50", 50e3), ("300", 300e3), ("740", 740e3)] {
        check(case, &footage(B_FRAMES, "30"), by(off_us), TOLERANCE_US).await;
    }
    check("900", &footage(PLAIN, "30"), by(900e3), 2_000_000).await;
    check("740-plain", &footage(PLAIN, "30"), by(740e3), TOLERANCE_US).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_whole_seconds_lose_double_and_hold_no_frame() {
    let whole = |_: usize, start_us: i64| start_us / 1_000_000 * 1_000_000 - start_us;
    check("whole", &footage("-bf 0 -g 47 -keyint_min 47", "30"), whole, TOLERANCE_US).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_drifts_loses_doubles_and_holds_no_frame() {
    let drift = |_: usize, start_us: i64| start_us / 10_000; // 100 ppm
    check("drift", &footage(B_FRAMES, "30"), drift, TOLERANCE_US).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_that_are_no_whole_number_of_ticks_keep_their_distances() {
    let ticks = "-bf 0 -g 60 -video_track_timescale 1000";
    check("ntsc", &footage(ticks, "30000/1001"), by(300e3), TOLERANCE_US).await;
    check("ntsc-b", &footage(B_FRAMES, "30000/1001"), by(300e3), TOLERANCE_US).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_is_listed_under_two_names_is_shown_once() {
    let film = tokio::task::block_in_place(|| Film::new("twice", &footage(B_FRAMES, "30"), 10));
    let exact = film.named(|_, _| 0);
    let whole =
        film.named(|number, start_us| (start_us + 700_000) / 1_000_000 * 1_000_000 - start_us - i64::from(number == 2));
    let mut listed: Vec<_> = exact.into_iter().chain(whole).collect();
    listed.sort();
    let joint = film.starts_us[2];
    let clip = Clip::cut(&listed, (joint - 901_003, joint + 1_117_003), TOLERANCE_US).await;
    let shown = tokio::task::block_in_place(|| numbers(&clip.file(), (192, 108)));
    assert!(shown.windows(2).all(|pair| pair[1] == pair[0] + 1), "{shown:?}");
    assert!((59..=62).contains(&shown.len()), "{} frames", shown.len());
}

/// Cuts parts of the film into files that share frames.
fn overlapping(name: &str, footage: &Footage, parts_s: &[(u32, u32)]) -> Vec<std::path::PathBuf> {
    let whole = footage.file();
    let cut = |(from, to): (u32, u32)| {
        let file = testkit::paths::footage_folder().join(format!("{name}-{from}-{to}.mp4"));
        let status = Command::new("ffmpeg")
            .args(["-nostdin", "-y", "-v", "error", "-ss", &from.to_string(), "-to", &to.to_string(), "-i"])
            .arg(&whole)
            .args(["-c", "copy"])
            .arg(&file)
            .status();
        assert!(status.expect("Debian's ffmpeg, which `make install` installs").success());
        file
    };
    parts_s.iter().map(|&part| cut(part)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_in_two_files_are_shown_once() {
    let footage = footage("-bf 0 -g 30", "30");
    let files = tokio::task::block_in_place(|| overlapping("overlapping", &footage, &[(0, 21), (20, 40)]));
    // the second file repeats the last second of the first one; its name is right, too early, or too late
    for off_us in [0, -310_000, 450_000] {
        let listed = |file: &Path, at_us: i64| exact_cut::ListedRecording {
            start: exact_cut::Timestamp::from_us(crate::film::T0 + at_us),
            name: file.display().to_string(),
            end: None,
        };
        let listed = [listed(&files[0], 0), listed(&files[1], 20_000_000 + off_us)];
        let clip = Clip::cut(&listed, (19_000_000, 22_500_000), TOLERANCE_US).await;
        let shown = tokio::task::block_in_place(|| numbers(&clip.file(), footage.size));
        assert_eq!(shown[0], 570, "{off_us}");
        assert!(shown.windows(2).all(|pair| pair[1] == pair[0] + 1), "{off_us}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_still_picture_that_is_encoded_twice_proves_no_overlap() {
    // two recordings of the same picture: every group of pictures has the same bytes
    let still =
        Footage { frames: 300, filters: ",trim=end_frame=1,loop=299:1,setpts=N/30/TB", ..footage("-bf 0 -g 15", "30") };
    let file = tokio::task::block_in_place(|| still.file());
    let copy = file.with_file_name("still-again.mp4");
    std::fs::copy(&file, &copy).expect("copied");
    let listed = |file: &Path, at_us: i64| exact_cut::ListedRecording {
        start: exact_cut::Timestamp::from_us(crate::film::T0 + at_us),
        name: file.display().to_string(),
        end: None,
    };
    let listed = [listed(&file, 0), listed(&copy, 9_000_000)];
    let clip = Clip::cut(&listed, (7_000_000, 12_000_000), TOLERANCE_US).await;
    let shown = tokio::task::block_in_place(|| numbers(&clip.file(), still.size)).len();
    // 3 s of the first up to its end, and 3 s of the second by its own clock: bytes prove nothing
    assert_eq!(shown, 180);
}
