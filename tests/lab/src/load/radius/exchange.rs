//! The thread of all NASes: sends what is due, takes what has come, gives up what is late.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::num::NonZero;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::setpriority_process;

use super::requests::Requests;
use super::{IDS, Options, Outcome, Pace};
use crate::cpu::pin;
use crate::frames::radius::{
    ACCESS_REQUEST, HEADER, message_authenticator_fits, verified_response,
};
use crate::kernel::datagrams::{Incoming, Outgoing, open};
use crate::kernel::wait_readable;

pub(super) struct Exchange<'r> {
    requests: &'r dyn Requests,
    options: &'r Options,
    /// One for each port that a NAS has.
    sockets: Vec<UdpSocket>,
    /// By lane and identifier.
    pending: Vec<Pending>,
    /// Requests that count as lost from some time on, in that order; answered ones are still in it.
    deadlines: VecDeque<Due>,
    /// Requests that are sent again at some time, in that order; answered ones are still in it.
    repetitions: VecDeque<Due>,
    under_way: u64,
    outgoing: Outgoing,
    /// The socket that what waits in `outgoing` is for.
    sending: usize,
    incoming: Incoming,
    begun: Instant,
    /// Answers to Access-Requests until the next one whose Message-Authenticator is looked at.
    until_look: u32,
}

#[derive(Clone, Copy)]
struct Pending {
    /// The request's number; [`NONE`] if there is none.
    number: u64,
    /// When it was due, in nanoseconds since the beginning.
    at: u64,
    authenticator: [u8; 16],
    sendings: u32,
}

const NONE: u64 = u64::MAX;

const FREE: Pending = Pending { number: NONE, at: 0, authenticator: [0; 16], sendings: 0 };

#[derive(Clone, Copy)]
struct Due {
    at: u64,
    place: usize,
    number: u64,
}

/// Niceness of the thread.
const EARLY: i32 = -10;
/// Longest wait for sockets, so that losses and the end are noticed.
const BREAK: Duration = Duration::from_millis(5);

/// With a window requests are sent when there is room for so many: a card tells of what arrived in bursts, too, and one at
/// a time each would interrupt the server that answers the one before.
const BURST: u64 = 32;

/// A Message-Authenticator is looked at in one of so many answers: it costs as much as all else of an answer.
const LOOK: u32 = 16;

impl<'r> Exchange<'r> {
    pub(super) fn new(requests: &'r dyn Requests, options: &'r Options) -> Result<Self> {
        let sockets = (0..options.nases.ports)
            .map(|_| open().context("a socket for NASes"))
            .collect::<Result<_>>()?;
        Ok(Self {
            requests,
            options,
            sockets,
            pending: vec![FREE; options.nases.places() as usize],
            deadlines: VecDeque::new(),
            repetitions: VecDeque::new(),
            under_way: 0,
            outgoing: Outgoing::new(options.target),
            sending: 0,
            incoming: Incoming::new(),
            begun: Instant::now(),
            until_look: 0,
        })
    }

    /// Asks until that is over; `tell` gets what happened in each turn.
    pub(super) fn work(
        mut self,
        stopped: impl Fn() -> bool,
        mut tell: impl FnMut(&Outcome),
    ) -> Result<()> {
        pin(0, self.options.core)?;
        // Before whatever else is on that core, but for the kernel's thread that receives for it.
        setpriority_process(None, EARLY).context("preferring what is due")?;
        // What is due in ten microseconds is not to be sent in sixty.
        rustix::thread::set_current_timer_slack(NonZero::new(1)).context("an exact timer")?;
        let mut number = 0;
        let mut over = false;
        let mut waited = Vec::new();
        let mut told = Instant::now();
        let mut tally = Outcome::default();
        self.begun = Instant::now();
        loop {
            over |= stopped();
            if !over {
                over = !self.ask(&mut number, &mut tally)?;
            }
            self.repeat(&mut tally)?;
            self.flush(&mut tally);
            if over && self.under_way == 0 {
                tell(&tally);
                return Ok(());
            }
            if wait_readable(&mut waited, &self.sockets, self.patience(number, over))
                .context("waiting for answers")?
            {
                for socket in 0..self.sockets.len() {
                    if waited.get(socket).is_some_and(|waited| waited.revents != 0) {
                        self.receive(socket, &mut tally);
                    }
                }
            }
            self.give_up(&mut tally);
            if told.elapsed() >= BREAK {
                told = Instant::now();
                tell(&tally);
                tally = Outcome::default();
            }
        }
    }

    /// Sends what is due; false when there is nothing left to ask.
    fn ask(&mut self, number: &mut u64, tally: &mut Outcome) -> Result<bool> {
        match self.options.pace {
            Pace::Rate(rate) => {
                // At most a batch, so that answers are taken in between.
                for _ in 0..crate::kernel::datagrams::BATCH {
                    let (due, now) = (due(*number, rate), self.now());
                    if due > now {
                        break;
                    }
                    tally.lateness.record((now - due) / 1_000);
                    if !self.send(*number, due, tally)? {
                        return Ok(false);
                    }
                    *number += 1;
                }
            }
            Pace::Window(window) => {
                let room = u64::from(window).saturating_sub(self.under_way);
                if room >= BURST.min(u64::from(window)) {
                    for _ in 0..room {
                        if !self.send(*number, self.now(), tally)? {
                            return Ok(false);
                        }
                        *number += 1;
                    }
                }
            }
        }
        Ok(true)
    }

