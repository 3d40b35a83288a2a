//! How long a call may take (docs/contract.md, "The camera API" and "AWS"). A limit is short enough for another attempt: most
//! faults that pass concern one connection, and the next attempt has another one.

use std::time::Duration;

/// For a connection, its TLS handshake included.
pub const CONNECT: Duration = Duration::from_secs(2);
/// From the start of an attempt at S3, SQS or SNS to the first byte of its answer. Uploads have no such limit.
pub const FIRST_BYTE: Duration = Duration::from_secs(5);
/// The body of an answer of S3, SQS or SNS that arrives more slowly is asked for again: three tries together stay within
/// [`CALL`]. Up to 8 bodies are received at once, so this is 100 KB/s, of which no clip could be made in time.
pub const PACE: Pace = Pace { bytes: 64 << 10, within: Duration::from_secs(5) };
/// An upload ends when no byte of it has moved for this long.
pub const UPLOAD_STALL: Duration = Duration::from_secs(10);
/// For the first attempt at the camera API. A later one has all that is left of [`CALL`].
pub const FIRST_CAMERA_ATTEMPT: Duration = Duration::from_secs(8);
/// For all attempts of a call together.
pub const CALL: Duration = Duration::from_secs(20);
/// An unused connection is closed after this long. S3 closes it after about 20 s (vectordotdev/vector, issue 9703).
pub const IDLE: Duration = Duration::from_secs(15);

/// The slowest pace at which a body may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub bytes: u64,
    /// Time of waiting for so many bytes. What the reader does in between does not count.
    pub within: Duration,
}
