//! What a filter says.

use muralla_mail_envelope::Reply;

use super::packet;

/// A response. Those that change a message may only come when all of it was sent, before the one that decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Response<'a> {
    /// `c`: go on; at the end, it is taken.
    Continue,
    /// `a`: it is taken, and nothing more need be said of it.
    Accept,
    /// `r`: it is refused, in the mail system's words.
    Reject,
    /// `t`: it is put off, in the mail system's words.
    TempFail,
    /// `d`: it is taken, and forgotten. Nothing here ever says that.
    Discard,
    /// `s`: the rest of the body is not wanted.
    Skip,
    /// `p`: it takes longer. Resets the mail system's clock.
    Progress,
    /// `y`: it is refused or put off in these words.
    Code(&'a Reply),
    /// `h`: a field below the header.
    AddHeader {
        /// Its name.
        name: &'a str,
        /// Its value, folded with LF.
        value: &'a str,
    },
    /// `i`: a field in the header.
    InsertHeader {
        /// Behind so many others.
        index: u32,
        /// Its name.
        name: &'a str,
        /// Its value, folded with LF.
        value: &'a str,
    },
    /// `m`: another value for a field.
    ChangeHeader {
        /// Which of those with the name, from 1.
        index: u32,
        /// The name.
        name: &'a [u8],
        /// The value, folded with LF. If it is empty, the field is removed.
        value: &'a str,
    },
    /// `+`: another recipient, in angle brackets.
    AddRecipient(&'a str),
    /// `-`: one less.
    RemoveRecipient(&'a str),
    /// `b`: another body, in one or several pieces.
    ReplaceBody(&'a [u8]),
    /// `q`: it is kept until an operator has looked at it.
    Quarantine(&'a str),
}

/// Longest piece of a body, in octets: `MILTER_CHUNK_SIZE`.
const LONGEST_PIECE: usize = 65_535;

/// Longest text of a reply's line, in octets. Sendmail takes 980, lines of RFC 5321 have 512.
const LONGEST_LINE: usize = 450;

/// Most lines of a reply: Sendmail takes 32.
const MOST_LINES: usize = 8;

impl Response<'_> {
    /// Writes its packet, or packets.
    pub fn write(self, out: &mut Vec<u8>) {
        let plain = |out: &mut Vec<u8>, code| packet::write(out, code, &[]);
        match self {
            Self::Continue => plain(out, b'c'),
            Self::Accept => plain(out, b'a'),
            Self::Reject => plain(out, b'r'),
            Self::TempFail => plain(out, b't'),
            Self::Discard => plain(out, b'd'),
            Self::Skip => plain(out, b's'),
            Self::Progress => plain(out, b'p'),
            Self::Code(reply) => packet::write(out, b'y', &[&lines(reply), b"\0"]),
            Self::AddHeader { name, value } => {
                packet::write(out, b'h', &[&string(name), &string(value)]);
            }
            Self::InsertHeader { index, name, value } => {
                packet::write(out, b'i', &[&index.to_be_bytes(), &string(name), &string(value)]);
            }
            Self::ChangeHeader { index, name, value } => {
                let name = [name, b"\0"].concat();
                packet::write(out, b'm', &[&index.to_be_bytes(), &name, &string(value)]);
            }
            Self::AddRecipient(recipient) => packet::write(out, b'+', &[&string(recipient)]),
            Self::RemoveRecipient(recipient) => packet::write(out, b'-', &[&string(recipient)]),
            Self::ReplaceBody([]) => plain(out, b'b'),
            Self::ReplaceBody(body) => {
                body.chunks(LONGEST_PIECE).for_each(|piece| packet::write(out, b'b', &[piece]));
            }
            Self::Quarantine(why) => {
                let why: String =
                    why.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
                packet::write(out, b'q', &[&string(&why)]);
            }
        }
    }
}

/// Text that ends with NUL, and has none before.
fn string(text: &str) -> Vec<u8> {
    text.bytes().filter(|&byte| byte != 0).chain([0]).collect()
}

/// A reply in lines. `%` is doubled, as Sendmail gives the text to `printf`; what is not ASCII has no place in SMTP.
fn lines(reply: &Reply) -> Vec<u8> {
    // Only these can be said; another would have the mail system take it for something else.
    let code = if reply.is_temporary() || reply.is_permanent() { reply.code } else { 451 };
    let enhanced = reply.enhanced.map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
    let mut all: Vec<String> = vec![String::new()];
    for word in reply.text.split_whitespace() {
        let mut rest: String =
            word.chars().map(|char| if char.is_ascii_graphic() { char } else { '?' }).collect();
        rest = rest.replace('%', "%%");
        let line = all.last_mut();
        match line {
            Some(line) if line.is_empty() => *line = rest,
            Some(line) if line.len() + 1 + rest.len() <= LONGEST_LINE => {
                line.push(' ');
                line.push_str(&rest);
            }
            _ => all.push(rest),
        }
    }
    all.truncate(MOST_LINES);
    let last = all.len().saturating_sub(1);
    let mut out = Vec::new();
    for (number, line) in all.iter().enumerate() {
        let separator = if number == last { ' ' } else { '-' };
        let line = line.get(..line.len().min(LONGEST_LINE)).unwrap_or_default();
        // A doubled sign that was cut in the middle is none.
        let odd = line.bytes().rev().take_while(|&byte| byte == b'%').count() % 2 == 1;
        let line = if odd { line.get(..line.len() - 1).unwrap_or_default() } else { line };
        out.extend_from_slice(format!("{code}{separator}{enhanced}{line}").as_bytes());
        if number != last {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use muralla_mail_envelope::EnhancedCode;

    use super::*;

    #[test]
    fn on_the_wire() {
        let code = EnhancedCode::new(5, 7, 1);
        let reply = Reply::new(550, Some(code), "100% spam, caf\u{e9}");
        let plain = Reply::new(451, None, "");
        let wrong = Reply::new(250, None, "ok");
        for (response, expected) in [
            (Response::Continue, &b"\0\0\0\x01c"[..]),
            (Response::Accept, b"\0\0\0\x01a"),
            (Response::Reject, b"\0\0\0\x01r"),
            (Response::TempFail, b"\0\0\0\x01t"),
            (Response::Discard, b"\0\0\0\x01d"),
            (Response::Skip, b"\0\0\0\x01s"),
            (Response::Progress, b"\0\0\0\x01p"),
            (Response::Code(&reply), b"\0\0\0\x1cy550 5.7.1 100%% spam, caf?\0"),
            (Response::Code(&plain), b"\0\0\0\x06y451 \0"),
            (Response::Code(&wrong), b"\0\0\0\x08y451 ok\0"),
            (Response::AddHeader { name: "X-A", value: " b" }, b"\0\0\0\x08hX-A\0 b\0"),
            (
                Response::InsertHeader { index: 0, name: "X-A", value: " b\n\tc" },
                b"\0\0\0\x0fi\0\0\0\0X-A\0 b\n\tc\0",
            ),
            (
                Response::ChangeHeader { index: 2, name: b"X-A", value: "" },
                b"\0\0\0\x0am\0\0\0\x02X-A\0\0",
            ),
            (Response::AddRecipient("<a@b>"), b"\0\0\0\x07+<a@b>\0"),
            (Response::RemoveRecipient("<a@b>"), b"\0\0\0\x07-<a@b>\0"),
            (Response::ReplaceBody(b"a\r\n"), b"\0\0\0\x04ba\r\n"),
            (Response::ReplaceBody(b""), b"\0\0\0\x01b"),
            (Response::Quarantine("a\0\r\nb"), b"\0\0\0\x07qa   b\0"),
        ] {
            let mut out = Vec::new();
            response.write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
        }
    }

    #[test]
    fn bodies_in_pieces() {
        let body = vec![b'a'; 2 * LONGEST_PIECE + 1];
        let mut out = Vec::new();
        Response::ReplaceBody(&body).write(&mut out);
        let mut input = BytesMut::from(&out[..]);
        let mut pieces = Vec::new();
        while let Some((code, piece)) = packet::take(&mut input).unwrap() {
            assert_eq!(code, b'b');
            pieces.push(piece.len());
        }
        assert_eq!(pieces, [LONGEST_PIECE, LONGEST_PIECE, 1]);
    }

    #[test]
    fn long_replies() {
        let code = EnhancedCode::new(5, 7, 1);
        let text = "word ".repeat(300);
        let wire = lines(&Reply::new(550, Some(code), &text));
        let wire = String::from_utf8(wire).unwrap();
        let all: Vec<&str> = wire.split("\r\n").collect();
        assert_eq!(all.len(), 3);
        assert!(all[0].starts_with("550-5.7.1 word") && all[2].starts_with("550 5.7.1 word"));
        assert!(all.iter().all(|line| line.len() <= 512));
        // A word without an end, of nothing but what is doubled.
        let wire = lines(&Reply::new(550, Some(code), &format!("x{}", "%".repeat(1000))));
        assert!(wire.len() <= 512);
        assert_eq!(wire.iter().filter(|&&byte| byte == b'%').count() % 2, 0);
    }
}
