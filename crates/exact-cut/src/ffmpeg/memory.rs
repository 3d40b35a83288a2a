//! How much memory ffmpeg may take, and how much a run of it takes.
//!
//! Several runs of one request go on at the same time if they fit into the memory together, else one after the other. So
//! the memory of a run is estimated before it starts. An estimate is an upper bound for ordinary footage, taken from the
//! resident memory (getrusage(2), November 2026) of runs on 1280 × 720, 1920 × 1080 and 3840 × 2160 pixels:
//!
//! | run | 720p | 1080p | 2160p |
//! |---|--:|--:|--:|
//! | decoding, estimate | 47 MB | 90 MB | 190 MB |
//! | decoding, measured | 26 MB | 48 MB | 172 MB |
//! | encoding an edge, estimate | 65 MB | 130 MB | 350 MB |
//! | encoding an edge, measured | 45 MB | 95 MB | 274 MB |
//! | the same, compared with its source, estimate | 87 MB | 179 MB | 549 MB |
//! | the same, compared with its source, measured | 66 MB | 118 MB | 397 MB |
//! | four PNG thumbnails of up to 3000 pixels, estimate | 87 MB | 130 MB | 230 MB |
//! | four PNG thumbnails of up to 3000 pixels, measured | 67 MB | 83 MB | 137 MB |

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Unit of the semaphore, in bytes.
const UNIT: u64 = 1 << 20;
/// The process itself, with the boxes and packets that it reads.
const PROCESS: u64 = 12 << 20;
/// Bytes of a pixel, 4:2:0 with 8 bits.
const fn picture(pixels: u64) -> u64 {
    pixels.saturating_mul(3) / 2
}
/// Pictures on their way from the decoder to the output.
const PICTURES_IN_FLIGHT: u64 = 9;
/// Pictures that an encoder holds.
const PICTURES_OF_ENCODER: u64 = 13;
/// Pictures that wait to be compared, and that the decoder of the encoded ones holds.
const PICTURES_TO_COMPARE: u64 = 16;
/// The most pictures that a decoder holds, and the most bytes of them (ITU-T H.264, table A-1, level 5.1: 184,320
/// macroblocks of 384 bytes).
const DECODED_PICTURES: u64 = 16;
const DECODED_BYTES: u64 = 184_320 * 384;
/// Bytes of a pixel of a thumbnail: scaled, converted to RGB, compressed.
const THUMBNAIL_PIXEL: u64 = 6;
/// Decoding and encoding audio of any length.
pub const AUDIO: u64 = 32 << 20;

/// Returns the bytes that decoding pictures of `pixels` takes.
#[must_use]
pub fn decoding(pixels: u64) -> u64 {
    let held = picture(pixels).saturating_mul(DECODED_PICTURES).min(DECODED_BYTES);
    PROCESS + held.saturating_add(picture(pixels).saturating_mul(PICTURES_IN_FLIGHT))
}

/// Returns the bytes that decoding pictures of `from` pixels and encoding them with `to` pixels takes.
#[must_use]
pub fn encoding(from: u64, to: u64) -> u64 {
    decoding(from).saturating_add(picture(to).saturating_mul(PICTURES_OF_ENCODER))
}

/// Returns the bytes that comparing pictures of `pixels` takes beyond what it takes to decode their source.
#[must_use]
pub fn comparing(pixels: u64) -> u64 {
    picture(pixels).saturating_mul(PICTURES_TO_COMPARE)
}

/// Returns the bytes that making thumbnails of `to` pixels in all out of a picture of `from` pixels takes.
#[must_use]
pub fn thumbnails(from: u64, to: u64) -> u64 {
    decoding(from).saturating_add(to.saturating_mul(THUMBNAIL_PIXEL))
}

/// The memory that all runs of ffmpeg together may take. Clones share it.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
    free: Arc<Semaphore>,
}

impl Memory {
    /// Returns `bytes` of memory.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Self { bytes, free: Arc::new(Semaphore::new(units)) }
    }

    /// Waits until a run that takes `bytes` fits beside those that go on. One that never fits is tried alone.
    pub async fn reserve(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let units = bytes.min(self.bytes) / UNIT;
        self.free.acquire_many(u32::try_from(units).ok()?).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn runs_that_do_not_fit_together_wait_and_one_that_never_fits_runs_alone() {
        let memory = Memory::new(100 << 20);
        let first = memory.reserve(60 << 20).await.expect("fits");
        let second = memory.reserve(40 << 20).await.expect("fits beside the first");
        let mut third = Box::pin(memory.reserve(1 << 40));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "it needs all of the memory");
        drop(second);
        let _third = third.await.expect("alone");
        assert!(memory.reserve(1 << 20).now_or_never().is_none());
    }

    #[test]
    fn estimates_are_above_what_was_measured() {
        let size = |width: u64, height: u64| width * height;
        let thumbnails_of = 300 * 169 + 640 * 360 + 1500 * 844 + 3000 * 1688;
        for (pixels, decoded, encoded, compared, thumbnail) in [
            (size(1280, 720), 26, 45, 66, 67),
            (size(1920, 1080), 48, 95, 118, 83),
            (size(3840, 2160), 172, 274, 397, 137),
        ] {
            let above = |estimate: u64, measured: u64| {
                assert!(estimate > measured << 20 && estimate < measured << 22, "{pixels}: {estimate}, {measured}");
            };
            above(decoding(pixels), decoded);
            above(encoding(pixels, pixels), encoded);
            above(encoding(pixels, pixels) + comparing(pixels), compared);
            above(thumbnails(pixels, thumbnails_of), thumbnail);
        }
    }
}
