//! How much of the verifier's patience each program takes.

use aya::programs::loaded_programs;
use muralla_edge::config::Role;

use crate::fixture::{Fixture, every_side};

/// Most instructions that the verifier may look at for one program. The kernel gives up at a million; what lies between
/// is for kernels whose verifiers follow more states than this one's.
const MOST_INSTRUCTIONS: u32 = 250_000;

#[test]
fn programs_leave_the_verifier_room() {
    let fixture = Fixture::new(every_side);
    let mut verified: Vec<(String, u32)> = fixture
        .wall
        .programs()
        .map(|(interface, loaded)| {
            let info = loaded.wall().unwrap().info().unwrap();
            let count = info.verified_instruction_count().unwrap();
            (format!("wall on {interface}"), count)
        })
        .collect();
    // That of this wall is the last one.
    let handshake = loaded_programs()
        .filter_map(Result::ok)
        .filter(|info| info.name_as_str() == Some("handshake"))
        .filter_map(|info| info.verified_instruction_count())
        .last()
        .unwrap();
    verified.push(("handshake".to_owned(), handshake));
    assert_eq!(verified.len(), [Role::Internet, Role::Customers, Role::Both].len() + 1);
    for (program, count) in verified {
        println!("{program}: {count} instructions verified");
        assert!(
            (1..=MOST_INSTRUCTIONS).contains(&count),
            "{program}: {count} instructions verified, more than {MOST_INSTRUCTIONS}"
        );
    }
}
