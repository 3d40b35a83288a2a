//! The audio of clips across joints, compared with that of the film.

use testkit::decode::decoded;
use testkit::footage::{Footage, X264};

use crate::film::{Clip, Film};

/// A tone that rises all the time: each instant sounds like no other.
const SWEEP: &str = "aevalsrc='0.5*sin(2*PI*(200*t+15*t*t))':s=48000:d=65";
const RATE: usize = 48_000;
/// Of so many samples, one is compared.
const STEP: usize = 29;

fn pcm(file: &std::path::Path) -> Vec<f64> {
    let bytes = decoded(file, &["-map", "0:a:0", "-ac", "1", "-ar", "48000", "-c:a", "pcm_s16le", "-f", "s16le"]);
    bytes.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]]))).collect()
}

/// Returns the place in `film` that sounds most like `clip`, near `guess`, and how loud the difference is, as a part of the
/// loudness.
fn best_match(film: &[f64], clip: &[f64], guess: usize) -> (usize, f64) {
    let difference = |place: usize| -> f64 {
        let pairs = clip.iter().zip(&film[place..]);
        pairs.step_by(STEP).map(|(a, b)| (a - b).powi(2)).sum::<f64>()
    };
    let place = (guess.saturating_sub(2048)..guess + 2048).min_by(|&a, &b| difference(a).total_cmp(&difference(b)));
    let place = place.expect("a place");
    (place, (difference(place) / loudness(clip)).sqrt())
}

fn loudness(samples: &[f64]) -> f64 {
    samples.iter().step_by(STEP).map(|sample| sample.powi(2)).sum::<f64>().max(1.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audio_goes_on_across_joints_without_a_gap_or_a_click() {
    // copied audio is that of the film; encoded audio is as near as its bit rate lets it be
    for (case, options, off_us, most) in [
        ("early-and-late", "-bf 0 -g 60", [0, -300_000, 740_000, 0, -740_000, 350_000, 0], 0.01),
        ("b-frames", "-bf 3 -b_strategy 0 -g 60", [0, 300_000, -740_000, 11_000, 0, -350_000, 0], 0.01),
        ("encoded", "-bf 0 -g 60 -c:a libmp3lame -b:a 192k", [0, -300_000, 740_000, 0, -740_000, 350_000, 0], 0.08),
    ] {
        let footage = Footage {
            frames: 1950,
            size: (192, 108),
            audio: Some(SWEEP),
            options: format!("{X264} {options}"),
            ..Footage::default()
        };
        let film = tokio::task::block_in_place(|| Film::new(&format!("sound-{case}"), &footage, 10));
        let listed = film.named(|number, _| off_us[number]);
        let whole = tokio::task::block_in_place(|| pcm(&film.whole));
        for number in 1..film.starts_us.len() {
            let joint = film.starts_us[number];
            let clip = Clip::cut(&listed, (joint - 1_117_003, joint + 1_303_001), 1_500_000).await;
            let heard = tokio::task::block_in_place(|| pcm(&clip.file()));
            // the first AAC frame only fills the decoder's window
            let heard = &heard[1024..heard.len().min(2 * RATE)];
            // the span begins by the clock of the recording before the joint
            let from_us = usize::try_from(joint - 1_117_003 - off_us[number - 1]).expect("positive");
            let guess = from_us * RATE / 1_000_000 + 1024;
            // one channel as two is as loud in another way
            let louder = (loudness(&whole[guess..guess + heard.len()]) / loudness(heard)).sqrt();
            let heard: Vec<f64> = heard.iter().map(|sample| sample * louder).collect();
            let (_, difference) = best_match(&whole, &heard, guess);
            assert!(difference < most, "{case}: at joint {number} the audio differs from the film's by {difference}");
        }
    }
}
