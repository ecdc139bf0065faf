//! Newsletters: a writer has one look for all of them, and what differs is words, links that know who follows them, and pictures'
//! addresses.

use std::fmt::Write as _;

use crate::random::Random;

use super::words::Words;
use super::{below, pick, token};

/// Writers.
const WRITERS: u64 = 60;

/// All writers.
#[derive(Debug)]
pub(super) struct Newsletters {
    writers: Vec<Writer>,
}

/// One's look.
#[derive(Debug)]
struct Writer {
    domain: String,
    head: String,
    item: [String; 4],
    foot: String,
}

/// One newsletter, both parts.
#[derive(Debug)]
pub(super) struct Issue {
    pub(super) text: Vec<u8>,
    /// Quoted-printable.
    pub(super) html: Vec<u8>,
}

impl Newsletters {
    pub(super) fn new(words: &Words) -> Self {
        let mut random = Random::seeded(2);
        Self { writers: (0..WRITERS).map(|_| Writer::new(words, &mut random)).collect() }
    }

    /// One of about so many bytes of HTML.
    pub(super) fn issue(&self, words: &Words, bytes: usize, random: &mut Random) -> Issue {
        // Some write more often than others.
        let at = below(random, WRITERS).min(below(random, WRITERS)) as usize;
        let Some(writer) = self.writers.get(at) else {
            return Issue { text: Vec::new(), html: Vec::new() };
        };
        let mut html = writer.head.clone();
        let mut text = Vec::new();
        while html.len() + writer.foot.len() < bytes {
            writer.write_item(&mut html, &mut text, words, random);
        }
        html.push_str(&writer.foot.replace("%LINK%", &writer.link(random)));
        Issue { text, html: quoted_printable(&html) }
    }
}

impl Writer {
    fn new(words: &Words, random: &mut Random) -> Self {
        let domain = format!("{}.example", words.name(random));
        let mut styles = String::new();
        for _ in 0..8 + below(random, 24) {
            let _ = writeln!(styles, "      .{} {{ {} }}", words.name(random), style(random));
        }
        let head = format!(
            "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\">\n  <head>\n    \
             <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\">\n    \
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1.0\">\n    \
             <style type=\"text/css\">\n{styles}    </style>\n  </head>\n  <body style=\"{}\">\n",
            style(random)
        );
        let item = std::array::from_fn(|_| {
            let (outer, inner, link) = (style(random), style(random), style(random));
            format!(
                "    <table role=\"presentation\" border=\"0\" cellpadding=\"0\" cellspacing=\"0\" width=\"600\" \
                 style=\"{outer}\">\n      <tr>\n        <td align=\"left\" valign=\"top\" style=\"{inner}\">\n          \
                 <a href=\"%LINK%\" style=\"{link}\"><img src=\"%IMAGE%\" width=\"280\" alt=\"%TITLE%\"></a>\n          \
                 <h2><a href=\"%LINK%\" style=\"{link}\">%TITLE%</a></h2>\n          <p style=\"{inner}\">%TEXT%</p>\n        \
                 </td>\n      </tr>\n    </table>\n"
            )
        });
        let foot = format!(
            "    <p style=\"{}\">{} <a href=\"%LINK%\">{}</a></p>\n  </body>\n</html>\n",
            style(random),
            String::from_utf8_lossy(&words.sentence(random)),
            words.name(random)
        );
        Self { domain, head, item, foot }
    }

    fn write_item(
        &self,
        html: &mut String,
        text: &mut Vec<u8>,
        words: &Words,
        random: &mut Random,
    ) {
        let title = String::from_utf8_lossy(&words.sentence(random)).into_owned();
        let mut content = Vec::new();
        for _ in 0..1 + below(random, 5) {
            content.extend(words.sentence(random));
            content.push(b' ');
        }
        let content = String::from_utf8_lossy(&content).into_owned();
        let (link, image) = (self.link(random), self.image(random));
        let at = below(random, self.item.len() as u64) as usize;
        let item = self.item.get(at).map_or("", String::as_str);
        let filled = item
            .replace("%IMAGE%", &image)
            .replace("%TITLE%", &title)
            .replace("%TEXT%", content.trim_end());
        // Each place has a link of its own, as it is counted which one is followed.
        let mut rest = filled.as_str();
        while let Some((before, behind)) = rest.split_once("%LINK%") {
            let _ = write!(html, "{before}{}", self.link(random));
            rest = behind;
        }
        html.push_str(rest);
        // A few words of it stand in the text, too.
        if text.len() < 4_000 {
            text.extend_from_slice(title.as_bytes());
            text.extend_from_slice(b"\r\n");
            text.extend_from_slice(link.as_bytes());
            text.extend_from_slice(b"\r\n\r\n");
        }
    }

    fn link(&self, random: &mut Random) -> String {
        let length = 120 + below(random, 330) as usize;
        format!("https://click.{}/ls/click?upn={}", self.domain, token(random, length))
    }

    fn image(&self, random: &mut Random) -> String {
        format!("https://images.{}/{:016x}/600x300.jpg", self.domain, random.next_u64())
    }
}

/// A look.
fn style(random: &mut Random) -> String {
    let mut style = String::new();
    for _ in 0..3 + below(random, 6) {
        let size = below(random, 40);
        let _ = match below(random, 6) {
            0 => write!(style, "color: #{:06x}; ", random.next_u64() & 0xff_ffff),
            1 => write!(style, "background-color: #{:06x}; ", random.next_u64() & 0xff_ffff),
            2 => write!(style, "padding: {size}px {}px; ", below(random, 40)),
            3 => write!(style, "font-size: {}px; line-height: {}px; ", 10 + size, 14 + size),
            4 => write!(style, "margin: 0 0 {size}px 0; "),
            _ => write!(
                style,
                "font-family: {}, Helvetica, sans-serif; ",
                pick(random, &["Arial", "Verdana", "Georgia", "Roboto", "'Open Sans'"])
            ),
        };
    }
    style.trim_end().to_owned()
}

/// RFC 2045 section 6.7, for ASCII.
fn quoted_printable(text: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len() + text.len() / 8);
    let mut column = 0;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'\n' {
            encoded.extend_from_slice(b"\r\n");
            column = 0;
            continue;
        }
        let at_end = bytes.peek().is_none_or(|&next| next == b'\n');
        let quoted = byte == b'=' || (byte == b' ' && at_end);
        let width = if quoted { 3 } else { 1 };
        if column + width > 75 {
            encoded.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if quoted {
            encoded.extend_from_slice(format!("={byte:02X}").as_bytes());
        } else {
            encoded.push(byte);
        }
        column += width;
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted() {
        let encoded = |text: &str| String::from_utf8(quoted_printable(text)).unwrap();
        assert_eq!(encoded("a=b \n c\n"), "a=3Db=20\r\n c\r\n");
        let long = encoded(&"x".repeat(160));
        assert_eq!(long.split("=\r\n").map(str::len).collect::<Vec<_>>(), [75, 75, 10]);
    }

    #[test]
    fn an_issue_is_as_long_as_it_should_be_and_all_its_places_are_filled() {
        let words = Words::new();
        let newsletters = Newsletters::new(&words);
        let issue = newsletters.issue(&words, 30_000, &mut Random::seeded(4));
        let html = String::from_utf8(issue.html).unwrap();
        assert!((30_000..42_000).contains(&html.len()), "{}", html.len());
        assert!(!html.contains("%LINK%") && !html.contains("%TEXT%"));
        assert!(html.ends_with("</html>\r\n") && !issue.text.is_empty());
    }
}
