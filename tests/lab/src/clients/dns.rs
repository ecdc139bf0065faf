//! A stub resolver.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{ClientOptions, Success, ask, connect_from, limit};
use crate::frames::dns::{FLAG_RESPONSE, FLAG_TRUNCATED, HEADER, Query, TYPE_A};
use crate::random::Random;

pub(super) fn resolve(
    source: IpAddr,
    options: &ClientOptions,
    name: &str,
    random: &mut Random,
) -> Result<Success> {
    let deadline = Instant::now() + options.timeout;
    let query = Query::new(name, TYPE_A).id(random.next_u16());
    let message = query.encode();
    let (flags, retried) = ask(source, options, &message, |answer| answer_to(answer, &message))?;
    if flags & FLAG_TRUNCATED == 0 {
        return served(flags).map(|()| Success { retried, ..Success::default() });
    }
    let flags = over_tcp(source, options, &query, deadline).context("over TCP after TC=1")?;
    served(flags).map(|()| Success { retried, over_tcp: true, ..Success::default() })
}

fn over_tcp(
    source: IpAddr,
    options: &ClientOptions,
    query: &Query,
    deadline: Instant,
) -> Result<u16> {
    let mut stream = connect_from(source, options.target, deadline)?;
    limit(&stream, deadline)?;
    stream.write_all(&query.encode_for_tcp()).context("sending")?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).context("receiving")?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    limit(&stream, deadline)?;
    stream.read_exact(&mut answer).context("receiving")?;
    answer_to(&answer, &query.encode()).context("the answer is to another question")
}

/// The flags of a response, if it has the query's identifier and question, byte for byte.
fn answer_to(answer: &[u8], query: &[u8]) -> Option<u16> {
    let (header, rest) = answer.split_first_chunk::<HEADER>()?;
    let (asked, question) = query.split_first_chunk::<HEADER>()?;
    let flags = u16::from_be_bytes([header[2], header[3]]);
    let same = header[..2] == asked[..2] && header[4..6] == [0, 1] && rest.starts_with(question);
    (same && flags & FLAG_RESPONSE != 0).then_some(flags)
}

fn served(flags: u16) -> Result<()> {
    match flags & 0xf {
        0 => Ok(()),
        2 => bail!("SERVFAIL"),
        3 => bail!("NXDOMAIN"),
        5 => bail!("REFUSED"),
        code => bail!("DNS response code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_question_counts() {
        let query = Query::new("www.lab.test", TYPE_A).id(7);
        let sent = query.encode();
        let other = Query::new("www.lab.tesT", TYPE_A).id(7);
        for (name, answer, expected) in [
            ("answer", query.clone().flags(0x8180), Some(0x8180)),
            ("truncated", query.clone().flags(0x8380), Some(0x8380)),
            ("echo", query.clone(), None),
            ("other id", query.clone().flags(0x8180).id(8), None),
            ("other case", other.flags(0x8180), None),
            ("no question", query.clone().flags(0x8180).counts([0; 4]), None),
        ] {
            assert_eq!(answer_to(&answer.encode(), &sent), expected, "{name}");
        }
        let answer = query.flags(0x8180).encode();
        (0..answer.len()).for_each(|cut| assert_eq!(answer_to(&answer[..cut], &sent), None));
    }
}
