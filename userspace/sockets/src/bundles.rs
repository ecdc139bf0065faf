//! Which answers of a batch leave as one message: those of one length along one path.
//!
//! The kernel cuts such a message into datagrams again (UDP_SEGMENT, udp(7)), after one walk through its stack for all
//! of them. A NAS whose link comes back asks for all of its subscribers at once from one port, and a forwarder asks for
//! all of its clients: this is where it counts.

use std::net::IpAddr;

use crate::datagrams::{BATCH, Path};

/// Answers in one message at most: what kernels have allowed from the beginning (UDP_MAX_SEGMENTS).
const MOST: usize = 64;

/// Bytes of one message at most: those of a datagram over IPv4.
const LONGEST_MESSAGE: usize = 65_507;

/// Bytes of one answer in a message of several at most. The kernel refuses to cut into pieces that would not pass in
/// one packet, and each path takes 1,280 bytes of IPv6 (RFC 8200 section 5): 48 are the headers'.
const LONGEST_PIECE: usize = 1_232;

/// Places in which the latest bundle of a path and length is found again: so many that two seldom meet.
const SLOTS: usize = 4 * BATCH;

/// Numbers of bundles and answers are kept in an octet, as is that of no bundle.
const _: () = assert!(BATCH < NONE as usize && BATCH <= MOST);

const NONE: u8 = u8::MAX;

/// The bundles of one batch.
pub(crate) struct Bundles {
    all: Vec<Bundle>,
    /// By path and length, the latest bundle of them: a hash table with open addressing.
    slots: [u8; SLOTS],
}

/// Answers that may leave as one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bundle {
    pub(crate) path: Path,
    /// Bytes of each answer.
    pub(crate) length: usize,
    /// How many there are.
    pub(crate) answers: usize,
}

impl Bundles {
    pub(crate) fn new() -> Self {
        Self { all: Vec::with_capacity(BATCH), slots: [NONE; SLOTS] }
    }

    /// Puts an answer of `length` bytes into a bundle, and gives the bundle's number.
    pub(crate) fn put(&mut self, path: &Path, length: usize) -> usize {
        let begin = slot(path, length);
        // A bundle takes a place at most, so that there are free ones.
        for at in (begin..SLOTS).chain(0..begin) {
            let Some(slot) = self.slots.get_mut(at) else { break };
            let known = self.all.get_mut(usize::from(*slot));
            if let Some(known) = known {
                if !(known.length == length && known.path == *path) {
                    continue;
                }
                if known.takes_one_more() {
                    known.answers += 1;
                    return usize::from(*slot);
                }
            }
            *slot = u8::try_from(self.all.len()).unwrap_or(NONE);
            break;
        }
        self.all.push(Bundle { path: *path, length, answers: 1 });
        self.all.len() - 1
    }

    /// All of them, by number.
    pub(crate) fn all(&self) -> &[Bundle] {
        &self.all
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.slots.fill(NONE);
    }
}

impl Bundle {
    /// Whether the kernel would still cut it.
    fn takes_one_more(&self) -> bool {
        (1..=LONGEST_PIECE).contains(&self.length)
            && self.answers < MOST
            && (self.answers + 1) * self.length <= LONGEST_MESSAGE
    }
}

