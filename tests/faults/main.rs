//! The function's own binary under faults. It is fed by a Runtime API and a queue of the harness's own; S3, SQS and SNS
//! are ministack behind a proxy that misbehaves, and so does the camera API. Whatever goes wrong, three things hold:
//!
//! - **A**: what the queue may delete has been announced, or sent back to the queue.
//! - **B**: what is announced is stored, complete, and shows what a full decode of the recordings shows.
//! - **C**: doing it twice, or twice at once, gives the same bytes and the same announcement.
//!
//! `FUNCTION_BINARY` is what is tested; without it cargo's own build is. What is random begins with `FAULTS_SEED`.

mod course;
mod effect;
mod fault;
mod fixture;
#[allow(dead_code)] // shared with the tests beside these
#[path = "../it/footage.rs"]
mod footage;
mod function;
mod hostile;
mod http;
mod likeness;
mod pressure;
mod queue;
mod random;
mod schedule;
#[path = "../it/server.rs"]
mod server;
mod single;
mod soak;
mod stub;
mod told_to_end;
mod worker;
mod world;
