//! SQS: sends a message with a delay.

use std::time::Duration;

use aws_sdk_sqs::Client;
use exact_cut::deadline::Deadline;

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

    /// Sends `body` as a new message that stays invisible for `delay_s` seconds (0 to 900).
    ///
    /// # Errors
    /// Transient or permanent, as SQS answers.
    pub async fn send(&self, body: String, delay_s: i32, deadline: Deadline) -> Result<(), Error> {
        let send = self.client.send_message().queue_url(&self.url).message_body(body).delay_seconds(delay_s);
        let sent = async { Box::pin(send.send()).await.map(drop).map_err(|error| sdk_error(&self.url, &error)) };
        within(deadline, CALL_TIMEOUT, &self.url, sent).await
    }
}
