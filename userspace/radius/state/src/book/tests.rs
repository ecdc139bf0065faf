use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::*;

const OFFER: u64 = 10_000;
const LEASE: u64 = 60_000;

fn book(ranges: &[&str]) -> Book<&'static str> {
    Book::new(Plan::new(32, 4, ranges.iter().copied()).unwrap(), OFFER, LEASE)
}

fn who(user: u64) -> Who {
    Who { user, line: Some(user * 1000 + 1) }
}

/// A session's name.
fn session(user: u64) -> u64 {
    user + 1_000_000
}

/// A Start that was made then, and is heard of first.
fn start(session: u64, began: Moment) -> Sign {
    Sign { session, began: Some(began), stamped: began, starts: true, known: true }
}

/// An update of a session that began then.
fn update(session: u64, began: Moment) -> Sign {
    Sign { starts: false, ..start(session, began) }
}

/// A user logs in, and his session begins.
fn log_in(book: &mut Book<&'static str>, user: u64, now: Moment) -> Option<u64> {
    let number = book.lease(who(user), "", None, now)?;
    assert!(!book.renew(number, who(user), start(session(user), now), now));
    Some(number)
}

/// And it ends.
fn stop(book: &mut Book<&'static str>, number: u64, user: u64) {
    book.release(number, user, session(user));
}

/// A book with one block of 192.0.2.0 to .3.
fn one_block() -> (Book<&'static str>, u64) {
    let mut book = book(&["192.0.2.0-192.0.2.99"]);
    let block = book.plan().blocks().next().unwrap();
    book.take_block(block, 1_000_000, None, [], 0);
    assert_eq!(book.spare(), 4);
    (book, block)
}

fn ended(book: &mut Book<&'static str>, now: Moment, most: usize) -> Vec<u64> {
    book.ended(now, most).into_iter().map(|ended| ended.number).collect()
}

fn idle(book: &Book<&'static str>) -> Vec<u64> {
    book.blocks().map(|(block, _)| block).filter(|block| book.is_idle(*block)).collect()
}

#[test]
fn what_somebody_has_at_another_server_is_given_to_nobody_before_the_database_was_asked() {
    let (mut book, block) = one_block();
    book.doubt(block, 5);
    book.doubt(block, 6);
    assert_eq!(book.spare(), 3);
    let given: Vec<u64> = (1..=3).map(|user| log_in(&mut book, user, 7).unwrap()).collect();
    assert!(!given.contains(&block));
    assert_eq!(log_in(&mut book, 4, 8), None);
    assert_eq!(ended(&mut book, 8, 9), [block]);
    book.confirm(block, None, 8);
    assert_eq!(log_in(&mut book, 4, 9), Some(block), "he has it no more");
    // What is held is its holder's, and what is unknown is nothing.
    book.doubt(block, 10);
    book.doubt(block + 99, 10);
    assert_eq!((book.spare(), book.held()), (0, 4));
    assert!(ended(&mut book, 10, 9).is_empty());
}

#[test]
fn a_block_is_sure_when_the_database_was_asked_about_all_of_it() {
    let (mut book, block) = one_block();
    assert!(book.is_sure(block));
    log_in(&mut book, 1, 1).unwrap();
    assert!(book.is_sure(block), "what was offered here is known");
    let next = block + 4;
    assert!(!book.is_sure(next), "it is not ours");
    book.take_block(next, 1_000_000, Some(50), [], 2);
    for number in ended(&mut book, 60, 9) {
        assert!(!book.is_sure(next));
        book.confirm(number, None, 60);
    }
    assert!(book.is_sure(next));
}

