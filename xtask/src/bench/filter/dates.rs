//! When a message came: the date of the server that took it last, or else the one that its sender wrote.

/// Seconds since 1970; nothing if no date in the header can be read.
///
/// Who sends spam often writes a year that he likes into `Date`, so that only `Received` tells in which order messages came.
pub(super) fn arrived(message: &[u8]) -> Option<i64> {
    let text =
        String::from_utf8_lossy(message.get(..HEADER.min(message.len())).unwrap_or_default());
    let fields = fields(&text);
    let all = |wanted: &'static str| {
        let named = fields.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, value)| value.as_str())
    };
    let received = all("Received").find_map(|value| read(value.rsplit_once(';')?.1));
    received.or_else(|| all("Date").find_map(read))
}

/// Octets in which a header's dates are looked for.
const HEADER: usize = 64 << 10;

/// Unfolded fields (RFC 5322 section 2.2.3) up to the first empty line.
fn fields(text: &str) -> Vec<(&str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            (true, None) => {}
            (false, _) => {
                if let Some((name, value)) = line.split_once(':') {
                    fields.push((name, value.trim().to_owned()));
                }
            }
        }
    }
    fields
}

/// Reads a date as RFC 5322 section 3.3 has it, with the years and zones of section 4.3, and what stands in place of the zone left
/// out of account if nobody knows it.
fn read(text: &str) -> Option<i64> {
    let text = text.split('(').next()?;
    let words: Vec<&str> = text.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| month(word).is_some())?;
    let month = month(words.get(at)?)?;
    let day: i64 = words.get(at.checked_sub(1)?)?.parse().ok()?;
    let year: i64 = words.get(at + 1)?.parse().ok()?;
    let year = match year {
        0..50 => year + 2_000,
        50..1_000 => year + 1_900,
        _ => year,
    };
    let mut clock = words.get(at + 2)?.split(':');
    let mut number = || clock.next().map_or(Some(0), |part| part.parse::<i64>().ok());
    let (hour, minute, second) = (number()?, number()?, number()?);
    let sane = (1..=31).contains(&day)
        && (1_970..2_100).contains(&year)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    let zone = words.get(at + 3).and_then(|zone| zone_of(zone)).unwrap_or_default();
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - zone;
    sane.then_some(seconds)
}

fn month(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let word = word.to_ascii_lowercase();
    let at = MONTHS.iter().position(|name| *name == word)?;
    Some(at as i64 + 1)
}

/// Seconds east of Greenwich.
fn zone_of(word: &str) -> Option<i64> {
    let hours = |hours: i64| Some(hours * 3_600);
    match word {
        "EDT" => return hours(-4),
        "EST" | "CDT" => return hours(-5),
        "CST" | "MDT" => return hours(-6),
        "MST" | "PDT" => return hours(-7),
        "PST" => return hours(-8),
        _ => {}
    }
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: i64 = word.get(1..).filter(|digits| digits.len() == 4)?.parse().ok()?;
    Some(sign * (digits / 100 * 3_600 + digits % 100 * 60))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, with years that begin in March, so that the day which some have is
/// their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    before + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        for (text, expected) in [
            ("Thu, 1 Jan 1970 00:00:00 +0000", Some(0)),
            ("Thu, 22 Aug 2002 12:36:23 +0100 (IST)", Some(1_030_016_183)),
            ("22 Aug 2002 12:36:23 +0100", Some(1_030_016_183)),
            ("Thu, 22 Aug 02 07:36 EDT", Some(1_030_016_160)),
            ("Tue, 29 Feb 2000 23:59:60 -0030", Some(951_870_600)),
            ("Sat, 01 Mar 2003 00:00:00 nowhere", Some(1_046_476_800)),
            ("Sun, 1 Nov 2026 00:00:00", Some(1_793_491_200)),
            ("Thu, 22 Aug 2202 12:36:23 +0100", None),
            ("Thu, 44 Aug 2002 12:36:23 +0100", None),
            ("Aug", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn who_took_it_last_is_believed_before_who_wrote_it() {
        let date = "Date: Fri, 1 Jan 2010 00:00:00 +0000\n";
        let received = "Received: from a by b;\n\tThu, 1 Jan 1970 00:01:00 +0000\n";
        let earlier = "Received: from c by a; Thu, 1 Jan 1970 00:00:30 +0000\n";
        for (header, expected) in [
            ([received, earlier, date].concat(), Some(60)),
            (["Received: by hand\n", earlier, date].concat(), Some(30)),
            (["Received: by hand; soon\n", date].concat(), Some(1_262_304_000)),
            (["X: y\n\n", date].concat(), None),
            (String::new(), None),
        ] {
            assert_eq!(arrived(header.as_bytes()), expected, "{header}");
        }
    }
}
