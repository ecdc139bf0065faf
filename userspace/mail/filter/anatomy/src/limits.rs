//! How much of a message is read. Each limit is there because a message without it has taken a filter down somewhere.

/// How much of a message is read. What lies beyond a limit is passed over, and a [`Problem`] says so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Octets of the message. A server refuses what is larger before it comes here; this is for whoever did not ask one.
    pub message: usize,
    /// Octets of the message's header, and of each part's. Postfix stops at 100 KiB; lists and signatures fill 20 to 30.
    pub header: usize,
    /// Fields in the message's header, and in each part's. A hundred hops leave some 500.
    pub fields: usize,
    /// Octets of a field's value that are understood. The grammar of encoded words is tried anew at each `=?`, so that time
    /// grows with the square of this.
    pub value: usize,
    /// How deep parts lie in each other. Mail programs make four; forwards of forwards ten.
    pub depth: usize,
    /// Parts, all in all. Newsletters have a few dozen images, digests a hundred messages.
    pub parts: usize,
    /// Messages within messages.
    pub messages: usize,
    /// Octets of decoded content, all parts together. Decoding never makes content larger; this holds for the copies.
    pub decoded: usize,
    /// Octets of text of each kind: plain, shown by HTML, hidden by HTML. Statistics look at the first few thousand.
    pub text: usize,
    /// Octets of HTML, all pages together. Gmail cuts at 102 KiB; the largest newsletters have 500.
    pub html: usize,
    /// Tags of HTML, all pages together.
    pub tags: usize,
    /// Elements of HTML that are open at once. Browsers stop at 512.
    pub open: usize,
    /// Attributes of a tag. The first of two counts, so that each is compared with those before it.
    pub attributes: usize,
    /// Links, forms and images that are kept, of each. A mail with ten thousand links is a bomb for who looks them up.
    pub links: usize,
    /// Octets of a link that are parsed. Browsers go to 2 MB; what is longer than this carries data.
    pub link: usize,
    /// Words that are looked through for disguises.
    pub words: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 64 << 20,
            header: 256 << 10,
            fields: 1_000,
            value: 8 << 10,
            depth: 32,
            parts: 1_000,
            messages: 32,
            decoded: 64 << 20,
            text: 256 << 10,
            html: 1 << 20,
            tags: 50_000,
            open: 256,
            attributes: 64,
            links: 500,
            link: 4 << 10,
            words: 50_000,
        }
    }
}

/// What of a message was not read, or not as it was meant.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Problem {
    /// A parser gave up in a way that it should not have: what it was to tell is missing.
    Unreadable,
    /// The message is longer than [`Limits::message`].
    Message,
    /// A header is longer than [`Limits::header`] or has more than [`Limits::fields`].
    Header,
    /// Parts lie deeper than [`Limits::depth`].
    Depth,
    /// There are more than [`Limits::parts`].
    Parts,
    /// There are more than [`Limits::messages`] in it.
    Messages,
    /// Decoded content is larger than [`Limits::decoded`].
    Decoded,
    /// There is more HTML than [`Limits::html`], or more tags than [`Limits::tags`].
    Html,
    /// There is more text than [`Limits::text`].
    Text,
    /// There are more links than [`Limits::links`].
    Links,
}

/// The problems that were met, each once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Problems(u16);

impl Problems {
    /// All that there are.
    pub const ALL: [Problem; 10] = [
        Problem::Unreadable,
        Problem::Message,
        Problem::Header,
        Problem::Depth,
        Problem::Parts,
        Problem::Messages,
        Problem::Decoded,
        Problem::Html,
        Problem::Text,
        Problem::Links,
    ];

    /// Whether that one was met.
    #[must_use]
    pub const fn has(self, problem: Problem) -> bool {
        self.0 & (1 << problem as u16) != 0
    }

    /// Those that were met.
    pub fn iter(self) -> impl Iterator<Item = Problem> {
        Self::ALL.into_iter().filter(move |&problem| self.has(problem))
    }

    /// Whether there was none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn add(&mut self, problem: Problem) {
        self.0 |= 1 << problem as u16;
    }
}

/// As much of a text as has at most so many octets, cut between characters.
pub(crate) fn head(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The same of octets.
pub(crate) fn prefix(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_once() {
        let mut problems = Problems::default();
        assert!(problems.is_empty());
        for problem in Problems::ALL {
            assert!(!problems.has(problem));
            problems.add(problem);
            problems.add(problem);
            assert!(problems.has(problem), "{problem:?}");
        }
        assert_eq!(problems.iter().collect::<Vec<_>>(), Problems::ALL);
    }

    #[test]
    fn cut_between_characters() {
        for (text, most, expected) in [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("a\u{e4}b", 2, "a"),
            ("\u{1f600}", 3, ""),
            ("", 0, ""),
        ] {
            assert_eq!(head(text, most), expected, "{text} {most}");
        }
    }
}
