//! Replies as they go on the wire: RFC 5321 section 4.2, with enhanced codes on each line (RFC 2034 section 4).

use std::io::Write;

use muralla_mail_envelope::EnhancedCode;

/// Octets of text in a line: 512 are allowed with codes and CRLF (RFC 5321 section 4.5.3.1.5).
const LONGEST: usize = 480;

/// Appends a reply. A text that is too long for a line goes into several, and what is not ASCII is replaced where the client has
/// not said that it takes UTF-8 (RFC 6531 section 3.7.4).
pub(crate) fn write(
    out: &mut Vec<u8>,
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: &str,
    utf8: bool,
) {
    let mut rest = text;
    loop {
        let (piece, behind) = split(rest);
        let separator = if behind.is_empty() { ' ' } else { '-' };
        // Writing to a Vec can't fail.
        let _ = write!(out, "{code:03}{separator}");
        if let Some(enhanced) = enhanced {
            let _ = write!(out, "{enhanced} ");
        }
        for char in piece.chars() {
            match char {
                ' '..='~' => out.push(u8::try_from(char).unwrap_or(b'?')),
                other if utf8 && !other.is_control() => {
                    out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => out.push(b'?'),
            }
        }
        out.extend_from_slice(b"\r\n");
        if behind.is_empty() {
            return;
        }
        rest = behind;
    }
}

/// What fits into a line, and the rest: between words if there are any.
fn split(text: &str) -> (&str, &str) {
    if text.len() <= LONGEST {
        return (text, "");
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let (piece, behind) = text.split_at_checked(end).unwrap_or((text, ""));
    match piece.rsplit_once(' ') {
        Some((piece, word)) if !piece.is_empty() => {
            let at = text.len() - behind.len() - word.len();
            (piece, text.get(at..).unwrap_or_default())
        }
        _ => (piece, behind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(code: u16, enhanced: Option<EnhancedCode>, text: &str, utf8: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, code, enhanced, text, utf8);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines() {
        let code = Some(EnhancedCode::new(5, 1, 1));
        for (enhanced, text, utf8, expected) in [
            (None, "Bye", false, "550 Bye\r\n"),
            (code, "No such user", false, "550 5.1.1 No such user\r\n"),
            (code, "", false, "550 5.1.1 \r\n"),
            (code, "Jos\u{e9}\r\n250 ok\u{85}", false, "550 5.1.1 Jos???250 ok?\r\n"),
            (code, "Jos\u{e9}\r\n\u{85}", true, "550 5.1.1 Jos\u{e9}???\r\n"),
        ] {
            assert_eq!(written(550, enhanced, text, utf8), expected);
        }
    }

    #[test]
    fn long() {
        let text = "word ".repeat(300);
        let reply = written(451, Some(EnhancedCode::new(4, 999, 999)), text.trim_end(), false);
        let lines: Vec<&str> = reply.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 4);
        for (number, line) in lines.iter().enumerate() {
            let start = if number == 3 { "451 4.999.999 word" } else { "451-4.999.999 word" };
            assert!(line.starts_with(start) && line.ends_with("word") && line.len() <= 510);
        }
        assert_eq!(reply.matches("word").count(), 300);

        let reply = written(250, None, &"\u{e9}".repeat(500), true);
        assert!(reply.split_terminator("\r\n").all(|line| line.len() <= 510));
        assert_eq!(reply.matches('\u{e9}').count(), 500);
    }
}
