//! The one form in which the function says that something is not as expected: `<what>: expected <what>, got <what>`. It holds
//! for settings, messages, lists and answers, so that whoever reads a line knows what to change.

use std::fmt::Display;

/// Longest part of a text that is shown, in characters.
const MAX_CHARS: usize = 24;

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
}
