//! What a server offers: the lines of its reply to `EHLO`.

/// What a server offers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `PIPELINING`: RFC 2920.
    pub pipelining: bool,
    /// `SIZE`: RFC 1870. The most octets that it takes; 0 is any number.
    pub size: Option<u64>,
    /// `8BITMIME`: RFC 6152.
    pub eight_bit_mime: bool,
    /// `SMTPUTF8`: RFC 6531.
    pub smtputf8: bool,
    /// `CHUNKING`: RFC 3030.
    pub chunking: bool,
    /// `BINARYMIME`: RFC 3030.
    pub binary_mime: bool,
    /// `ENHANCEDSTATUSCODES`: RFC 2034.
    pub enhanced_codes: bool,
    /// `DSN`: RFC 3461.
    pub dsn: bool,
    /// `STARTTLS`: RFC 3207.
    pub start_tls: bool,
    /// `REQUIRETLS`: RFC 8689.
    pub requiretls: bool,
    /// `AUTH PLAIN`: RFC 4954.
    pub plain: bool,
    /// `AUTH LOGIN`.
    pub login: bool,
    /// `LIMITS RCPTMAX`: RFC 9422. The most recipients of a message.
    pub most_recipients: Option<usize>,
    /// `LIMITS MAILMAX`: the most messages of a connection.
    pub most_messages: Option<u32>,
}

impl Capabilities {
    /// Reads the lines of a reply to `EHLO`. What is not known, or not as it should be, is not offered.
    #[must_use]
    pub fn read<T: AsRef<str>>(lines: &[T]) -> Self {
        let mut read = Self::default();
        // The first one greets.
        for line in lines.iter().skip(1) {
            let mut words = line.as_ref().split_ascii_whitespace();
            let Some(keyword) = words.next() else { continue };
            match &*keyword.to_ascii_uppercase() {
                "PIPELINING" => read.pipelining = true,
                "SIZE" => read.size = Some(words.next().map_or(0, size)),
                "8BITMIME" => read.eight_bit_mime = true,
                "SMTPUTF8" => read.smtputf8 = true,
                "CHUNKING" => read.chunking = true,
                "BINARYMIME" => read.binary_mime = true,
                "ENHANCEDSTATUSCODES" => read.enhanced_codes = true,
                "DSN" => read.dsn = true,
                "STARTTLS" => read.start_tls = true,
                "REQUIRETLS" => read.requiretls = true,
                "AUTH" => read.mechanisms(words),
                "LIMITS" => read.limits(words),
                // `AUTH=PLAIN`, of servers older than the standard.
                other => {
                    if let Some(first) = other.strip_prefix("AUTH=") {
                        read.mechanisms(std::iter::once(first).chain(words));
                    }
                }
            }
        }
        read
    }

    fn mechanisms<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            self.plain |= word.eq_ignore_ascii_case("PLAIN");
            self.login |= word.eq_ignore_ascii_case("LOGIN");
        }
    }

    /// RFC 9422 section 4.
    fn limits<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        for word in words {
            let Some((name, value)) = word.split_once('=') else { continue };
            if name.eq_ignore_ascii_case("RCPTMAX") {
                self.most_recipients = value.parse().ok().filter(|&most| most > 0);
            } else if name.eq_ignore_ascii_case("MAILMAX") {
                self.most_messages = value.parse().ok().filter(|&most| most > 0);
            }
        }
    }
}

/// More than fits is as good as any.
fn size(digits: &str) -> u64 {
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read() {
        let lines = [
            "mx.example.org PIPELINING",
            "size 1000",
            "8BITMIME",
            "Chunking",
            "AUTH SCRAM-SHA-256 plain",
            "LIMITS RCPTMAX=20 MAILMAX=5 OTHER=1 RCPTDOMAINMAX",
            "X-OTHER with words",
            "",
        ];
        let expected = Capabilities {
            size: Some(1000),
            eight_bit_mime: true,
            chunking: true,
            plain: true,
            most_recipients: Some(20),
            most_messages: Some(5),
            ..Capabilities::default()
        };
        assert_eq!(Capabilities::read(&lines), expected);
        for (line, expected) in [
            ("SIZE", Capabilities { size: Some(0), ..Capabilities::default() }),
            ("SIZE x", Capabilities { size: Some(0), ..Capabilities::default() }),
            ("LIMITS RCPTMAX=0 MAILMAX=-1", Capabilities::default()),
            (
                "AUTH=LOGIN PLAIN",
                Capabilities { login: true, plain: true, ..Capabilities::default() },
            ),
        ] {
            assert_eq!(Capabilities::read(&["a", line]), expected, "{line}");
        }
        assert_eq!(Capabilities::read::<&str>(&[]), Capabilities::default());
    }
}
