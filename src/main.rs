//! Starts the function: settings, logs, clients, then the loop of the Lambda runtime; with `plan EVENT.json`, the dry run;
//! and as the launcher of ffmpeg, the process that becomes ffmpeg.

use std::process::ExitCode;
use std::sync::Arc;

use aws_config::SdkConfig;
use cameras_service_generate_clip::dry_run::{DryRunFailed, print_plan};
use cameras_service_generate_clip::invocation::answer;
use cameras_service_generate_clip::pipeline::Pipeline;
use cameras_service_generate_clip::services::aws_transport::{self, AttemptLimits};
use cameras_service_generate_clip::settings::{Process, Settings, json_logs};
use cameras_service_generate_clip::start_check::{check_start, try_tool};
use cameras_service_generate_clip::telemetry::log;
use exact_cut::ffmpeg::launcher::launch;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};
use tracing_subscriber::filter::Targets;

/// Threads that drive requests. Lambda gives 2048 MB of memory little more than one CPU.
const WORKER_THREADS: usize = 2;
/// Threads for file I/O. Each has an arena of its own, which a warm process keeps.
const MAX_BLOCKING_THREADS: usize = 4;
/// How a shell reports that a program cannot be run (POSIX, `sh`, "Exit Status").
const CANNOT_RUN: u8 = 126;

fn main() -> ExitCode {
    if let Some(failure) = launch(std::env::args_os()) {
        eprintln!("cannot become ffmpeg: {failure}");
        return ExitCode::from(CANNOT_RUN);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(failure) => {
            // there is no log yet
            eprintln!("not started: cannot start threads: {failure}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(DryRunFailed(failed)) = failure.downcast_ref() {
                error!(error = failed.reason, stage = "plan", object = failed.object, "dry run failed");
            } else {
                error!(error = %failure, stage = "start", object = "process", "not started");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    // ffmpeg runs as the same user, and must not read the credentials in /proc/<pid>/environ (proc(5))
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let settings = Settings::from_env();
    let log_filter = settings.as_ref().map(|settings| settings.log_filter.clone());
    let log_filter = log_filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    log::start(log_filter, json_logs(), Process::from_env());
    if let Err(error) = hidden {
        warn!(reason = %error, "the environment of the process is not hidden from ffmpeg");
    }
    if let [command, event] = &std::env::args().skip(1).collect::<Vec<_>>()[..]
        && command == "plan"
    {
        let aws = aws().await?;
        let settings = check_start(settings, aws.region().map(AsRef::as_ref), None)?;
        return Ok(print_plan(&Pipeline::new(settings, &aws)?, event.as_ref()).await?);
    }
    // the clients are made while ffmpeg is tried
    let trial = tokio::spawn(try_tool(&settings));
    let aws = aws().await?;
    let pipeline = settings.clone().map(|settings| Pipeline::new(settings, &aws));
    check_start(settings, aws.region().map(AsRef::as_ref), trial.await?)?;
    let pipeline = Arc::new(pipeline??);
    pipeline.clean_up();
    let served = lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| answer(Arc::clone(&pipeline), event)));
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        served = served => served,
        // unfinished work ends with the runtime, its processes and files too; the queue delivers the message again
        _ = terminate.recv() => {
            info!("SIGTERM received");
            Ok(())
        }
    }
}

async fn aws() -> Result<SdkConfig, Error> {
    let http = aws_transport::http_client(AttemptLimits::default())?;
    Ok(aws_config::defaults(aws_config::BehaviorVersion::latest()).http_client(http).load().await)
}
