//! The meaning of calls: what the function states by a call, whether the statement is true, and the effect of the call.

use serde_json::Value;
use testkit::http::{self, Message};

use crate::faulty_servers::{Shared, Side};
use crate::fixture::Fixture;
use crate::scenario::{Scenario, named};

/// URL of the queue of the requests, as it follows from the ARN in each record.
const QUEUE_URL: &str = "https://sqs.us-west-1.amazonaws.com/000000000000/requests";

/// What a call states about a clip.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    Nothing,
    Put(Value),
    Announces(Value),
    SendsBack {
        body: String,
        delay_s: i64,
        /// The trace header.
        trace: Option<String>,
    },
    /// The CRC-32 that is sent with the body.
    Uploads {
        crc32: Option<String>,
    },
    /// Receipt handles, and seconds until each message is visible again.
    Hides(Vec<(String, i64)>),
    /// Receipt handles.
    Deletes(Vec<String>),
}

/// A call with its meaning.
#[derive(Debug)]
pub struct Call {
    pub name: String,
    pub statement: Statement,
}

/// The effect of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The camera API got the metadata, and answered with this status.
    Put {
        status: u16,
        metadata: Value,
    },
    Announced(Value),
    SentBack {
        body: String,
        delay_s: i64,
        trace: Option<String>,
    },
    Hidden(Vec<(String, i64)>),
    Deleted(Vec<String>),
}

impl Effect {
    /// Returns the id of the clip that the effect concerns.
    pub fn clip(&self) -> String {
        let named = |metadata: &Value| metadata["clipId"].as_str().unwrap_or_default().to_owned();
        match self {
            Self::Put { metadata, .. } | Self::Announced(metadata) => named(metadata),
            Self::SentBack { body, .. } => named(&serde_json::from_str(body).unwrap_or_default()),
            Self::Hidden(_) | Self::Deleted(_) => String::new(),
        }
    }
}

impl Call {
    pub fn of(fixture: &Fixture, side: Side, request: &Message) -> Self {
        let json = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
        let path: Vec<&str> = request.path().split('/').collect();
        if side == Side::Camera {
            let (what, statement) = match path[..] {
                ["", "cameras", "recording", _] => ("recordings", Statement::Nothing),
                ["", "cameras", "clips", _] => ("clip", Statement::Put(json())),
                _ => ("camera", Statement::Nothing),
            };
            return Self { name: format!("camera {} {what}", request.method()), statement };
        }
        let target = request.header("X-Amz-Target").unwrap_or_default();
        if target.ends_with("Batch") {
            return Self::of_a_batch(target.rsplit('.').next().unwrap_or_default(), &json());
        }
        if target.ends_with("SendMessage") {
            let message = json();
            let body = message["MessageBody"].as_str().unwrap_or_default().to_owned();
            let delay_s = message["DelaySeconds"].as_i64().unwrap_or_default();
            let trace = request.header("X-Amzn-Trace-Id").map(str::to_owned);
            let statement = Statement::SendsBack { body, delay_s, trace };
            return Self { name: "SQS SendMessage".to_owned(), statement };
        }
        let form = |name: &str| {
            url::form_urlencoded::parse(&request.body)
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into_owned())
        };
        if request.method() == "POST" && form("Action").as_deref() == Some("Publish") {
            let message =
                form("Message").and_then(|message| serde_json::from_str::<Value>(&message).ok()).unwrap_or_default();
            let metadata =
                message["default"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            return Self { name: "SNS Publish".to_owned(), statement: Statement::Announces(metadata) };
        }
        let what = match path.get(1) {
            Some(&bucket) if bucket == fixture.origin => "recording",
            _ if request.path().contains(".mp4") => "clip",
            _ => "thumbnail",
        };
        let statement = match request.method() {
            "PUT" => Statement::Uploads { crc32: request.header("x-amz-checksum-crc32").map(str::to_owned) },
            _ => Statement::Nothing,
        };
        Self { name: format!("S3 {} {what}", request.method()), statement }
    }

    fn of_a_batch(action: &str, batch: &Value) -> Self {
        assert_eq!(batch["QueueUrl"], QUEUE_URL);
        let entries = batch["Entries"].as_array().expect("entries");
        let handle = |entry: &Value| entry["ReceiptHandle"].as_str().expect("a handle").to_owned();
        let statement = if action == "DeleteMessageBatch" {
            Statement::Deletes(entries.iter().map(handle).collect())
        } else {
            let seconds = |entry: &Value| entry["VisibilityTimeout"].as_i64().expect("seconds");
            Statement::Hides(entries.iter().map(|entry| (handle(entry), seconds(entry))).collect())
        };
        Self { name: format!("SQS {action}"), statement }
    }
}

