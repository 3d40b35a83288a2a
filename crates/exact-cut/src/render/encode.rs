//! Encodes the frames of a segment: an excerpt goes into ffmpeg, and a file with exactly the selected frames comes out.
//!
//! ffmpeg selects frames by number, never by time, because in an excerpt the time of a frame is its rank. The file that
//! comes out is opened like a recording, and its frames are counted: an exit code of 0 proves nothing. Then they are
//! compared with their source. How good they are, and how large: see [`crate::render::quality`].
//!
//! Edges are encoded with preset `ultrafast`: 51 ms in place of 144 ms for the 15 frames of the demo's clip, for 45 % more
//! bytes (two cores).

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Cause, Error, FootageError};
use crate::fetch::FetchedRecording;
use crate::ffmpeg::command::{DECODER_THREADS, Pictures, file_url, hashing, reading_pictures};
use crate::ffmpeg::memory::{comparing, decoding, encoding};
use crate::h264::parameter_sets::ParameterSets;
use crate::h264::quantizer::median_quantizer;
use crate::mp4::sample_entry::SampleEntry;
use crate::mp4::sample_table::SampleTable;
use crate::mp4::shape::{PictureShape, filter_before_decoding};
use crate::mux::track::SampleLocation;
use crate::plan::random_access::RandomAccessPoints;
use crate::render::context::RenderContext;
use crate::render::encoder_options::{EncoderOptions, GROUP};
use crate::render::excerpt::{ANY_RATE, Excerpt, LocalVideo, SampleRun, excerpt_ranks, write_excerpt, write_runs};
use crate::render::likeness::{
    Comparison, Distances, Likeness, PROVEN_OF_GROUP, Pair, RankedFile, With, compare, proven,
};
use crate::render::quality::{EDGE_QUANTIZERS, Quality, RateControl, WRONG_DB, WholeEncoding, finer};
use crate::render::write_file::PieceFiles;

/// Times that a segment is encoded at most: an edge finer each time, another one coarser.
const MAX_TRIES: usize = 4;
/// A segment of up to so many frames is short: it is compared with its source as a whole.
pub const PROVEN_WHOLE: usize = 2 * GROUP;

/// Frames to encode.
#[derive(Clone, Copy)]
pub struct Encoding<'a> {
    /// Tools and limits.
    pub cx: RenderContext<'a>,
    /// The recording that shows the frames.
    pub recording: &'a FetchedRecording,
    /// Where decoding of it may begin.
    pub random_access: &'a RandomAccessPoints,
    /// The frames, and the samples that they are decoded from.
    pub excerpt: &'a Excerpt,
    /// The bytes of the recordings.
    pub files: &'a PieceFiles,
    /// What the pictures must look like.
    pub options: EncoderOptions<'a>,
    /// Folder for work files.
    pub folder: &'a Path,
}

