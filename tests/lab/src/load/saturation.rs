//! As many queries as a server answers: a window of them is under way all the time.
//!
//! Queries are whole frames, prepared before, which one system call puts on the wire 32 at a time; answers
//! are counted by an XDP program at the end of the wire. Neither a socket nor the network stack of the
//! generator is in the way, so that it stays ahead of what it measures.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::{Load, Outcome};
use crate::cpu::pin;
use crate::frames;
use crate::kernel::{PacketSocket, Volley};
use crate::namespace::interface_index;
use crate::random::Random;
use crate::topology::{AnswerCount, FAR_INTERFACE, Lab, Side};

/// What a generator does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the queries come from. Clients take turns.
    pub side: Side,
    /// Clients' addresses, over IPv4.
    pub sources: Vec<IpAddr>,
    /// The server, over IPv4.
    pub target: SocketAddr,
    /// Queries under way. The ring of a veth pair has 256 places; more are lost when a core is late.
    pub window: u64,
    /// How long.
    pub duration: Duration,
    /// The core that sends.
    pub core: usize,
}

/// What a server did under all the queries that it could take.
#[derive(Clone, Debug)]
pub struct Saturation {
    /// Counts; latencies are not measured.
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
    /// Share of the time in which the window was full, from 0 to 1: the generator waited for the server.
    pub waited: f64,
}

impl Saturation {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.outcome.answers() as f64 / self.elapsed.as_secs_f64()
    }

    /// Whether it was the generator that could do no more.
    pub fn generator_limited(&self) -> bool {
        self.waited < 0.1
    }
}

/// Frames that are prepared, and asked in turn.
const PREPARED: usize = 1 << 17;
/// Frames of one call.
const BATCH: u64 = 32;
/// Without any answer for so long, what is under way is lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// A break while the window is full: the core has answers to count meanwhile.
const BREAK: Duration = Duration::from_micros(5);

/// Asks for as long as the options say. `look` is called before the first query and after the last answer, and
/// what it saw (processor time, say) is returned with the rest.
///
/// # Errors
/// When addresses are not of IPv4, not root, or nothing at all is answered.
pub fn run<T>(
    lab: &Lab,
    load: &Load,
    options: &Options,
    mut look: impl FnMut() -> Result<T>,
) -> Result<(Saturation, T, T)> {
    if options.sources.is_empty() || load.is_empty() {
        bail!("a load needs questions and clients that ask them");
    }
    if !options.target.is_ipv4() || options.sources.iter().any(|source| !source.is_ipv4()) {
        bail!("answers are counted over IPv4 alone");
    }
    let (namespace, interface) = lab.side(options.side);
    let frames = prepare(load, options, namespace.mac(FAR_INTERFACE)?, lab.edge().mac(interface)?);
    let counters = lab.count_answers(options.side)?;
    let started = look()?;
    let core = options.core;
    let (window, duration) = (options.window, options.duration);
    let saturation = thread::scope(|scope| {
        let namespace = namespace.clone();
        let counters = &counters;
        scope
            .spawn(move || {
                let socket = namespace.inside(|| {
                    PacketSocket::open(interface_index(FAR_INTERFACE)?).context("a packet socket")
                })?;
                pin(0, core)?;
                ask(&socket, &mut Volley::new(&frames), counters, window, duration)
            })
            .join()
            .map_err(|_| anyhow!("the generator panicked"))?
    });
    let ended = look()?;
    drop(counters);
    Ok((saturation?, started, ended))
}

fn ask(
    socket: &PacketSocket,
    volley: &mut Volley,
    counters: &AnswerCount<'_>,
    window: u64,
    duration: Duration,
) -> Result<Saturation> {
    let before = counters.read();
    let answered = |counters: &AnswerCount<'_>| {
        counters.read().iter().sum::<u64>() - before.iter().sum::<u64>()
    };
    let begun = Instant::now();
    let (mut sent, mut lost, mut at) = (0_u64, 0_u64, 0_usize);
    let (mut seen, mut progress) = (0, begun);
    let mut waited = Duration::ZERO;
    loop {
        let now = Instant::now();
        if now - begun >= duration {
            break;
        }
        let answers = answered(counters);
        if answers > seen {
            (seen, progress) = (answers, now);
        }
        let room = (window + answers + lost).saturating_sub(sent).min(BATCH);
        // Small volleys cost as much as large ones: a core that waits for half a batch is a full window.
        if room < BATCH.min(window) {
            if now - progress > PATIENCE {
                lost = sent.saturating_sub(answers);
                progress = now;
            }
            thread::sleep(BREAK);
            waited += now.elapsed();
            continue;
        }
        match volley.send(socket, at, room as usize) {
            Ok(count) => {
                sent += count as u64;
                at = (at + count) % volley.len();
            }
            // The interface has no room: as good as a full window.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN)) => {
                thread::sleep(BREAK);
            }
            Err(error) => return Err(error).context("sending queries"),
        }
    }
    let elapsed = begun.elapsed();
    let share = waited.as_secs_f64() / elapsed.as_secs_f64();
    // What is under way still arrives, and is no loss.
    let mut last = 0;
    while answered(counters) > last {
        last = answered(counters);
        thread::sleep(Duration::from_millis(20));
    }
    if last == 0 {
        bail!("none of {sent} queries was answered");
    }
    let mut outcome = Outcome { sent, lost: sent.saturating_sub(last), ..Outcome::default() };
    let after = counters.read();
    for (at, (after, before)) in after.iter().zip(before).enumerate() {
        let count = after - before;
        if let Some(code) = outcome.codes.get_mut(at % 16) {
            *code += count;
        }
        if at >= 16 {
            outcome.truncated += count;
        }
    }
    Ok(Saturation { outcome, elapsed, waited: share })
}

/// The frames that are asked in turn: each with a client, a port and an id of its own.
fn prepare(
    load: &Load,
    options: &Options,
    source_mac: frames::Mac,
    target_mac: frames::Mac,
) -> Vec<Vec<u8>> {
    let mut random = Random::seeded(1);
    (0..PREPARED as u64)
        .filter_map(|number| {
            let mut query = load.query(load.question(number)?)?.to_vec();
            let [id, port] = [random.next_u16(), random.next_u16()];
            query.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
            let source = options.sources.get(number as usize % options.sources.len())?;
            // The ports whose answers are counted.
            let source = SocketAddr::new(*source, 0x4000 | (port & 0x3fff));
            let frame = frames::udp(source, options.target).macs(source_mac, target_mac);
            Some(frame.payload(query).build())
        })
        .collect()
}
