//! When a message comes back (docs/contract.md, "Failed records" and "The status table"). All rules are pure: they give a
//! range of seconds, and the caller draws one of them, so that messages that failed together do not return together.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Limit of `DelaySeconds` (Amazon SQS API Reference, `SendMessage`).
pub const MAX_DELAY_S: i32 = 900;
/// `VisibilityTimeout` ends at most 12 h after the message was received (Amazon SQS Developer Guide, "Amazon SQS visibility
/// timeout"), and an invocation takes up to 15 min of that.
const MAX_HIDDEN_S: i32 = 12 * 3600 - 900;
/// Wait after the first failure.
const FIRST_WAIT_S: i32 = 15;
/// Each wait is this many times as long as the one before.
const GROWTH: i32 = 4;
const MAX_WAIT_S: i32 = 3600;
/// The waits of a queue come to at least this, so that an outage of an hour costs no message.
const MIN_TOTAL_S: i32 = 3600;
/// How long a message stays hidden after the end of an invocation that gave no answer.
const AFTER_THE_INVOCATION: Duration = Duration::from_secs(30);

/// Returns the seconds of which one is the delay of a new message: within 20 % of `delay_s`, at most [`MAX_DELAY_S`]. 0 stays
/// 0.
#[must_use]
pub fn delay_range_s(delay_s: i32) -> RangeInclusive<i32> {
    let spread = delay_s / 5;
    delay_s - spread..=(delay_s + spread).min(MAX_DELAY_S)
}

/// Returns the seconds for which messages are hidden while an invocation works on them that ends in `left`.
#[must_use]
pub fn hidden_while_working_s(left: Duration) -> i32 {
    let seconds = (left + AFTER_THE_INVOCATION).as_millis().div_ceil(1000);
    seconds.try_into().unwrap_or(i32::MAX).min(MAX_HIDDEN_S)
}

/// Returns the seconds of which one is the wait of a message that failed at its delivery `receives`, counted from 1, in a
/// queue that delivers a message `max_receives` times (0 if unknown). `retry_after` is a lower bound.
#[must_use]
pub fn wait_range_s(receives: u32, max_receives: u32, retry_after: Option<Duration>) -> RangeInclusive<i32> {
    let retry_after = retry_after.map_or(0, |delay| delay.as_millis().div_ceil(1000));
    let retry_after = retry_after.try_into().unwrap_or(i32::MAX);
    let wait = stretched(unstretched(receives), max_receives).max(retry_after).min(MAX_HIDDEN_S);
    wait..=(wait + wait / 5).min(MAX_HIDDEN_S)
}

/// Returns whether a delivery is the last one before the message moves to the dead-letter queue. Of a queue whose
/// `max_receives` is unknown (0), no delivery is.
#[must_use]
pub const fn is_last_delivery(receives: u32, max_receives: u32) -> bool {
    max_receives > 0 && receives >= max_receives
}

/// Returns 15 s, 1 min, 4 min, 16 min, and then 1 h.
fn unstretched(receives: u32) -> i32 {
    let growth = GROWTH.saturating_pow(receives.saturating_sub(1));
    FIRST_WAIT_S.saturating_mul(growth).min(MAX_WAIT_S)
}