#[test]
fn what_is_taken_by_its_line_hides_nothing_that_is_free() {
    let mut book = book(&["10.0.0.0-10.0.255.255"]);
    let blocks: Vec<u64> = book.plan().blocks().take(100).collect();
    for block in &blocks {
        book.take_block(*block, u64::MAX, None, [], 0);
    }
    // All come back to what they had, but for the last.
    let given: Vec<u64> = (0..400).map(|user| log_in(&mut book, user, 0).unwrap()).collect();
    for (user, number) in (0..).zip(&given) {
        stop(&mut book, *number, user);
    }
    for (user, number) in (0..399).zip(&given) {
        assert_eq!(log_in(&mut book, user, 1), Some(*number));
    }
    assert_eq!(book.spare(), 1);
    assert_eq!(book.lease(who(1_000), "", None, 1), given.last().copied());
    assert_eq!((book.lease(who(1_001), "", None, 1), book.free.len()), (None, 0));
    // Nor does what belongs to subscribers by now.
    for (user, number) in (0..399).zip(&given) {
        stop(&mut book, *number, user);
    }
    for block in blocks.iter().take(98) {
        book.set_fixed(*block, &[*block..=*block + 3]);
    }
    assert_eq!(book.spare(), 7);
    assert!((0..7).all(|user| book.lease(who(2_000 + user), "", None, 1).is_some()));
    assert_eq!(book.lease(who(3_000), "", None, 1), None);
    // A subscriber's no more.
    book.set_fixed(blocks[0], &[blocks[0]..=blocks[0] + 2]);
    assert_eq!(book.lease(who(3_000), "", None, 1), Some(blocks[0] + 3));
}

#[test]
fn everybody_gets_something_else_until_nothing_is_left() {
    let (mut book, block) = one_block();
    let given: Vec<u64> = (0..4).map(|user| book.lease(who(user), "", None, 0).unwrap()).collect();
    assert_eq!(given, [block, block + 1, block + 2, block + 3]);
    assert_eq!(book.lease(who(9), "", None, 0), None);
    assert_eq!((book.spare(), book.held(), book.take_given()), (0, 4, 4));
    // A repeated request gets the same again.
    assert_eq!(book.lease(who(2), "", None, 1), Some(block + 2));
    // Without anything that tells logins apart, it is another login.
    assert_eq!(book.lease(Who { user: 2, line: None }, "", None, 1), None);
}

#[test]
fn the_longest_unused_comes_next_and_a_line_gets_its_own_again() {
    let (mut book, block) = one_block();
    for user in 0..3 {
        log_in(&mut book, user, 0);
    }
    stop(&mut book, block + 1, 1);
    stop(&mut book, block, 0);
    assert_eq!(book.lease(who(7), "", None, 5), Some(block + 3), "never used");
    assert_eq!(book.lease(who(0), "", None, 5), Some(block), "his own");
    assert_eq!(book.lease(who(8), "", None, 5), Some(block + 1));
    assert_eq!(book.lease(who(9), "", None, 5), None);
}

#[test]
fn a_line_is_what_the_login_told_of_it() {
    let (mut book, block) = one_block();
    let accounting = Who { line: Some(7), ..who(1) };
    assert_eq!(book.lease(who(1), "", None, 1), Some(block));
    assert!(!book.renew(block, accounting, start(session(1), 2), 3));
    assert_eq!(book.lease(who(1), "", None, 5), Some(block), "he asks again");
    assert_ne!(book.lease(accounting, "", None, 5), Some(block));
    // Where nothing but accounting tells of it, that does.
    assert!(!book.renew(block + 3, Who { line: Some(9), ..who(2) }, start(session(2), 2), 3));
    assert_eq!(book.lease(Who { line: Some(9), ..who(2) }, "", None, 5), Some(block + 3));
}

#[test]
fn nobody_gives_back_what_another_has() {
    let (mut book, block) = one_block();
    log_in(&mut book, 1, 0);
    book.release(block, 2, session(1));
    book.release(block, 1, session(2));
    assert_eq!(book.spare(), 3);
    assert!(book.renew(block, who(2), update(session(2), 0), 5), "somebody else has it");
    assert!(!book.renew(block, who(1), update(session(1), 0), 5));
    // Two sessions that say they have it: the database knows which of them goes on.
    assert!(!book.renew(block, who(1), update(77, 0), 5));
    book.release(block, 1, session(1));
    book.release(block, 1, 77);
    assert_eq!(book.spare(), 3);
}

