//! The numbers that the template of the stack sets, so that tests run with those of the stack. Readers of YAML fail at the
//! tags of `CloudFormation`, so the template is read line by line.

use std::sync::LazyLock;
use std::time::Duration;

/// The template.
pub const TEMPLATE: &str = include_str!("../../../scripts/deploy/cloudformation.yaml");

/// What the template sets, with the defaults of its parameters.
#[derive(Clone, Copy, Debug)]
pub struct StackNumbers {
    /// `maxReceiveCount` of the queue.
    pub max_receives: u32,
    /// `VisibilityTimeout` of the queue.
    pub visibility: Duration,
    /// `Timeout` of the function.
    pub timeout: Duration,
    /// Whether Lambda lets chains of messages between function and queue go on (`RecursiveLoop`).
    pub allows_loops: bool,
}

/// The numbers of the stack.
pub static STACK: LazyLock<StackNumbers> = LazyLock::new(|| StackNumbers {
    max_receives: number(TEMPLATE, "maxReceiveCount"),
    visibility: seconds("VisibilityTimeout"),
    timeout: seconds("Timeout"),
    allows_loops: TEMPLATE.lines().any(|line| line.trim() == "RecursiveLoop: Allow"),
});

/// Returns the default of a parameter of the template that is a number.
///
/// # Panics
/// If there is none of this name.
#[must_use]
pub fn default_of(parameter: &str) -> u32 {
    let (_, block) = TEMPLATE.split_once(&format!("\n  {parameter}:\n    Type: Number\n")).expect(parameter);
    number(block, "Default")
}

fn seconds(parameter: &str) -> Duration {
    Duration::from_secs(default_of(parameter).into())
}

/// Returns the first value of `property` in `text`.
fn number(text: &str, property: &str) -> u32 {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(property)?.strip_prefix(": "));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("the template has no number {property}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_visibility_of_messages_is_six_times_the_timeout_of_the_function() {
        assert_eq!(STACK.visibility, 6 * STACK.timeout);
        assert!(STACK.max_receives > 1);
    }
}
