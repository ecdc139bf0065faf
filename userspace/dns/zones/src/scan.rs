//! Zone files into entries: the lexical half of RFC 1035 section 5.1.

/// One entry: a line, or several in parentheses.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where it begins, from 1.
    pub(crate) line: u32,
    /// Whether it begins with a blank, and so belongs to the owner before it.
    pub(crate) indented: bool,
    /// Never empty.
    pub(crate) tokens: Vec<Token>,
}

/// A word or a quoted string. Escapes are still in it: only names and strings know what they mean.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Without the quotes.
    pub(crate) text: Vec<u8>,
    /// `"@"` is not `@`.
    pub(crate) quoted: bool,
    /// Where it is.
    pub(crate) line: u32,
}

/// What can't be an entry, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) line: u32,
    pub(crate) what: String,
}

/// Walks over a file. After a fault it goes on at the next line.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        // A byte order mark is no part of the first owner.
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Self { text, at: 0, line: 1 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn bump(&mut self) {
        if self.peek() == Some(b'\n') {
            self.line = self.line.saturating_add(1);
        }
        self.at += 1;
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.bump();
        }
    }

    fn fault(&mut self, line: u32, what: impl Into<String>) -> Option<Result<Entry, Fault>> {
        self.skip_line();
        Some(Err(Fault { line, what: what.into() }))
    }

    /// A word or string; `None` at an unclosed quote.
    fn token(&mut self) -> Option<Token> {
        let line = self.line;
        let mut text = Vec::new();
        let quoted = self.peek() == Some(b'"');
        let mut inside = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' if inside && quoted => {
                    self.bump();
                    return Some(Token { text, quoted, line });
                }
                // Also in the middle of a word, for the parameters of SVCB: alpn="h2,h3".
                b'"' => {
                    inside = !inside;
                    self.bump();
                }
                b'\n' if inside => return None,
                b'\\' => {
                    text.push(byte);
                    self.bump();
                    match self.peek() {
                        None | Some(b'\n') => {}
                        Some(next) => {
                            text.push(next);
                            self.bump();
                        }
                    }
                }
                b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' if !inside => break,
                other => {
                    text.push(other);
                    self.bump();
                }
            }
        }
        (!inside).then_some(Token { text, quoted, line })
    }
}

impl Iterator for Scanner<'_> {
    type Item = Result<Entry, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut opened: Option<u32> = None;
        let mut indented = matches!(self.peek(), Some(b' ' | b'\t'));
        let mut line = self.line;
        loop {
            match self.peek() {
                None => match opened {
                    Some(at) => {
                        return self.fault(at, "the parenthesis opened here is never closed");
                    }
                    None if tokens.is_empty() => return None,
                    None => return Some(Ok(Entry { line, indented, tokens })),
                },
                Some(b'\n') => {
                    self.bump();
                    if opened.is_some() {
                        continue;
                    }
                    if !tokens.is_empty() {
                        return Some(Ok(Entry { line, indented, tokens }));
                    }
                    indented = matches!(self.peek(), Some(b' ' | b'\t'));
                    line = self.line;
                }
                Some(b' ' | b'\t' | b'\r') => self.bump(),
                Some(b';') => self.skip_line(),
                Some(b'(') => {
                    if opened.is_some() {
                        return self.fault(self.line, "a parenthesis within a parenthesis");
                    }
                    opened = Some(self.line);
                    self.bump();
                }
                Some(b')') => {
                    if opened.take().is_none() {
                        return self
                            .fault(self.line, "a closing parenthesis without an opening one");
                    }
                    self.bump();
                }
                Some(_) => {
                    let at = self.line;
                    match self.token() {
                        Some(token) => tokens.push(token),
                        None => return self.fault(at, "a quoted string is not closed on its line"),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Vec<String> {
        Scanner::new(text.as_bytes())
            .map(|entry| match entry {
                Ok(entry) => {
                    let words: Vec<_> = entry
                        .tokens
                        .iter()
                        .map(|token| {
                            let text = String::from_utf8_lossy(&token.text).into_owned();
                            if token.quoted { format!("<{text}>") } else { text }
                        })
                        .collect();
                    format!(
                        "{}{}{}",
                        entry.line,
                        if entry.indented { "+" } else { ":" },
                        words.join("|")
                    )
                }
                Err(fault) => format!("{}!", fault.line),
            })
            .collect()
    }

    #[test]
    fn entries() {
        for (text, entries) in [
            ("", vec![]),
            ("\n ; nothing\n\t\n", vec![]),
            ("a b ; c\n  d", vec!["1:a|b", "2+d"]),
            ("\n\na ( b ; x ) \n c )\r\nd", vec!["3:a|b|c", "5:d"]),
            ("a(b)c", vec!["1:a|b|c"]),
            (r#"a "b ; c" "" "d\"e" f\;g"#, vec![r#"1:a|<b ; c>|<>|<d\"e>|f\;g"#]),
            (r#"k="v w" x"#, vec!["1:k=v w|x"]),
            ("a \"b\nc", vec!["1!", "2:c"]),
            ("a (\nb\n", vec!["1!"]),
            ("a )\nb", vec!["1!", "2:b"]),
            ("a ( (\nb", vec!["1!", "2:b"]),
            ("\u{feff}a b", vec!["1:a|b"]),
        ] {
            assert_eq!(scan(text), entries, "{text:?}");
        }
    }
}