#[test]
fn an_old_end_does_not_free_what_the_next_session_has() {
    let (mut book, block) = one_block();
    // A session begins; then he logs in again on the same port, and its end comes after that.
    assert_eq!(book.lease(who(1), "", None, 1_000), Some(block));
    assert!(!book.renew(block, who(1), start(11, 1_500), 1_500));
    assert_eq!(book.lease(who(1), "", None, 1_600), Some(block));
    book.release(block, 1, 11);
    assert_eq!(book.spare(), 3, "it was offered again");
    // An update of the old session does not take the offer, whatever its clock says.
    assert!(!book.renew(block, who(1), update(11, 9_000), 5_600));
    book.release(block, 1, 11);
    assert_eq!(book.spare(), 3);
    assert!(!book.renew(block, who(1), start(12, 5_800), 5_900));
    book.release(block, 1, 11);
    assert_eq!(book.spare(), 3);
    book.release(block, 1, 12);
    assert_eq!(book.spare(), 4);
}

#[test]
fn a_session_that_was_told_to_another_server_takes_no_later_offer() {
    let (mut book, block) = one_block();
    // The first session's Start goes to another server; its other records come here when he has logged in again.
    assert_eq!(book.lease(who(1), "", None, 10_000), Some(block));
    assert_eq!(book.lease(who(1), "", None, 15_000), Some(block));
    for sign in [
        start(11, 10_900),
        start(11, 15_900),
        update(11, 10_500),
        Sign { began: None, ..update(11, 20_000) },
        Sign { stamped: 10_500, ..update(11, 20_000) },
    ] {
        assert!(!book.renew(block, who(1), sign, 16_000));
        book.release(block, 1, 11);
        assert_eq!(book.spare(), 3, "{sign:?}");
    }
    // What began long enough after the offer took it.
    assert!(!book.renew(block, who(1), start(12, 16_000), 16_500));
    book.release(block, 1, 12);
    assert_eq!(book.spare(), 4);
}

#[test]
fn what_others_gave_is_free_only_when_all_of_it_has_come_to_light() {
    let mut book = book(&["192.0.2.0-192.0.2.99"]);
    let block = book.plan().blocks().next().unwrap();
    let known = Known { number: block, who: who(1), session: 11, until: 50_000 };
    // An earlier life may have given it to another since.
    book.take_block(block, 1_000_000, Some(12_000), [known], 2_000);
    book.release(block, 1, 11);
    assert_ne!(book.lease(who(1), "", None, 3_000), Some(block), "nor does he get it again");
    assert_eq!(book.lease(who(1), "", Some(block), 3_000), Some(block), "unless he has it");
    assert!(!book.renew(block, who(1), update(11, 9_000), 10_000));
    book.release(block, 1, 11);
    book.question(block, 10_000);
    assert_eq!(ended(&mut book, 12_999, 9), [block + 1, block + 2, block + 3]);
    assert_eq!(book.ended(13_000, 1), [Ended { number: block, until: 13_000 }]);
    book.confirm(block, Some(known), 13_000);
    assert_eq!(book.held(), 1);
    book.release(block, 1, 11);
    assert_eq!(book.held(), 0);
}

#[test]
fn what_was_told_before_a_stop_is_known_and_what_is_free_is_free() {
    let mut book = book(&["192.0.2.0-192.0.2.99"]);
    let block = book.plan().blocks().next().unwrap();
    let held = Known { number: block, who: who(1), session: 11, until: 50_000 };
    let offer = Known { number: block + 1, who: who(2), session: 0, until: 12_000 };
    book.take_block(block, 1_000_000, None, [held, offer], 2_000);
    assert_eq!((book.spare(), book.held()), (2, 2));
    // He may have logged in again before the stop: his session's end proves nothing.
    book.release(block, 1, 11);
    assert_eq!(book.spare(), 2);
    assert_eq!(book.ended(2_000, 9), [Ended { number: block, until: 2_000 }]);
    book.confirm(block, Some(held), 2_000);
    book.release(block, 1, 11);
    assert_eq!(book.spare(), 3);
    book.question(block + 1, 3_000);
    assert_eq!(book.ended(11_999, 9), [], "the offer may be taken");
    assert_eq!(book.ended(12_000, 9), [Ended { number: block + 1, until: 12_000 }]);
}

