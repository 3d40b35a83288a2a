//! The binary of the function under faults. A Runtime API and a queue of the tests feed it. S3, SQS and SNS are
//! ministack behind a proxy that misbehaves, and so does the camera API. Whatever goes wrong, three promises hold
//! (docs/reliability.md):
//!
//! - **A**: what the queue may delete has been announced, or sent back to the queue.
//! - **B**: what is announced is stored, complete, and shows what a full decode of the recordings shows.
//! - **C**: doing a request twice, or twice at once, gives the same bytes and the same announcement.
//!
//! `FUNCTION_BINARY` names the binary under test; the default is the build of cargo. Random tests begin with the seed
//! `FAULTS_SEED`.

mod answers;
mod certificates;
mod compare_pictures;
mod control_group;
mod effect;
mod fault;
mod faulty_servers;
mod fixture;
mod function;
mod gate;
mod hostile;
mod isolation;
mod loops;
mod memory;
mod network;
mod patience;
mod proxy;
mod queue;
mod random;
mod redelivery;
mod resource_limits;
mod retry_after;
mod scenario;
mod schedule;
mod shutdown;
mod single;
mod soak;
mod stub;
mod worker;
