//! The model is run: through cases that were found once, and through whatever comes.

use std::collections::HashSet;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::World;
use super::steps::{Step, step};
use crate::Assigned;

fn run(steps: &[Step]) -> Result<(), TestCaseError> {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut world = World::new().await;
        for step in steps {
            world.take(step).await?;
        }
        world.end().await?;
        for state in &world.states {
            state.close().await;
        }
        Ok(())
    })
}

#[test]
fn who_ends_in_order_soon_after_a_crash_does_not_vouch_for_the_life_before() {
    let steps = [
        Step::LogIn(0, 0, 0),
        Step::Kill(0),
        Step::Begin(0, false),
        Step::End(0),
        Step::Begin(0, false),
        Step::LogIn(0, 1, 0),
    ];
    run(&steps).unwrap();
}

#[test]
fn another_process_goes_on_while_the_database_is_away() {
    let steps = [
        Step::LogIn(0, 0, 0),
        Step::Start(0, 0),
        Step::LogIn(0, 1, 0),
        Step::Away(true),
        Step::End(0),
        Step::Begin(0, false),
    ];
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut world = World::new().await;
        for step in steps {
            world.take(&step).await.unwrap();
        }
        let leases = world.servers[0].leases.clone().expect("it goes on");
        assert_eq!(leases.status().iter().map(|pool| pool.held).sum::<u64>(), 2);
        // One that has something has it still, and others get what is left.
        world.take(&Step::LogIn(0, 1, 0)).await.unwrap();
        world.take(&Step::LogIn(0, 2, 0)).await.unwrap();
        let addresses: HashSet<Assigned> =
            world.sessions.iter().map(|session| session.address).collect();
        assert_eq!((world.sessions.len(), addresses.len()), (4, 3));
        // Once only: a process that crashes leaves nothing.
        world.take(&Step::Kill(0)).await.unwrap();
        world.take(&Step::Begin(0, false)).await.unwrap();
        assert!(world.servers[0].leases.is_none());
        world.end().await.unwrap();
        for state in &world.states {
            state.close().await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 8,
        max_shrink_iters: 600,
        ..ProptestConfig::default()
    })]

    /// Whatever happens to servers, records and the database, in whatever order.
    #[test]
    fn two_servers_give_nothing_twice(steps in proptest::collection::vec(step(), 1..120)) {
        run(&steps)?;
    }
}
