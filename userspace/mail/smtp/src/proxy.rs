//! The PROXY protocol, versions 1 and 2, by which a load balancer that we trust says who the client is. It comes before anything
//! else on a connection, before TLS, too. `proxy-protocol.txt` of HAProxy, revision of 2020-03-05.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

/// Longest header that is read, in octets. Version 1 has 107; version 2 has 16, two addresses, and what a balancer likes to add.
pub const LONGEST: usize = 4096;

/// What a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Proxied {
    /// For a client.
    Client {
        /// His address.
        from: SocketAddr,
        /// The one that he called.
        to: SocketAddr,
    },
    /// For itself, or for something that is not TCP: a check of our health.
    Nobody,
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "no PROXY header: the balancer has to send one (send-proxy-v2), or must not be among the trusted proxies"
)]
pub struct NoHeader;

/// Reads a header from the beginning of a connection: what it says and how many octets it has, or nothing if more have to come.
///
/// # Errors
///
/// If it can't become a header, whatever comes.
pub fn parse(input: &[u8]) -> Result<Option<(Proxied, usize)>, NoHeader> {
    if input.starts_with(SIGNATURE) {
        return version2(input);
    }
    if SIGNATURE.starts_with(input) || b"PROXY ".starts_with(input) {
        return Ok(None);
    }
    if !input.starts_with(b"PROXY ") {
        return Err(NoHeader);
    }
    let line = input.get(..LONGEST_LINE).unwrap_or(input);
    let Some(end) = memchr::memmem::find(line, b"\r\n") else {
        return if line.len() == LONGEST_LINE { Err(NoHeader) } else { Ok(None) };
    };
    let line = line.get(..end).and_then(|line| str::from_utf8(line).ok()).ok_or(NoHeader)?;
    Ok(Some((version1(line).ok_or(NoHeader)?, end + 2)))
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Of version 1, CRLF included.
const LONGEST_LINE: usize = 107;

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 25`.
fn version1(line: &str) -> Option<Proxied> {
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return None;
    }
    let six = match words.next()? {
        "UNKNOWN" => return Some(Proxied::Nobody),
        "TCP4" => false,
        "TCP6" => true,
        _ => return None,
    };
    let from: IpAddr = words.next()?.parse().ok()?;
    let to: IpAddr = words.next()?.parse().ok()?;
    let from_port = port(words.next()?)?;
    let to_port = port(words.next()?)?;
    if words.next().is_some() || from.is_ipv6() != six || to.is_ipv6() != six {
        return None;
    }
    Some(Proxied::Client {
        from: SocketAddr::new(from.to_canonical(), from_port),
        to: SocketAddr::new(to.to_canonical(), to_port),
    })
}

fn port(text: &str) -> Option<u16> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Section 2.2: signature, version and command, family, length, addresses.
fn version2(input: &[u8]) -> Result<Option<(Proxied, usize)>, NoHeader> {
    let Some(([version, family, high, low], rest)) =
        input.get(SIGNATURE.len()..).and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let whole = SIGNATURE.len() + 4 + length;
    if version >> 4 != 2 || whole > LONGEST {
        return Err(NoHeader);
    }
    let Some(addresses) = rest.get(..length) else { return Ok(None) };
    let proxied = match (version & 0x0f, family) {
        (0, _) => Proxied::Nobody,
        (1, 0x11) => client::<4, 12>(addresses)?,
        (1, 0x21) => client::<16, 36>(addresses)?,
        (1, _) => Proxied::Nobody,
        _ => return Err(NoHeader),
    };
    Ok(Some((proxied, whole)))
}

/// Two addresses of so many octets, and their ports.
fn client<const ADDRESS: usize, const ALL: usize>(octets: &[u8]) -> Result<Proxied, NoHeader> {
    let octets = octets.first_chunk::<ALL>().ok_or(NoHeader)?;
    let address = |at: usize| -> Option<IpAddr> {
        let octets = octets.get(at..)?.get(..ADDRESS)?;
        if let Ok(four) = <[u8; 4]>::try_from(octets) {
            return Some(Ipv4Addr::from(four).into());
        }
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical())
    };
    let port = |at: usize| octets.get(at..)?.first_chunk().map(|port| u16::from_be_bytes(*port));
    let both = || {
        let from = SocketAddr::new(address(0)?, port(2 * ADDRESS)?);
        let to = SocketAddr::new(address(ADDRESS)?, port(2 * ADDRESS + 2)?);
        Some(Proxied::Client { from, to })
    };
    both().ok_or(NoHeader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(from: &str, to: &str) -> Proxied {
        Proxied::Client { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    fn two(version: u8, family: u8, octets: &[u8]) -> Vec<u8> {
        let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version, family], &length, octets].concat()
    }

    #[test]
    fn headers() {
        let four = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0, 25];
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        six[15] = 1;
        six[16..20].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
        six[31] = 2;
        six[32..].copy_from_slice(&[0xdc, 0x04, 0, 25]);
        let more = [&four[..], &[0x04, 0, 1, 0]].concat();
        let ours = client("192.0.2.1:56324", "198.51.100.1:25");
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n".to_vec(), ours),
            (
                b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 25\r\n".to_vec(),
                client("[2001:db8::1]:56324", "[2001:db8::2]:25"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Proxied::Nobody),
            (b"PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n".to_vec(), Proxied::Nobody),
            (two(0x21, 0x11, &four), ours),
            (two(0x21, 0x11, &more), ours),
            (two(0x21, 0x21, &six), client("[2001:db8::1]:56324", "[2001:db8::2]:25")),
            (two(0x20, 0x00, &[]), Proxied::Nobody),
            (two(0x21, 0x31, &[0; 216]), Proxied::Nobody),
        ] {
            let length = header.len();
            for end in 0..length {
                assert_eq!(parse(&header[..end]), Ok(None), "{end} of {header:?}");
            }
            assert_eq!(parse(&header), Ok(Some((expected, length))));
            let behind = [&header[..], b"EHLO a\r\n"].concat();
            assert_eq!(parse(&behind), Ok(Some((expected, length))));
        }
    }

    #[test]
    fn no_headers() {
        for input in [
            b"EHLO a\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 25 \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 25\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 25\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1 25\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.1 198.51.100.1 1 25\r\n".to_vec(),
            [&b"PROXY UNKNOWN "[..], &[b'a'; 200]].concat(),
            two(0x11, 0x11, &[0; 12]),
            two(0x22, 0x11, &[0; 12]),
            two(0x21, 0x11, &[0; 11]),
            two(0x21, 0x21, &[0; 12]),
            two(0x21, 0x11, &[0; LONGEST]),
        ] {
            assert_eq!(parse(&input), Err(NoHeader), "{input:?}");
        }
    }
}
