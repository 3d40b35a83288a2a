//! Starts the function: settings, logs, clients, then the runtime's loop; or, with `plan EVENT.json`, the dry run.

use std::process::ExitCode;
use std::sync::Arc;

use cameras_service_generate_clip::handler::handle;
use cameras_service_generate_clip::pipeline::Pipeline;
use cameras_service_generate_clip::settings::{Settings, function_name, json_logs};
use cameras_service_generate_clip::{dry_run, telemetry};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};
use tracing_subscriber::filter::Targets;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!(error = %failure, stage = "start", object = "process", "not started");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), Error> {
    let settings = Settings::from_env();
    let log_filter = settings.as_ref().map(|settings| settings.log_filter.clone());
    let log_filter = log_filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    telemetry::start(log_filter, json_logs(), function_name());
    let settings = settings?;
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    let aws = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let pipeline = Arc::new(Pipeline::new(settings, &aws)?);
    if let [command, event] = &std::env::args().skip(1).collect::<Vec<_>>()[..]
        && command == "plan"
    {
        return dry_run::tell(&pipeline, event.as_ref()).await;
    }
    let serving =
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| handle(Arc::clone(&pipeline), event)));
    let mut told_to_end = signal(SignalKind::terminate())?;
    tokio::select! {
        served = serving => served,
        // what is under way ends with the runtime, its processes and files too, and the queue brings it back
        _ = told_to_end.recv() => {
            info!("told to end");
            Ok(())
        }
    }
}
