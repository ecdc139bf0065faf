//! Address pools: `muralla radius pool`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use muralla_radius_state::{PoolEntry, Removal};
use tokio::time::sleep;

use super::Work;
use crate::cli::radius::PoolCommand;
use crate::commands::radius::tell;
use crate::top::table;

/// How long servers are waited for that may give out of a pool which is removed, and how often they are asked about.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(250);

impl Work<'_> {
    pub(super) async fn pool(&self, command: PoolCommand) -> anyhow::Result<ExitCode> {
        match command {
            PoolCommand::List => {
                let (pools, uses) = (self.state.pools().await?, self.state.pool_use().await?);
                let used = |name: &str| uses.iter().find(|used| used.name == name);
                let rows: Vec<[String; 5]> = pools
                    .iter()
                    .map(|pool| {
                        let (size, leased) =
                            used(&pool.name).map_or((0, 0), |used| (used.size, used.leased));
                        [
                            pool.name.clone(),
                            format!("/{}", pool.length),
                            size.to_string(),
                            leased.to_string(),
                            pool.ranges.join(" "),
                        ]
                    })
                    .collect();
                let titles = ["pool", "gives", "size", "leased", "out of"];
                tell(self.call, &(&pools, &uses), |_| table(titles, &rows))?;
                Ok(ExitCode::SUCCESS)
            }
            PoolCommand::Add { name, ranges, length } => {
                let add = |pool: Option<PoolEntry>| with_ranges(pool, &name, ranges, length);
                self.change_pool(&name, add).await
            }
            PoolCommand::Set { name, lease, offer } => {
                let set = |pool: Option<PoolEntry>| -> Result<PoolEntry, String> {
                    let mut pool = pool.ok_or_else(no_pool)?;
                    for (given, place) in
                        [(lease, &mut pool.lease_seconds), (offer, &mut pool.offer_seconds)]
                    {
                        if let Some(given) = given {
                            *place = u32::try_from(given.as_secs())
                                .map_err(|_| "that is longer than a lease can live".to_owned())?;
                        }
                    }
                    Ok(pool)
                };
                self.change_pool(&name, set).await
            }
            PoolCommand::Remove { name, ranges, force } if ranges.is_empty() => {
                self.remove_pool(&name, force).await
            }
            PoolCommand::Remove { name, ranges, .. } => {
                self.change_pool(&name, |pool| without_ranges(pool, &ranges)).await
            }
        }
    }

    async fn change_pool(
        &self,
        name: &str,
        change: impl FnOnce(Option<PoolEntry>) -> Result<PoolEntry, String> + Send,
    ) -> anyhow::Result<ExitCode> {
        for note in self.state.change_pool(name, change).await? {
            eprintln!("{note}");
        }
        self.done(name)
    }

    /// Removes a pool. Its servers are waited for: they hear of it within a second or two.
    async fn remove_pool(&self, name: &str, force: bool) -> anyhow::Result<ExitCode> {
        let begin = Instant::now();
        loop {
            match self.state.remove_pool(name, force).await? {
                Removal::Done => return self.removed(name, true),
                Removal::Missing => return self.removed(name, false),
                Removal::Waits(servers) if begin.elapsed() > PATIENCE => bail!(
                    "pool {name} has no ranges any more, and is removed when {} has told that nothing is given out of it: try \
                     again; `muralla radius server list` shows when it was heard of",
                    servers.join(", ")
                ),
                Removal::Waits(_) => sleep(LOOK).await,
            }
        }
    }
}

fn no_pool() -> String {
    "there is none of that name; `muralla radius pool list` shows all".to_owned()
}

/// A pool with more ranges; a new one gives prefixes of this length, or addresses.
fn with_ranges(
    pool: Option<PoolEntry>,
    name: &str,
    ranges: Vec<String>,
    length: Option<u8>,
) -> Result<PoolEntry, String> {
    let mut pool = match (pool, length) {
        (Some(pool), Some(length)) if length != pool.length => {
            return Err(format!(
                "it gives prefixes of /{}, not of /{length}, and that stays so: leave --length out, or make another pool",
                pool.length
            ));
        }
        (Some(pool), _) => pool,
        (None, Some(length)) => PoolEntry::ipv6(name, length, Vec::<String>::new()),
        (None, None) if ranges.iter().any(|range| range.contains(':')) => {
            return Err(
                "prefixes of which length are to be given away? --length 56 is usual for a home"
                    .to_owned(),
            );
        }
        (None, None) => PoolEntry::ipv4(name, Vec::<String>::new()),
    };
    for range in ranges {
        if !pool.ranges.contains(&range) {
            pool.ranges.push(range);
        }
    }
    Ok(pool)
}

/// A pool without some of its ranges, each as it was entered.
fn without_ranges(pool: Option<PoolEntry>, ranges: &[String]) -> Result<PoolEntry, String> {
    let mut pool = pool.ok_or_else(no_pool)?;
    if let Some(other) = ranges.iter().find(|range| !pool.ranges.contains(range)) {
        return Err(format!("{other} is no range of it; it has {}", pool.ranges.join(" ")));
    }
    pool.ranges.retain(|range| !ranges.contains(range));
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_its_length_and_is_asked_for_it_once() {
        let ranges = |text: &str| vec![text.to_owned()];
        let new = with_ranges(None, "home6", ranges("2001:db8::/40"), Some(56)).unwrap();
        assert_eq!((new.length, new.ranges.len()), (56, 1));
        let asked = with_ranges(None, "home6", ranges("2001:db8::/40"), None).unwrap_err();
        assert!(asked.contains("--length 56"), "{asked}");
        let v4 = with_ranges(None, "home", ranges("192.0.2.0/24"), None).unwrap();
        assert_eq!(v4.length, 32);

        let more = ranges("2001:db8:100::/40");
        let larger = with_ranges(Some(new.clone()), "home6", more.clone(), None).unwrap();
        assert_eq!((larger.length, larger.ranges.len()), (56, 2));
        assert_eq!(with_ranges(Some(new.clone()), "home6", more.clone(), Some(56)), Ok(larger));
        let refused = with_ranges(Some(new.clone()), "home6", more, Some(60)).unwrap_err();
        assert!(refused.contains("/56, not of /60"), "{refused}");
        // Entered already.
        let same = with_ranges(Some(new.clone()), "home6", new.ranges.clone(), None);
        assert_eq!(same, Ok(new));
    }

    #[test]
    fn ranges_go_that_are_there() {
        let pool = || Some(PoolEntry::ipv4("home", ["192.0.2.0/25", "198.51.100.0/25"]));
        let left = without_ranges(pool(), &["192.0.2.0/25".to_owned()]).unwrap();
        assert_eq!(left.ranges, ["198.51.100.0/25"]);
        let refused = without_ranges(pool(), &["192.0.2.0/24".to_owned()]).unwrap_err();
        assert!(refused.contains("192.0.2.0/24 is no range of it"), "{refused}");
        assert!(without_ranges(None, &[]).unwrap_err().contains("there is none"));
    }
}
