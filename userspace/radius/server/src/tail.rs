//! The requests as they are answered, for people who look for one user or one NAS.
//!
//! Each follower says what he wants to see. Without one a request costs a single look. What a follower is too slow for is
//! counted and left out; no socket thread waits for anybody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muralla_radius_dictionary::{Attribute, Dictionary, Pair};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Requests that wait for a follower who is slow.
const BACKLOG: usize = 1_024;

/// Followers at once: each is asked about each request.
const MOST_FOLLOWERS: usize = 16;

/// Which requests somebody wants to see. What is left out fits all.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Filter {
    /// User-Name, letter case aside.
    pub user: Option<String>,
    /// NAS by name.
    pub nas: Option<String>,
    /// Calling-Station-Id, letter case aside.
    pub calling_station: Option<String>,
    /// Only what was not accepted.
    pub failures: bool,
    /// One of so many of those that fit; 0 and 1 for each.
    pub every: u32,
    /// With the attributes of requests and answers.
    #[serde(default)]
    pub attributes: bool,
}

/// A request and what became of it. There is no password in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tailed {
    /// Seconds since 1970.
    pub at: f64,
    /// Where the packet came from.
    pub source: SocketAddr,
    /// The NAS by name.
    pub nas: String,
    /// Code in words (`Access-Request`).
    pub code: String,
    /// Identifier of the packet.
    pub id: u8,
    /// User-Name.
    pub user: Option<String>,
    /// Calling-Station-Id.
    pub calling_station: Option<String>,
    /// Called-Station-Id.
    pub called_station: Option<String>,
    /// NAS-Port.
    pub nas_port: Option<u32>,
    /// How the password was offered, or the Acct-Status-Type.
    pub method: String,
    /// What became of it (`accept`, `reject`, `drop`, `accounting`).
    pub verdict: String,
    /// Why, in words.
    pub reason: Option<String>,
    /// Time that the work took.
    pub took: Duration,
    /// Requests that fitted and were left out before this one.
    pub missed: u64,
    /// What request and answer say; none if the follower did not ask for it.
    #[serde(default)]
    pub attributes: Option<Attributes>,
}

/// The attributes of a request and of its answer by their names in the dictionary, as in `Framed-Protocol = PPP`. Of passwords, and
/// of what they could be guessed from, there is the name alone.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attributes {
    /// Of the request.
    pub request: Vec<String>,
    /// Of the answer; empty without one. An acknowledgement of accounting follows later, and has none.
    pub reply: Vec<String>,
}

impl Attributes {
    /// Reads the attributes as they stand in the packets.
    pub(crate) fn new(dictionary: &Dictionary, request: &[u8], reply: &[u8]) -> Self {
        let shown = |attributes| dictionary.decode(attributes).iter().map(shown).collect();
        Self { request: shown(request), reply: shown(reply) }
    }
}

/// A pair as text.
fn shown(pair: &Pair) -> String {
    /// Vendors have whole lists in a text: `ip:l2tp-tunnel-password=...`.
    const WITHIN: [&str; 4] = ["password=", "passwd=", "secret=", "key="];
    let text = String::from_utf8_lossy(pair.value.bytes().unwrap_or_default());
    let text = text.to_ascii_lowercase();
    if is_secret(&pair.attribute) || WITHIN.iter().any(|part| text.contains(part)) {
        return format!("{} = ***", pair.attribute.name());
    }
    pair.to_string()
}

/// Whether the value of an attribute is a password, or one that tells what a guess at one is worth. What the dictionary says is
/// hidden by the secret is one in any case; those of vendors go by their names.
fn is_secret(attribute: &Attribute) -> bool {
    const PARTS: [&str; 12] = [
        "password",
        "secret",
        "mppe",
        "-key",
        "chap-response",
        "chap2-response",
        "chap2-success",
        "-cpw",
        "enc-pw",
        "eap-message",
        "arap-",
        "digest-response",
    ];
    let name = attribute.name().to_ascii_lowercase();
    attribute.is_secret() || PARTS.iter().any(|part| name.contains(part))
}

/// What the filters look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) user: Option<&'a [u8]>,
    pub(crate) nas: &'a str,
    pub(crate) calling_station: Option<&'a [u8]>,
    pub(crate) failure: bool,
}

/// The followers.
#[derive(Default)]
pub(crate) struct Tail {
    any: AtomicBool,
    followers: RwLock<Vec<Arc<Follower>>>,
}

struct Follower {
    filter: Filter,
    sender: mpsc::Sender<Tailed>,
    turn: AtomicU32,
    missed: AtomicU64,
}

