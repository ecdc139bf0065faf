//! What `muralla check` says of NASes whose names a new configuration would change while users are on line.

use std::time::Duration;

use ipnet::IpNet;
use muralla_radius::config::NasConfig;
use muralla_radius::report::Status;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::admin::client::Client;
use crate::cli::Addresses;

/// Time that a daemon may take for its answer: what is checked may be all that there is.
const PATIENCE: Duration = Duration::from_secs(2);

/// Warnings of the names that a daemon has sessions open under; none if none is there.
pub(crate) fn warnings(configured: &[NasConfig], addresses: &Addresses) -> Vec<String> {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let asked = async {
        for address in [&addresses.radius, &addresses.common] {
            let client = Client::new(address);
            let status = timeout(PATIENCE, client.get::<Status>("/v1/radius/status")).await;
            if let Ok(Ok(status)) = status {
                return Some(status);
            }
        }
        None
    };
    runtime.block_on(asked).map(|status| renamed(configured, &status)).unwrap_or_default()
}

/// Words for each of these that packets go by another name of until now, under which sessions are open.
fn renamed(configured: &[NasConfig], status: &Status) -> Vec<String> {
    let known: Vec<(IpNet, &str, u64)> = status
        .nases
        .iter()
        .flat_map(|nas| {
            let prefixes = nas.prefixes.iter().filter_map(|prefix| prefix.parse().ok());
            prefixes.map(|prefix: IpNet| (prefix, nas.name.as_str(), nas.sessions))
        })
        .collect();
    let words = configured.iter().filter_map(|nas| {
        let prefix = nas.prefix.trunc();
        let covers = known.iter().filter(|(known, ..)| known.contains(&prefix));
        let (_, was, sessions) = covers.max_by_key(|(known, ..)| known.prefix_len())?;
        (*was != nas.name && *sessions > 0).then(|| {
            format!(
                "NAS {} ({prefix}): {sessions} SESSIONS ARE OPEN UNDER ITS NAME UNTIL NOW, {was}: by another one the next records of \
                 its boxes are of new sessions, and what they used is counted once more; keep the name, or change it when nobody is on \
                 line (docs/radius.md, names)",
                nas.name
            )
        })
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn a_name_that_sessions_are_open_under_is_not_changed_without_a_word() {
        // bras1 has 192.0.2.16/28, and seven sessions.
        let mut status = fake::radius_status();
        for (name, prefix, told) in [
            ("bras1", "192.0.2.16/28", false),
            ("bras2", "192.0.2.16/28", true),
            ("bras1", "192.0.2.17/32", false),
            ("box", "192.0.2.17/32", true),
            ("bras2", "198.51.100.0/24", false),
            ("wide", "192.0.2.0/24", false),
        ] {
            let nas = NasConfig::new(name, prefix.parse().unwrap(), "a secret of sixteen");
            let words = renamed(std::slice::from_ref(&nas), &status);
            assert_eq!(!words.is_empty(), told, "{name} {prefix}: {words:?}");
            assert!(words.iter().all(|words| words.contains("7 SESSIONS")), "{words:?}");
        }
        status.nases[0].sessions = 0;
        let nas = NasConfig::new("bras2", "192.0.2.16/28".parse().unwrap(), "a secret of sixteen");
        assert_eq!(renamed(&[nas], &status), [""; 0]);
    }
}
