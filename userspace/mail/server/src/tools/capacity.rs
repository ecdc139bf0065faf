//! What mail for so many users takes in boxes, disks and money: a pure function of what is wanted, of what was measured, and of prices.
//!
//! Bytes are counted in thousands, as disks and quotas are: a GB is 1,000,000,000 bytes.

//!
//! Figures are constants with their sources: those that a benchmark measures are in [`measured`], in the form in which the benchmark
//! prints them at its end; the others are here.

mod measured;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

pub use measured::{ACCEPTED, ENGINES, INDEX, SENT, SESSIONS, STORED};

/// A figure that the plan stands on, with where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What it is, in a few words.
    pub what: &'static str,
    /// The figure.
    pub value: f64,
    /// Where it comes from: a row of a benchmark, or whose it is.
    pub source: &'static str,
}

const fn figure(what: &'static str, value: f64, source: &'static str) -> Figure {
    Figure { what, value, source }
}

/// How much of a pack is dead, on average.
pub const DEAD: Figure =
    figure("dead share of packs", 0.2, "half of the 40 % at which a pack is compacted");

/// Flushes of packs that a message takes at most. Messages that come at once share one.
pub const FLUSHES: Figure =
    figure("flushes of a pack a message", 1.0, "by design; fewer under load");

/// What a database is asked to write for each account in a second, on average.
pub const WRITES: Figure = figure(
    "index writes a second and 500,000 accounts",
    640.0,
    "Deutsche Telekom's 39 million accounts, SUSECON 2017; 1,380 at the peak",
);

/// What it is asked to read.
pub const READS: Figure =
    figure("index reads a second and 500,000 accounts", 396.0, "the same; 842 at the peak");

/// Random accesses of a hard disk in a second that leave half of its time free.
pub const DISK_IOPS: Figure =
    figure("accesses a second of a hard disk", 75.0, "half of the 150 that one of 7,200 rpm can");

/// How full disks may be.
pub const DISK_FULL: Figure = figure(
    "fullest that disks may be",
    0.8,
    "judgement: the loss of a box is copied into the rest",
);

/// How busy processors may be at the peak.
pub const BUSY: Figure = figure("busiest that processors may be", 0.5, "judgement");

/// Accounts that [`WRITES`] and [`READS`] are of.
const OBSERVED: f64 = 500_000.0;

/// All of them, as they are shown.
pub const FIGURES: [Figure; 13] = [
    STORED, INDEX, DEAD, ACCEPTED, SENT, SESSIONS, ENGINES, FLUSHES, WRITES, READS, DISK_IOPS,
    DISK_FULL, BUSY,
];

/// Least bytes of solid-state disks in a box: system, spool, database; two of them, each with all of it.
const SSD_OF_A_BOX: f64 = 2.0 * 960e9;

/// How bodies are kept from being lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// One box with a folder of packs, on mirrored disks.
    OneBox,
    /// Garage with two copies of everything.
    Garage2,
    /// Garage with three.
    Garage3,
    /// An object store with erasure coding, such as SeaweedFS or Ceph: so many pieces of data, and so many more.
    Erasure {
        /// Pieces that are enough to read.
        data: u32,
        /// Pieces that may be lost.
        more: u32,
    },
}

/// What is not a layout.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a layout is one-box, garage-2, garage-3, or erasure-10+4 with other numbers if you like")]
pub struct LayoutError;

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        match text {
            "one-box" => return Ok(Self::OneBox),
            "garage-2" => return Ok(Self::Garage2),
            "garage-3" => return Ok(Self::Garage3),
            _ => {}
        }
        let numbers = text.strip_prefix("erasure").ok_or(LayoutError)?;
        let (data, more) =
            numbers.trim_start_matches(['-', ' ']).split_once('+').ok_or(LayoutError)?;
        let data = data.parse().map_err(|_| LayoutError)?;
        let more = more.parse().map_err(|_| LayoutError)?;
        // With one more only, a box that is down leaves nothing to spare.
        let sensible = (1..=64).contains(&data) && (2..=16).contains(&more);
        if sensible { Ok(Self::Erasure { data, more }) } else { Err(LayoutError) }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneBox => out.write_str("one-box"),
            Self::Garage2 => out.write_str("garage-2"),
            Self::Garage3 => out.write_str("garage-3"),
            Self::Erasure { data, more } => write!(out, "erasure-{data}+{more}"),
        }
    }
}