/// From where on the latest bundle of a path and length is looked for.
fn slot(path: &Path, length: usize) -> usize {
    let address = match path.peer.ip() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            bits as u64 ^ (bits >> 64) as u64
        }
    };
    let rest = (u64::from(path.peer.port()) << 32) ^ ((length as u64) << 48);
    // The upper bits depend on all of it.
    let mixed = (address ^ rest).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    const HERE: &str = "192.0.2.1:1812";
    const MEETING: [(&str, usize); 2] = [("198.51.100.7:1645", 80), ("198.51.100.7:1700", 80)];

    fn bundles(answers: &[(&str, usize)]) -> Vec<(SocketAddr, usize, usize)> {
        let mut bundles = Bundles::new();
        for (peer, length) in answers {
            bundles.put(&Path::to(peer.parse().unwrap(), None), *length);
        }
        bundles.all().iter().map(|one| (one.path.peer, one.length, one.answers)).collect()
    }

    #[test]
    fn what_is_put_together() {
        let (near, far) = ("198.51.100.7:1645", "198.51.100.8:1645");
        let meeting = |one: usize| slot(&Path::to(MEETING[one].0.parse().unwrap(), None), 80);
        assert_eq!(meeting(0), meeting(1));
        let (other_port, v6) = ("198.51.100.7:1646", "[2001:db8::7]:1645");
        for (why, answers, expected) in [
            ("nothing", vec![], vec![]),
            ("one", vec![(near, 80)], vec![(near, 80, 1)]),
            ("equal ones", vec![(near, 80); 64], vec![(near, 80, 64)]),
            (
                "of two NASes in turn",
                vec![(near, 80), (far, 80), (near, 80), (far, 80)],
                vec![(near, 80, 2), (far, 80, 2)],
            ),
            (
                "of two ports",
                vec![(near, 80), (other_port, 80), (near, 80)],
                vec![(near, 80, 2), (other_port, 80, 1)],
            ),
            (
                "of two families",
                vec![(v6, 80), (near, 80), (v6, 80)],
                vec![(v6, 80, 2), (near, 80, 1)],
            ),
            (
                "of two lengths in turn",
                vec![(near, 20), (near, 44), (near, 20), (near, 44), (near, 44)],
                vec![(near, 20, 2), (near, 44, 3)],
            ),
            ("empty ones, of which no piece can be cut", vec![(near, 0); 2], vec![(near, 0, 1); 2]),
            (
                "two that begin to look at the same place, in turn",
                vec![MEETING[0], MEETING[1], MEETING[0], MEETING[1]],
                vec![(MEETING[0].0, 80, 2), (MEETING[1].0, 80, 2)],
            ),
            (
                "those that just pass in a packet",
                vec![(near, 1_232); 64],
                vec![(near, 1_232, 53), (near, 1_232, 11)],
            ),
            ("those that may not", vec![(near, 1_233); 2], vec![(near, 1_233, 1); 2]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(peer, length, answers)| (peer.parse().unwrap(), length, answers))
                .collect();
            assert_eq!(bundles(&answers), expected, "{why}");
        }
    }

    #[test]
    fn our_own_address_tells_paths_apart() {
        let peer = "198.51.100.7:1645".parse().unwrap();
        let here: SocketAddr = HERE.parse().unwrap();
        let mut bundles = Bundles::new();
        let (bound, asked) = (Path::to(peer, None), Path::to(peer, Some(here.ip())));
        let put = [bound, asked, asked].map(|path| bundles.put(&path, 80));
        assert_eq!(put, [0, 1, 1]);
    }

    #[test]
    fn a_batch_knows_nothing_of_the_one_before() {
        let path = Path::to("198.51.100.7:1645".parse().unwrap(), None);
        let mut bundles = Bundles::new();
        bundles.put(&path, 80);
        bundles.clear();
        assert_eq!(bundles.put(&path, 80), 0);
        assert_eq!(bundles.all().len(), 1);
    }

    proptest! {
        #[test]
        fn every_answer_is_in_one_bundle_that_the_kernel_can_cut(
            answers in prop::collection::vec((0..6_u16, prop::sample::select(vec![0, 20, 44, 45, 1_200, 1_232, 1_233, 4_096])), 0..=BATCH),
        ) {
            let mut bundles = Bundles::new();
            let mut counted = vec![0; BATCH];
            for (port, length) in answers {
                let path = Path::to(SocketAddr::new([198, 51, 100, 7].into(), 1_645 + port), None);
                let number = bundles.put(&path, length);
                let bundle = bundles.all()[number];
                prop_assert_eq!((bundle.path, bundle.length), (path, length));
                counted[number] += 1;
            }
            prop_assert!(counted.iter().take(bundles.all().len()).all(|&counted| counted > 0));
            for (bundle, counted) in bundles.all().iter().zip(counted) {
                prop_assert_eq!(bundle.answers, counted);
                if counted > 1 {
                    prop_assert!(counted <= 64 && bundle.length * counted <= 65_507);
                    prop_assert!((1..=1_232).contains(&bundle.length));
                }
            }
        }
    }
}
