//! Server cookies (RFC 7873) that every server with the same secret understands (RFC 9018).

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use crate::octets::Writer;
use crate::query::ClientCookie;

/// Age in seconds up to which a cookie is taken (RFC 9018 section 4.3).
const LIFETIME: u32 = 3_600;

/// Seconds that another server's clock may be ahead.
const AHEAD: u32 = 300;

/// Age in seconds from which a client gets a new cookie.
const RENEW: u32 = 1_800;

const VERSION: u8 = 1;

/// Seconds for which cookies are made with one secret (RFC 7873 section 7.1 wants a new one about every day).
const ROTATION: u32 = 86_400;

/// What kept secrets begin with, their version included.
const MAGIC: &[u8; 12] = b"MURALLAk\0\0\0\x01";

/// Bytes of kept secrets: [`MAGIC`], the time of the current one, both secrets (zeroes for none) and a checksum.
const KEPT: usize = MAGIC.len() + 4 + 32 + 8;

/// Data of a whole cookie option as a server sends it: the client's part, then the server's.
pub type Cookie = [u8; 24];

/// The secrets of a server, or of all servers behind one address.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Eq, PartialEq))]
pub struct Secrets {
    current: [u8; 16],
    previous: Option<[u8; 16]>,
    since: u32,
}

/// What a client's cookie is worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The client holds the address that it sends from.
    Valid {
        /// The cookie is old, or made with the previous secret, or by another server in the future: the answer
        /// should bring a new one.
        renew: bool,
    },
    /// There is no server part, or it was not made here, or too long ago.
    Unproven,
}

impl Secrets {
    /// Cookies are made with `current`, from `since` on in seconds since 1970; those made with `previous` are still
    /// taken, so that a change of secrets goes unnoticed.
    pub fn new(current: [u8; 16], previous: Option<[u8; 16]>, since: u32) -> Self {
        Self { current, previous, since }
    }

    /// Whether the current secret has served its time at `now`: a day. One from the future has, too: the clock was
    /// wrong then, or is now.
    pub fn is_due(&self, now: u32) -> bool {
        now.abs_diff(self.since) >= ROTATION
    }

    /// Begins to use another secret, random and never used before (RFC 9018 section 5). Cookies of the one before are
    /// taken until it gives way itself, and those are more than an hour old by then.
    #[must_use]
    pub fn rotated(self, secret: [u8; 16], now: u32) -> Self {
        Self { current: secret, previous: Some(self.current), since: now }
    }

    /// The secrets as they are kept, for nobody else to read.
    pub fn to_bytes(&self) -> [u8; KEPT] {
        let mut bytes = [0; KEPT];
        let mut out = Writer::new(&mut bytes);
        let previous = self.previous.unwrap_or_default();
        let parts: [&[u8]; 4] = [MAGIC, &self.since.to_be_bytes(), &self.current, &previous];
        let written = parts.iter().try_for_each(|part| out.put(part));
        debug_assert!(written.is_some());
        if let Some((data, sum)) = bytes.split_last_chunk_mut::<8>() {
            *sum = checksum(data);
        }
        bytes
    }

