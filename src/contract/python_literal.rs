//! Turns the text of a Python literal into JSON. Producers write message bodies as Python's `str(dict)`, with single
//! quotes (docs/contract.md, "The message body"). Nothing is evaluated: the reader knows strings, numbers, `True`, `False`,
//! `None`, lists, tuples and dictionaries, as `ast.literal_eval` does, and JSON's words `true`, `false` and `null`.

use serde_json::value::to_raw_value;

/// No message is nested this deep. The limit bounds the stack of the recursion.
const MAX_DEPTH: usize = 32;

/// Words of Python and JSON, each with JSON's word for the same value.
const WORDS: [(&str, &str); 6] =
    [("True", "true"), ("False", "false"), ("None", "null"), ("true", "true"), ("false", "false"), ("null", "null")];

/// Returns the same value as JSON text. Numbers keep their digits.
///
/// # Errors
/// Says what was expected at which byte. Never repeats the text.
pub fn to_json(text: &str) -> Result<String, String> {
    let mut reader = Reader { text, at: 0, json: String::with_capacity(text.len()) };
    reader.value(0)?;
    reader.skip_blanks();
    if reader.at == text.len() { Ok(reader.json) } else { Err(reader.unexpected("the end")) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    json: String,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn unexpected(&self, expected: &str) -> String {
        format!("expected {expected} at byte {}", self.at)
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    /// Skips blanks and `token`, and returns whether `token` was there.
    fn accept(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let here = self.rest().starts_with(token);
        if here {
            self.at += token.len();
        }
        here
    }

    fn value(&mut self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(self.unexpected("fewer nested brackets"));
        }
        self.skip_blanks();
        match self.rest().bytes().next() {
            Some(b'{') => self.items("{", "}", ("{", "}"), |reader| {
                reader.string()?;
                if !reader.accept(":") {
                    return Err(reader.unexpected("':'"));
                }
                reader.json.push(':');
                reader.value(depth + 1)
            }),
            Some(b'[') => self.items("[", "]", ("[", "]"), |reader| reader.value(depth + 1)),
            Some(b'(') => self.items("(", ")", ("[", "]"), |reader| reader.value(depth + 1)),
            Some(b'\'' | b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, json) in WORDS {
                    if self.accept(word) {
                        self.json.push_str(json);
                        return Ok(());
                    }
                }
                self.string() // with a prefix, or an error
            }
        }
    }

    /// Reads `open item, item, close`; a comma may stand before `close`.
    fn items(
        &mut self,
        open: &str,
        close: &str,
        json: (&str, &str),
        item: impl Fn(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.accept(open);
        self.json.push_str(json.0);
        let mut first = true;
        while !self.accept(close) {
            if !first {
                self.json.push(',');
            }
            item(self)?;
            first = false;
            if !self.accept(",") {
                if self.accept(close) {
                    break;
                }
                return Err(self.unexpected("',' or the closing bracket"));
            }
        }
        self.json.push_str(json.1);
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let length = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let digits = &rest[..length];
        if serde_json::from_str::<serde_json::Number>(digits).is_err() {
            return Err(self.unexpected("a number"));
        }
        let digits = digits.to_owned();
        self.json.push_str(&digits);
        self.at += length;
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        self.skip_blanks();
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1; // Python 2 wrote u'…'
        }
        let quote =
            self.rest().chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(|| self.unexpected("a value"))?;
        self.at += 1;
        let mut content = String::new();
        loop {
            let c = self.next_char()?;
            match c {
                '\\' => content.extend(self.escape()?),
                '\n' | '\r' => return Err(self.unexpected("the closing quote")),
                c if c == quote => break,
                c => content.push(c),
            }
        }
        let json = to_raw_value(&content).map_err(|error| error.to_string())?;
        self.json.push_str(json.get());
        Ok(())
    }

    fn next_char(&mut self) -> Result<char, String> {
        let c = self.rest().chars().next().ok_or_else(|| self.unexpected("the closing quote"))?;
        self.at += c.len_utf8();
        Ok(c)
    }

    /// Reads what follows a backslash (The Python Language Reference, section 2.4.1.1). Returns `None` for a line that
    /// goes on after its end.
    fn escape(&mut self) -> Result<Option<char>, String> {
        Ok(Some(match self.next_char()? {
            '\n' => return Ok(None),
            c @ ('\\' | '\'' | '"') => c,
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' => self.code_point(2)?,
            'u' => self.code_point(4)?,
            'U' => self.code_point(8)?,
            _ => return Err(self.unexpected("a known escape")),
        }))
    }

    fn code_point(&mut self, digits: usize) -> Result<char, String> {
        let hex = self.rest().get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let c = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        let c = c.ok_or_else(|| self.unexpected("a code point"))?;
        self.at += digits;
        Ok(c)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn parsed(text: &str) -> Value {
        let json = to_json(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{text} became {json}: {error}"))
    }

    #[test]
    fn reads_what_python_writes() {
        let table = [
            (r"{'a': [], 'b': {}, 'c': ()}", json!({"a": [], "b": {}, "c": []})),
            (r"{'a': True, 'b': False, 'c': None,}", json!({"a": true, "b": false, "c": null})),
            (r#"{"it's": 'say "hi"'}"#, json!({"it's": "say \"hi\""})),
            (r"{'it\'s': u'caf\xe9 \u20ac \U0001F30A \\ \n'}", json!({"it's": "café € 🌊 \\ \n"})),
            ("[ -1.5e3 , 0,\n(1,) ]", json!([-1500.0, 0, [1]])),
            (r"'Mañana'", json!("Mañana")),
        ];
        for (text, expected) in table {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_the_words_of_json() {
        assert_eq!(to_json("{'a': [true, false, null]}").as_deref(), Ok(r#"{"a":[true,false,null]}"#));
        for text in ["nul", "TRUE", "truefalse", "undefined"] {
            to_json(text).expect_err(text);
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(to_json("[12345678901234567890123, 1.10]").as_deref(), Ok("[12345678901234567890123,1.10]"));
    }

    #[test]
    fn refuses_everything_else_without_repeating_it() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "{'a'}",
            "{'a': }",
            "{'a': 1",
            "['a' 'b']",
            "[,]",
            "'a",
            "'a\nb'",
            r"'\N{DASH}'",
            r"'\x4'",
            r"'\ud800'",
            "01",
            "1_000",
            "0x10",
            "1j",
            "-",
            "{1: 2}",
            "{'a': secret()}",
            "__import__('os')",
            "f'{secret}'",
            "b'secret'",
            "None None",
            &deep,
        ] {
            let error = to_json(text).expect_err(text);
            assert!(!error.contains("secret"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_text(text in any::<String>()) {
            let _ = to_json(&text);
        }

        #[test]
        fn reads_any_string_in_either_quote(content in any::<String>()) {
            for quote in ['\'', '"'] {
                let mut literal = String::from(quote);
                for c in content.chars() {
                    match c {
                        '\n' => literal.push_str("\\n"),
                        '\r' => literal.push_str("\\r"),
                        c if c == quote || c == '\\' => literal.extend(['\\', c]),
                        c => literal.push(c),
                    }
                }
                literal.push(quote);
                prop_assert_eq!(parsed(&literal), json!(content));
            }
        }
    }
}