#[test]
fn nothing_becomes_free_before_the_database_was_asked() {
    let (mut book, block) = one_block();
    book.lease(who(1), "", None, 0);
    book.lease(who(2), "", None, 0);
    book.renew(block, who(1), start(11, 1000), 1000);
    assert_eq!(ended(&mut book, OFFER - 1, 9), Vec::<u64>::new());
    assert_eq!(ended(&mut book, OFFER, 9), [block + 1], "an offer that nobody took");
    assert_eq!(ended(&mut book, OFFER, 9), Vec::<u64>::new(), "asked about once");
    assert_eq!(book.lease(who(3), "", None, OFFER), Some(block + 2));
    book.postpone(&[block + 1], OFFER + 500);
    assert_eq!(ended(&mut book, OFFER + 499, 9), Vec::<u64>::new());
    let again = book.ended(OFFER + 500, 9);
    assert_eq!(again, [Ended { number: block + 1, until: OFFER }], "its time ended when it ended");
    book.confirm(block + 1, None, OFFER + 500);
    assert_eq!(book.spare(), 2);
    // The lease of the first was renewed elsewhere.
    assert_eq!(ended(&mut book, 1000 + LEASE, 1), [block + 2]);
    assert_eq!(ended(&mut book, 1000 + LEASE, 9), [block]);
    book.confirm(
        block,
        Some(Known { number: block, who: who(1), session: 11, until: 200_000 }),
        1000 + LEASE,
    );
    assert_eq!(ended(&mut book, 199_999, 9), Vec::<u64>::new());
    assert_eq!(ended(&mut book, 200_000, 9), [block]);
    // And renewed here while the database was asked.
    book.renew(block, who(1), update(11, 1000), 200_000);
    book.confirm(block, None, 200_000);
    assert_eq!(ended(&mut book, 200_000 + LEASE - 1, 9), Vec::<u64>::new());
}

#[test]
fn what_a_dead_server_may_have_offered_rests() {
    let mut book = book(&["192.0.2.0-192.0.2.99"]);
    let block = book.plan().blocks().next().unwrap();
    let known = Known { number: block + 2, who: who(2), session: 12, until: 50_000 };
    book.take_block(block, 1_000_000, Some(OFFER), [known], 0);
    assert_eq!((book.spare(), book.held()), (0, 1));
    assert_eq!(book.lease(who(1), "", None, 0), None);
    let taken = start(13, 5);
    assert!(!book.renew(block, who(3), taken, 5), "one was taken, as its accounting tells");
    assert_eq!(ended(&mut book, OFFER, 9), [block, block + 1, block + 2, block + 3]);
    let taker = Known { number: block, who: who(3), session: 13, until: 60_000 };
    book.confirm(block, Some(taker), OFFER);
    book.confirm(block + 2, Some(known), OFFER);
    book.confirm(block + 1, None, OFFER);
    book.confirm(block + 3, None, OFFER);
    assert_eq!(book.spare(), 2);
    assert_eq!(book.lease(who(2), "", None, OFFER), Some(block + 2), "still his own");
}

#[test]
fn nothing_is_given_out_of_a_reservation_that_has_ended() {
    let (mut book, block) = one_block();
    book.lease(who(1), "", None, 0);
    assert_eq!(book.lease(who(2), "", None, 1_000_000), None);
    assert_eq!(book.lease(who(1), "", None, 1_000_000), None, "not even the same again");
    book.extend(block, 2_000_000);
    assert_eq!(book.lease(who(2), "", None, 1_000_000), Some(block + 1));
}

