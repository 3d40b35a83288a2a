//! SQS: sends a message back with a delay.

use std::time::Duration;

use aws_sdk_sqs::Client;

use crate::deadline::Deadline;
use crate::error::Error;

const WHOLE_CALL: Duration = Duration::from_secs(20);

/// The queue to which a retry goes.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub const fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends `body` as a new message that nobody sees for `delay_s` seconds (0 to 900).
    ///
    /// # Errors
    /// As SQS answers.
    pub async fn send(&self, body: String, delay_s: i32, deadline: Deadline) -> Result<(), Error> {
        let send = self.client.send_message().queue_url(&self.url).message_body(body).delay_seconds(delay_s).send();
        let sent = async { send.await.map(drop).map_err(|error| super::error(&self.url, &error)) };
        deadline.run(WHOLE_CALL, &self.url, sent).await
    }
}
