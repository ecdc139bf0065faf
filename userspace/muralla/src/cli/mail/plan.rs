//! The command line of `muralla mail plan`.

use clap::Args;
use muralla_mail::tools::capacity::{Hardware, Layout, Prices, Wish};

/// What is wanted, and what it costs.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muralla mail plan
  muralla mail plan --users 20000 --quota 1GB --layout one-box
  muralla mail plan --layout erasure-10+4 --box-price 4000 --disk 20TB
  muralla mail plan --figures                  what was measured, and where each figure comes from
Two cases are told: how full mailboxes are likely to be (--fill), and all of them full. M and MB are millions, MiB are 1024 times 1024.")]
pub(crate) struct PlanArgs {
    /// Mailboxes.
    #[arg(long, default_value_t = 500_000, value_name = "NUMBER")]
    pub(crate) users: u64,
    /// What each may have.
    #[arg(long, default_value = "300MB", value_parser = amount, value_name = "SIZE")]
    pub(crate) quota: u64,
    /// How full mailboxes are likely to be, in percent.
    #[arg(long, default_value_t = 33.0, value_name = "PERCENT")]
    pub(crate) fill: f64,
    /// Messages that come for a user in a day.
    #[arg(long, default_value_t = 10.0, value_name = "NUMBER")]
    pub(crate) messages_per_day: f64,
    /// Messages that a user sends in a day.
    #[arg(long, default_value_t = 2.0, value_name = "NUMBER")]
    pub(crate) sent_per_day: f64,
    /// How often a user's program fetches mail in a day.
    #[arg(long, default_value_t = 4.0, value_name = "NUMBER")]
    pub(crate) sessions_per_day: f64,
    /// How long a message is.
    #[arg(long, default_value = "40kB", value_parser = amount, value_name = "SIZE")]
    pub(crate) message_size: u64,
    /// How many times the average the peak is.
    #[arg(long, default_value_t = 2.2, value_name = "TIMES")]
    pub(crate) peak: f64,
    /// How bodies are kept: one-box, garage-2, garage-3, or erasure-DATA+MORE.
    #[arg(long, default_value = "garage-3", value_name = "LAYOUT")]
    pub(crate) layout: Layout,
    /// A hard disk.
    #[arg(long, default_value = "16TB", value_parser = amount, value_name = "SIZE")]
    pub(crate) disk: u64,
    /// Hard disks that a box has room for.
    #[arg(long, default_value_t = 12, value_name = "NUMBER")]
    pub(crate) bays: u64,
    /// Cores of a box.
    #[arg(long, default_value_t = 16, value_name = "NUMBER")]
    pub(crate) cores: u64,
    /// What a box takes, in watts.
    #[arg(long, default_value_t = 250.0, value_name = "WATTS")]
    pub(crate) watts: f64,
    /// USD for a box without its disks. The default is a judgement.
    #[arg(long, default_value_t = 2_500.0, value_name = "USD")]
    pub(crate) box_price: f64,
    /// USD for a TB of hard disk. Large buyers paid 14 in 2022 (Backblaze, as the press had it).
    #[arg(long, default_value_t = 20.0, value_name = "USD")]
    pub(crate) disk_price: f64,
    /// USD for a TB of solid-state disk: 30 to 60, as the press has it.
    #[arg(long, default_value_t = 60.0, value_name = "USD")]
    pub(crate) ssd_price: f64,
    /// Hardware on the shelf, in percent of what runs.
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT")]
    pub(crate) spares: f64,
    /// USD for a kWh, cooling included. The default is a judgement.
    #[arg(long, default_value_t = 0.25, value_name = "USD")]
    pub(crate) power_price: f64,
    /// Years that it runs.
    #[arg(long, default_value_t = 2.0, value_name = "YEARS")]
    pub(crate) years: f64,
    /// Show the figures that plans stand on, instead of a plan.
    #[arg(long)]
    pub(crate) figures: bool,
}

impl From<PlanArgs> for Wish {
    fn from(args: PlanArgs) -> Self {
        Self {
            users: args.users,
            quota: args.quota,
            fill: args.fill / 100.0,
            messages_per_day: args.messages_per_day,
            sent_per_day: args.sent_per_day,
            sessions_per_day: args.sessions_per_day,
            message_bytes: args.message_size,
            peak: args.peak,
            layout: args.layout,
            hardware: Hardware {
                disk_bytes: args.disk,
                bays: args.bays,
                cores: args.cores,
                watts: args.watts,
            },
            prices: Prices {
                box_usd: args.box_price,
                disk_usd_per_tb: args.disk_price,
                ssd_usd_per_tb: args.ssd_price,
                spares: args.spares / 100.0,
                kwh_usd: args.power_price,
                years: args.years,
            },
        }
    }
}

/// A size as disks and quotas are sold: `300M` and `300MB` are millions, `300MiB` are 1024 times 1024.
fn amount(text: &str) -> Result<u64, String> {
    let wrong = || "a size such as 300MB, 300MiB or 16TB".to_owned();
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_lowercase();
    let (thousand, letters) = match unit.strip_suffix("ib") {
        Some(letters) => (1024_u64, letters),
        None => (1000, unit.strip_suffix('b').unwrap_or(&unit)),
    };
    let power = match letters {
        "" if thousand == 1000 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    thousand.checked_pow(power).and_then(|unit| number.checked_mul(unit)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read() {
        for (text, expected) in [
            ("300", Some(300)),
            ("300B", Some(300)),
            ("300M", Some(300_000_000)),
            ("300MB", Some(300_000_000)),
            ("40kB", Some(40_000)),
            ("300MiB", Some(300 << 20)),
            ("16 TB", Some(16_000_000_000_000)),
            ("", None),
            ("MB", None),
            ("iB", None),
            ("3iB", None),
            ("3X", None),
            ("-3M", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(amount(text).ok(), expected, "{text}");
        }
    }
}
