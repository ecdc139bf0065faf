//! Words of a line of pairs: names, operators, values with their quotes.

use crate::pair::{Operator, PairError};
use crate::value::nibble;

/// Walks over one line.
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn bump(&mut self) {
        self.rest = self.rest.split_first().map_or(&[], |(_, rest)| rest);
    }

    pub(crate) fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Whether nothing follows but a comment.
    pub(crate) fn at_end(&self) -> bool {
        matches!(self.peek(), None | Some(b'#'))
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !wanted(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// The name of an attribute; empty if there is none.
    pub(crate) fn name(&mut self) -> &'a str {
        let name = self.take_while(is_name_byte);
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// What follows a colon right behind the name.
    pub(crate) fn tag(&mut self) -> Option<&'a [u8]> {
        self.rest = self.rest.strip_prefix(b":")?;
        Some(self.take_while(is_name_byte))
    }

    pub(crate) fn operator(&mut self) -> Result<Operator, PairError> {
        let start = self.rest;
        let symbol = self.take_while(|byte| b":=+!<>~*-^&|".contains(&byte));
        // `Attr=-1`: a sign is no part of the operator, and neither is the `*` of nothing.
        (1..=symbol.len().min(2))
            .rev()
            .find_map(|length| {
                let symbol = std::str::from_utf8(symbol.get(..length)?).ok()?;
                let operator = symbol.parse().ok()?;
                self.rest = start.get(length..)?;
                Some(operator)
            })
            .ok_or_else(|| PairError::Operator(String::from_utf8_lossy(symbol).into_owned()))
    }

    /// A value: up to a blank or comma, or what stands in quotes.
    pub(crate) fn value(&mut self) -> Result<Vec<u8>, PairError> {
        match self.peek() {
            Some(b'"') => {
                self.bump();
                self.double_quoted()
            }
            Some(b'\'') => {
                self.bump();
                self.single_quoted()
            }
            Some(b'`') => Err(PairError::Command),
            _ => {
                let bare = self.take_while(|byte| !byte.is_ascii_whitespace() && byte != b',');
                if bare.is_empty() {
                    return Err(PairError::NoValue);
                }
                refuse_expansion(bare)?;
                Ok(bare.to_vec())
            }
        }
    }

    fn double_quoted(&mut self) -> Result<Vec<u8>, PairError> {
        let mut value = Vec::new();
        let start = self.rest;
        loop {
            let byte = self.peek().ok_or(PairError::Unclosed('"'))?;
            self.bump();
            match byte {
                b'"' => break,
                b'\\' => value.push(self.escape()?),
                other => value.push(other),
            }
        }
        let read = start.len().saturating_sub(self.rest.len());
        refuse_expansion(start.get(..read).unwrap_or_default())?;
        Ok(value)
    }

    /// What follows a backslash in double quotes.
    fn escape(&mut self) -> Result<u8, PairError> {
        let (byte, length) = match *self.rest {
            [] => return Err(PairError::Unclosed('"')),
            [high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] => {
                ((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'), 3)
            }
            [b'x', high, low, ..] if nibble(high).is_some() && nibble(low).is_some() => {
                (nibble(high).unwrap_or(0) << 4 | nibble(low).unwrap_or(0), 3)
            }
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [other, ..] => (other, 1),
        };
        self.rest = self.rest.get(length..).unwrap_or_default();
        Ok(byte)
    }

    /// All as it is, but `\'` and `\\`.
    fn single_quoted(&mut self) -> Result<Vec<u8>, PairError> {
        let mut value = Vec::new();
        loop {
            let byte = self.peek().ok_or(PairError::Unclosed('\''))?;
            self.bump();
            match (byte, self.peek()) {
                (b'\'', _) => return Ok(value),
                (b'\\', Some(escaped @ (b'\'' | b'\\'))) => {
                    value.push(escaped);
                    self.bump();
                }
                (other, _) => value.push(other),
            }
        }
    }
}

/// What the names of attributes are made of.
pub(crate) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)
}

/// FreeRADIUS puts something else in the place of `%{...}`: sending it as it is would be wrong, silently.
fn refuse_expansion(raw: &[u8]) -> Result<(), PairError> {
    if raw.windows(2).any(|pair| pair == b"%{") { Err(PairError::Expansion) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_and_without_quotes() {
        for (text, value, rest) in [
            ("abc, def", "abc", ", def"),
            ("abc#def ", "abc#def", " "),
            (r#""a, \"b\" \\ c" x"#, r#"a, "b" \ c"#, " x"),
            (r#""\t\101\x42\q\18""#, "\tABq18", ""),
            (r#""""#, "", ""),
            (r"'a \n \' \\ %{x}',", r"a \n ' \ %{x}", ","),
            ("10.0.0.1", "10.0.0.1", ""),
        ] {
            let mut lexer = Lexer::new(text.as_bytes());
            assert_eq!(
                lexer.value().map(|value| String::from_utf8(value).unwrap()),
                Ok(value.into())
            );
            assert_eq!(lexer.rest(), rest.as_bytes(), "{text}");
        }
        for (text, error) in [
            ("", PairError::NoValue),
            (", x", PairError::NoValue),
            ("\"abc", PairError::Unclosed('"')),
            ("\"abc\\\"", PairError::Unclosed('"')),
            ("'abc", PairError::Unclosed('\'')),
            ("`date`", PairError::Command),
            ("%{User-Name}", PairError::Expansion),
            ("\"Hello, %{User-Name}\"", PairError::Expansion),
        ] {
            assert_eq!(Lexer::new(text.as_bytes()).value(), Err(error), "{text}");
        }
    }

    #[test]
    fn operators() {
        for (text, operator, rest) in [
            (":= 5", Operator::Set, " 5"),
            ("=-1", Operator::Equal, "-1"),
            ("=* ANY", Operator::Present, " ANY"),
            (">=7", Operator::GreaterOrEqual, "7"),
            ("=~^a", Operator::Matches, "^a"),
        ] {
            let mut lexer = Lexer::new(text.as_bytes());
            assert_eq!(lexer.operator(), Ok(operator), "{text}");
            assert_eq!(lexer.rest(), rest.as_bytes(), "{text}");
        }
        assert_eq!(Lexer::new(b"-= 5").operator(), Err(PairError::Operator("-=".into())));
        assert_eq!(Lexer::new(b"5").operator(), Err(PairError::Operator(String::new())));
    }
}