impl Tail {
    /// Follows from now on, until the receiver is dropped; none if there are too many followers.
    pub(crate) fn follow(&self, filter: Filter) -> Option<mpsc::Receiver<Tailed>> {
        let mut followers = self.followers.write();
        followers.retain(|follower| !follower.sender.is_closed());
        if followers.len() >= MOST_FOLLOWERS {
            return None;
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let (turn, missed) = (AtomicU32::new(0), AtomicU64::new(0));
        followers.push(Arc::new(Follower { filter, sender, turn, missed }));
        self.any.store(true, Relaxed);
        Some(receiver)
    }

    /// Shows a request to those who want to see it. It is only made if there is one; the argument tells whether somebody wants its
    /// attributes.
    pub(crate) fn show(&self, seen: &Seen<'_>, make: impl FnOnce(bool) -> Tailed) {
        if !self.any.load(Relaxed) {
            return;
        }
        self.show_to_followers(seen, make);
    }

    #[cold]
    fn show_to_followers(&self, seen: &Seen<'_>, make: impl FnOnce(bool) -> Tailed) {
        let followers = self.followers.read();
        let wants = |follower: &Arc<Follower>| {
            follower.filter.attributes && follower.filter.fits(seen) && !follower.sender.is_closed()
        };
        let attributes = followers.iter().any(wants);
        let (mut make, mut made, mut gone) = (Some(make), None::<Tailed>, false);
        for follower in &*followers {
            if follower.sender.is_closed() {
                gone = true;
                continue;
            }
            if !follower.filter.fits(seen) || !follower.takes_turn() {
                continue;
            }
            if let Some(make) = make.take() {
                made = Some(make(attributes));
            }
            let Some(made) = &made else { continue };
            let missed = follower.missed.swap(0, Relaxed);
            let attributes = made.attributes.clone().filter(|_| follower.filter.attributes);
            let mine = Tailed { missed, attributes, ..made.clone() };
            if follower.sender.try_send(mine).is_err() {
                follower.missed.fetch_add(missed + 1, Relaxed);
            }
        }
        drop(followers);
        if gone {
            let mut followers = self.followers.write();
            followers.retain(|follower| !follower.sender.is_closed());
            self.any.store(!followers.is_empty(), Relaxed);
        }
    }
}

impl Filter {
    fn fits(&self, seen: &Seen<'_>) -> bool {
        let same = |wanted: &Option<String>, is: Option<&[u8]>| {
            wanted.as_ref().is_none_or(|wanted| {
                is.is_some_and(|is| is.eq_ignore_ascii_case(wanted.as_bytes()))
            })
        };
        (seen.failure || !self.failures)
            && self.nas.as_ref().is_none_or(|nas| nas == seen.nas)
            && same(&self.user, seen.user)
            && same(&self.calling_station, seen.calling_station)
    }
}

impl Follower {
    fn takes_turn(&self) -> bool {
        self.filter.every < 2 || self.turn.fetch_add(1, Relaxed).is_multiple_of(self.filter.every)
    }
}

/// The time for [`Tailed::at`].
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tailed(user: &str) -> Tailed {
        Tailed {
            at: 0.0,
            source: SocketAddr::from(([192, 0, 2, 1], 1)),
            nas: "a".to_owned(),
            code: "Access-Request".to_owned(),
            id: 0,
            user: Some(user.to_owned()),
            calling_station: None,
            called_station: None,
            nas_port: None,
            method: "PAP".to_owned(),
            verdict: "accept".to_owned(),
            reason: None,
            took: Duration::ZERO,
            missed: 0,
            attributes: None,
        }
    }

