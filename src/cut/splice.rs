//! Writes a movie out of samples that lie in other files, byte for byte, once and in order.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::cut::movie::{Head, Track};
use crate::error::Error;

/// Where the bytes of a sample lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into the files.
    pub file: usize,
    /// Its first byte there.
    pub offset: u64,
}

/// A track and where the bytes of each of its samples lie.
#[derive(Clone, Debug)]
pub struct Spliced {
    /// What is written of it into `moov`.
    pub track: Track,
    /// Of each sample, in decode order.
    pub places: Vec<Place>,
}

/// Writes the movie of `tracks` to `path`.
///
/// # Errors
/// Passing if the disk is full or a file can't be read; unusable if the tracks don't fit into a movie.
pub fn write(path: &Path, tracks: &[Spliced], files: &[&File]) -> Result<(), Error> {
    let name = path.display().to_string();
    let head = Head::of(&tracks.iter().map(|spliced| spliced.track.clone()).collect::<Vec<_>>());
    let head = head.map_err(|reason| Error::unusable(&name, reason))?;
    let written = || -> std::io::Result<()> {
        let mut movie = File::create(path)?;
        movie.write_all(&head.bytes)?;
        let mut movie = BufWriter::new(movie);
        for run in runs(&head, tracks) {
            let mut from = files[run.place.file];
            from.seek(SeekFrom::Start(run.place.offset))?;
            let copied = std::io::copy(&mut from.take(run.length), &mut movie)?;
            if copied != run.length {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        movie.flush()
    };
    written().map_err(|error| Error::passing(name, error))
}

/// Bytes that lie one behind the other, in the source as in the movie.
struct Run {
    place: Place,
    length: u64,
}

fn runs(head: &Head, tracks: &[Spliced]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for chunk in &head.chunks {
        let Spliced { track, places } = &tracks[chunk.track];
        for (sample, &place) in track.samples[chunk.samples.clone()].iter().zip(&places[chunk.samples.clone()]) {
            let length = u64::from(sample.size);
            match runs.last_mut() {
                Some(last) if last.place.file == place.file && last.place.offset + last.length == place.offset => {
                    last.length += length;
                }
                _ => runs.push(Run { place, length }),
            }
        }
    }
    runs
}
