//! The services that the function calls: the camera API, S3, SQS and SNS. Only the files here speak HTTP and know the types
//! of the SDKs; each turns errors of its service into [`crate::error::Error`].

mod aws_bodies;
pub mod aws_transport;
pub mod camera_api;
mod errors;
mod http_answer;
mod http_call;
pub mod limits;
pub mod probes;
mod renewable;
pub mod s3;
pub mod s3_ranges;
pub mod s3_recordings;
pub mod sns;
pub mod sqs;
