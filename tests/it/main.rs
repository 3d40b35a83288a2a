//! The function against real servers: S3, SQS and SNS by ministack with the unmodified SDKs, ffmpeg as it is shipped, and
//! footage whose frames can be read back by number. The camera API is the test kit's, because it must also misbehave;
//! `local_stack` uses that of the local stack.

mod bad_input;
mod clips;
mod dry_run;
mod local_stack;
mod stack;
mod statuses;
mod telemetry;