    fn seen(user: &str, failure: bool) -> Seen<'_> {
        Seen { user: Some(user.as_bytes()), nas: "a", calling_station: Some(b"00-11"), failure }
    }

    #[test]
    fn a_follower_sees_what_he_asked_for() {
        let all = Filter::default();
        for (filter, expected) in [
            (all.clone(), 4),
            (Filter { user: Some("ANNA".to_owned()), ..all.clone() }, 2),
            (Filter { nas: Some("a".to_owned()), ..all.clone() }, 4),
            (Filter { nas: Some("b".to_owned()), ..all.clone() }, 0),
            (Filter { calling_station: Some("00-11".to_owned()), ..all.clone() }, 4),
            (Filter { calling_station: Some("00-12".to_owned()), ..all.clone() }, 0),
            (Filter { failures: true, ..all.clone() }, 1),
            (Filter { every: 2, ..all.clone() }, 2),
        ] {
            let tail = Tail::default();
            let mut follower = tail.follow(filter.clone()).unwrap();
            for (user, failure) in
                [("anna", false), ("berta", false), ("anna", true), ("carla", false)]
            {
                tail.show(&seen(user, failure), |_| tailed(user));
            }
            let mut count = 0;
            while follower.try_recv().is_ok() {
                count += 1;
            }
            assert_eq!(count, expected, "{filter:?}");
        }
    }

    #[test]
    fn nothing_is_made_for_nobody_and_a_slow_follower_learns_what_he_missed() {
        let tail = Tail::default();
        let never = |_: bool| -> Tailed { panic!("nobody wants it") };
        tail.show(&seen("anna", false), never);
        let mut follower = tail.follow(Filter::default()).unwrap();
        for _ in 0..BACKLOG + 7 {
            tail.show(&seen("anna", false), |_| tailed("anna"));
        }
        let mut got = 0;
        while follower.try_recv().is_ok() {
            got += 1;
        }
        assert_eq!(got, BACKLOG);
        tail.show(&seen("anna", false), |_| tailed("anna"));
        assert_eq!(follower.try_recv().unwrap().missed, 7);
        drop(follower);
        tail.show(&seen("anna", false), never);
        assert!(!tail.any.load(Relaxed));
    }

    #[test]
    fn attributes_are_for_those_who_asked() {
        let tail = Tail::default();
        let mut plain = tail.follow(Filter::default()).unwrap();
        let made = |wanted: bool| Tailed {
            attributes: wanted.then(Attributes::default),
            ..tailed("anna")
        };
        let never = |wanted: bool| {
            assert!(!wanted, "nobody asked");
            tailed("anna")
        };
        tail.show(&seen("anna", false), never);
        assert_eq!(plain.try_recv().unwrap().attributes, None);
        let wanted =
            Filter { attributes: true, user: Some("anna".to_owned()), ..Filter::default() };
        let mut curious = tail.follow(wanted).unwrap();
        tail.show(&seen("berta", false), never);
        tail.show(&seen("anna", false), made);
        assert_eq!(curious.try_recv().unwrap().attributes, Some(Attributes::default()));
        assert!((0..2).all(|_| plain.try_recv().unwrap().attributes.is_none()));
    }

    #[test]
    fn passwords_are_in_no_attribute_that_is_shown() {
        let dictionary = Dictionary::built_in();
        let mut request = Vec::new();
        let mut add = |kind: u8, value: &[u8]| {
            request.extend([kind, u8::try_from(value.len() + 2).unwrap()]);
            request.extend(value);
        };
        let vendor = |vendor: u32, kind: u8, value: &[u8]| {
            let mut text = vendor.to_be_bytes().to_vec();
            text.extend([kind, u8::try_from(value.len() + 2).unwrap()]);
            text.extend(value);
            text
        };
        add(1, b"anna");
        add(2, b"arctangent......");
        add(3, b"7arctangent......");
        add(5, &7_u32.to_be_bytes());
        add(7, &1_u32.to_be_bytes());
        add(69, b"\x01\x80\x01arctangent");
        add(79, b"arctangent");
        // Microsoft's, and a list of Cisco's.
        for kind in [1, 12, 16, 17, 25, 26] {
            add(26, &vendor(311, kind, b"arctangent"));
        }
        add(26, &vendor(9, 1, b"vpdn:L2TP-Tunnel-Password=arctangent"));
        add(26, &vendor(9, 1, b"ip:addr-pool=home"));
        add(26, &vendor(9, 249, b"arctangent"));
        let reply = [27, 6, 0, 0, 2, 88];
        let Attributes { request, reply } = Attributes::new(&dictionary, &request, &reply);
        for expected in [
            "User-Name = \"anna\"",
            "User-Password = ***",
            "CHAP-Password = ***",
            "NAS-Port = 7",
            "Framed-Protocol = PPP",
            "Tunnel-Password = ***",
            "EAP-Message = ***",
            "MS-CHAP2-Response = ***",
            "MS-MPPE-Send-Key = ***",
            "Cisco-AVPair = ***",
            "Cisco-AVPair = \"ip:addr-pool=home\"",
            "Cisco-Subscriber-Password = ***",
        ] {
            assert!(request.iter().any(|pair| pair == expected), "{expected}: {request:#?}");
        }
        assert_eq!(request.iter().filter(|pair| pair.ends_with("***")).count(), 12);
        let hexadecimal = "617263".to_owned();
        for pair in &request {
            assert!(!pair.contains("arctangent") && !pair.contains(&hexadecimal), "{pair}");
        }
        assert_eq!(reply, ["Session-Timeout = 600"]);
    }

    #[test]
    fn there_is_room_for_so_many_followers() {
        let tail = Tail::default();
        let mut followers: Vec<_> =
            (0..MOST_FOLLOWERS).map(|_| tail.follow(Filter::default()).unwrap()).collect();
        assert!(tail.follow(Filter::default()).is_none());
        followers.pop();
        assert!(tail.follow(Filter::default()).is_some());
    }
}