impl Encoding<'_> {
    /// Encodes the frames as an edge, or as `whole`.
    ///
    /// # Errors
    /// [`FootageError::EncodedFrames`] if ffmpeg did not write exactly the wanted frames, [`FootageError::Verification`] if
    /// they are not those of the recording, or the error of ffmpeg or the disk.
    pub async fn encode(self, whole: Option<WholeEncoding>) -> Result<LocalVideo, Error> {
        let input = self.folder.join("excerpt.mp4");
        let ranks = write_excerpt(self.recording, self.excerpt, self.files, self.options.rate, &input).await?;
        let encoded = match self.encode_either(whole, &ranks).await {
            Err(error) if is_wrong(&error) && self.cx.ffmpeg.zero_memory() => self.encode_either(whole, &ranks).await?,
            encoded => encoded?,
        };
        std::fs::remove_file(&input).map_err(|error| Error::new(input.display().to_string(), error))?;
        Ok(encoded)
    }

    async fn encode_either(self, whole: Option<WholeEncoding>, ranks: &Range<usize>) -> Result<LocalVideo, Error> {
        match whole {
            Some(whole) => self.encode_within(whole, ranks).await,
            None => self.encode_edge(ranks).await,
        }
    }

    fn input(&self) -> PathBuf {
        self.folder.join("excerpt.mp4")
    }

    fn output(&self) -> PathBuf {
        self.folder.join("encoded.mp4")
    }

    /// Encodes the frames: coarser until their bits are within the cap, or finer if they are not good and there is room.
    async fn encode_within(&self, whole: WholeEncoding, ranks: &Range<usize>) -> Result<LocalVideo, Error> {
        let (table, frames) = (&self.recording.open.video.table, &self.excerpt.frames);
        let us = [table.shown_at(frames.start), table.frame_end(frames.end - 1)].map(|pts| table.us_after_start(pts));
        let us = u64::try_from(us[1] - us[0]).unwrap_or_default();
        let (mut rate_control, mut was_too_large) = (whole.first(), false);
        for tries in 1.. {
            let encoded = self.run(ranks, rate_control, None).await?;
            let bits = encoded.video.table.samples.iter().map(|sample| u64::from(sample.size) * 8).sum();
            let next = whole.coarser(rate_control, bits, us).filter(|_| tries < MAX_TRIES);
            was_too_large |= next.is_some();
            let next = if next.is_some() {
                next
            } else {
                let quality = self.prove(&encoded, ranks).await?;
                let may_be_finer = !was_too_large && tries < MAX_TRIES;
                whole.finer(rate_control, quality, bits, us).filter(|_| may_be_finer)
            };
            match next {
                Some(next) => rate_control = next,
                None => return Ok(encoded),
            }
        }
        unreachable!("the last try returns")
    }

    /// Encodes an edge at the quantizer of the camera, and finer until each frame is good.
    async fn encode_edge(self, ranks: &Range<usize>) -> Result<LocalVideo, Error> {
        let mut quantizer = self.source_quantizer()?.clamp(*EDGE_QUANTIZERS.start(), *EDGE_QUANTIZERS.end());
        for tries in 1.. {
            let (encoded, all) = self.run_and_compare(ranks, RateControl::Edge { quantizer }).await?;
            match finer(quantizer, Quality::worst(&all)).filter(|_| tries < MAX_TRIES) {
                Some(next) => quantizer = next,
                None => return Ok(encoded),
            }
        }
        unreachable!("the last try returns")
    }

    /// Encodes the frames once and compares each with its source: in the same run, or in another one if ffmpeg is too old or
    /// the memory too small.
    async fn run_and_compare(
        &self,
        ranks: &Range<usize>,
        rate_control: RateControl,
    ) -> Result<(LocalVideo, Vec<Likeness>), Error> {
        let comparison = Comparison::new(&self.output(), self.excerpt.frames.len(), With::Source);
        let fits = self.cx.ffmpeg.memory_limit().is_none_or(|limit| self.memory(true) <= limit);
        if fits && !self.cx.ffmpeg.lacks_loopback() {
            match self.run(ranks, rate_control, Some(&comparison)).await {
                Err(_) if self.cx.ffmpeg.lacks_loopback() => {}
                encoded => return Ok((encoded?, self.compare_all(ranks, Some(comparison.read().await?)).await?)),
            }
        }
        let encoded = self.run(ranks, rate_control, None).await?;
        Ok((encoded, self.compare_all(ranks, None).await?))
    }

    /// Returns the usual quantizer of the samples, or the coarsest one of edges if it is not known.
    fn source_quantizer(&self) -> Result<u8, Error> {
        let Ok(sets) = ParameterSets::read(self.entry().avcc()) else {
            return Ok(*EDGE_QUANTIZERS.end());
        };
        let samples = self.excerpt.decode.clone().map(|sample| self.recording.sample(sample));
        let samples = samples.collect::<Result<Vec<_>, _>>()?;
        Ok(median_quantizer(&sets, samples.iter().map(Vec::as_slice)).unwrap_or(*EDGE_QUANTIZERS.end()))
    }

    /// Returns how alike each frame is to its source, of a segment that is compared as a whole. The run that encoded it may
    /// have `found` some of it.
    async fn compare_all(&self, ranks: &Range<usize>, found: Option<Distances>) -> Result<Vec<Likeness>, Error> {
        let (input, output, rate) = (self.input(), self.output(), self.options.rate);
        let source = RankedFile {
            pictures: self.pictures(&input),
            ranks: (ranks.start, ranks.end),
            rate,
            pixels: self.source_pixels(),
        };
        let frames = self.excerpt.frames.len();
        let encoded = RankedFile {
            pictures: Pictures { path: &output, filter: None },
            ranks: (0, frames),
            rate,
            pixels: self.options.shape.pixels(),
        };
        self.compared(source, encoded, frames, found).await
    }

    async fn compared(
        &self,
        source: RankedFile<'_>,
        encoded: RankedFile<'_>,
        frames: usize,
        found: Option<Distances>,
    ) -> Result<Vec<Likeness>, Error> {
        let (video, entry) = (&self.recording.open.video, self.entry());
        let filters =
            self.options.filters(video, entry).map_err(|error| Error::footage(self.recording.name(), error))?;
        let filters = (EncoderOptions::deinterlacing(entry), filters.as_str());
        self.right(compare(self.cx, Pair { source, encoded, filters, frames }, found).await?)
    }

    /// Returns how alike frames are to their source, unless one of them is not the right one.
    fn right(&self, all: Vec<Likeness>) -> Result<Vec<Likeness>, Error> {
        let worst = Quality::worst(&all).decibels;
        if worst < WRONG_DB {
            let reason =
                format!("encoded frames: expected at least {WRONG_DB:.1} dB from their source, got {worst:.1} dB");
            return Err(Error::footage(self.recording.name(), FootageError::Verification(reason)));
        }
        Ok(all)
    }

    /// Returns a file with samples of the recording.
    fn pictures<'a>(&self, path: &'a Path) -> Pictures<'a> {
        Pictures { path, filter: filter_before_decoding(self.entry()) }
    }

    /// Returns how many frames take no longer to compare than [`PROVEN_WHOLE`] frames of 1280 × 720 pixels.
    fn comparable(&self) -> usize {
        let pixels = self.source_pixels().max(1);
        usize::try_from(1280 * 720 * PROVEN_WHOLE as u64 / pixels).unwrap_or(usize::MAX)
    }

    fn source_pixels(&self) -> u64 {
        let video = &self.recording.open.video;
        PictureShape::of(video, &video.entry).map_or(0, PictureShape::pixels)
    }

    /// Compares frames of a segment with their source: all of a short one or of small pictures, some groups of another. Returns
    /// the quality of the worst frame of a short one, and the average of a long one, which nobody would wait for to be encoded
    /// again for one frame.
    async fn prove(&self, encoded: &LocalVideo, ranks: &Range<usize>) -> Result<Quality, Error> {
        let table = &encoded.video.table;
        let mut starts: Vec<usize> = (0..table.samples.len()).filter(|&sample| table.samples[sample].sync).collect();
        starts.push(table.samples.len());
        // x264 closes its groups: the samples of one are its frames
        let groups: Vec<Range<usize>> = starts.windows(2).map(|pair| pair[0]..pair[1]).collect();
        let frames = self.excerpt.frames.len();
        let windows = proven(&groups, PROVEN_WHOLE.max(self.comparable()));
        if windows.len() == 1 && windows[0].len() == frames {
            let all = self.compare_all(ranks, None).await?;
            return Ok(if frames <= PROVEN_WHOLE { Quality::worst(&all) } else { Quality::average(&all) });
        }
        let (source, part) = (self.folder.join("proof-source.mp4"), self.folder.join("proof.mp4"));
        let mut files = self.files.clone();
        let piece = files.add(Arc::clone(&encoded.file));
        let mut all = Vec::new();
        for group in windows {
            let (first, count) = (self.excerpt.frames.start + group.start, group.len().min(PROVEN_OF_GROUP));
            let frames = first..first + count;
            let recorded = &self.recording.open.video.table;
            let decode = self.random_access.decode_window(recorded, frames.clone());
            // samples before those of the segment were not fetched
            let decode = decode.start.max(self.excerpt.decode.start)..decode.end;
            let excerpt = Excerpt { frames, decode };
            let ranks = write_excerpt(self.recording, &excerpt, self.files, ANY_RATE, &source).await?;
            // all of the group, because its pictures are shown in another order than they are decoded
            let locations = table.samples[group.clone()].iter();
            let locations = locations.map(|sample| SampleLocation { source: piece, offset: sample.offset }).collect();
            let run = SampleRun::new(&encoded.video, group, locations);
            write_runs(&[run], &files, ANY_RATE, &part).await?;
            let pixels = self.source_pixels();
            let original = RankedFile {
                pictures: self.pictures(&source),
                ranks: (ranks.start, ranks.end),
                rate: ANY_RATE,
                pixels,
            };
            let shown = RankedFile {
                pictures: Pictures { path: &part, filter: None },
                ranks: (0, count),
                rate: ANY_RATE,
                pixels: self.options.shape.pixels(),
            };
            all.extend(self.compared(original, shown, count, None).await?);
            for file in [&source, &part] {
                std::fs::remove_file(file).map_err(|error| Error::new(file.display().to_string(), error))?;
            }
        }
        Ok(Quality::average(&all))
    }

    /// Returns the sample entry of the frames.
    fn entry(&self) -> &SampleEntry {
        self.recording.open.video.entry_of(self.excerpt.decode.start)
    }

    /// Returns the bytes of memory that a run takes.
    fn memory(&self, compares: bool) -> u64 {
        let to = self.options.shape;
        let from = PictureShape::of(&self.recording.open.video, self.entry()).unwrap_or(to).pixels();
        encoding(from, to.pixels()) + if compares { comparing(to.pixels()) } else { 0 }
    }

    /// Encodes the frames once, and counts what comes out. With a `comparison`, each encoded frame is decoded and compared with
    /// its source at the same time.
    async fn run(
        &self,
        ranks: &Range<usize>,
        rate_control: RateControl,
        comparison: Option<&Comparison>,
    ) -> Result<LocalVideo, Error> {
        let Self { cx, recording, excerpt, options, .. } = *self;
        let (input, output) = (self.input(), self.output());
        let footage = |error| Error::footage(recording.name(), error);
        let (video, entry) = (&recording.open.video, self.entry());
        let takes = self.memory(comparison.is_some());
        let graph = format!(
            "[0:v:0]{}settb=1/{},trim=start_pts={}:end_pts={},setpts=N{}{}",
            EncoderOptions::deinterlacing(entry),
            options.rate,
            ranks.start,
            ranks.end,
            options.filters(video, entry).map_err(footage)?,
            if comparison.is_some() { ",split[frames][original]" } else { "[frames]" },
        );
        let pictures = self.pictures(&input);
        let mut command = reading_pictures(cx.ffmpeg, pictures);
        command
            .filter_complex(graph)
            .args(["-map", "[frames]"])
            .fps_mode("passthrough")
            .args(["-enc_time_base", &format!("1:{}", options.rate)])
            .args(["-video_track_timescale", &options.rate.to_string()])
            .args(options.arguments(rate_control))
            .args(["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-f", "mp4"])
            .output(file_url(&output));
        if let Some(comparison) = comparison {
            let graph = format!(
                "[original]settb=1/30,setpts=N[source];[dec:0]settb=1/30,setpts=N[encoded];{}",
                comparison.graph()
            );
            command.args(["-threads", DECODER_THREADS, "-dec", "0:0"]).filter_complex(graph).args(comparison.output());
        }
        let undecodable = async || undecodable(cx, recording, excerpt, pictures).await;
        match cx.run_ffmpeg(command, takes, recording.name()).await {
            Err(error) if comparison.is_some() && cx.ffmpeg.lacks_loopback() => return Err(error),
            Err(error) if error.cause.is_footage() => return Err(undecodable().await?.unwrap_or(error)),
            result => result?,
        }
        let expected = excerpt.frames.len();
        let encoded = match LocalVideo::open(&output) {
            Err(cause) if cause.is_footage() => None, // without a frame, ffmpeg writes no track
            opened => Some(opened.map_err(|cause| Error::new(recording.name(), cause))?),
        };
        match encoded {
            Some(encoded) if is_whole(&encoded.video.table, expected) => Ok(encoded),
            incomplete => {
                let written = incomplete.map_or(0, |encoded| encoded.video.table.frames.len());
                let error = Error::footage(recording.name(), FootageError::EncodedFrames { written, expected });
                Err(undecodable().await?.unwrap_or(error))
            }
        }
    }
}

