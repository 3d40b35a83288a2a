//! The function against real servers: S3, SQS and SNS by ministack with the unmodified SDKs, ffmpeg as it is shipped,
//! and footage whose frames can be read back by number. The test kit has the camera API, because it must also
//! misbehave; `local_stack` uses the camera API of the local stack.

mod bad_input;
mod bad_recordings;
mod clips;
mod dry_run;
mod growing;
mod local_stack;
mod self_check;
mod stack;
mod start;
mod statuses;
mod storing;
mod telemetry;
mod uploads;
mod visibility;
