//! SQS: sends a message with a delay.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use exact_cut::deadline::Deadline;

use crate::contract::message_body::{AttributeValue, MessageAttribute};
use crate::error::Error;
use crate::services::errors::{sdk_error, within};

const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The queue that gets retries.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    #[must_use]
    pub const fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends `body` with `attributes` as a new message that stays invisible for `delay_s` seconds (0 to 900). An attribute
    /// that SQS cannot take is left out.
    ///
    /// # Errors
    /// Transient or permanent, as SQS answers.
    pub async fn send(
        &self,
        body: String,
        attributes: &[MessageAttribute],
        delay_s: i32,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let attributes: HashMap<String, MessageAttributeValue> = attributes.iter().filter_map(sent).collect();
        let attributes = Some(attributes).filter(|attributes| !attributes.is_empty());
        let send = self.client.send_message().queue_url(&self.url).message_body(body).delay_seconds(delay_s);
        let send = send.set_message_attributes(attributes);
        let sent = async { Box::pin(send.send()).await.map(drop).map_err(|error| sdk_error(&self.url, &error)) };
        within(deadline, CALL_TIMEOUT, &self.url, sent).await
    }
}

/// Returns an attribute as SQS takes it.
fn sent(attribute: &MessageAttribute) -> Option<(String, MessageAttributeValue)> {
    let value = MessageAttributeValue::builder().data_type(&attribute.data_type);
    let value = match &attribute.value {
        AttributeValue::Text(text) => value.string_value(text),
        AttributeValue::Bytes(bytes) => value.binary_value(Blob::new(bytes.clone())),
    };
    Some((attribute.name.clone(), value.build().ok()?))
}
