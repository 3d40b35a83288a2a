//! The faults that a call can meet.

use std::fmt;

use testkit::http::Message;

use crate::scenario::CANARY;

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server refuses connections until the delivery is over.
    Refused,
    ResetBefore,
    /// The connection is reset after the call took effect.
    ResetAfter,
    /// An answer with this status. The call has no effect.
    Status(u16),
    /// As [`Self::Status`], with this code of AWS.
    Code(u16, &'static str),
    /// As [`Self::Status`], with a `Retry-After` of so many seconds.
    RetryAfter(u16, u32),
    Hang,
    /// The answer arrives byte by byte.
    Drip,
    /// The head of the answer arrives as usual, and its body byte by byte.
    DripInBody,
    /// The answer stops in the middle of its body, or of its head if it has none, and the connection stays.
    SilentInBody,
    /// The answer is shorter than its `Content-Length`.
    CutShort,
    /// The body is cut to about half, and `Content-Length` agrees with it.
    WrongLength,
    Garbage,
    /// A byte of the body of the request changes on its way.
    Corrupt,
    /// A redirect to another host.
    Elsewhere,
    /// The process of the function is killed when the call arrives.
    KillBefore,
    /// The process of the function is killed after the call took effect.
    KillAfter,
    /// The answer reports success, but the call had no effect. No function can notice this: it shows that
    /// the tests notice it.
    Lie,
}

/// The faults that the function must tolerate at every call.
pub const OF_A_CALL: [Fault; 17] = [
    Fault::Refused,
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::Status(403),
    Fault::Status(404),
    Fault::Status(409),
    Fault::Status(412),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(503),
    Fault::Hang,
    Fault::Drip,
    Fault::SilentInBody,
    Fault::CutShort,
    Fault::WrongLength,
    Fault::Garbage,
    Fault::Elsewhere,
];

impl Fault {
    /// Returns whether the camera API refuses for good by this answer: no other try is worth it.
    pub const fn is_refusal(self) -> bool {
        matches!(self, Self::Status(403 | 404 | 409 | 412) | Self::Garbage | Self::WrongLength | Self::Elsewhere)
    }

    /// Returns the answer of a call that the server refuses.
    pub fn answer(self, name: &str) -> Message {
        match self {
            Self::Code(status, code) => refusal(name, status, code),
            Self::RetryAfter(status, seconds) => {
                let mut answer = refusal(name, status, usual_code(status));
                answer.set("Retry-After", &seconds.to_string());
                answer
            }
            Self::Status(status) => refusal(name, status, usual_code(status)),
            other => panic!("{other:?} is not an answer of the server"),
        }
    }

    /// Returns whether only the deadline ends the call.
    pub const fn takes_time(self) -> bool {
        matches!(self, Self::Hang | Self::Drip | Self::DripInBody | Self::SilentInBody)
    }
}

/// A call of a schedule. Calls that run beside each other arrive in any order, so what a test says of one call needs its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The call with this number, counted from 0.
    Number(usize),
    /// The first call with this name.
    First(&'static str),
}

impl Which {
    /// Returns whether it is the call that comes after `earlier` and has this name.
    pub fn is(self, earlier: &[String], name: &str) -> bool {
        match self {
            Self::Number(number) => number == earlier.len(),
            Self::First(first) => first == name && self.is_ahead(earlier),
        }
    }

    /// Returns whether it comes after `earlier`, if at all.
    pub fn is_ahead(self, earlier: &[String]) -> bool {
        match self {
            Self::Number(number) => number >= earlier.len(),
            Self::First(first) => !earlier.iter().any(|call| call == first),
        }
    }
}

/// A fault of a schedule, and the call that meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub call: Which,
    pub fault: Fault,
    /// Whether later calls of the same name meet it too, until the delivery is over.
    pub lasting: bool,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{} at call {:?}", self.fault, if self.lasting { " (lasting)" } else { "" }, self.call)
    }
}

/// Returns the code that AWS gives with a status.
const fn usual_code(status: u16) -> &'static str {
    match status {
        403 => "AccessDenied",
        404 => "NoSuchKey",
        409 => "OperationAborted",
        412 => "PreconditionFailed",
        429 | 503 => "SlowDown",
        _ => "InternalError",
    }
}

/// Returns a refusal in the format of the server.
pub fn refusal(name: &str, status: u16, code: &str) -> Message {
    let message = if code.contains("Signature") { "Signature expired" } else { "no" };
    let body = match name.split(' ').next() {
        Some("S3") => format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message><HostId>{CANARY}</HostId></Error>"
        ),
        Some("SNS") => {
            format!(
                "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{CANARY}</RequestId></ErrorResponse>"
            )
        }
        _ => format!("{{\"__type\": \"{code}\", \"message\": \"{message}\", \"note\": \"{CANARY}\"}}"),
    };
    // S3 has nothing to say in answer to HEAD
    let mut answer = Message::answer(status, if name.starts_with("S3 HEAD") { String::new() } else { body });
    if status == 301 {
        answer.set("x-amz-bucket-region", "eu-west-1");
    }
    answer
}