impl Serialize for Layout {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl Layout {
    /// Bytes on disks for each byte in packs.
    #[must_use]
    pub fn copies(self) -> f64 {
        match self {
            Self::OneBox | Self::Garage2 => 2.0,
            Self::Garage3 => 3.0,
            Self::Erasure { data, more } => f64::from(data + more) / f64::from(data.max(1)),
        }
    }

    /// Disks that a write has to reach.
    #[must_use]
    pub fn written(self) -> f64 {
        match self {
            Self::Erasure { data, more } => f64::from(data + more),
            other => other.copies(),
        }
    }

    /// Least boxes for what it promises.
    #[must_use]
    pub fn least_boxes(self) -> u64 {
        match self {
            Self::OneBox => 1,
            Self::Garage2 | Self::Garage3 => 3,
            // So many pieces in each that two boxes may be lost.
            Self::Erasure { data, more } => u64::from((data + more).div_ceil((more / 2).max(1))),
        }
    }

    /// What may fail without a message being lost.
    #[must_use]
    pub fn survives(self, boxes: u64) -> String {
        match self {
            Self::OneBox => {
                "a disk of each pair; while the box is down, other servers keep mail for it"
                    .to_owned()
            }
            Self::Garage2 => "a box".to_owned(),
            // Garage takes nothing without two of three copies, and the database has one copy.
            Self::Garage3 => "a box, without anybody noticing".to_owned(),
            Self::Erasure { data, more } => {
                let pieces = u64::from(data + more).div_ceil(boxes.max(1));
                match u64::from(more) / pieces.max(1) {
                    1 => "a box".to_owned(),
                    lost => {
                        format!("a box; {lost} for packs alone, as the database has one copy")
                    }
                }
            }
        }
    }
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wish {
    /// Mailboxes.
    pub users: u64,
    /// Bytes of mail that each may have.
    pub quota: u64,
    /// How much of that they have, from 0 to 1: the likely case beside the one in which all are full.
    pub fill: f64,
    /// Messages that come for a user in a day.
    pub messages_per_day: f64,
    /// Messages that a user sends in a day.
    pub sent_per_day: f64,
    /// POP3 sessions of a user in a day.
    pub sessions_per_day: f64,
    /// Bytes of a message.
    pub message_bytes: u64,
    /// How much more there is at the peak than on average.
    pub peak: f64,
    /// How bodies are kept.
    pub layout: Layout,
    /// What is bought.
    pub hardware: Hardware,
    /// What it costs.
    pub prices: Prices,
}

/// What is bought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hardware {
    /// Bytes of a hard disk.
    pub disk_bytes: u64,
    /// Hard disks that a box has room for.
    pub bays: u64,
    /// Cores of a box.
    pub cores: u64,
    /// Watts that a box takes, disks included.
    pub watts: f64,
}

/// What it costs, in US dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prices {
    /// A box without its disks.
    pub box_usd: f64,
    /// A TB of hard disk.
    pub disk_usd_per_tb: f64,
    /// A TB of solid-state disk.
    pub ssd_usd_per_tb: f64,
    /// Hardware that lies on the shelf, as a share of what runs.
    pub spares: f64,
    /// A kWh, cooling included.
    pub kwh_usd: f64,
    /// Years that it runs.
    pub years: f64,
}

impl Default for Hardware {
    fn default() -> Self {
        Self { disk_bytes: 16_000_000_000_000, bays: 12, cores: 16, watts: 250.0 }
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            box_usd: 2_500.0,
            disk_usd_per_tb: 20.0,
            ssd_usd_per_tb: 60.0,
            spares: 0.1,
            kwh_usd: 0.25,
            years: 2.0,
        }
    }
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            users: 500_000,
            quota: 300_000_000,
            fill: 0.33,
            messages_per_day: 10.0,
            sent_per_day: 2.0,
            sessions_per_day: 4.0,
            message_bytes: 40_000,
            peak: 2.2,
            layout: Layout::Garage3,
            hardware: Hardware::default(),
            prices: Prices::default(),
        }
    }
}

