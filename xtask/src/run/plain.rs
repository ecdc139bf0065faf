//! The scene as lines, for logs: a block a second.

use std::fmt::{self, Display, Formatter};

use super::scene::{View, milliseconds, percent, short};
use super::traffic::Service;

/// Refusals shown.
const REASONS: usize = 4;

/// One second.
pub(crate) struct Block<'a> {
    pub(crate) view: &'a View,
    pub(crate) second: u64,
}

impl Display for Block<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { view, second } = self;
        write!(f, "{second:>4} s  ")?;
        match view.attack {
            None => write!(f, "quiet")?,
            Some(attack) => {
                write!(f, "flood {}: {} pps offered", attack.name(), short(view.offered))?
            }
        }
        writeln!(
            f,
            "; {}; refused {}/s (slipped {}/s), passed {}/s",
            view.mode,
            short(view.dropped()),
            short(view.slipped),
            short(view.passed)
        )?;
        for (service, (now, total)) in Service::ALL.iter().zip(view.now.iter().zip(&view.total)) {
            writeln!(
                f,
                "        {:<7} ok {:>8}  p50 {:>6} ms  p99 {:>6} ms   in all {:>8} of {:<6} p99 {:>6} ms{}",
                service.name(),
                percent(now.success()),
                milliseconds(now.quantile(0.5)),
                milliseconds(now.quantile(0.99)),
                percent(total.success()),
                total.ended(),
                milliseconds(total.quantile(0.99)),
                match (&now.last_failure, now.failed) {
                    (Some(failure), 1..) => format!("   {failure}"),
                    _ => String::new(),
                }
            )?;
        }
        writeln!(f, "        dns answered from: {}", view.dns())?;
        for refused in view.refused.iter().filter(|refused| refused.rate > 0.0).take(REASONS) {
            let (service, verdict, reason) = &refused.key;
            writeln!(f, "        {verdict} {service} {reason}: {}/s", short(refused.rate))?;
        }
        Ok(())
    }
}