#[test]
fn what_is_fixed_or_outside_of_the_pool_is_never_given() {
    let (mut book, block) = one_block();
    book.fix(&(block..=block + 1));
    assert_eq!(book.spare(), 2);
    assert_eq!(book.lease(who(1), "", None, 0), Some(block + 2));
    book.replan(Plan::new(32, 4, ["192.0.2.0-192.0.2.2"]).unwrap(), OFFER, LEASE);
    assert_eq!(book.spare(), 0);
    assert_eq!(book.lease(who(2), "", None, 0), None, "the last is outside now");
    book.set_fixed(block, &[block + 1..=block + 1]);
    assert_eq!(book.lease(who(2), "", None, 0), Some(block), "not fixed any more");
    book.replan(Plan::new(32, 4, ["192.0.2.0-192.0.2.3"]).unwrap(), OFFER, LEASE);
    assert_eq!((book.narrow(), ended(&mut book, 7, 9)), (vec![block], vec![]));
    book.widen(block, 7);
    book.widen(block, 8);
    assert!(book.narrow().is_empty());
    assert_eq!(book.lease(who(3), "", None, 7), None, "somebody may have it");
    assert_eq!(ended(&mut book, 7, 9), [block + 3]);
    book.confirm(block + 3, None, 7);
    assert_eq!(book.lease(who(3), "", None, 7), Some(block + 3), "inside again");
    assert_eq!(book.lease(who(4), "", None, 0), None);
}

/// A NAS makes up sessions, to have all of a pool.
#[test]
fn what_nobody_was_given_is_not_everybodys_who_says_so() {
    let mut book = book(&["192.0.2.0-192.0.2.63"]);
    let blocks: Vec<u64> = book.plan().blocks().collect();
    for block in &blocks {
        book.take_block(*block, 1_000_000, None, [], 0);
    }
    let (first, size) = (blocks[0], book.spare());
    assert_eq!(size, 64);
    let unknown = |session| Sign { known: false, ..start(session, 10) };
    // Of nobody who is no subscriber.
    for number in first..first + 64 {
        assert!(!book.renew(number, who(900 + number), unknown(number), 10));
    }
    assert_eq!((book.spare(), book.held()), (64, 0));
    // Of one who is, a few.
    for number in first..first + 64 {
        assert!(!book.renew(number, who(7), start(number, 10), 10));
    }
    assert_eq!((book.spare(), book.held()), (64 - MOST_CLAIMS, MOST_CLAIMS));
    // Those whose end is told count no more, and what he is given does not count.
    book.release(first, 7, first);
    assert_eq!(book.held(), MOST_CLAIMS - 1);
    assert!(!book.renew(first + 40, who(7), start(first + 40, 10), 10));
    assert!(!book.renew(first + 41, who(7), start(first + 41, 10), 10));
    assert_eq!(book.held(), MOST_CLAIMS);
    assert!(book.lease(Who { user: 7, line: Some(77) }, "seven", None, 20).is_some());

    // What was claimed in vain may be in use: it is given last.
    let (mut book, block) = one_block();
    assert!(!book.renew(block, who(900), unknown(1), 10));
    let given: Vec<u64> = (0..4).map(|user| book.lease(who(user), "", None, 20).unwrap()).collect();
    assert_eq!(given, [block + 1, block + 2, block + 3, block]);
}

/// A server heard of who has what before it was cut off from the database, and does not know him by then.
#[test]
fn who_had_it_last_has_it_by_his_nas_s_word() {
    let (mut book, block) = one_block();
    log_in(&mut book, 1, 0);
    stop(&mut book, block, 1);
    assert_eq!(book.spare(), 4);
    let sign = Sign { known: false, ..update(session(1), 10) };
    assert!(!book.renew(block, who(1), sign, 10));
    assert_eq!((book.spare(), book.held()), (3, 1));
}