    /// How long to wait for answers before something else is to be done.
    fn patience(&self, number: u64, over: bool) -> Duration {
        let next = match self.options.pace {
            Pace::Rate(rate) if !over => due(number, rate),
            _ => u64::MAX,
        };
        let repetition = self.repetitions.front().map_or(u64::MAX, |due| due.at);
        let left = next.min(repetition).saturating_sub(self.now());
        Duration::from_nanos(left).min(BREAK)
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// Sends a new request that was due then; false when there is none of that number.
    fn send(&mut self, number: u64, at: u64, tally: &mut Outcome) -> Result<bool> {
        let place = self.options.nases.place(number);
        let index = place.lane as usize * IDS as usize + usize::from(place.id);
        let Some(authenticator) = self.write(number, tally)? else { return Ok(false) };
        let pending = self.pending.get_mut(index).context("a NAS without a place")?;
        if pending.number != NONE {
            // A NAS that runs out of identifiers gives the oldest request up.
            tally.lost += 1;
            self.under_way -= 1;
        }
        *pending = Pending { number, at, authenticator, sendings: 1 };
        self.under_way += 1;
        tally.sent += 1;
        tally.most_sendings = tally.most_sendings.max(1);
        let due = |after: Duration| Due { at: at + after.as_nanos() as u64, place: index, number };
        self.deadlines.push_back(due(self.options.patience));
        if let Some(retry) = self.options.retry {
            self.repetitions.push_back(due(retry));
        }
        Ok(true)
    }

    /// Puts a request with the others that wait to be sent, and gives its authenticator.
    fn write(&mut self, number: u64, tally: &mut Outcome) -> Result<Option<[u8; 16]>> {
        let place = self.options.nases.place(number);
        let socket = (place.lane / self.options.nases.count) as usize;
        if socket != self.sending || self.outgoing.room().is_none() {
            self.flush(tally);
            self.sending = socket;
        }
        let room = self.outgoing.room().context("no room after all was sent")?;
        let Some(length) = self.requests.write(number, place, room) else { return Ok(None) };
        let authenticator = room.get(4..HEADER).and_then(|bytes| bytes.try_into().ok());
        let authenticator = authenticator.context("a request without an authenticator")?;
        self.outgoing.push(length, place.nas);
        Ok(Some(authenticator))
    }

    fn flush(&mut self, tally: &mut Outcome) {
        if let Some(socket) = self.sockets.get(self.sending) {
            tally.refused += self.outgoing.send(socket) as u64;
        }
    }

    /// Sends again what has waited for long enough.
    fn repeat(&mut self, tally: &mut Outcome) -> Result<()> {
        let Some(retry) = self.options.retry else { return Ok(()) };
        let now = self.now();
        while let Some(&due) = self.repetitions.front().filter(|due| due.at <= now) {
            self.repetitions.pop_front();
            let pending = self.pending.get_mut(due.place);
            if let Some(pending) = pending.filter(|pending| pending.number == due.number) {
                pending.sendings += 1;
                tally.most_sendings = tally.most_sendings.max(pending.sendings);
                tally.repeated += 1;
                self.write(due.number, tally)?;
                self.repetitions.push_back(Due { at: now + retry.as_nanos() as u64, ..due });
            }
        }
        Ok(())
    }

    fn receive(&mut self, socket: usize, tally: &mut Outcome) {
        let Some(from) = self.sockets.get(socket) else { return };
        let secret = self.options.secret.as_bytes();
        loop {
            match self.incoming.receive(from) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            }
            let now = self.begun.elapsed().as_nanos() as u64;
            for (answer, nas) in self.incoming.datagrams() {
                let (Some(lane), Some(&id)) = (self.options.nases.lane(socket, nas), answer.get(1))
                else {
                    tally.wrong += 1;
                    continue;
                };
                let Some(pending) = self.pending.get_mut(lane * IDS as usize + usize::from(id))
                else {
                    continue;
                };
                // An answer after the NAS gave up is none, nor is one to a repetition after that to the first.
                if pending.number == NONE {
                    continue;
                }
                let authenticator = &pending.authenticator;
                let Some(code) = verified_response(answer, id, authenticator, secret) else {
                    tally.wrong += 1;
                    continue;
                };
                if self.requests.code() == ACCESS_REQUEST {
                    self.until_look = self.until_look.checked_sub(1).unwrap_or(LOOK - 1);
                    if self.until_look == 0 {
                        match message_authenticator_fits(answer, authenticator, secret) {
                            Some(true) => {}
                            Some(false) => tally.wrong += 1,
                            None => tally.unsigned += 1,
                        }
                    }
                }
                if let Some(count) = tally.codes.get_mut(usize::from(code)) {
                    *count += 1;
                }
                tally.latencies.record(now.saturating_sub(pending.at) / 1_000);
                if self.options.remember {
                    tally.answered.push(pending.number);
                }
                *pending = FREE;
                self.under_way -= 1;
            }
        }
    }

    fn give_up(&mut self, tally: &mut Outcome) {
        let now = self.now();
        while let Some(&due) = self.deadlines.front() {
            if let Some(pending) = self.pending.get_mut(due.place)
                && pending.number == due.number
            {
                if due.at > now {
                    return;
                }
                *pending = FREE;
                self.under_way -= 1;
                tally.lost += 1;
            }
            self.deadlines.pop_front();
        }
    }
}

/// When a request is due at a rate, in nanoseconds since the beginning.
const fn due(number: u64, rate: u32) -> u64 {
    (number as u128 * 1_000_000_000 / rate as u128) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_their_rate_for_ever() {
        assert_eq!((due(0, 3), due(1, 3), due(3, 3)), (0, 333_333_333, 1_000_000_000));
        assert_eq!(due(u64::from(u32::MAX) * 100, 50_000), 8_589_934_590_000_000);
    }
}