/// Stretches a wait if the waits of the queue come to less than [`MIN_TOTAL_S`].
fn stretched(wait: i32, max_receives: u32) -> i32 {
    // more waits come to more than enough; one delivery alone is followed by no wait
    let total: i32 = (1..max_receives.min(8)).map(unstretched).sum();
    if total == 0 || total >= MIN_TOTAL_S { wait } else { (wait * MIN_TOTAL_S + total - 1) / total }.min(MAX_WAIT_S)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waits(max_receives: u32) -> Vec<i32> {
        (1..max_receives).map(|receives| *wait_range_s(receives, max_receives, None).start()).collect()
    }

    #[test]
    fn waits_15_s_then_four_times_as_long_up_to_an_hour() {
        assert_eq!(waits(8), [15, 60, 240, 960, 3600, 3600, 3600]);
        assert_eq!(*wait_range_s(1, 0, None).start(), 15, "the queue is unknown");
        assert_eq!(*wait_range_s(0, 8, None).start(), 15, "no delivery has this number");
        assert_eq!(*wait_range_s(8, 8, None).start(), 3600);
        assert_eq!(*wait_range_s(u32::MAX, 0, None).start(), 3600);
        assert_eq!(wait_range_s(5, 8, None), 3600..=4320);
    }

    #[test]
    fn eight_deliveries_outlast_an_outage_of_three_hours() {
        assert!(waits(8).iter().sum::<i32>() > 3 * 3600);
    }

    #[test]
    fn stretches_the_waits_of_a_queue_with_few_deliveries_to_an_hour() {
        assert_eq!(waits(2), [3600]);
        assert_eq!(waits(3), [720, 2880]);
        assert_eq!(waits(5), [43, 170, 678, 2711]);
        assert_eq!(waits(6), [15, 60, 240, 960, 3600]);
    }

    #[test]
    fn retry_after_is_a_lower_bound() {
        let after = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait_range_s(1, 8, after(11)), 15..=18);
        assert_eq!(wait_range_s(1, 8, after(120)), 120..=144);
        assert_eq!(wait_range_s(1, 8, Some(Duration::from_millis(120_001))), 121..=145);
        assert_eq!(wait_range_s(1, 8, after(u64::MAX)), MAX_HIDDEN_S..=MAX_HIDDEN_S);
    }

    #[test]
    fn knows_the_last_delivery() {
        for (receives, max_receives, expected) in
            [(8, 8, true), (9, 8, true), (7, 8, false), (1, 1, true), (1, 0, false), (u32::MAX, 0, false)]
        {
            assert_eq!(is_last_delivery(receives, max_receives), expected, "{receives} of {max_receives}");
        }
    }

    #[test]
    fn hides_messages_until_30_s_after_the_invocation() {
        assert_eq!(hidden_while_working_s(Duration::from_mins(5)), 330);
        assert_eq!(hidden_while_working_s(Duration::from_millis(1)), 31);
        assert_eq!(hidden_while_working_s(Duration::MAX / 2), MAX_HIDDEN_S);
    }

    #[test]
    fn a_delay_varies_by_a_fifth() {
        assert_eq!(delay_range_s(60), 48..=72);
        assert_eq!(delay_range_s(900), 720..=900);
        assert_eq!(delay_range_s(1), 1..=1);
        assert_eq!(delay_range_s(0), 0..=0);
    }

    proptest! {
        #[test]
        fn a_delay_stays_within_a_fifth_and_within_the_limit_of_sqs(delay in 0..=MAX_DELAY_S) {
            let range = delay_range_s(delay);
            prop_assert!(range.contains(&delay));
            prop_assert!(range.start() * 5 >= delay * 4 && range.end() * 5 <= delay * 6, "{range:?}");
            prop_assert!(*range.end() <= MAX_DELAY_S && (delay == 0 || *range.start() > 0));
        }

        #[test]
        fn the_waits_of_any_queue_come_to_an_hour_and_never_shrink(max_receives in 2_u32..1000) {
            let waits = waits(max_receives);
            prop_assert!(waits.iter().sum::<i32>() >= MIN_TOTAL_S);
            prop_assert!(waits.is_sorted() && waits[0] >= FIRST_WAIT_S && waits.iter().all(|&wait| wait <= MAX_WAIT_S));
        }

        #[test]
        fn a_wait_is_lengthened_by_at_most_a_fifth(receives: u32, max_receives: u32, after in 0_u64..1 << 50) {
            let range = wait_range_s(receives, max_receives, Some(Duration::from_millis(after)));
            prop_assert!((FIRST_WAIT_S..=MAX_HIDDEN_S).contains(range.start()));
            prop_assert!(range.end() >= range.start() && *range.end() <= range.start() + range.start() / 5);
        }
    }
}
