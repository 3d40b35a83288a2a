//! The ways to make a clip, each with a fault that makes the one before fail, and faults of the machine, which never lead down.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use exact_cut::budget::Budget;
use exact_cut::deadline::Deadline;
use exact_cut::error::{Cause, Error};
use exact_cut::ffmpeg::failure::FfmpegError;
use exact_cut::ffmpeg::run::Ffmpeg;
use exact_cut::fragmented::WantedPart;
use exact_cut::open::open_recordings;
use exact_cut::plan::coverage::Coverage;
use exact_cut::plan::segments::{EncodeReason, Method, TrimMode};
use exact_cut::render::clip::{ClipSpec, RenderedClip, render};
use exact_cut::render::context::RenderContext;
use exact_cut::render::thumbnails::{PictureFormat, ThumbnailSpec};
use exact_cut::render::write_file::WriteFile;
use exact_cut::{ListedRecording, Span, Timestamp};
use tempfile::TempDir;
use testkit::footage::Footage;
use testkit::paths::ffmpeg;

use super::cases::plain;
use super::cases_ladder::damaged;
use super::watched_store::WatchedStore;
use super::{Steps, T0, TOLERANCES};

/// What is cut, and with what.
struct Attempt {
    /// Commands of a shell, before the real ffmpeg is run with the same arguments.
    before_ffmpeg: &'static str,
    file: PathBuf,
    span: (i64, i64),
    deadline: Deadline,
    reads_fail: bool,
}

impl Attempt {
    fn of(file: PathBuf, before_ffmpeg: &'static str) -> Self {
        Self { before_ffmpeg, file, span: (1117, 3900), deadline: Deadline::unknown(), reads_fail: false }
    }

    /// Renders the clip. Returns it, and why other ways failed before.
    async fn render(&self) -> (Result<RenderedClip, Error>, Vec<String>) {
        let folder = TempDir::new().expect("a folder");
        let script = folder.path().join("ffmpeg");
        let text = format!("#!/bin/sh\n{}\nexec {} \"$@\"\n", self.before_ffmpeg, ffmpeg().display());
        std::fs::write(&script, text).expect("written");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("made executable");
        let at = |ms: i64| Timestamp::from_ms(T0 + ms).expect("in range");
        let span = Span::new(at(self.span.0), at(self.span.1)).expect("in order");
        let listed = ListedRecording { start: at(0), name: self.file.display().to_string(), end: None };
        // all but the sample tables
        let fails = self.reads_fail;
        let store = WatchedStore::new(move |_| !fails);
        let wanted = WantedPart { span, joint_us: TOLERANCES.joint_us, folder: folder.path() };
        let recordings = open_recordings(&store, vec![listed], wanted, Deadline::unknown()).await.expect("readable");
        let coverage = Coverage::of(span, &recordings.footage(), TOLERANCES);
        let (ffmpeg, steps) = (Ffmpeg::new(script, None), Steps::default());
        let (deadline, budget) = (self.deadline, Budget::default());
        let cx = RenderContext { ffmpeg: &ffmpeg, folder: folder.path(), deadline, budget, observer: &steps };
        let thumbnails = ThumbnailSpec { widths: &[64], format: PictureFormat::Png };
        let (tolerances, trim_mode) = (TOLERANCES, TrimMode::Smart);
        let spec = ClipSpec { span, coverage: &coverage, tolerances, trim_mode, thumbnails };
        let executor = WriteFile { path: folder.path().join("clip.mp4") };
        let rendered = render(cx, spec, recordings.opened, &executor).await;
        (rendered, steps.0.into_inner().expect("no panic in between"))
    }
}