#[test]
fn what_left_its_pool_inside_a_block_is_known_until_nobody_has_it() {
    let (mut book, block) = one_block();
    let given: Vec<u64> = (0..3).map(|user| log_in(&mut book, user, 0).unwrap()).collect();
    let (kept, left) = (given[0], given[2]);
    assert!(book.trimmed().is_empty(), "the pool has all of it");
    book.replan(Plan::new(32, 4, ["192.0.2.0-192.0.2.1"]).unwrap(), OFFER, LEASE);
    book.news();
    assert!(book.trimmed().is_empty(), "somebody has some of what left");
    let [address, unused, other] = ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
        .map(|address| book.number(address.parse().unwrap()));
    assert_eq!((address, unused, other), (Some(left), None, None));
    // His updates and his end are heard as ever.
    assert!(!book.renew(left, who(2), update(session(2), 0), 30_000));
    stop(&mut book, left, 2);
    assert_eq!((book.held(), book.number("192.0.2.2".parse().unwrap())), (2, None));
    assert!(book.trimmed().is_empty(), "the database has not heard it");
    assert_eq!(book.news().1, [left]);
    assert_eq!(book.trimmed(), [block]);
    book.told_trimmed(&[block]);
    assert_eq!((book.trimmed(), book.outside()), (vec![], vec![]));
    // The rest of it is in use all the time.
    assert!(!book.renew(kept, who(0), update(session(0), 0), 30_000));
    // It comes back: first the database is told, then asked.
    book.replan(Plan::new(32, 4, ["192.0.2.0-192.0.2.2"]).unwrap(), OFFER, LEASE);
    assert_eq!((book.narrow(), book.trimmed()), (vec![block], vec![block]));
    book.told_trimmed(&[block]);
    book.widen(block, 31_000);
    assert_eq!(book.trimmed(), [block], "by what the pool has now");
    assert_eq!(book.lease(who(7), "", None, 31_000), None);
    assert_eq!(ended(&mut book, 31_000, 9), [left]);
    book.confirm(left, None, 31_000);
    assert_eq!(book.lease(who(7), "", None, 31_000), Some(left));
    assert_eq!(book.lease(who(8), "", None, 31_000), None);
}

#[test]
fn what_a_dead_server_may_have_offered_rests_also_outside_of_the_pool() {
    let mut book = book(&["192.0.2.0-192.0.2.1"]);
    let block = book.plan().blocks().next().unwrap();
    book.take_block(block, 1_000_000, Some(OFFER), [], 0);
    assert!(book.trimmed().is_empty());
    assert_eq!(ended(&mut book, OFFER, 9), [block, block + 1, block + 2, block + 3]);
    for number in block..block + 4 {
        book.confirm(number, None, OFFER);
    }
    assert_eq!((book.spare(), book.trimmed()), (2, vec![block]));
    // Where all is known that was given, what is outside is nobody's at once.
    book.take_block(block + 4, 1_000_000, None, [], 0);
    assert_eq!(book.outside(), [block + 4]);
}

#[test]
fn a_pool_that_is_gone_gives_nothing() {
    let (mut book, block) = one_block();
    log_in(&mut book, 1, 0);
    book.close();
    assert_eq!((book.lease(who(1), "", None, 0), book.lease(who(2), "", None, 0)), (None, None));
    assert_eq!((book.spare(), book.held(), book.news().0.len()), (0, 1, 1));
    stop(&mut book, block, 1);
    book.news();
    assert_eq!(book.outside(), [block]);
}

#[test]
fn a_pool_is_renumbered() {
    let (mut book, block) = one_block();
    assert_eq!(book.lease(who(1), "", None, 0), Some(block));
    book.replan(Plan::new(32, 4, ["192.0.2.8-192.0.2.11"]).unwrap(), OFFER, LEASE);
    // Nothing here is good for logins any more, so that other blocks are reserved.
    assert_eq!((book.spare(), book.held(), book.outside()), (0, 1, vec![]));
    assert_eq!(book.lease(who(1), "", None, 0), None);
    // When nobody has any of the block, it is given up.
    assert_eq!(ended(&mut book, OFFER, 9), [block]);
    book.confirm(block, None, OFFER);
    book.news();
    assert_eq!((book.spare(), book.held(), book.outside()), (0, 0, vec![block]));
    book.drop_block(block);
    book.take_block(block + 8, 1_000_000, None, [], OFFER);
    assert_eq!((book.spare(), book.outside()), (4, vec![]));
    assert_eq!(book.lease(who(1), "", None, OFFER), Some(block + 8));
}

