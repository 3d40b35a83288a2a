//! The one form in which the function says that something is not as expected: `<what>: expected <what>, got <what>`. It holds
//! for settings, messages, lists and answers, so that whoever reads a line knows what to change.

use std::fmt::Display;

use serde_json::Value;

/// Longest part of a text that is shown, in characters.
const MAX_CHARS: usize = 24;

/// Most fields of an object that are named.
const MAX_FIELDS: usize = 5;

/// Returns the sentence about `what`.
pub fn mismatch(what: impl Display, expected: impl Display, got: impl Display) -> String {
    format!("{what}: expected {expected}, got {got}")
}

/// Returns what is shown of a text from outside: all of a short one, else its length and its first characters, with control
/// characters escaped. Not for texts that may hold a secret, such as URLs.
#[must_use]
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        None if text.is_empty() => "nothing".to_owned(),
        None => format!("{text:?}"),
        Some((end, _)) => format!("{} bytes beginning with {:?}", text.len(), &text[..end]),
    }
}

/// Returns the kind of a value from outside.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Returns what is shown of an object from outside: the names of its first fields, and never a value.
pub fn fields<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(MAX_FIELDS).map(|name| name_of_field(name)).collect();
    match (shown.is_empty(), names.count()) {
        (true, _) => "an object without fields".to_owned(),
        (false, 0) => format!("an object with {}", shown.join(", ")),
        (false, more) => format!("an object with {} and {more} more", shown.join(", ")),
    }
}

/// A plain name as it is, any other one quoted.
fn name_of_field(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_short = (1..=MAX_CHARS).contains(&name.len());
    if is_short && name.chars().all(is_plain) { name.to_owned() } else { shown(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_expected_and_shows_what_came() {
        assert_eq!(mismatch("clipId", "a string", shown("a\u{1}b")), r#"clipId: expected a string, got "a\u{1}b""#);
        assert_eq!(shown(""), "nothing");
        assert_eq!(shown(&"é".repeat(24)), format!("{:?}", "é".repeat(24)));
        assert_eq!(shown(&"é".repeat(25)), format!("50 bytes beginning with {:?}", "é".repeat(24)));
    }

    #[test]
    fn names_the_first_fields_of_an_object() {
        for (names, told) in [
            (&[][..], "an object without fields"),
            (&["Records"], "an object with Records"),
            (&["detail-type", "a\n"], r#"an object with detail-type, "a\n""#),
            (&["a", "b", "c", "d", "e", "f", "g"], "an object with a, b, c, d, e and 2 more"),
        ] {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(fields(&names), told);
        }
    }
}
