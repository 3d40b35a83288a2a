//! The function against real servers: S3, SQS and SNS by ministack, with the unmodified SDKs; ffmpeg as it is shipped;
//! footage whose frames can be read back by number. The camera API here is a stub, because it must also misbehave; the
//! one of the local stack is used in `local_stack`.

mod bad_input;
mod camera;
mod clips;
mod dry_run;
mod footage;
mod local_stack;
mod server;
mod stack;
mod statuses;
mod telemetry;
mod zoo;
