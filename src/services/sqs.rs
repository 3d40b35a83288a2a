//! SQS: sends a message with a delay, and hides and deletes delivered messages.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry as HideEntry, DeleteMessageBatchRequestEntry,
    MessageAttributeValue,
};
use exact_cut::deadline::Deadline;

use crate::contract::message_body::{AttributeValue, MessageAttribute};
use crate::contract::sqs_event::{Receipt, queue_url};
use crate::error::Error;
use crate::services::errors::{sdk_error, within};
use crate::services::limits::CALL;

/// For calls that help other deliveries, not this one.
const SHORT_CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit of a batch (Amazon SQS API Reference, `ChangeMessageVisibilityBatch` and `DeleteMessageBatch`).
const MAX_BATCH: usize = 10;

/// The setting that names the queue.
pub(super) const SETTING: &str = "AWS_SQS_QUEUE_URL";

/// The queue that gets retries.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(super) client: Client,
    pub(super) url: String,
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
        within(deadline, CALL, &self.url, sent).await.map_err(|error| error.see(SETTING))
    }

    /// Hides each message for so many seconds from now, in one call for up to ten messages of a queue. The calls take at
    /// most 5 s, and at most `left`.
    ///
    /// # Errors
    /// As SQS answers; transient if it refuses single messages.
    pub async fn hide(&self, messages: &[(Receipt, i32)], left: Duration) -> Result<(), Error> {
        let hide = async {
            for (url, batch) in self.batches(messages, |(receipt, _)| receipt) {
                let entry = |(id, (receipt, seconds)): (usize, &(Receipt, i32))| {
                    let entry = HideEntry::builder().id(id.to_string()).receipt_handle(&receipt.handle);
                    entry.visibility_timeout(*seconds).build().map_err(|error| Error::permanent(&url, error))
                };
                let entries = batch.iter().enumerate().map(entry).collect::<Result<_, Error>>()?;
                let call = self.client.change_message_visibility_batch().queue_url(&url).set_entries(Some(entries));
                let hidden = Box::pin(call.send()).await.map_err(|error| self.refusal(&url, &error))?;
                all_accepted(&url, hidden.failed())?;
            }
            Ok(())
        };
        within(Deadline::unknown(), SHORT_CALL_TIMEOUT.min(left), &self.url, hide).await
    }

    /// Deletes messages, in one call for up to ten messages of a queue. The calls take at most 5 s, and at most `left`.
    ///
    /// # Errors
    /// As SQS answers; transient if it refuses single messages.
    pub async fn delete(&self, receipts: &[Receipt], left: Duration) -> Result<(), Error> {
        let delete = async {
            for (url, batch) in self.batches(receipts, |receipt| receipt) {
                let entry = |(id, receipt): (usize, &Receipt)| {
                    let entry = DeleteMessageBatchRequestEntry::builder().id(id.to_string());
                    entry.receipt_handle(&receipt.handle).build().map_err(|error| Error::permanent(&url, error))
                };
                let entries = batch.iter().enumerate().map(entry).collect::<Result<_, Error>>()?;
                let call = self.client.delete_message_batch().queue_url(&url).set_entries(Some(entries));
                let deleted = Box::pin(call.send()).await.map_err(|error| self.refusal(&url, &error))?;
                all_accepted(&url, deleted.failed())?;
            }
            Ok(())
        };
        within(Deadline::unknown(), SHORT_CALL_TIMEOUT.min(left), &self.url, delete).await
    }

    /// Translates the error of a call that concerns the queue at `url`. Only the own queue has a setting.
    fn refusal<E>(&self, url: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = sdk_error(url, error);
        if url == self.url { error.see(SETTING) } else { error }
    }

    /// Returns the batches of `items` with the URLs of their queues. Items of a queue without a complete ARN are left out.
    fn batches<'a, T>(&self, items: &'a [T], receipt: impl Fn(&T) -> &Receipt) -> Vec<(String, &'a [T])> {
        let batches = items.chunk_by(|a, b| receipt(a).queue_arn == receipt(b).queue_arn);
        let batches = batches.flat_map(|queue| queue.chunks(MAX_BATCH));
        let with_url = |batch: &'a [T]| Some((queue_url(&receipt(batch.first()?).queue_arn, &self.url)?, batch));
        batches.filter_map(with_url).collect()
    }
}

fn all_accepted(url: &str, failed: &[BatchResultErrorEntry]) -> Result<(), Error> {
    let Some(first) = failed.first() else { return Ok(()) };
    let (count, code, message) = (failed.len(), first.code(), first.message().unwrap_or_default());
    Err(Error::transient(url, format_args!("refused {count} messages: {code} {message}")))
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
