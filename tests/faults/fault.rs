//! What can go wrong with a call.

use std::fmt;

use crate::scenario::CANARY;
use testkit::http::Message;

/// A way in which a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server is away, until the delivery is over.
    Refused,
    ResetBefore,
    /// The call took effect, but its answer is lost.
    ResetAfter,
    /// An answer with that status; the call has no effect.
    Status(u16),
    Hang,
    /// The answer comes, a byte at a time.
    Drip,
    /// The answer ends before it said it would.
    CutShort,
    /// The answer says another length, and keeps to it.
    WrongLength,
    Garbage,
    /// A redirect to another host.
    Elsewhere,
    /// The function's process is killed as the call arrives.
    KillBefore,
    /// The function's process is killed once the call has taken effect.
    KillAfter,
    /// The answer says that it was done, and nothing was. No function can bear that: it shows that the harness looks.
    Lie,
}

/// Those of one call; the function must bear all of them.
pub const OF_A_CALL: [Fault; 16] = [
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
    Fault::CutShort,
    Fault::WrongLength,
    Fault::Garbage,
    Fault::Elsewhere,
];

impl Fault {
    /// Whether only the deadline ends it.
    pub const fn takes_time(self) -> bool {
        matches!(self, Self::Hang | Self::Drip)
    }
}

/// What goes wrong in a schedule, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The how many'th call of the schedule it befalls, from 0.
    pub call: usize,
    pub fault: Fault,
    /// Whether it befalls all further calls of the same name too, until the delivery is over.
    pub lasting: bool,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{} at call {}", self.fault, if self.lasting { " (lasting)" } else { "" }, self.call)
    }
}

/// An answer that refuses, as each server writes it.
pub fn refusal(name: &str, status: u16) -> Message {
    let code = match status {
        403 => "AccessDenied",
        404 => "NoSuchKey",
        409 => "OperationAborted",
        412 => "PreconditionFailed",
        429 | 503 => "SlowDown",
        _ => "InternalError",
    };
    let body = match name.split(' ').next() {
        Some("S3") => format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><HostId>{CANARY}</HostId></Error>"),
        Some("SNS") => {
            format!("<ErrorResponse><Error><Code>{code}</Code></Error><RequestId>{CANARY}</RequestId></ErrorResponse>")
        }
        _ => format!("{{\"__type\": \"{code}\", \"note\": \"{CANARY}\"}}"),
    };
    Message::answer(status, body)
}
