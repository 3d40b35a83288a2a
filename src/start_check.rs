//! Checks before the first request whether the function can serve at all. A start that can never serve fails with one line
//! that names everything wrong, instead of failing at every request.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use exact_cut::deadline::Deadline;
use exact_cut::ffmpeg::run::Ffmpeg;
use exact_cut::ffmpeg::trial::try_out;
use exact_cut::scratch::{Scratch, disk_size};
use tracing::warn;

use crate::mismatch::{mismatch, shown};
use crate::settings::{BadEnvironment, SCRATCH_PREFIX, Settings};
use crate::sizing::Size;

/// Our own ffmpeg takes 14 ms. Debian's takes 290 ms alone to start if it must be read from the disk.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Tries the ffmpeg that `settings` name, also if they are wrong otherwise, so that one line can tell everything. Returns why
/// it cannot be used, or `None` if it can or none is named.
pub fn try_tool(settings: &Result<Settings, BadEnvironment>) -> impl Future<Output = Option<String>> + Send + use<> {
    let tool = match settings {
        Ok(settings) => Some((settings.ffmpeg_path.clone(), settings.launcher(), settings.download_dest.clone())),
        Err(BadEnvironment { ffmpeg_path, download_dest, .. }) => {
            let folder = download_dest.clone().unwrap_or_else(std::env::temp_dir); // the setting itself is refused
            ffmpeg_path.clone().map(|path| (path, None, folder))
        }
    };
    async {
        let (path, launcher, folder) = tool?;
        try_ffmpeg(&path, launcher, &folder).await
    }
}

/// Returns the settings if the function can serve with them in `region` and `tool` says nothing against its ffmpeg, and logs
/// what looks wrong.
///
/// # Errors
/// [`BadEnvironment`] names everything that is missing or invalid.
pub fn check_start(
    settings: Result<Settings, BadEnvironment>,
    region: Option<&str>,
    tool: Option<String>,
) -> Result<Settings, BadEnvironment> {
    // the SDK takes the variable as it is
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let no_region = region.is_none_or(|region| !is_name(region));
    let no_region =
        no_region.then(|| mismatch("AWS_REGION", "a region such as us-west-1", shown(region.unwrap_or_default())));
    let more: Vec<String> = no_region.into_iter().chain(tool).collect();
    match settings {
        Ok(settings) if more.is_empty() => {
            let regions = region.map(|region| settings.region_warnings(region)).unwrap_or_default();
            let size = configured_size(&settings, None).shortfalls(settings.limits.video_max_len_s);
            for warning in settings.warnings.iter().chain(&regions).chain(&size) {
                warn!("{warning}");
            }
            Ok(settings)
        }
        Ok(_) => Err(BadEnvironment { refusals: more, ffmpeg_path: None, download_dest: None }),
        Err(mut bad) => {
            bad.refusals.extend(more);
            Err(bad)
        }
    }
}

/// Returns what the function is configured to have. Only an invocation knows its `timeout`.
#[must_use]
pub fn configured_size(settings: &Settings, timeout: Option<Duration>) -> Size {
    // elsewhere than on Lambda, nothing is configured
    let disk = settings.memory.and_then(|_| disk_size(&settings.download_dest).ok());
    Size { memory: settings.memory, disk, timeout }
}

/// Returns why the ffmpeg at `path` cannot be used, or `None` if it can. The trial has no limit of memory: with all encoders
/// in one process it needs more threads than a clip does.
pub async fn try_ffmpeg(path: &Path, launcher: Option<PathBuf>, folder: &Path) -> Option<String> {
    let scratch = Scratch::new(folder, SCRATCH_PREFIX)
        .and_then(|scratch| scratch.request_folder().map(|folder| (scratch, folder)));
    let (_scratch, folder) = match scratch {
        Ok(scratch) => scratch,
        Err(error) => return Some(mismatch("CLIP_DOWNLOAD_DEST", "a folder to write to", error)),
    };
    let ffmpeg = Ffmpeg::new(path.to_owned(), None);
    let ffmpeg = match launcher {
        Some(launcher) => ffmpeg.launched_by(launcher),
        None => ffmpeg,
    };
    let tried = try_out(&ffmpeg, folder.path(), Deadline::after(TRIAL_TIMEOUT)).await;
    if let Some(reason) = ffmpeg.not_isolated() {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| warn!(reason, "ffmpeg is less isolated than it could be"));
    }
    let reason = tried.err()?;
    let (path, reason) = (path.display().to_string(), reason.to_string());
    let got = if reason.contains(&path) { reason } else { format!("{path}: {reason}") };
    Some(mismatch("FFMPEG_PATH", "an ffmpeg that can decode and encode", got))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, BadEnvironment> {
        Settings::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[tokio::test]
    async fn names_everything_that_is_wrong_in_one_line() {
        let variables = [("FFMPEG_PATH", "/nowhere/ffmpeg"), ("SQS_TIMEOUT", "soon"), ("LOG_LEVEL", "verbose")];
        let settings = read(&variables);
        let tool = try_tool(&settings).await;
        let error = check_start(settings, None, tool).expect_err("much is wrong").to_string();
        for wrong in [
            "CAM_SERVICES_URL: expected a value, got nothing",
            "SQS_TIMEOUT: expected 0 to 900 seconds, got \"soon\"",
            "LOG_LEVEL: expected error, warn, info, debug, trace or off",
            "AWS_REGION: expected a region such as us-west-1, got nothing",
            "FFMPEG_PATH: expected an ffmpeg that can decode and encode, got cannot run /nowhere/ffmpeg: ",
        ] {
            assert!(error.contains(wrong), "{wrong} is not in {error}");
        }
        assert!(!error.contains('\n'));
    }

    #[test]
    fn refuses_what_is_no_name_of_a_region() {
        let bad = || Settings::read(|_| None);
        for (region, got) in [(Some(""), "nothing"), (Some("us-west-1 "), "\"us-west-1 \""), (None, "nothing")] {
            let error = check_start(bad(), region, None).expect_err("nothing is set").to_string();
            assert!(error.contains(&format!("AWS_REGION: expected a region such as us-west-1, got {got}")), "{error}");
        }
        let error = check_start(bad(), Some("us-west-1"), None).expect_err("nothing is set").to_string();
        assert!(!error.contains("AWS_REGION"), "{error}");
    }

    #[tokio::test]
    async fn names_a_bad_folder_beside_a_bad_variable() {
        let variables = [("CLIP_DOWNLOAD_DEST", "/nonexistent"), ("SQS_TIMEOUT", "soon")];
        let settings = read(&variables);
        let tool = try_tool(&settings).await;
        let error = check_start(settings, Some("us-west-1"), tool).expect_err("two are wrong").to_string();
        for wrong in ["SQS_TIMEOUT: expected", "CLIP_DOWNLOAD_DEST: expected a folder to write to, got "] {
            assert!(error.contains(wrong), "{wrong} is not in {error}");
        }
    }

    #[tokio::test]
    async fn tries_ffmpeg_also_where_the_folder_is_refused() {
        let variables = [("CLIP_DOWNLOAD_DEST", "s3://bucket"), ("FFMPEG_PATH", "/nowhere/ffmpeg")];
        let tool = try_tool(&read(&variables)).await.expect("there is no such program");
        assert!(tool.contains("cannot run /nowhere/ffmpeg: "), "{tool}");
    }
}
