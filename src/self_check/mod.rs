//! The self-check: tries each thing that the function needs, and answers with a table (docs/contract.md, "Self-check"). It
//! announces nothing.

mod buckets;
mod services;
mod verdict;

use std::time::Duration;

use exact_cut::deadline::Deadline;

use crate::contract::self_check_table::{Check, Table};
use crate::invocation_time::InvocationTime;
use crate::pipeline::Pipeline;
use crate::self_check::verdict::{Verdict, timed};
use crate::start_check::{configured_size, try_ffmpeg};
use crate::telemetry::log;

/// Bytes that are written to the scratch disk and read back.
const TRIAL_BYTES: usize = 1 << 20;

/// What a self-check works with.
#[derive(Clone, Copy)]
struct SelfCheck<'a> {
    pipeline: &'a Pipeline,
    deadline: Deadline,
    /// Time of an invocation, if it is known.
    timeout: Option<Duration>,
}

/// Tries everything at once, and logs what fails.
pub async fn run(pipeline: &Pipeline, time: InvocationTime) -> Table {
    let check = SelfCheck { pipeline, deadline: time.work, timeout: time.function_timeout() };
    let (own, recordings, clips, services) =
        tokio::join!(check.own(), check.recordings_bucket(), check.clips_bucket(), check.services());
    let checks = [own, recordings, clips, services, SelfCheck::untried()].into_iter().flatten().collect();
    let table = Table { checks };
    log::report_self_check(&table);
    table
}

impl SelfCheck<'_> {
    /// Tries what the function itself has.
    async fn own(self) -> Vec<Check> {
        let settings = self.pipeline.settings();
        let ffmpeg = timed("ffmpeg", async {
            try_ffmpeg(&settings.ffmpeg_path, &settings.download_dest).await.map_or(Verdict::works(), Verdict::fails)
        });
        let (ffmpeg, files) = tokio::join!(ffmpeg, timed("work files", self.work_files()));
        let size = timed("size", async {
            let size = configured_size(settings, self.timeout);
            match size.shortfalls(settings.limits.video_max_len_s).join("; ") {
                enough if enough.is_empty() => Verdict::works(),
                // clips that are mostly copied need far less
                missing => Verdict::unknown(missing),
            }
        });
        vec![ffmpeg, files, size.await]
    }

    async fn work_files(self) -> Verdict {
        let result = async {
            let folder = self.pipeline.scratch.request_folder()?;
            let (file, bytes) = (folder.path().join("trial"), vec![0x5A; TRIAL_BYTES]);
            let written_and_read = async {
                tokio::fs::write(&file, &bytes).await?;
                tokio::fs::read(&file).await
            };
            let read = written_and_read.await.map_err(|error| crate::error::Error::transient("trial", error))?;
            Ok::<_, crate::error::Error>(read == bytes)
        };
        match result.await {
            Ok(true) => Verdict::works(),
            Ok(false) => Verdict::fails("CLIP_DOWNLOAD_DEST: a file was not read as it was written"),
            Err(error) => Verdict::fails(format_args!("CLIP_DOWNLOAD_DEST: {error}")),
        }
    }

    /// Names what cannot be tried without consequences.
    fn untried() -> Vec<Check> {
        [
            ("right to publish", "sns:Publish cannot be told without publishing"),
            (
                "right to send messages",
                "sqs:SendMessage and sqs:ChangeMessageVisibility cannot be told without a message",
            ),
            ("metadata", "whether the camera API takes the metadata of a clip cannot be told without announcing one"),
        ]
        .map(|(thing, missing)| Verdict::unknown(missing).of(thing, Duration::ZERO))
        .to_vec()
    }
}
