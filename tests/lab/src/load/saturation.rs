//! As many queries as a server answers: a window of them is under way all the time.
//!
//! Queries are whole frames, prepared before, that an XDP program puts on the wire; answers are counted by
//! another one at the end of it. Neither a socket nor the network stack of the generator is in the way, so
//! that it stays ahead of what it measures; and the server's end of a veth pair gets frames as those of a card.
//! What a socket sends would be copied into a page first before an XDP program there can see it, at the server's
//! expense, which no card's driver does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::{Load, Outcome};
use crate::cpu::pin;
use crate::frames;
use crate::kernel::Generator;
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
    /// Share of the generator's turns in which the window was full, from 0 to 1: it waited for the server.
    pub waited: f64,
}

impl Saturation {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.outcome.answers() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Frames that are prepared, and asked in turn.
const PREPARED: usize = 1 << 17;
/// Without any answer for so long, what is under way is lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// Time between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(1);

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
    let generator = Generator::load(&frames, counters.counters()).context("loading what sends")?;
    let (generator, ending) = (Arc::new(generator), Arc::new(AtomicBool::new(false)));
    let sending = {
        let (generator, ending, core) = (Arc::clone(&generator), Arc::clone(&ending), options.core);
        namespace.thread("generator", move || {
            let interface = interface_index(FAR_INTERFACE)?;
            pin(0, core)?;
            while !ending.load(Ordering::Relaxed) {
                generator.run(interface).context("sending queries")?;
            }
            Ok(())
        })?
    };
    let saturation = ask(&generator, &counters, options, || sending.is_finished());
    ending.store(true, Ordering::Relaxed);
    sending.join().map_err(|_| anyhow!("the generator panicked"))??;
    Ok((saturation?, started, look()?))
}

fn ask(
    generator: &Generator,
    counters: &AnswerCount<'_>,
    options: &Options,
    failed: impl Fn() -> bool,
) -> Result<Saturation> {
    let begun = Instant::now();
    let (mut seen, mut progress) = (0, begun);
    generator.allow(options.window);
    while begun.elapsed() < options.duration && !failed() {
        thread::sleep(LOOK);
        let (answered, now) = (generator.answered(), Instant::now());
        if answered > seen {
            (seen, progress) = (answered, now);
        } else if now - progress > PATIENCE {
            let lost = generator.counts().0 - answered;
            generator.allow(options.window + lost);
            progress = now;
        }
    }
    generator.allow(0);
    let elapsed = begun.elapsed();
    let (sent, full) = generator.counts();
    // What is under way still arrives, and is no loss.
    let mut last = 0;
    while generator.answered() > last {
        last = generator.answered();
        thread::sleep(Duration::from_millis(20));
    }
    if last == 0 {
        bail!("none of {sent} queries was answered");
    }
    let mut outcome = Outcome { sent, lost: sent.saturating_sub(last), ..Outcome::default() };
    for (at, count) in counters.read().into_iter().enumerate() {
        if let Some(code) = outcome.codes.get_mut(at % 16) {
            *code += count;
        }
        if at >= 16 {
            outcome.truncated += count;
        }
    }
    Ok(Saturation { outcome, elapsed, waited: full as f64 / (full + sent).max(1) as f64 })
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
