//! A mail server that delivers a message.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{ClientOptions, Success, connect_from, is_timeout, limit, message_id};

/// Delivers the message with this number, or asks whether it might be.
pub(super) fn deliver(
    source: IpAddr,
    options: &ClientOptions,
    recipient: &str,
    message: Option<usize>,
) -> Result<Success> {
    let deadline = Instant::now() + options.timeout;
    let stream = connect_from(source, options.target, deadline)?;
    let mut dialogue = Dialogue { stream: BufReader::new(stream), deadline };
    dialogue.expect("banner", '2')?;
    dialogue.say("EHLO client.example", '2')?;
    dialogue.say("MAIL FROM:<sender@client.example>", '2')?;
    dialogue.say(&format!("RCPT TO:<{recipient}>"), '2')?;
    if let Some(number) = message {
        dialogue.say("DATA", '3')?;
        let id = message_id(number);
        let text = format!("Message-ID: {id}\r\nSubject: A message\r\n\r\nIts body.\r\n.");
        dialogue.say(&text, '2')?;
    }
    // It is delivered: a server that stops just now says so instead (421), and is no worse for it.
    let _ = dialogue.say("QUIT", '2');
    Ok(Success { delivered: message, ..Success::default() })
}

struct Dialogue {
    stream: BufReader<TcpStream>,
    deadline: Instant,
}

/// A reply of more lines, or of longer ones, is no reply of an honest server (RFC 5321 section
/// 4.5.3.1.5 has 512 bytes a line).
const MAX_LINES: usize = 64;
const MAX_LINE: u64 = 1_024;

impl Dialogue {
    fn say(&mut self, command: &str, class: char) -> Result<()> {
        limit(self.stream.get_ref(), self.deadline)?;
        let line = format!("{command}\r\n");
        let verb = command.split(['\r', ' ']).next().unwrap_or_default();
        self.stream.get_mut().write_all(line.as_bytes()).with_context(|| verb.to_owned())?;
        self.expect(verb, class)
    }

    /// Reads a reply, whose last line has no hyphen after the code (RFC 5321 section 4.2.1).
    fn expect(&mut self, verb: &str, class: char) -> Result<()> {
        for _ in 0..MAX_LINES {
            limit(self.stream.get_ref(), self.deadline)?;
            let mut line = String::new();
            let mut reader = (&mut self.stream).take(MAX_LINE);
            let length = match reader.read_line(&mut line) {
                Err(error) if is_timeout(&error) => bail!("{verb}: no reply in time"),
                read => read.with_context(|| format!("{verb}: reply"))?,
            };
            if length == 0 {
                bail!("{verb}: the server hung up");
            }
            if !line.starts_with(class) {
                bail!("{verb}: {}", line.trim_end());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
        bail!("{verb}: a reply without end")
    }
}
