//! Proves a clip before it is stored: what lies on disk is reopened, compared with the plan and decoded.

use std::path::Path;

use crate::cut::edges::reopen;
use crate::cut::movie::Track;
use crate::cut::plan::Plan;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ffmpeg::{Ffmpeg, url};

/// Checks that the clip at `path` holds just the plan's frames at the plan's times, and that every one of them decodes.
///
/// # Errors
/// Unusable, with what differs.
pub async fn check(ffmpeg: &Ffmpeg, path: &Path, plan: &Plan, track: &Track, deadline: Deadline) -> Result<(), Error> {
    let differs = |reason: String| Error::unusable("clip.mp4", reason);
    let clip = tokio::task::block_in_place(|| reopen(path)).map_err(differs)?;
    let table = &clip.video.table;
    let times: Vec<i64> = (0..table.frames.len()).map(|frame| table.frame(frame).pts).collect();
    if times != plan.times || table.end_pts != plan.end || table.timescale != plan.timescale {
        return Err(differs(format!("{} frames, not at the times of the {} planned", times.len(), plan.times.len())));
    }
    if clip.video.entry != track.entry {
        return Err(differs("other parameter sets than were spliced".to_owned()));
    }
    let sums = path.with_extension("framemd5");
    let mut command = ffmpeg.reading(path);
    command.args(["-map", "0:v:0"]).fps_mode("passthrough").format("framemd5").output(url(&sums));
    ffmpeg.run(command, "clip.mp4", deadline).await?;
    let sums = tokio::fs::read_to_string(&sums).await.map_err(|error| differs(error.to_string()))?;
    let decoded = sums.lines().filter(|line| !line.starts_with('#')).count();
    if decoded == plan.times.len() {
        Ok(())
    } else {
        Err(differs(format!("{decoded} of {} frames decode", plan.times.len())))
    }
}
