//! What may happen, in any order.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Somebody dials in on a line, at a server; what he had there has ended.
    LogIn(usize, u64, u64),
    /// A session that was offered something begins, is told of, ends: at a server, or at none as its record is lost.
    Start(usize, usize),
    Interim(usize, usize),
    Stop(usize, Option<usize>),
    /// A record is sent again, or for the first time.
    Repeat(usize, usize),
    /// The journal goes into the database, so many records of it; the position may be lost.
    Export(usize, usize, bool),
    CaughtUp(usize),
    /// The end of sessions at the other server is heard of.
    Follow(usize),
    Keep(usize),
    /// Parts of a round, so that others come between.
    Tell(usize),
    Hear(usize),
    Ask(usize),
    Stock(usize),
    Snapshot(usize),
    Kill(usize),
    /// A server ends in order; while the database is away, another process may go on with its life.
    End(usize),
    Begin(usize, bool),
    Away(bool),
    Wait(u64),
    /// An operator gives one of the pools other ranges, or removes it; he may be refused.
    Home(usize),
    Vip(usize),
    Remove(bool),
}

/// Ranges that the two pools may have, some of which exclude each other.
pub(super) const HOME: [&[&str]; 5] = [
    &["10.64.0.0-10.64.0.7"],
    &["10.64.0.0-10.64.0.3"],
    &["10.64.0.0-10.64.0.4"],
    &["10.64.0.2-10.64.0.7"],
    &["10.64.0.1", "10.64.0.3-10.64.0.6"],
];
pub(super) const VIP: [&[&str]; 5] = [
    &[],
    &["10.64.0.4-10.64.0.7"],
    &["10.64.0.5-10.64.0.6"],
    &["10.64.0.0-10.64.0.1"],
    &["10.64.0.2", "10.64.0.7"],
];

/// Users from this one on have something of the second pool.
pub(super) const VIPS: u64 = 4;

pub(super) fn step() -> impl Strategy<Value = Step> {
    let server = || 0usize..2;
    prop_oneof![
        12 => (server(), 0u64..6, 0u64..2).prop_map(|(at, user, line)| Step::LogIn(at, user, line)),
        10 => (0usize..6, server()).prop_map(|(session, at)| Step::Start(session, at)),
        3 => (0usize..8, server()).prop_map(|(session, at)| Step::Interim(session, at)),
        8 => (0usize..8, proptest::option::weighted(0.8, server()))
            .prop_map(|(session, at)| Step::Stop(session, at)),
        5 => (0usize..12, server()).prop_map(|(record, at)| Step::Repeat(record, at)),
        8 => (server(), 1usize..6, proptest::bool::weighted(0.8))
            .prop_map(|(at, most, keeps)| Step::Export(at, most, keeps)),
        6 => server().prop_map(Step::CaughtUp),
        2 => server().prop_map(Step::Follow),
        8 => server().prop_map(Step::Keep),
        3 => server().prop_map(Step::Tell),
        3 => server().prop_map(Step::Hear),
        3 => server().prop_map(Step::Ask),
        2 => server().prop_map(Step::Stock),
        1 => server().prop_map(Step::Snapshot),
        2 => server().prop_map(Step::Kill),
        2 => server().prop_map(Step::End),
        3 => (server(), any::<bool>()).prop_map(|(at, first)| Step::Begin(at, first)),
        1 => proptest::bool::weighted(0.3).prop_map(Step::Away),
        5 => prop_oneof![3 => 1u64..4, 3 => 4u64..30, 1 => 30u64..200].prop_map(Step::Wait),
        2 => (0..HOME.len()).prop_map(Step::Home),
        2 => (0..VIP.len()).prop_map(Step::Vip),
        1 => any::<bool>().prop_map(Step::Remove),
    ]
}
