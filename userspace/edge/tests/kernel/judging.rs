//! Every frame of every table, on a program for each side: one load for all of them.

use muralla_abi::verdict::Reason;

use crate::fixture::{Fixture, every_side};
use crate::{answers, headers, limits, services, sources};

/// Every reason that there is is met by a frame of some table; so a new one can't come without one.
#[test]
fn every_frame_meets_its_verdict_and_every_reason_is_met() {
    let mut fixture = Fixture::new(every_side);
    for (part, run) in [
        ("headers", headers::run as fn(&mut Fixture)),
        ("services", services::run),
        ("sources", sources::run),
        ("limits", limits::run),
        ("answers", answers::run),
    ] {
        println!("{part}");
        fixture.reset();
        run(&mut fixture);
    }
    let missing: Vec<&str> = Reason::ALL
        .iter()
        .filter(|reason| !fixture.met.contains(reason))
        .map(|reason| reason.name())
        .collect();
    assert!(missing.is_empty(), "no frame meets {missing:?}");
}