    /// Takes what [`Self::to_bytes`] made, if it is whole.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (data, sum) = <&[u8; KEPT]>::try_from(bytes).ok()?.split_last_chunk::<8>()?;
        (*sum == checksum(data)).then_some(())?;
        let (since, secrets) = data.strip_prefix(MAGIC)?.split_first_chunk()?;
        let (&current, rest) = secrets.split_first_chunk()?;
        let previous = <[u8; 16]>::try_from(rest).ok()?;
        let previous = Some(previous).filter(|secret| *secret != [0; 16]);
        (current != [0; 16]).then(|| Self::new(current, previous, u32::from_be_bytes(*since)))
    }

    /// A cookie for a client; `now` in seconds since 1970, modulo 2^32.
    pub fn make(&self, client: [u8; 8], address: IpAddr, now: u32) -> Cookie {
        let [t_0, t_1, t_2, t_3] = now.to_be_bytes();
        let head = [VERSION, 0, 0, 0, t_0, t_1, t_2, t_3];
        let hash = hash(&self.current, client, head, address);
        let mut cookie = [0; 24];
        let parts = client.iter().chain(&head).chain(&hash);
        cookie.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        cookie
    }

    /// What a client's cookie is worth.
    pub fn verify(&self, cookie: &ClientCookie, address: IpAddr, now: u32) -> Verdict {
        let Some(&server) = cookie.server().and_then(|part| <&[u8; 16]>::try_from(part).ok())
        else {
            return Verdict::Unproven;
        };
        let [version, _, _, _, t_0, t_1, t_2, t_3, h_0, h_1, h_2, h_3, h_4, h_5, h_6, h_7] = server;
        if version != VERSION {
            return Verdict::Unproven;
        }
        // Serial number arithmetic (RFC 1982), as RFC 9018 section 4.3 wants it.
        let made = u32::from_be_bytes([t_0, t_1, t_2, t_3]);
        let age = now.wrapping_sub(made);
        let ahead = made.wrapping_sub(now);
        if age > LIFETIME && ahead > AHEAD {
            return Verdict::Unproven;
        }
        let [_, r_0, r_1, r_2, ..] = server;
        let head = [version, r_0, r_1, r_2, t_0, t_1, t_2, t_3];
        let given = [h_0, h_1, h_2, h_3, h_4, h_5, h_6, h_7];
        let fits = |secret: &[u8; 16]| same(hash(secret, cookie.client, head, address), given);
        let current = fits(&self.current);
        if !current && !self.previous.as_ref().is_some_and(fits) {
            return Verdict::Unproven;
        }
        Verdict::Valid { renew: !current || age > RENEW }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// SipHash-2-4 over client cookie, version, reserved bytes, time and address (RFC 9018 section 4.4).
fn hash(secret: &[u8; 16], client: [u8; 8], head: [u8; 8], address: IpAddr) -> [u8; 8] {
    let mut input = [0; 32];
    let fixed = client.iter().chain(&head);
    // Of the address a client of IPv4 has, whichever socket it came through.
    let length = match address.to_canonical() {
        IpAddr::V4(v4) => fill(&mut input, fixed.chain(&v4.octets())),
        IpAddr::V6(v6) => fill(&mut input, fixed.chain(&v6.octets())),
    };
    let input = input.get(..length).unwrap_or(&input);
    SipHasher24::new_with_key(secret).hash(input).to_le_bytes()
}

/// Finds damage, not forgery.
fn checksum(data: &[u8]) -> [u8; 8] {
    SipHasher24::new().hash(data).to_be_bytes()
}

fn fill<'a>(input: &mut [u8; 32], bytes: impl Iterator<Item = &'a u8>) -> usize {
    input.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count()
}

