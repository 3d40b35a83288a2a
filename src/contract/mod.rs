//! What other systems depend on: messages, statuses, names and keys. Everything here is pure; docs/contract.md says it in
//! prose.

pub mod clip_metadata;
pub mod message_body;
pub mod object_keys;
mod python_literal;
pub mod recording_name;
pub mod retry_schedule;
pub mod self_check_table;
pub mod sqs_event;
pub mod status;
