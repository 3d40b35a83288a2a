//! SNS: announces what became of a clip.

use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use serde_json::json;

use crate::deadline::Deadline;
use crate::error::{Error, Kind};
use crate::metadata::ClipMetadata;

const WHOLE_CALL: Duration = Duration::from_secs(20);
/// The longest message that SNS takes, in bytes (`Publish`).
const LONGEST_MESSAGE: usize = 256 << 10;

/// The topic that is told.
#[derive(Clone, Debug)]
pub struct Topic {
    client: Client,
    arn: String,
}

impl Topic {
    /// The topic called `arn`.
    #[must_use]
    pub const fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }

    /// Publishes `metadata`, with its status as an attribute by which a subscription can filter.
    ///
    /// # Errors
    /// As SNS answers; refused if the message is longer than SNS takes.
    pub async fn publish(&self, metadata: &ClipMetadata, deadline: Deadline) -> Result<(), Error> {
        let refused = |reason: String| Error::new(Kind::Refused, &self.arn, reason);
        let message = serde_json::to_string(metadata).map_err(|error| refused(error.to_string()))?;
        let message = json!({ "default": message }).to_string();
        if message.len() > LONGEST_MESSAGE {
            return Err(refused(format!("a message of {} bytes", message.len())));
        }
        let status =
            MessageAttributeValue::builder().data_type("String").string_value(metadata.status.as_str()).build();
        let status = status.map_err(|error| refused(error.to_string()))?;
        let publish = self
            .client
            .publish()
            .topic_arn(&self.arn)
            .message_structure("json")
            .message(message)
            .message_attributes("status", status)
            .send();
        let published = async { publish.await.map(drop).map_err(|error| super::error(&self.arn, &error)) };
        deadline.run(WHOLE_CALL, &self.arn, published).await
    }
}
