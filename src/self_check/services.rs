//! Whether queue, topic and camera API answer.

use std::time::Duration;

use reqwest::StatusCode;

use crate::contract::self_check_table::Check;
use crate::mismatch::mismatch;
use crate::self_check::SelfCheck;
use crate::self_check::verdict::{Verdict, timed};
use crate::services::probes::QueueAttributes;

/// Id and alias of a camera that does not exist.
const CAMERA: &str = "self-check";
/// AWS advises a visibility timeout of at least six times the timeout of the function (AWS Lambda Developer Guide, "Creating
/// and configuring an Amazon SQS event source mapping").
const VISIBILITY_IN_TIMEOUTS: u32 = 6;

impl SelfCheck<'_> {
    pub(super) async fn services(self) -> Vec<Check> {
        let (queue, topic, camera, recordings) = tokio::join!(
            timed("queue", self.queue()),
            timed("topic", self.topic()),
            timed("camera API", self.camera_api()),
            timed("recordings API", self.recordings_api())
        );
        vec![queue, topic, camera, recordings]
    }

    async fn queue(self) -> Verdict {
        let attributes = self.pipeline.queue.attributes(self.deadline).await;
        let known = self.pipeline.settings().max_receives;
        Verdict::of_probe(attributes, "sqs:GetQueueAttributes", |found| judge_queue(found, self.timeout, known))
    }

    async fn topic(self) -> Verdict {
        let found = self.pipeline.topic.look_up(self.deadline).await;
        Verdict::of_probe(found, "sns:GetTopicAttributes", |()| Verdict::works())
    }

    async fn camera_api(self) -> Verdict {
        match self.pipeline.camera.ask_for_camera(CAMERA, self.deadline).await {
            Ok((status, _)) if status.is_success() || status == StatusCode::NOT_FOUND => Verdict::works(),
            Ok((_, error)) | Err(error) => Verdict::fails(error),
        }
    }

    async fn recordings_api(self) -> Verdict {
        match self.pipeline.camera.ask_for_recordings(CAMERA, self.deadline).await {
            Ok((status, _)) if status.is_success() || status == StatusCode::NOT_FOUND => Verdict::works(),
            // an API may refuse a camera that it does not know in another way
            Ok((status, error)) if status.is_client_error() && !is_of_rights(status) => Verdict::unknown(error),
            Ok((_, error)) | Err(error) => Verdict::fails(error),
        }
    }
}

fn is_of_rights(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
}

/// Returns the verdict on a queue that triggers a function with this timeout and with this `SQS_MAX_RECEIVES`.
fn judge_queue(found: QueueAttributes, timeout: Option<Duration>, known_receives: u32) -> Verdict {
    let (visibility_s, timeout_s) = (found.visibility.as_secs(), timeout.unwrap_or_default().as_secs());
    let got = format_args!("{visibility_s} s");
    if visibility_s < timeout_s {
        let expected = format_args!("at least the timeout of the function ({timeout_s} s)");
        return Verdict::fails(mismatch("VisibilityTimeout", expected, got));
    }
    let mut remarks = Vec::new();
    if visibility_s < timeout_s * u64::from(VISIBILITY_IN_TIMEOUTS) {
        let advised = timeout_s * u64::from(VISIBILITY_IN_TIMEOUTS);
        let expected = format_args!("{advised} s (AWS advises six timeouts of the function)");
        remarks.push(mismatch("VisibilityTimeout", expected, got));
    }
    if found.max_receives != known_receives {
        let receives = found.max_receives;
        remarks.push(mismatch("SQS_MAX_RECEIVES", format_args!("the queue's {receives}"), known_receives));
    }
    Verdict::works().but(&remarks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::self_check_table::Outcome;

    fn judged(visibility_s: u64, timeout_s: u64, known_receives: u32) -> (Outcome, String) {
        let found = QueueAttributes { visibility: Duration::from_secs(visibility_s), max_receives: 8 };
        let timeout = Some(Duration::from_secs(timeout_s)).filter(|timeout| !timeout.is_zero());
        let check = judge_queue(found, timeout, known_receives).of("queue", Duration::ZERO);
        (check.outcome, check.missing)
    }

    #[test]
    fn refuses_a_queue_that_shows_messages_again_before_the_function_ends() {
        let (outcome, missing) = judged(299, 300, 8);
        assert_eq!(outcome, Outcome::Fails);
        assert_eq!(missing, "VisibilityTimeout: expected at least the timeout of the function (300 s), got 299 s");
        for (visibility_s, timeout_s) in [(1800, 300), (0, 0), (30, 0)] {
            assert_eq!(judged(visibility_s, timeout_s, 8), (Outcome::Works, String::new()));
        }
    }

    #[test]
    fn says_what_looks_wrong_with_a_queue_that_works() {
        let (outcome, missing) = judged(300, 300, 0);
        assert_eq!(outcome, Outcome::Works);
        for remark in [
            "VisibilityTimeout: expected 1800 s (AWS advises six timeouts of the function), got 300 s",
            "SQS_MAX_RECEIVES: expected the queue's 8, got 0",
        ] {
            assert!(missing.contains(remark), "{remark} is not in {missing}");
        }
    }
}
