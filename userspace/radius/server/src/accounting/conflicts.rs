//! Words for addresses of pools that somebody has to whom they were not given, as many as a log bears.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use muralla_radius_accounting::SessionView;
use muralla_radius_accounting::export::printable;
use muralla_radius_state::Holder;
use tracing::warn;

/// Time between two of them.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    told: Cell<Option<Instant>>,
    left_out: Cell<u64>,
}

impl Conflicts {
    /// A record says that `holder` has an address that was given to somebody else. `sessions` have it by what is known here.
    pub(super) fn tell(
        &self,
        address: IpAddr,
        holder: &Holder<'_>,
        sessions: &[SessionView],
        now: Instant,
    ) {
        let Some(left_out) = self.admit(now) else { return };
        let (user, nas) = (holder.user, holder.nas);
        let other = other_of(user, sessions);
        warn!(
            %address, user, nas, given_to = other.as_str(), left_out,
            "an address of a pool is used by two: a NAS gives out of the pool itself, or missed who has it"
        );
    }

    /// Whether one is told at this moment; then, how many were left out since the one before.
    fn admit(&self, now: Instant) -> Option<u64> {
        let told = self.told.get();
        if told.is_some_and(|told| now.saturating_duration_since(told) < PAUSE) {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.told.set(Some(now));
        Some(self.left_out.take())
    }
}

/// Who else has it, as far as records tell: who was given it may not have begun.
fn other_of(user: &str, sessions: &[SessionView]) -> String {
    let mut names: Vec<String> = sessions
        .iter()
        .map(|session| printable(&session.subscriber))
        .filter(|name| *name != *user)
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "somebody who has no session yet".to_owned() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use muralla_radius_accounting::{Moment, Record, Settings, Table, record::Uptime};

    use super::*;

    #[test]
    fn one_is_told_each_second_with_how_many_were_left_out() {
        let (conflicts, begin) = (Conflicts::default(), Instant::now());
        let at = |seconds: f64| conflicts.admit(begin + Duration::from_secs_f64(seconds));
        assert_eq!(at(0.0), Some(0));
        assert_eq!([at(0.1), at(0.9)], [None, None]);
        assert_eq!(at(1.0), Some(2));
        assert_eq!(at(2.5), Some(0));
    }

    #[test]
    fn the_other_is_named_where_he_is_known() {
        let table = Table::new(Settings::default(), [1, 2]);
        let uptime = Uptime { boot: 1, nanos: 9_000_000_000 };
        let now = Moment { wall: 1_800_000_000_000_000_000, uptime };
        let source = "192.0.2.1:1813".parse().unwrap();
        for (user, id) in [(b'a', b'1'), (b'b', b'2')] {
            let attributes = [40, 6, 0, 0, 0, 1, 1, 3, user, 44, 3, id, 8, 6, 198, 51, 100, 7];
            let record = Record::of_attributes(&attributes, "one", source, now.wall).unwrap();
            let _ = table.apply(&record, now);
        }
        let sessions = table.sessions_with([198, 51, 100, 7].into(), now);
        assert_eq!(sessions.len(), 2);
        assert_eq!(other_of("a", &sessions), "b");
        assert_eq!(other_of("c", &sessions), "a b");
        assert_eq!(other_of("c", &[]), "somebody who has no session yet");
    }
}