/// Compares in a time that does not depend on where the difference is.
fn same(one: [u8; 8], other: [u8; 8]) -> bool {
    std::hint::black_box(u64::from_ne_bytes(one) ^ u64::from_ne_bytes(other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    /// RFC 9018 appendix A: what comes, and what goes back.
    #[test]
    fn the_vectors_of_rfc_9018() {
        struct Vector {
            client: &'static str,
            address: &'static str,
            came: Option<(&'static str, Option<&'static str>)>,
            now: u32,
            goes: &'static str,
            secret: &'static str,
        }
        let vectors = [
            Vector {
                client: "2464c4abcf10c957",
                address: "198.51.100.100",
                came: None,
                now: 1_559_731_985,
                goes: "010000005cf79f111f8130c3eee29480",
                secret: SECRET,
            },
            Vector {
                client: "2464c4abcf10c957",
                address: "198.51.100.100",
                came: Some(("010000005cf79f111f8130c3eee29480", None)),
                now: 1_559_734_385,
                goes: "010000005cf7a871d4a564a1442aca77",
                secret: SECRET,
            },
            Vector {
                client: "fc93fc62807ddb86",
                address: "203.0.113.203",
                came: Some(("01abcdef5cf78f71a314227b6679ebf5", None)),
                now: 1_559_734_700,
                goes: "010000005cf7a9acf73a7810aca2381e",
                secret: SECRET,
            },
            Vector {
                client: "22681ab97d52c298",
                address: "2001:db8:220:1:59de:d0f4:8769:82b8",
                came: Some((
                    "010000005cf7c57926556bd0934c72f8",
                    Some("dd3bdf9344b678b185a6f5cb60fca715"),
                )),
                now: 1_559_741_961,
                goes: "010000005cf7c609a6bb79d16625507a",
                secret: "445536bcd2513298075a5d379663c962",
            },
        ];
        for vector in vectors {
            let client = bytes(vector.client);
            let address = vector.address.parse().unwrap();
            let previous = vector.came.and_then(|(_, previous)| previous).map(bytes);
            let secrets = Secrets::new(bytes(vector.secret), previous, 0);
            let made = secrets.make(client, address, vector.now);
            assert_eq!(made[..8], client);
            assert_eq!(made[8..], bytes::<16>(vector.goes));
            if let Some((came, _)) = vector.came {
                let cookie = [&client[..], &bytes::<16>(came)].concat();
                let cookie = ClientCookie::parse(&cookie).unwrap();
                // One of the appendix was made an hour and more before it comes back.
                let made_at = u32::from_str_radix(&came[8..16], 16).unwrap();
                let seen_at = vector.now.min(made_at + 3_600);
                let verdict = secrets.verify(&cookie, address, seen_at);
                assert_eq!(verdict, Verdict::Valid { renew: true });
            }
        }
    }

    #[test]
    fn a_cookie_is_worth_something_for_an_hour() {
        let (client, address) = ([7; 8], "192.0.2.1".parse().unwrap());
        let old = Secrets::new([1; 16], None, 0);
        let (fresh, renew, no) =
            (Verdict::Valid { renew: false }, Verdict::Valid { renew: true }, Verdict::Unproven);
        let made_at = 1_000_000_u32;
        let made = ClientCookie::parse(&old.make(client, address, made_at)).unwrap();
        let cases = [
            (0_i64, fresh),
            (1_800, fresh),
            (1_801, renew),
            (3_600, renew),
            (3_601, no),
            (-1, renew),
            (-300, renew),
            (-301, no),
        ];
        for (later, verdict) in cases {
            let now = (i64::from(made_at) + later) as u32;
            assert_eq!(old.verify(&made, address, now), verdict, "{later}");
        }
        let rotated = old.rotated([2; 16], made_at);
        assert_eq!(rotated.verify(&made, address, made_at), renew);
        assert_eq!(rotated.rotated([3; 16], made_at).verify(&made, address, made_at), no);
        assert_eq!(old.verify(&made, "192.0.2.2".parse().unwrap(), made_at), no);
        assert_eq!(old.verify(&made, "::ffff:192.0.2.1".parse().unwrap(), made_at), fresh);
        let alone = ClientCookie::parse(&client).unwrap();
        assert_eq!(old.verify(&alone, address, made_at), no);

        // Time goes on past 2^32.
        let made = ClientCookie::parse(&old.make(client, address, u32::MAX)).unwrap();
        assert_eq!(old.verify(&made, address, 10), fresh);

        let mut forged = old.make(client, address, made_at);
        for at in 0..forged.len() {
            forged[at] ^= 1;
            let cookie = ClientCookie::parse(&forged).unwrap();
            assert_eq!(old.verify(&cookie, address, made_at), no, "byte {at}");
            forged[at] ^= 1;
        }
        assert!(!format!("{old:?}").contains('1'));
    }

    #[test]
    fn a_secret_serves_for_a_day() {
        let secrets = Secrets::new([1; 16], None, 1_000_000);
        for (now, due) in [
            (1_000_000, false),
            (1_086_399, false),
            (1_086_400, true),
            // The clock was set back, by a correction and by more.
            (999_990, false),
            (913_600, true),
            (0, true),
        ] {
            assert_eq!(secrets.is_due(now), due, "{now}");
        }
        let rotated = secrets.rotated([2; 16], 1_086_400);
        assert!(!rotated.is_due(1_086_401));
        assert_eq!(rotated.previous, Some([1; 16]));
    }

    #[test]
    fn secrets_come_back_whole_or_not_at_all() {
        let one = Secrets::new([1; 16], None, 77);
        for secrets in [one, one.rotated([2; 16], 5)] {
            let bytes = secrets.to_bytes();
            assert!(Secrets::from_bytes(&bytes) == Some(secrets));
            for len in 0..bytes.len() {
                assert!(Secrets::from_bytes(&bytes[..len]).is_none(), "{len} bytes");
            }
            for at in 0..bytes.len() {
                let mut damaged = bytes;
                damaged[at] ^= 0x40;
                assert!(Secrets::from_bytes(&damaged).is_none(), "byte {at}");
            }
        }
        assert!(Secrets::from_bytes(&Secrets::new([0; 16], None, 77).to_bytes()).is_none());
    }
}