/// Records a violation if the statement of a call is untrue at the moment at which it is made.
pub async fn judge(shared: &Shared, call: &Call) {
    let wrong = match &call.statement {
        Statement::Nothing | Statement::Deletes(_) | Statement::Uploads { crc32: Some(_) } => None,
        Statement::Uploads { crc32: None } => Some("an upload without its CRC-32".to_owned()),
        Statement::Hides(messages) => {
            let odd = messages.iter().find(|(_, seconds)| !(15..=43_200).contains(seconds));
            odd.map(|(_, seconds)| format!("a message is hidden for {seconds} s"))
        }
        Statement::SendsBack { delay_s, .. } if !(48..=72).contains(delay_s) => {
            Some(format!("the message was sent back with a delay of {delay_s} s: expected 60 s ± 20 %"))
        }
        Statement::SendsBack { .. } => {
            let put = |effect: &Effect| match effect {
                Effect::Put { metadata, .. } => Some(metadata["status"] == "CLIP_PENDING"),
                _ => None,
            };
            let pending = shared.state().effects.iter().rev().find_map(put);
            (pending != Some(true)).then(|| "the message was sent back before CLIP_PENDING was PUT".to_owned())
        }
        Statement::Put(metadata) => untrue(shared, metadata).await,
        Statement::Announces(metadata) => {
            // the API has been told, or has refused it for good
            let told = |effect: &Effect| {
                matches!(effect, Effect::Put { status, metadata: put } if put == metadata
                    && (200..300).contains(status) | (400..500).contains(status) && *status != 429)
            };
            let told = shared.state().effects.iter().any(told);
            match untrue(shared, metadata).await {
                None if !told => Some("the metadata were announced before they were PUT".to_owned()),
                None => scenario(metadata)
                    .filter(|scenario| scenario.ends.iter().all(|&end| metadata["status"] != end))
                    .map(|_| format!("announced with the status {}", metadata["status"])),
                wrong => wrong,
            }
        }
    };
    if let Some(wrong) = wrong {
        let mut state = shared.state();
        let index = state.calls.len();
        state.violations.push(format!("call {} ({}): {wrong}", index - 1, call.name));
    }
}

fn scenario(metadata: &Value) -> Option<&'static Scenario> {
    named(metadata["cameraId"].as_str()?)
}

/// Returns what is untrue of `metadata`, if anything.
async fn untrue(shared: &Shared, metadata: &Value) -> Option<String> {
    let Some(scenario) = scenario(metadata) else { return Some(format!("no request has {metadata}")) };
    let status = metadata["status"].as_str().unwrap_or_default();
    let fatal_is_true = {
        let state = shared.state();
        state.fatal_is_true || state.is_last_delivery
    };
    let fatal = status == "FATAL_ERROR" && fatal_is_true;
    if !fatal && !scenario.may.contains(&status) {
        return Some(format!("{status} is untrue for {}", scenario.camera));
    }
    if status != "CLIP_AVAILABLE" {
        return None;
    }
    let reference = shared.fixture.reference(scenario.camera)?;
    if Fixture::without_clip(metadata) != reference.metadata {
        return Some(format!("unexpected metadata: {metadata}"));
    }
    let stored = shared.fixture.stored(scenario.camera, metadata["clipId"].as_str().unwrap_or_default()).await;
    let lengths = |objects: &Vec<Vec<u8>>| objects.iter().map(Vec::len).collect::<Vec<_>>();
    (stored.as_ref() != Some(&reference.objects)).then(|| {
        let (stored, usual) = (stored.as_ref().map(lengths), lengths(&reference.objects));
        format!("the announced objects are not stored: expected {usual:?} bytes, got {stored:?}")
    })
}

/// Passes a call on to ministack, and records its effect.
pub async fn aws(shared: &Shared, call: &Call, request: &Message) -> Message {
    // the queue of the requests is not one of ministack
    let effect = match &call.statement {
        Statement::Hides(messages) => Some(Effect::Hidden(messages.clone())),
        Statement::Deletes(handles) => Some(Effect::Deleted(handles.clone())),
        _ => None,
    };
    if let Some(effect) = effect {
        shared.state().effects.push(effect);
        return Message::answer(200, r#"{"Successful": [], "Failed": []}"#);
    }
    let answer = match http::call(&shared.fixture.ministack, request).await {
        Ok(answer) => answer,
        Err(error) => {
            shared.state().violations.push(format!("cannot call ministack: {error}"));
            Message::answer(500, "")
        }
    };
    let effect = match &call.statement {
        Statement::Announces(metadata) => Effect::Announced(metadata.clone()),
        Statement::SendsBack { body, delay_s, trace } => {
            Effect::SentBack { body: body.clone(), delay_s: *delay_s, trace: trace.clone() }
        }
        _ => return answer,
    };
    if (200..300).contains(&answer.status()) {
        shared.state().effects.push(effect);
    }
    answer
}

/// Returns the answer of the camera API.
pub fn camera(shared: &Shared, request: &Message) -> Message {
    let last = request.path().rsplit('/').next().unwrap_or_default();
    let scenario = named(last);
    match scenario {
        _ if request.method() == "PUT" => Message::answer(200, "{}"),
        Some(scenario) if request.path().contains("/recording/") => {
            let state = shared.state();
            let listed = state.listed.as_ref().map(|name| serde_json::json!([scenario.entry(name)]));
            Message::answer(200, listed.unwrap_or_else(|| scenario.listed(state.age_ms)).to_string())
        }
        Some(scenario) => Message::answer(
            200,
            serde_json::json!({"alias": scenario.camera, "secret": crate::scenario::CANARY}).to_string(),
        ),
        None => Message::answer(404, "{}"),
    }
}
