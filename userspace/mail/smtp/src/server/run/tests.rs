use bytes::Bytes;
use muralla_mail_envelope::{Domain, Recipient};

use super::*;
use crate::server::handler::Conversation;

/// Takes everything.
struct Anything;

impl Handler for Anything {
    type Memory = ();

    async fn rcpt(&self, (): &mut (), _: Conversation<'_>, _: &Recipient) -> Decision {
        Decision::Accept
    }

    async fn message(&self, (): &mut (), _: Conversation<'_>, _: Envelope, _: Bytes) -> Decision {
        Decision::Accept
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A flood of strangers takes all places but those that are kept.
#[tokio::test]
async fn the_last_places_are_for_who_is_known() {
    let mut config = Config::new(Mode::Mx, Domain::parse("mx.example.net").unwrap());
    config.limits.connections = 4 * RESERVED;
    config.proxies = vec!["203.0.113.0/24".parse().unwrap()];
    let server = Server::new(config, Anything);
    let shared = &server.0;
    shared.regulars.note(address("192.0.2.1"));
    let strangers: Vec<_> = std::iter::from_fn(|| shared.admit(address("198.51.100.1"))).collect();
    assert_eq!(strangers.len(), 4 * RESERVED - 4);
    assert!(server.status().full);
    let known = ["192.0.2.1", "203.0.113.5", "127.0.0.1", "::ffff:192.0.2.1"];
    let known: Vec<_> = known.iter().filter_map(|one| shared.admit(address(one))).collect();
    assert_eq!(known.len(), 4);
    assert!(shared.admit(address("192.0.2.1")).is_none(), "there is no place at all");
    drop((known, strangers));
    assert!(!server.status().full);
}
