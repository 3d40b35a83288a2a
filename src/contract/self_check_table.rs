//! The self-check: its event, and the table that answers it (docs/contract.md, "Self-check").

use serde::Serialize;
use serde_json::{Value, json};

/// Returns whether an event asks for a self-check.
#[must_use]
pub fn asks_for_self_check(event: &Value) -> bool {
    *event == json!({"selfCheck": true})
}

/// The result of a self-check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    #[serde(rename = "selfCheck")]
    pub checks: Vec<Check>,
}

/// What became of one thing that the function needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub thing: &'static str,
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What is missing, in words; of a thing that works, what looks wrong. Often empty.
    pub missing: String,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display, strum::IntoStaticStr)]
#[serde(into = "&'static str")]
pub enum Outcome {
    #[strum(serialize = "works")]
    Works,
    #[strum(serialize = "fails")]
    Fails,
    /// The role may not do what would tell, or trying it would announce something.
    #[strum(serialize = "can't be told")]
    Unknown,
}

impl Table {
    /// Returns the checks with this outcome.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.outcome == outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_very_event_asks_for_a_self_check() {
        assert!(asks_for_self_check(&json!({"selfCheck": true})));
        for other in [json!({"selfCheck": false}), json!({"selfCheck": true, "Records": []}), json!({}), json!(true)] {
            assert!(!asks_for_self_check(&other), "{other}");
        }
    }

    #[test]
    fn is_written_as_the_contract_shows_it() {
        let check = |thing, outcome| Check { thing, outcome, ms: 7, missing: String::new() };
        let table = Table { checks: vec![check("queue", Outcome::Works), check("topic", Outcome::Unknown)] };
        let written = serde_json::to_value(&table).expect("serializes");
        assert_eq!(written["selfCheck"][0], json!({"thing": "queue", "outcome": "works", "ms": 7, "missing": ""}));
        assert_eq!(written["selfCheck"][1]["outcome"], "can't be told");
        assert_eq!(table.with(Outcome::Fails).count(), 0);
    }
}