/// How often in a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// On average.
    pub average: f64,
    /// At the peak.
    pub peak: f64,
}

/// What the boxes have to do, whatever is in the mailboxes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Messages that come, a second.
    pub messages: Rate,
    /// Messages that are sent, a second.
    pub sent: Rate,
    /// POP3 sessions, a second.
    pub sessions: Rate,
    /// Writes of packs on all hard disks, a second: the redundancy is among them.
    pub pack_writes: Rate,
    /// Reads of packs, a second.
    pub pack_reads: Rate,
    /// Writes of the database, a second.
    pub index_writes: Rate,
    /// Reads of it.
    pub index_reads: Rate,
    /// From and to the Internet and the users, in Mbit/s, the busier direction.
    pub outside: Rate,
    /// Between the boxes, in Mbit/s.
    pub inside: Rate,
    /// Cores that are busy.
    pub cores: Rate,
}

/// What is to be bought for mailboxes that are so full.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Purchase {
    /// How full they are, from 0 to 1.
    pub fill: f64,
    /// Bytes of mail, as users see it.
    pub mail_bytes: f64,
    /// Bytes in packs, what is dead included.
    pub pack_bytes: f64,
    /// Bytes of hard disk that these take, redundancy and room included.
    pub disk_bytes: f64,
    /// Bytes of solid-state disk, of all boxes.
    pub ssd_bytes: f64,
    /// Hard disks, the same number in each box.
    pub disks: u64,
    /// Boxes.
    pub boxes: u64,
    /// What the hardware costs, spares included.
    pub hardware_usd: f64,
    /// What its power costs, for all the years.
    pub power_usd: f64,
    /// Both for each GB of mail.
    pub usd_per_gb: f64,
}

/// The plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// What was wanted.
    pub wish: Wish,
    /// What has to be done.
    pub load: Load,
    /// What is likely to be needed.
    pub likely: Purchase,
    /// What is needed when all mailboxes are full.
    pub full: Purchase,
    /// What may fail without a loss, with the likely number of boxes.
    pub survives: String,
    /// What does not go together.
    pub remarks: Vec<String>,
}

/// What can't be planned.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(&'static str);

/// Plans.
///
/// # Errors
///
/// [`PlanError`] if a number makes no sense.
pub fn plan(wish: &Wish) -> Result<Plan, PlanError> {
    wish.check()?;
    let load = load(wish);
    let likely = purchase(wish, &load, wish.fill);
    let full = purchase(wish, &load, 1.0);
    let mut remarks = Vec::new();
    for purchase in [&likely, &full] {
        if wish.layout == Layout::OneBox && purchase.boxes > 1 {
            remarks.push(format!(
                "{:.0} % full, it does not fit into one box: take one with more room, or another layout",
                purchase.fill * 100.0
            ));
        }
        if purchase.usd_per_gb > 3.0 {
            remarks.push(format!(
                "{:.0} % full, a GB costs more than 3 USD: mailboxes are too few or too small for so many boxes",
                purchase.fill * 100.0
            ));
        }
    }
    let survives = wish.layout.survives(likely.boxes);
    Ok(Plan { wish: wish.clone(), load, likely, full, survives, remarks })
}

impl Wish {
    fn check(&self) -> Result<(), PlanError> {
        let Self { hardware, prices, .. } = self;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        if self.users == 0 || self.quota == 0 || self.message_bytes == 0 {
            return Err(PlanError("users, quota and the size of a message are at least 1"));
        }
        if !positive(self.fill) || self.fill > 1.0 {
            return Err(PlanError("mailboxes are more than 0 % and at most 100 % full"));
        }
        if !positive(self.peak) || self.peak < 1.0 {
            return Err(PlanError("the peak is at least 1 times the average"));
        }
        if ![self.messages_per_day, self.sent_per_day, self.sessions_per_day]
            .into_iter()
            .all(not_negative)
        {
            return Err(PlanError("what happens in a day is a number from 0 on"));
        }
        if hardware.disk_bytes == 0 || hardware.bays == 0 || hardware.cores == 0 {
            return Err(PlanError("a box has a disk and a core at least"));
        }
        let Prices { box_usd, disk_usd_per_tb, ssd_usd_per_tb, spares, kwh_usd, years } = *prices;
        if ![hardware.watts, box_usd, disk_usd_per_tb, ssd_usd_per_tb, spares, kwh_usd, years]
            .into_iter()
            .all(not_negative)
        {
            return Err(PlanError("watts and prices are numbers from 0 on"));
        }
        Ok(())
    }
}

