//! The function's rules in simulated time: outages of three hours, alarms, and crowds, in seconds of a test.
//!
//! The rules are the function's own: the body of each message, the status table, waits, delays and the last delivery. The
//! world around them is a model: SQS and its trigger by AWS's documentation (Amazon SQS Developer Guide, "Amazon SQS
//! visibility timeout", "Using dead-letter queues in Amazon SQS"; AWS Lambda Developer Guide, "Configuring scaling behavior
//! for SQS event source mappings"), services that work or do not, and invocations that take a fixed time.

mod alarms;
mod function;
mod outages;
mod scale;
mod world;
