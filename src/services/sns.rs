//! SNS: publishes the metadata of a clip.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use exact_cut::deadline::Deadline;
use serde_json::json;

use crate::contract::clip_metadata::ClipMetadata;
use crate::error::Error;
use crate::mismatch::mismatch;
use crate::services::errors::{sdk_error, within};
use crate::services::limits::CALL;

/// Limit of `Publish`, in bytes.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

/// The setting that names the topic.
pub(super) const SETTING: &str = "AWS_SNS_TOPIC";

/// The topic that announces clips.
#[derive(Clone, Debug)]
pub struct Topic {
    pub(super) client: Client,
    pub(super) arn: String,
}

impl Topic {
    #[must_use]
    pub const fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }

    /// Publishes `metadata`. The message attribute `status` lets subscriptions filter.
    ///
    /// # Errors
    /// Permanent if the message is longer than SNS accepts; else as SNS answers.
    pub async fn publish(&self, metadata: &ClipMetadata, deadline: Deadline) -> Result<(), Error> {
        let permanent = |reason: String| Error::permanent(&self.arn, reason);
        let message = serde_json::to_string(metadata).map_err(|error| permanent(error.to_string()))?;
        let message = json!({ "default": message }).to_string();
        if message.len() > MAX_MESSAGE_BYTES {
            let length = message.len();
            return Err(permanent(mismatch("message", format_args!("at most {MAX_MESSAGE_BYTES} bytes"), length)));
        }
        let status =
            MessageAttributeValue::builder().data_type("String").string_value(metadata.status.as_str()).build();
        let status = status.map_err(|error| permanent(error.to_string()))?;
        let publish = self
            .client
            .publish()
            .topic_arn(&self.arn)
            .message_structure("json")
            .message(message)
            .message_attributes("status", status);
        let published =
            async { Box::pin(publish.send()).await.map(drop).map_err(|error| sdk_error(&self.arn, &error)) };
        within(deadline, CALL, &self.arn, published).await.map_err(|error| error.see(SETTING))
    }
}
