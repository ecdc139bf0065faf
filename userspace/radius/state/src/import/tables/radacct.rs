//! FreeRADIUS' table of sessions: who is online, what he has, and when he was last heard of.

use std::net::Ipv4Addr;

use ipnet::IpNet;
use muralla_radius_dictionary::Zone;

use super::{Table, Tables, is_null};
use crate::Assigned;
use crate::import::{Import, Online};

impl Tables {
    /// Who is online by its open rows.
    pub(super) fn convert_sessions(&self, import: &mut Import) {
        for line in self.lines(Table::RadAcct) {
            let [user, nas, session, stopped, v4, framed, delegated, started, lasted, updated] =
                line.fields.as_slice()
            else {
                continue;
            };
            if !is_null(stopped) && !stopped.starts_with("0000-00-00") {
                continue;
            }
            let given = [v4, framed, delegated].into_iter().filter(|text| !is_null(text));
            let addresses: Vec<Assigned> = given.filter_map(|text| assigned(text)).collect();
            if !user.trim().is_empty() && !addresses.is_empty() {
                import.online.push(Online {
                    user: user.trim().to_owned(),
                    nas: crate::import::clients::prefix(nas).map(|prefix| prefix.addr()),
                    session: session.trim().to_owned(),
                    heard: heard(started, lasted, updated),
                    addresses,
                });
            }
        }
    }
}

/// An address or prefix as FreeRADIUS' tables have it. PostgreSQL writes the length of each address.
fn assigned(text: &str) -> Option<Assigned> {
    let text = text.trim();
    match text.parse::<IpNet>() {
        Ok(IpNet::V4(net)) => (net.prefix_len() == 32).then(|| Assigned::V4(net.addr())),
        Ok(IpNet::V6(net)) => Some(Assigned::V6(net.trunc())),
        Err(_) => text.parse::<Ipv4Addr>().ok().map(Assigned::V4),
    }
}

/// When a session was last heard of, in seconds since 1970: at its latest update, or where it had lasted to by then.
fn heard(started: &str, lasted: &str, updated: &str) -> Option<i64> {
    let lasted = lasted.trim().parse().unwrap_or(0);
    let reached = latest(started).map(|started| started.saturating_add(lasted));
    reached.max(latest(updated))
}

/// A moment as FreeRADIUS' tables have it, in seconds since 1970. Where it says no zone it is taken for the latest that it can
/// be, which is in the zone that is farthest behind: who is online must not be taken for gone.
fn latest(text: &str) -> Option<i64> {
    const FARTHEST_BEHIND: i32 = -12 * 3_600;
    // PostgreSQL writes microseconds, between the seconds and the zone.
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let zone = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
    Zone::fixed(FARTHEST_BEHIND)?.moment(&format!("{whole}{zone}")).map(i64::from)
}

#[cfg(test)]
mod tests {
    use muralla_radius_dictionary::Dictionary;

    use super::*;

    #[test]
    fn open_sessions_have_their_addresses() {
        let mut tables = Tables::default();
        let csv = "radacctid,username,acctsessionid,nasipaddress,acctstoptime,framedipaddress,delegatedipv6prefix\n\
            1,ann,a1,192.0.2.1,,100.64.0.7,2001:db8:700::/56\n2,bob,b1,192.0.2.1,2026-11-29 10:00:00,100.64.0.8,\n\
            3,carl,c1,,NULL,100.64.0.9/32,NULL\n4,dora,d1,192.0.2.1,0000-00-00 00:00:00,,\n5,,e1,192.0.2.1,,100.64.0.10,\n";
        tables.read_csv(Table::RadAcct, csv.as_bytes()).unwrap();
        let import = tables.convert(&Dictionary::built_in());
        let online: Vec<String> = import
            .online
            .iter()
            .map(|one| {
                let addresses: Vec<String> =
                    one.addresses.iter().map(ToString::to_string).collect();
                format!("{} {} {:?} {}", one.user, one.session, one.nas, addresses.join(" "))
            })
            .collect();
        assert_eq!(
            online,
            ["ann a1 Some(192.0.2.1) 100.64.0.7 2001:db8:700::/56", "carl c1 None 100.64.0.9"]
        );
        assert!(import.refused.is_empty() && import.subscribers.is_empty(), "{import:?}");
        let unnamed = Tables::default().read_csv(Table::RadAcct, &b"1,ann,a1,192.0.2.1,,\n"[..]);
        assert!(unnamed.unwrap_err().to_string().contains("must name its columns"));
        // Of an older schema.
        let [newest, _] = Table::RadAcct.questions(&[]);
        assert!(newest.contains("delegatedipv6prefix") && newest.contains("IS NULL"), "{newest}");
        let [older, unordered] = Table::RadAcct.questions(&["delegatedipv6prefix"]);
        assert!(!older.contains("delegatedipv6prefix") && older.contains("CAST(NULL AS TEXT)"));
        assert!(older.contains("ORDER BY radacctid") && !unordered.contains("ORDER BY"));
    }

    #[test]
    fn a_row_tells_when_its_session_was_heard_of() {
        // 2026-11-29 10:00:00 UTC.
        const TEN: i64 = 1_795_946_400;
        let behind = 12 * 3_600;
        for ((started, lasted, updated), expected) in [
            (("2026-11-29 10:00:00+00", "", ""), Some(TEN)),
            (("2026-11-29 10:00:00+00", "600", ""), Some(TEN + 600)),
            (("2026-11-29 10:00:00+00", "600", "2026-11-29 11:00:00+00"), Some(TEN + 3_600)),
            (("2026-11-29 10:00:00+00", "7200", "2026-11-29 11:00:00+00"), Some(TEN + 7_200)),
            (("", "600", "2026-11-29 12:00:00.123456+02"), Some(TEN)),
            (("", "", "2026-11-29 15:30:00+05:30"), Some(TEN)),
            (("2026-11-29T10:00:00Z", "x", "NULL"), Some(TEN)),
            (("1795946400", "600", "\\N"), Some(TEN + 600)),
            // Somewhere on earth it is no later than that.
            (("2026-11-29 10:00:00", "", ""), Some(TEN + behind)),
            (("2026-11-29 10:00:00.5", "60", ""), Some(TEN + behind + 60)),
            (("", "600", ""), None),
            (("0000-00-00 00:00:00", "0", "NULL"), None),
            (("yesterday", "", "soon."), None),
        ] {
            assert_eq!(heard(started, lasted, updated), expected, "{started} {lasted} {updated}");
        }
        let mut tables = Tables::default();
        let csv = "username,acctsessionid,nasipaddress,acctstoptime,framedipaddress,acctsessiontime,acctstarttime\n\
            ann,a1,192.0.2.1,,100.64.0.7,60,2026-11-29 10:00:00+00\n";
        tables.read_csv(Table::RadAcct, csv.as_bytes()).unwrap();
        assert_eq!(tables.convert(&Dictionary::built_in()).online[0].heard, Some(TEN + 60));
    }
}
