//! When the messages of an invocation are visible again: soon after it if the process is killed, and after a wait that grows
//! with the deliveries if their records fail (docs/contract.md, "Failed records"). Nothing depends on it: without it, the
//! visibility timeout of the queue holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

use crate::contract::retry_schedule::{hidden_while_working_s, wait_range_s};
use crate::contract::sqs_event::Receipt;
use crate::error::{Error, ErrorKind};
use crate::services::sqs::Queue;

/// Hides messages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Visibility {
    queue: Queue,
    /// `SQS_MAX_RECEIVES`.
    max_receives: u32,
    /// Whether a warning has said that the role may not hide messages.
    has_warned: Arc<AtomicBool>,
}

/// A delivery whose record failed.
#[derive(Clone, Debug)]
pub struct FailedDelivery {
    pub receipt: Receipt,
    /// Number of the delivery, counted from 1.
    pub receives: u32,
    /// How long the message must at least stay hidden.
    pub retry_after: Option<Duration>,
}

impl Visibility {
    #[must_use]
    pub fn new(queue: Queue, max_receives: u32) -> Self {
        Self { queue, max_receives, has_warned: Arc::default() }
    }

    /// Hides messages while an invocation works on them that ends in `left`.
    pub async fn hide_while_working(&self, receipts: Vec<Receipt>, left: Duration) {
        let seconds = hidden_while_working_s(left);
        let messages: Vec<_> = receipts.into_iter().map(|receipt| (receipt, seconds)).collect();
        self.hide(&messages, left).await;
    }

    /// Hides the messages of failed records until their next delivery, within `left`.
    pub async fn hide_failed(&self, failed: Vec<FailedDelivery>, left: Duration) {
        let wait = |FailedDelivery { receipt, receives, retry_after }| {
            (receipt, fastrand::i32(wait_range_s(receives, self.max_receives, retry_after)))
        };
        let messages: Vec<_> = failed.into_iter().map(wait).collect();
        self.hide(&messages, left).await;
    }

    async fn hide(&self, messages: &[(Receipt, i32)], left: Duration) {
        let Err(Error { kind, object, reason, .. }) = self.queue.hide(messages, left).await else { return };
        let is_forbidden = kind == ErrorKind::Permanent;
        if !is_forbidden || !self.has_warned.swap(true, Ordering::Relaxed) {
            warn!(object, reason, "visibility of messages not changed");
        }
    }
}
