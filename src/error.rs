//! One error type. It names the object it is about (a key, an address, a clip), and its [`Kind`] alone decides what
//! happens to the request; nobody upstairs looks at an SDK's types.

use std::fmt;

/// What a failure means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The message cannot be understood. It never will be: the record fails until the dead-letter queue has it.
    IllFormed,
    /// The other side said no for good (403, most 4xx, a body of the wrong shape). The record fails.
    Refused,
    /// Worth another try (5xx, timeouts, a full disk). The record fails, the queue brings it back.
    Passing,
    /// The object is not there (yet).
    Absent,
    /// The object was replaced while it was being read (`If-Match` failed).
    Changed,
    /// Footage is there, but no clip can be made of it: `FATAL_ERROR`.
    Unusable,
}

/// A failure: its kind, the object it is about, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What follows from it.
    pub kind: Kind,
    /// What it is about: `s3://bucket/key`, an address, a clip's id. Never a message's content.
    pub object: String,
    /// What went wrong with the object.
    pub reason: String,
}

impl Error {
    /// A failure of `kind` about `object`.
    pub fn new(kind: Kind, object: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { kind, object: object.into(), reason: one_line(&reason.to_string()) }
    }

    /// [`Kind::Unusable`] about `object`.
    pub fn unusable(object: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::new(Kind::Unusable, object, reason)
    }

    /// [`Kind::Passing`] about `object`.
    pub fn passing(object: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::new(Kind::Passing, object, reason)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)
    }
}

impl std::error::Error for Error {}

/// An error's whole chain as one text, each link once. SDK and HTTP errors say little by themselves.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let link = cause.to_string();
        if !text.contains(&link) {
            text.push_str(": ");
            text.push_str(&link);
        }
        next = cause.source();
    }
    text
}

/// Log lines are single lines, and bounded.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 1000;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}
