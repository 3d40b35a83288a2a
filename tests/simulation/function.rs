//! One delivery, as `pipeline.rs` goes through it: which calls it makes, in which order, and what each failure means.

use cameras_service_generate_clip::contract::message_body::Request;
use cameras_service_generate_clip::contract::retry_schedule::is_last_delivery;
use cameras_service_generate_clip::contract::status::Status;
use cameras_service_generate_clip::decision::{Facts, Limits, status};
use testkit::stack_template::STACK;

/// The defaults.
const LIMITS: Limits = Limits { video_max_len_s: 300, sqs_retry_limit_s: 900, out_of_range_limit_s: 259_200 };
/// Attempts of a call together end within this time.
const FAILED_CALL_MS: i64 = 20_000;

/// A service that can be out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    CameraApi,
    /// The bucket of recordings.
    Recordings,
    /// The bucket of clips.
    Clips,
    /// The calls of the function. Lambda still receives messages.
    Sqs,
    Sns,
}

/// How long an invocation takes, in ms.
#[derive(Clone, Copy, Debug)]
pub struct Durations {
    /// Look-ups, the status table and messages.
    pub look_up: i64,
    /// Making and storing a clip.
    pub render: i64,
}

/// What a delivery did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub took_ms: i64,
    /// Statuses that were PUT.
    pub put: Vec<Status>,
    /// The status that was published.
    pub announced: Option<Status>,
    /// Whether a clip was stored.
    pub stored: bool,
    /// The body of the message that was sent back.
    pub sent_back: Option<String>,
    /// Whether the record failed.
    pub failed: bool,
}

/// A delivery, and the world around it.
pub struct Delivery<'a> {
    pub request: &'a Request,
    pub receives: u32,
    /// Whether the clip was stored before.
    pub is_stored: bool,
    /// Whether the footage of the span exists.
    pub has_footage: bool,
    pub durations: Durations,
    /// Whether a service works.
    pub works: &'a dyn Fn(Service) -> bool,
}

impl Delivery<'_> {
    /// Works on the record.
    pub fn work(&self) -> Outcome {
        let mut outcome = Outcome { took_ms: self.durations.look_up, ..Outcome::default() };
        if self.serve(&mut outcome).is_none() {
            outcome.failed = true;
            let told_the_end = outcome.put.iter().any(|&status| status != Status::Pending);
            if is_last_delivery(self.receives, STACK.max_receives) && !told_the_end && (self.works)(Service::CameraApi)
            {
                let found = (self.works)(Service::Clips) && (self.is_stored || outcome.stored);
                outcome.put.push(if found { Status::Available } else { Status::FatalError });
            }
        }
        outcome
    }

    /// Returns `None` if a call fails.
    fn serve(&self, outcome: &mut Outcome) -> Option<()> {
        self.call(Service::Clips, outcome)?;
        if !self.is_stored {
            self.call(Service::CameraApi, outcome)?;
            if self.has_footage {
                self.call(Service::Recordings, outcome)?;
            }
            let facts = Facts {
                has_footage: self.has_footage,
                has_gap: !self.has_footage,
                may_be_filled: !self.has_footage,
                has_tail_gap: !self.has_footage,
                has_missing_object: false,
                has_unreadable_object: false,
            };
            match status(self.request, &LIMITS, facts) {
                Status::Available => {
                    outcome.took_ms += self.durations.render;
                    self.call(Service::Clips, outcome)?;
                    outcome.stored = true;
                }
                Status::Pending => {
                    self.put(Status::Pending, outcome)?;
                    self.call(Service::Sqs, outcome)?;
                    outcome.sent_back = Some(self.request.next_try());
                    return Some(());
                }
                other => return self.announce(other, outcome),
            }
        }
        self.announce(Status::Available, outcome)
    }

    fn announce(&self, status: Status, outcome: &mut Outcome) -> Option<()> {
        self.put(status, outcome)?;
        self.call(Service::Sns, outcome)?;
        outcome.announced = Some(status);
        Some(())
    }

    fn put(&self, status: Status, outcome: &mut Outcome) -> Option<()> {
        self.call(Service::CameraApi, outcome)?;
        outcome.put.push(status);
        Some(())
    }

    fn call(&self, service: Service, outcome: &mut Outcome) -> Option<()> {
        let works = (self.works)(service);
        outcome.took_ms += if works { 0 } else { FAILED_CALL_MS };
        works.then_some(())
    }
}
