//! Calls that only a self-check makes. They change nothing but one object of its own.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::QueueAttributeName;
use exact_cut::deadline::Deadline;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::error::Error;
use crate::services::camera_api::{CAMERAS, CameraApi, RECORDINGS, url_of_path};
use crate::services::errors::{sdk_error, within};
use crate::services::http_answer::refusal;
use crate::services::http_call::permanent;
use crate::services::s3::{ObjectId, S3};
use crate::services::sns::{self, Topic};
use crate::services::sqs::{self, Queue};

const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The answer to a call that serving does not need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe<T> {
    Answered(T),
    /// The role may not make the call.
    Forbidden(Error),
}

/// What a queue is configured to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueAttributes {
    /// `VisibilityTimeout`.
    pub visibility: Duration,
    /// `maxReceiveCount` of its redrive policy; 0 without one.
    pub max_receives: u32,
}

impl S3 {
    /// Returns the first object that is not empty among the first ten whose keys begin with `prefix`.
    ///
    /// # Errors
    /// As S3 answers, except for a missing right.
    pub async fn find_one(
        &self,
        bucket: &str,
        prefix: &str,
        deadline: Deadline,
    ) -> Result<Probe<Option<ObjectId>>, Error> {
        let object = format!("s3://{bucket}/{prefix}");
        let list = Box::pin(self.client.list_objects_v2().bucket(bucket).prefix(prefix).max_keys(10).send());
        let listed = within(deadline, CALL_TIMEOUT, &object, async { answered(&object, list.await) }).await?;
        Ok(listed.map(|listed| {
            let mut objects = listed.contents.unwrap_or_default().into_iter();
            let key = objects.find(|object| object.size().unwrap_or_default() > 0).and_then(|object| object.key);
            key.map(|key| ObjectId { bucket: bucket.to_owned(), key })
        }))
    }

    /// Removes an object.
    ///
    /// # Errors
    /// As S3 answers, except for a missing right.
    pub async fn remove(&self, id: &ObjectId, deadline: Deadline) -> Result<Probe<()>, Error> {
        let object = id.to_string();
        let remove = Box::pin(self.client.delete_object().bucket(&id.bucket).key(&id.key).send());
        let removed = within(deadline, CALL_TIMEOUT, &object, async { answered(&object, remove.await) }).await?;
        Ok(removed.map(|_| ()))
    }
}

impl Queue {
    /// Asks for the attributes of the queue.
    ///
    /// # Errors
    /// As SQS answers, except for a missing right.
    pub async fn attributes(&self, deadline: Deadline) -> Result<Probe<QueueAttributes>, Error> {
        let names = [QueueAttributeName::VisibilityTimeout, QueueAttributeName::RedrivePolicy];
        let get = self.client.get_queue_attributes().queue_url(&self.url).set_attribute_names(Some(names.to_vec()));
        let get = Box::pin(get.send());
        let found = within(deadline, CALL_TIMEOUT, &self.url, async { answered(&self.url, get.await) }).await;
        let found = found.map_err(|error| error.see(sqs::SETTING))?;
        Ok(found.map(|found| queue_attributes(&found.attributes.unwrap_or_default())))
    }
}

fn queue_attributes(attributes: &HashMap<QueueAttributeName, String>) -> QueueAttributes {
    let text = |name| attributes.get(&name).map(String::as_str).unwrap_or_default();
    let visibility = text(QueueAttributeName::VisibilityTimeout).parse().unwrap_or_default();
    let policy: Value = serde_json::from_str(text(QueueAttributeName::RedrivePolicy)).unwrap_or_default();
    let max_receives = &policy["maxReceiveCount"];
    // a number, or the same as a string: both were seen
    let max_receives = max_receives.as_str().map_or_else(|| max_receives.to_string(), str::to_owned);
    QueueAttributes { visibility: Duration::from_secs(visibility), max_receives: max_receives.parse().unwrap_or(0) }
}

impl Topic {
    /// Asks for the attributes of the topic.
    ///
    /// # Errors
    /// As SNS answers, except for a missing right.
    pub async fn look_up(&self, deadline: Deadline) -> Result<Probe<()>, Error> {
        let get = Box::pin(self.client.get_topic_attributes().topic_arn(&self.arn).send());
        let found = within(deadline, CALL_TIMEOUT, &self.arn, async { answered(&self.arn, get.await) }).await;
        let found = found.map_err(|error| error.see(sns::SETTING))?;
        Ok(found.map(|_| ()))
    }
}

impl CameraApi {
    /// Asks for a camera that does not exist. Returns the status of the answer, and the error that a GET with this answer
    /// would be.
    ///
    /// # Errors
    /// Transient if the API does not answer.
    pub async fn ask_for_camera(&self, id: &str, deadline: Deadline) -> Result<(StatusCode, Error), Error> {
        self.ask(&url_of_path(&self.cameras, &["cameras", id]), CAMERAS, deadline).await
    }

    /// Asks for the recordings of a camera that does not exist, within a span of one second.
    ///
    /// # Errors
    /// As [`Self::ask_for_camera`].
    pub async fn ask_for_recordings(&self, alias: &str, deadline: Deadline) -> Result<(StatusCode, Error), Error> {
        let mut url = url_of_path(&self.recordings, &["cameras", "recording", alias]);
        url.set_query(Some("startDate=1537119363000&endDate=1537119364000&allowPartialMatch=true"));
        self.ask(&url, RECORDINGS, deadline).await
    }

    async fn ask(&self, url: &url::Url, setting: &str, deadline: Deadline) -> Result<(StatusCode, Error), Error> {
        let answer = self.http.call(&self.call(Method::GET, url), deadline).await;
        let answer = answer.map_err(|error| error.see(setting))?;
        Ok((answer.status, permanent(url, refusal(&Method::GET, &answer)).see(setting)))
    }
}

impl<T> Probe<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Probe<U> {
        match self {
            Self::Answered(answer) => Probe::Answered(change(answer)),
            Self::Forbidden(error) => Probe::Forbidden(error),
        }
    }
}

/// Tells a missing right from other errors: expired or wrong credentials get 403, too.
fn answered<T, E>(object: &str, result: Result<T, SdkError<E, HttpResponse>>) -> Result<Probe<T>, Error>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    result.map(Probe::Answered).or_else(|error| {
        // S3, SQS and SNS each have a name of their own for it (the services' API references, "Common errors")
        let is_forbidden = match error.code() {
            Some(code) => matches!(code, "AccessDenied" | "AccessDeniedException" | "AuthorizationError"),
            None => error.raw_response().is_some_and(|answer| answer.status().as_u16() == 403),
        };
        let error = sdk_error(object, &error);
        if is_forbidden { Ok(Probe::Forbidden(error)) } else { Err(error) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_queue_is_configured_to_do() {
        let attributes = |policy: &str| {
            let visibility = (QueueAttributeName::VisibilityTimeout, "5400".to_owned());
            queue_attributes(&[visibility, (QueueAttributeName::RedrivePolicy, policy.to_owned())].into())
        };
        let visibility = Duration::from_mins(90);
        for (policy, max_receives) in [(r#"{"maxReceiveCount": 8}"#, 8), (r#"{"maxReceiveCount": "8"}"#, 8), ("", 0)] {
            assert_eq!(attributes(policy), QueueAttributes { visibility, max_receives }, "{policy}");
        }
        assert_eq!(queue_attributes(&HashMap::new()), QueueAttributes::default());
    }
}
