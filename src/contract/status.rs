//! The statuses of a clip, as the camera API and SNS learn them (docs/contract.md, "The status table").

use serde::Serialize;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[serde(into = "&'static str")]
pub enum Status {
    /// The clip is stored, with all the footage that exists.
    #[strum(serialize = "CLIP_AVAILABLE")]
    Available,
    /// Footage may still arrive; the message is sent again.
    #[strum(serialize = "CLIP_PENDING")]
    Pending,
    /// The span is longer than the limit.
    #[strum(serialize = "CLIP_TOO_LONG")]
    TooLong,
    /// No footage arrived while the request waited for it.
    #[strum(serialize = "CLIP_RETRY_TIMEOUT")]
    RetryTimeout,
    /// No footage exists, and the request was made too long after the span.
    #[strum(serialize = "CLIP_OUT_OF_RANGE")]
    OutOfRange,
    /// No footage exists.
    #[strum(serialize = "CLIP_NOT_AVAILABLE")]
    NotAvailable,
    /// Footage exists, but no clip can be made of it.
    #[strum(serialize = "FATAL_ERROR")]
    FatalError,
}

impl Status {
    /// Returns the status as messages spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn serializes_each_status_as_the_contract_spells_it() {
        let words = Status::VARIANTS.iter().map(|&status| {
            assert_eq!(serde_json::json!(status), status.as_str());
            status.as_str()
        });
        let expected = [
            "CLIP_AVAILABLE",
            "CLIP_PENDING",
            "CLIP_TOO_LONG",
            "CLIP_RETRY_TIMEOUT",
            "CLIP_OUT_OF_RANGE",
            "CLIP_NOT_AVAILABLE",
            "FATAL_ERROR",
        ];
        assert_eq!(words.collect::<Vec<_>>(), expected);
    }
}