const DAY: f64 = 86_400.0;

fn load(wish: &Wish) -> Load {
    let users = wish.users as f64;
    let rate = |average: f64| Rate { average, peak: average * wish.peak };
    let messages = users * wish.messages_per_day / DAY;
    let sent = users * wish.sent_per_day / DAY;
    let sessions = users * wish.sessions_per_day / DAY;
    // What is sent lies in a pack until it is gone, and each message that came is fetched once.
    let put = messages + sent;
    let mbit =
        |messages: f64, per_byte: f64| messages * wish.message_bytes as f64 * per_byte * 8.0 / 1e6;
    let stored = STORED.value;
    // Who keeps a copy on other boxes sends it there; a read comes from another box, as likely as not.
    let inside = match wish.layout {
        Layout::OneBox => 0.0,
        layout => mbit(put, stored * layout.copies()) + mbit(messages, stored),
    };
    // In one box the database is part of the same process, and packs are files.
    let engines = match wish.layout {
        Layout::OneBox => 0.0,
        _ => put * ENGINES.value / 1_000.0,
    };
    Load {
        messages: rate(messages),
        sent: rate(sent),
        sessions: rate(sessions),
        pack_writes: rate(put * FLUSHES.value * wish.layout.written()),
        pack_reads: rate(put),
        index_writes: rate((users * WRITES.value / OBSERVED).max(messages + sent)),
        index_reads: rate((users * READS.value / OBSERVED).max(messages + sessions)),
        outside: rate(mbit(messages + sent, 1.0)),
        inside: rate(inside),
        cores: rate(
            messages / ACCEPTED.value
                + 2.0 * sent / SENT.value
                + sessions / SESSIONS.value
                + engines,
        ),
    }
}

fn purchase(wish: &Wish, load: &Load, fill: f64) -> Purchase {
    let Wish { hardware, prices, layout, .. } = wish;
    let mail = wish.users as f64 * wish.quota as f64 * fill;
    let packs = mail * STORED.value / (1.0 - DEAD.value);
    let on_disks = packs * layout.copies() / DISK_FULL.value;
    let for_room = up(on_disks / hardware.disk_bytes as f64);
    let for_speed = up((load.pack_writes.peak + load.pack_reads.peak) / DISK_IOPS.value);
    let wanted = for_room.max(for_speed).max(1);
    let for_cores = up(load.cores.peak / BUSY.value / hardware.cores as f64);
    let boxes = layout.least_boxes().max(wanted.div_ceil(hardware.bays)).max(for_cores);
    // Mirrors are pairs, and boxes are alike.
    let alike = if *layout == Layout::OneBox { boxes * 2 } else { boxes };
    let disks = wanted.div_ceil(alike) * alike;
    // The database has a copy, whatever the bodies have.
    let index = mail * INDEX.value * 2.0 / DISK_FULL.value;
    let ssd = index.max(boxes as f64 * SSD_OF_A_BOX);
    let tb = 1e12;
    let bought = boxes as f64 * prices.box_usd
        + disks as f64 * hardware.disk_bytes as f64 / tb * prices.disk_usd_per_tb
        + ssd / tb * prices.ssd_usd_per_tb;
    let hardware_usd = bought * (1.0 + prices.spares);
    let hours = prices.years * 365.25 * 24.0;
    let power_usd = boxes as f64 * hardware.watts / 1_000.0 * hours * prices.kwh_usd;
    Purchase {
        fill,
        mail_bytes: mail,
        pack_bytes: packs,
        disk_bytes: on_disks,
        ssd_bytes: ssd,
        disks,
        boxes,
        hardware_usd,
        power_usd,
        usd_per_gb: (hardware_usd + power_usd) / (mail / 1e9),
    }
}

/// The next whole number. What can't be one is none.
fn up(value: f64) -> u64 {
    // A float that is too large, or no number, becomes the nearest that there is.
    value.ceil().max(0.0) as u64
}

#[cfg(test)]
mod tests;
