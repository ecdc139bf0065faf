//! What reloads and replaced programs cost: packets of an allowed source that get lost.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use muralla_lab::{Family, Lab};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::process::Signal;

use super::table::{Row, median};
use crate::run::appliance::Appliance;

/// A port that no service of the wall has.
const PORT: u16 = 7_777;

/// Packets a second.
const RATE: u32 = 20_000;

pub(super) struct Effort {
    pub(super) reloads: usize,
    pub(super) restarts: usize,
}

/// Lines for `[edge]` that allow the source of the stream.
pub(super) fn allowed(lab: &Lab) -> Result<String> {
    let [source, _] = ends(lab)?;
    Ok(format!("allow = [\"{}\"]\n", source.ip()))
}

fn ends(lab: &Lab) -> Result<[SocketAddr; 2]> {
    let hosts = lab.internet_hosts(Family::V4);
    let source = hosts.last().context("a lab without hosts on its Internet")?;
    Ok([SocketAddr::new(*source, PORT), SocketAddr::new(lab.service(Family::V4), PORT)])
}

pub(super) fn rows(lab: &Lab, appliance: &mut Appliance<'_>, effort: &Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    type Step<'a, 'lab> = &'a dyn Fn(&mut Appliance<'lab>) -> Result<()>;
    let rest: Step<'_, '_> = &|_| {
        thread::sleep(Duration::from_millis(20));
        Ok(())
    };
    let reload: Step<'_, '_> = &|appliance| appliance.admin.reload();
    let crash: Step<'_, '_> = &|appliance| {
        appliance.end_daemon(Signal::KILL)?;
        appliance.start_daemon()
    };
    let restart: Step<'_, '_> = &|appliance| {
        appliance.end_daemon(Signal::TERM)?;
        appliance.start_daemon()
    };
    for (name, times, step) in [
        ("undisturbed", effort.reloads, rest),
        ("reload", effort.reloads, reload),
        ("kill_and_start", effort.restarts, crash),
        ("stop_and_start", effort.restarts, restart),
    ] {
        eprintln!("continuity: {name}, {times} times");
        let before = let_through(appliance)?;
        let stream = Stream::start(lab)?;
        let mut took = Vec::new();
        for _ in 0..times {
            let started = Instant::now();
            step(appliance)?;
            took.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let (sent, received) = stream.stop()?;
        let seen = let_through(appliance)? - before;
        ensure!(
            seen >= received,
            "{received} packets arrived, and the wall saw only {seen} of them: did it stand?"
        );
        let id = |what: &str| format!("continuity.{name}.{what}");
        rows.push(Row::plain(id("times"), times as f64, "times"));
        rows.push(Row::plain(id("median"), median(&took), "ms"));
        rows.push(Row::plain(id("sent"), sent as f64, "packets"));
        let lost = sent.saturating_sub(received);
        rows.push(Row {
            against: Some("continuity.undisturbed.lost".to_owned()),
            budget: Some(0.0),
            within: Some(lost == 0),
            ..Row::plain(id("lost"), lost as f64, "packets")
        });
    }
    Ok(rows)
}

/// Packets of allowed sources that the wall has let through.
fn let_through(appliance: &Appliance<'_>) -> Result<u64> {
    let counters = appliance.admin.counters()?;
    let allowed = counters.iter().filter(|counter| counter.reason == "allowed");
    Ok(allowed.map(|counter| counter.packets).sum())
}

/// Numbered packets from the Internet to the edge.
struct Stream {
    stopped: Arc<AtomicBool>,
    sender: JoinHandle<Result<u64>>,
    receiver: JoinHandle<Result<u64>>,
}

impl Stream {
    fn start(lab: &Lab) -> Result<Self> {
        let [source, target] = ends(lab)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let inbox = lab.edge().inside(move || {
            let socket = UdpSocket::bind(target).context("listening")?;
            // A second of packets: what the receiver is late for is not lost by the wall.
            set_socket_recv_buffer_size_force(&socket, 32 << 20).context("a large buffer")?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            Ok(socket)
        })?;
        let receiver = thread::spawn(move || receive(&inbox));
        let until = Arc::clone(&stopped);
        let sender = lab.internet().thread("stream", move || send(source, target, &until))?;
        Ok(Self { stopped, sender, receiver })
    }

    /// Packets sent and received.
    fn stop(self) -> Result<(u64, u64)> {
        self.stopped.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow!("a thread of the stream panicked");
        let sent = self.sender.join().map_err(panicked)??;
        let received = self.receiver.join().map_err(panicked)??;
        Ok((sent, received))
    }
}

fn send(source: SocketAddr, target: SocketAddr, stopped: &AtomicBool) -> Result<u64> {
    let socket = UdpSocket::bind(source).context("sending")?;
    socket.connect(target)?;
    let started = Instant::now();
    let mut number = 0u64;
    while !stopped.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * f64::from(RATE)) as u64;
        while number < due {
            socket.send(&number.to_be_bytes()).context("sending")?;
            number += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    Ok(number)
}

/// Counts different numbers until there is silence.
fn receive(socket: &UdpSocket) -> Result<u64> {
    let mut seen: Vec<u64> = Vec::new();
    let mut count = 0;
    let mut buffer = [0; 64];
    loop {
        match socket.recv(&mut buffer) {
            Ok(8) => {
                let Some(number) = buffer.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
                else {
                    continue;
                };
                let (word, bit) = ((number / 64) as usize, 1u64 << (number % 64));
                if word >= seen.len() {
                    seen.resize(word + 1_024, 0);
                }
                if let Some(word) = seen.get_mut(word)
                    && *word & bit == 0
                {
                    *word |= bit;
                    count += 1;
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(count),
            Err(error) => return Err(error).context("receiving"),
        }
    }
}