fn reasons(clip: &RenderedClip) -> Vec<Option<EncodeReason>> {
    let reason = |method: &Method| match method {
        Method::Copy { .. } => None,
        Method::Encode { reason, .. } => Some(*reason),
    };
    clip.plan.segments.iter().map(|segment| reason(&segment.method)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_whose_edges_cannot_be_encoded_beside_copies_is_encoded() {
    // only edges get an id that copied pictures do not have
    let refuses_edges = "case \"$*\" in *sps-id*) echo refused >&2; exit 1;; esac";
    let (clip, steps) = Attempt::of(plain().file(), refuses_edges).render().await;
    assert_eq!(reasons(&clip.expect("a clip")), [Some(EncodeReason::SpliceFailed)]);
    assert!(steps.len() == 1 && steps[0].contains("refused"), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_that_is_not_verified_is_encoded_as_a_whole() {
    // one picture of the clip is decoded differently
    let lies = format!(
        "case \"$*\" in *verify-clip*) {} \"$@\"; for last; do :; done; last=${{last#file:}}; \
         sed -i '$s/[0-9a-f]*$/0/' \"$last\"; exit 0;; esac",
        ffmpeg().display()
    );
    let (clip, steps) = Attempt::of(plain().file(), lies.leak()).render().await;
    assert_eq!(reasons(&clip.expect("a clip")), [Some(EncodeReason::SpliceFailed)]);
    assert!(steps.len() == 1 && steps[0].contains("copied pictures: expected those"), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_thumbnails_show_another_frame_if_theirs_cannot_be_decoded() {
    // a quarter of the clip: a picture amid those that are copied, where no joint is near
    let file = damaged("picture-75-damaged", 75..76);
    let (clip, steps) = Attempt { span: (2000, 4000), ..Attempt::of(file, "") }.render().await;
    let clip = clip.expect("a clip");
    assert_eq!((reasons(&clip), clip.plan.poster(), clip.thumbnails.len()), (vec![None], 15, 1));
    assert!(steps.len() == 1 && steps[0].contains("thumbnail"), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_without_any_picture_is_the_one_that_the_error_names() {
    let file = damaged("all-damaged", 0..150);
    let (clip, _) = Attempt::of(file.clone(), "").render().await;
    let error = clip.expect_err("nothing to show");
    assert!(error.cause.is_footage() && error.object == file.display().to_string(), "{error}");
}

type IsIt = fn(&Cause) -> bool;

#[tokio::test(flavor = "multi_thread")]
async fn memory_time_a_crash_the_tool_and_the_source_never_lead_down() {
    let file = plain().file();
    let faults: [(&str, &'static str, IsIt); 6] = [
        ("memory", "echo Cannot allocate memory >&2; exit 1", |cause| {
            matches!(cause, Cause::Ffmpeg(FfmpegError::Memory { .. }))
        }),
        ("a crash", "kill -SEGV $$", |cause| matches!(cause, Cause::Ffmpeg(FfmpegError::Killed { .. }))),
        ("a missing library", "exit 127", |cause| matches!(cause, Cause::Ffmpeg(FfmpegError::CannotRun { .. }))),
        ("a missing filter", "echo No such filter: psnr >&2; exit 8", |cause| {
            matches!(cause, Cause::Ffmpeg(FfmpegError::Tool { .. }))
        }),
        ("a full disk", "echo No space left on device >&2; exit 228", |cause| {
            matches!(cause, Cause::Ffmpeg(FfmpegError::Tool { .. }))
        }),
        (
            "memory at the encoder",
            "case \"$*\" in *libx264*) echo malloc of size 1 failed >&2; exit 1;; esac",
            |cause| matches!(cause, Cause::Ffmpeg(FfmpegError::Memory { .. })),
        ),
    ];
    for (fault, commands, is_it) in faults {
        let (clip, steps) = Attempt::of(file.clone(), commands).render().await;
        let error = clip.expect_err(fault);
        assert!(is_it(&error.cause) && !error.cause.is_footage() && steps.is_empty(), "{fault}: {error}; {steps:?}");
    }
    let deadline = Deadline::after(Duration::from_millis(300));
    let late = Attempt { deadline, ..Attempt::of(file.clone(), "exec tail -f /dev/null") };
    let (clip, steps) = late.render().await;
    let error = clip.expect_err("time");
    // on a busy machine, the time is known to be too short before ffmpeg is started
    let is_time = match &error.cause {
        Cause::Budget(exceeded) => !exceeded.is_lasting,
        cause => matches!(cause, Cause::Ffmpeg(FfmpegError::TimedOut(_))),
    };
    assert!(is_time && steps.is_empty(), "{error}; {steps:?}");
    let (clip, steps) = Attempt { reads_fail: true, ..Attempt::of(file, "") }.render().await;
    let error = clip.expect_err("the source");
    assert!(matches!(error.cause, Cause::Source { .. }) && steps.is_empty(), "{error}; {steps:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_too_small_never_leads_down() {
    // the samples claim more bytes than any disk has, in a file that is mostly a hole
    let large = Footage { frames: 36, ..plain() }.file();
    let file = super::boxes::reboxed(&large, "larger-than-the-disk", |boxes| {
        let stsz = boxes.table(0, "stsz");
        let mut words = stsz.words();
        words[2..].fill(u32::MAX);
        stsz.set_words(&words);
    });
    File::options().write(true).open(&file).and_then(|file| file.set_len(1 << 38)).expect("a sparse file");
    let (clip, steps) = Attempt { span: (0, 1200), ..Attempt::of(file.clone(), "") }.render().await;
    std::fs::remove_file(&file).expect("removed");
    let error = clip.expect_err("the disk");
    let is_lasting = matches!(&error.cause, Cause::Budget(exceeded) if exceeded.is_lasting);
    assert!(is_lasting && steps.is_empty(), "{error}; {steps:?}");
}