/// Returns whether encoded frames were not those of their source.
const fn is_wrong(error: &Error) -> bool {
    matches!(error.cause, Cause::Footage(FootageError::Verification(_)))
}

/// Returns whether all `expected` frames are there, a tick apart.
fn is_whole(table: &SampleTable, expected: usize) -> bool {
    let evenly =
        (0..).zip(0..table.frames.len()).all(|(tick, frame)| table.frame(frame).pts == table.first_pts() + tick);
    table.frames.len() == expected && table.samples.len() == expected && evenly
}

/// Returns an error that names the wanted frames of which the decoder shows nothing, or `None` if it shows all of them.
async fn undecodable(
    cx: RenderContext<'_>,
    recording: &FetchedRecording,
    excerpt: &Excerpt,
    input: Pictures<'_>,
) -> Result<Option<Error>, Error> {
    let list = input.path.with_extension("framehash");
    let command = hashing(cx.ffmpeg, input, &list);
    let takes =
        decoding(PictureShape::of(&recording.open.video, &recording.open.video.entry).map_or(0, PictureShape::pixels));
    match cx.run_ffmpeg(command, takes, recording.name()).await {
        Err(error) if !error.cause.is_footage() => return Err(error),
        _ => {} // what was decoded before the failure is in the list
    }
    let text = std::fs::read_to_string(&list).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let shown: BTreeSet<usize> = lines.filter_map(|line| line.split(',').nth(2)?.trim().parse().ok()).collect();
    let table = &recording.open.video.table;
    let ranks = excerpt_ranks(recording, excerpt)?;
    let is_shown = |&sample: &u32| shown.contains(&ranks[sample as usize - excerpt.decode.start]);
    let missing: Vec<u32> =
        table.frames[excerpt.frames.clone()].iter().copied().filter(|sample| !is_shown(sample)).collect();
    Ok((!missing.is_empty()).then(|| Error::footage(recording.name(), FootageError::Undecodable(missing))))
}