#[test]
fn the_database_is_told_what_is_new_and_what_is_gone() {
    let (mut book, block) = one_block();
    book.lease(who(1), "one", None, 5);
    book.lease(who(2), "two", None, 6);
    book.lease(who(1), "one", None, 7);
    book.renew(block + 1, who(2), start(session(2), 6), 6);
    stop(&mut book, block + 1, 2);
    let (fresh, gone) = book.news();
    let first = Fresh { number: block, line: Some(1001), since: 5, until: 7 + OFFER, label: "one" };
    assert_eq!((fresh.clone(), gone.clone()), (vec![first], vec![block + 1]));
    assert_eq!(book.news(), (Vec::new(), Vec::new()));
    // It could not be told, and the one has been given to somebody else meanwhile.
    book.lease(who(3), "three", None, 8);
    book.lease(who(4), "four", None, 8);
    book.lease(who(5), "five", None, 8);
    book.renew(block, who(1), start(session(1), 2_000), 2_000);
    stop(&mut book, block, 1);
    book.untold(fresh, gone);
    let (fresh, gone) = book.news();
    let mut labels: Vec<&str> = fresh.iter().map(|fresh| fresh.label).collect();
    labels.sort_unstable();
    assert_eq!((labels, gone), (vec!["five", "four", "three"], vec![block]));
}

#[test]
fn blocks_come_and_go() {
    let (mut book, block) = one_block();
    let other = book.plan().blocks().nth(1).unwrap();
    book.take_block(other, 1_000_000, None, [], 0);
    let given = log_in(&mut book, 1, 0).unwrap();
    assert_eq!(idle(&book), [other]);
    book.drop_block(other);
    assert_eq!(book.spare(), 3);
    stop(&mut book, given, 1);
    assert_eq!(idle(&book), Vec::<u64>::new(), "the database does not know yet that it is free");
    book.news();
    assert_eq!(idle(&book), [block]);
    book.drop_block(block);
    assert_eq!((book.spare(), book.held(), book.blocks().count()), (0, 0, 0));
    assert_eq!(book.lease(who(1), "", None, 0), None);
}

fn written_and_read(book: &Book<&'static str>) -> Book<&'static str> {
    let text = serde_json::to_string(&book.to_kept()).unwrap();
    // Labels live as long as the test.
    serde_json::from_str::<KeptBook<&'static str>>(text.leak()).unwrap().into()
}

#[test]
fn another_process_goes_on_where_one_ended() {
    let (mut book, block) = one_block();
    log_in(&mut book, 1, 1_000).unwrap();
    book.lease(who(2), "two", None, 2_000);
    log_in(&mut book, 3, 3_000).unwrap();
    stop(&mut book, block + 2, 3);
    book.fix(&(block + 3..=block + 3));
    let mut next = written_and_read(&book);
    assert_eq!((next.spare(), next.held()), (1, 2));
    assert!(next.blocks().eq(book.blocks()));
    // Each has his own again, and what was nobody's is given, and nothing else.
    assert_eq!(next.lease(who(2), "two", None, 4_000), Some(block + 1));
    assert_eq!(next.lease(who(3), "three", None, 4_000), Some(block + 2));
    assert_eq!(next.lease(who(4), "four", None, 4_000), None);
    stop(&mut next, block, 1);
    assert_eq!(next.lease(who(4), "four", None, 4_000), Some(block));
    // The database is told what the process before could not tell.
    let (fresh, gone) = next.news();
    let mut told: Vec<(u64, &str)> =
        fresh.iter().map(|fresh| (fresh.number, fresh.label)).collect();
    told.sort_unstable();
    assert_eq!(told, [(block, "four"), (block + 1, "two"), (block + 2, "three")]);
    assert_eq!(gone, Vec::<u64>::new());
    assert_eq!(ended(&mut next, 4_000 + OFFER, 9).len(), 3);
    assert_eq!(next.lease(who(5), "", None, 1_000_000), None, "the reservation has ended");
}

#[derive(Clone, Debug)]
enum Step {
    Lease(u64),
    Renew(u64),
    Release(u64),
    Wait(u64),
    Ask,
    Lose,
    Take,
    Fix(u64),
    Elsewhere(u64),
    /// Another process goes on.
    Keep,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..12).prop_map(Step::Lease),
        2 => (0u64..12).prop_map(Step::Renew),
        3 => (0u64..12).prop_map(Step::Release),
        2 => (1u64..30_000).prop_map(Step::Wait),
        2 => Just(Step::Ask),
        1 => Just(Step::Lose),
        1 => Just(Step::Take),
        1 => (0u64..16).prop_map(Step::Fix),
        1 => (0u64..16).prop_map(Step::Elsewhere),
        1 => Just(Step::Keep),
    ]
}

