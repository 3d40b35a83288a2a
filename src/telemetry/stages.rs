//! The words of logs, metrics and trace documents: stages, recipients, modes.

use exact_cut::observer::RenderStage;
use serde::Serialize;

/// A step of a request that takes time, in the order in which a request goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum Stage {
    /// Looks up the stored clip in S3.
    Stored,
    /// Asks the camera API for the camera's alias.
    Camera,
    /// Asks the camera API for the recordings.
    Recordings,
    /// Reads the sample tables of the recordings.
    Tables,
    /// Fetches the footage that the clip needs.
    Fetch,
    /// Encodes the frames that cannot be copied.
    Encode,
    /// Makes the audio of the clip.
    Audio,
    /// Writes the clip.
    Write,
    /// Reads the clip back and verifies it.
    Verify,
    /// Renders the thumbnails.
    Thumbnails,
    /// Stores the clip and its thumbnails.
    Upload,
    /// Checks that everything is stored.
    Check,
    /// Sends the metadata to the camera API.
    Put,
    /// Publishes the metadata to SNS.
    Publish,
    /// Sends the message to the queue again.
    Requeue,
}

impl Stage {
    /// Returns the name of the stage in logs and trace documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl From<RenderStage> for Stage {
    fn from(stage: RenderStage) -> Self {
        match stage {
            RenderStage::Fetch => Self::Fetch,
            RenderStage::Encode => Self::Encode,
            RenderStage::Audio => Self::Audio,
            RenderStage::Write => Self::Write,
            RenderStage::Verify => Self::Verify,
            RenderStage::Thumbnails => Self::Thumbnails,
        }
    }
}

/// Who gets a message from the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display, strum::IntoStaticStr)]
#[serde(into = "&'static str")]
pub enum Recipient {
    #[strum(serialize = "camera API")]
    CameraApi,
    #[strum(serialize = "SNS")]
    Sns,
    #[strum(serialize = "SQS")]
    Sqs,
}

/// How the frames of a clip were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display, strum::IntoStaticStr)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "lowercase")]
pub enum Mode {
    /// Every frame is copied.
    Copy,
    /// Some frames are copied, some encoded.
    Splice,
    /// Every frame is encoded.
    Encode,
    /// An earlier try stored the clip.
    Stored,
}

impl Mode {
    /// Returns the mode of a new clip with this many copied and encoded frames.
    #[must_use]
    pub const fn of_frames(copied: usize, encoded: usize) -> Self {
        match (copied, encoded) {
            (_, 0) => Self::Copy,
            (0, _) => Self::Encode,
            _ => Self::Splice,
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn logs_and_documents_name_a_stage_alike() {
        for &stage in Stage::VARIANTS {
            assert_eq!(serde_json::to_value(stage).expect("serializes"), stage.as_str());
        }
    }
}
