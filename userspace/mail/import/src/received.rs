//! When a message came, by what the server wrote before it that took it.

use jiff::fmt::rfc2822::DateTimeParser;
use memchr::memmem;

/// Bytes of a header that are looked at.
const LOOKED_AT: usize = 64 << 10;

static PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// The date of the topmost `Received` (RFC 5321 section 4.4), or of `Date` if there is none, in seconds since 1970. `now` is when it
/// can have come at the latest.
pub(crate) fn received(message: &[u8], now: i64) -> Option<i64> {
    let front = message.get(..LOOKED_AT.min(message.len()))?;
    let header =
        memmem::find(front, b"\r\n\r\n").map_or(front, |end| front.get(..end).unwrap_or(front));
    let mut lines = header.split(|byte| *byte == b'\n').peekable();
    let mut written = None;
    while let Some(line) = lines.next() {
        let mut field = String::from_utf8_lossy(line).trim_end().to_owned();
        while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
            field.push_str(String::from_utf8_lossy(more).trim_end());
        }
        let Some((name, value)) = field.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("Received") {
            // The date stands behind the last semicolon.
            let date = value.rsplit_once(';').and_then(|(_, date)| read(date, now));
            if date.is_some() {
                return date;
            }
        } else if name.eq_ignore_ascii_case("Date") && written.is_none() {
            written = read(value, now);
        }
    }
    written
}

fn read(date: &str, now: i64) -> Option<i64> {
    let time = PARSER.parse_timestamp(date.trim()).ok()?.as_second();
    (0..=now).contains(&time).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_counts() {
        const NOW: i64 = 1_900_000_000;
        for (message, time) in [
            (
                "Return-Path: <a@b>\r\nReceived: from a by b\r\n\twith ESMTP; Tue, 1 Mar 2022 12:00:00\r\n +0100 (CET)\r\n\
                 Received: from c by a; Tue, 1 Mar 2022 10:00:00 +0000\r\nDate: Tue, 1 Mar 2022 09:00:00 +0000\r\n\r\n",
                Some(1_646_132_400),
            ),
            ("Date: Tue, 1 Mar 2022 09:00:00 +0000\r\n\r\nb", Some(1_646_125_200)),
            // The day of the week is wrong, as it is often.
            ("Date: Fri, 1 Mar 2022 09:00:00 +0000\r\n\r\nb", Some(1_646_125_200)),
            (
                "Received: from a by b; yesterday\r\nDate: Tue, 1 Mar 2022 09:00:00 +0000\r\n\r\n",
                Some(1_646_125_200),
            ),
            ("Date: Tue, 1 Mar 2112 09:00:00 +0000\r\n\r\nb", None),
            ("Subject: x\r\n\r\nDate: Tue, 1 Mar 2022 09:00:00 +0000\r\n", None),
            ("", None),
        ] {
            assert_eq!(received(message.as_bytes(), NOW), time, "{message}");
        }
    }
}