proptest! {
    /// Whatever happens in whatever order, what somebody holds is given to nobody else.
    #[test]
    fn nothing_is_ever_given_twice(steps in proptest::collection::vec(step(), 1..200)) {
        let mut book = book(&["192.0.2.0-192.0.2.15"]);
        let blocks: Vec<u64> = book.plan().blocks().collect();
        let first = blocks[0];
        let mut now = 0;
        // Who holds what until when, told from outside.
        let mut holders: HashMap<u64, (u64, u64)> = HashMap::new();
        let mut fixed = HashSet::new();
        book.take_block(blocks[0], u64::MAX, None, [], 0);
        book.take_block(blocks[1], u64::MAX, None, [], 0);
        for step in steps {
            match step {
                Step::Lease(user) => {
                    if let Some(number) = book.lease(who(user), "", None, now) {
                        prop_assert!(!fixed.contains(&number));
                        if let Some((holder, until)) = holders.get(&number) {
                            prop_assert!(*holder == user || *until <= now, "{number} is held by {holder}");
                        }
                        let until = holders.get(&number).filter(|(holder, _)| *holder == user);
                        let until = until.map_or(0, |(_, until)| *until).max(now + OFFER);
                        holders.retain(|_, (holder, _)| *holder != user);
                        holders.insert(number, (user, until));
                    }
                }
                Step::Renew(user) => {
                    for (number, (holder, until)) in &mut holders {
                        if *holder == user && *until > now {
                            let sign = update(session(user), now);
                            prop_assert!(!book.renew(*number, who(user), sign, now));
                            *until = (*until).max(now + LEASE);
                        }
                    }
                }
                Step::Release(user) => {
                    for (number, (holder, _)) in &holders {
                        if *holder == user {
                            stop(&mut book, *number, user);
                        }
                    }
                    holders.retain(|_, (holder, _)| *holder != user);
                }
                Step::Wait(time) => now += time,
                Step::Ask => {
                    for number in ended(&mut book, now, 3) {
                        let holder = holders.get(&number).filter(|(_, until)| *until > now);
                        let known = holder.map(|(user, until)| Known {
                            number,
                            who: who(*user),
                            session: session(*user),
                            until: *until,
                        });
                        book.confirm(number, known, now);
                    }
                }
                Step::Lose => book.drop_block(blocks[1]),
                Step::Take => {
                    let known: Vec<Known> = holders
                        .iter()
                        .filter(|(_, (_, until))| *until > now)
                        .map(|(number, (user, until))| Known {
                            number: *number,
                            who: who(*user),
                            session: session(*user),
                            until: *until,
                        })
                        .collect();
                    if book.blocks().count() == 1 {
                        book.take_block(blocks[1], u64::MAX, None, known, now);
                        // What is fixed is read again with every block.
                        let all: Vec<RangeInclusive<u64>> = fixed.iter().map(|number| *number..=*number).collect();
                        book.set_fixed(blocks[1], &all);
                    }
                }
                Step::Fix(at) => {
                    if !holders.contains_key(&(first + at)) {
                        fixed.insert(first + at);
                        book.fix(&(first + at..=first + at));
                    }
                }
                Step::Keep => book = written_and_read(&book),
                // Somebody has what is free here: he was told to another server.
                Step::Elsewhere(at) => {
                    let number = first + at;
                    let free = book.units.get(&number).is_some_and(|unit| unit.state == State::Free);
                    if free && !fixed.contains(&number) {
                        holders.insert(number, (100 + at, now + LEASE));
                        book.doubt(number, now);
                    }
                }
            }
            let spare = book.units.iter().filter(|(number, unit)| {
                unit.state == State::Free && !book.fixed.contains(*number)
            });
            prop_assert_eq!(book.spare(), spare.count());
            let held = book.units.values().filter(|unit| unit.state == State::Held);
            prop_assert_eq!(book.held(), held.count());
        }
    }
}
