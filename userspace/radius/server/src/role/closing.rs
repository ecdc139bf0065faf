//! Sessions that are ended here, because their NAS has them no more, or an operator says so.
//!
//! Where a Stop was lost and the NAS sends no interim records, a session stays open until nothing was heard of it for long, and
//! keeps its user's place and his address. To end it, a Stop in the NAS's stead goes into the journal: so it holds after a restart,
//! for the database, for other servers and for whoever gives out addresses, as one of the NAS would. It tells of no usage, and the
//! session ends when it was last known to go on: nobody pays for what nobody saw. What the NAS tells of it after that corrects its
//! figures, as after any Stop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use muralla_journal::{Appender, Ticket};
use muralla_radius_accounting::record::LONGEST_DELAY;
use muralla_radius_accounting::{Record, SessionId, SessionView, Status, payload};
use muralla_radius_wire::kind;
use tokio::time::sleep;
use tracing::info;

use super::told::session;
use super::{OrderError, Role};
use crate::accounting::Ledger;
use crate::desk::Wall;
use crate::report::Session;

/// How often it is looked whether a record is in force, and how long that is waited for.
const LOOK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(5);

/// Acct-Terminate-Cause: Admin Reset (RFC 2866 section 5.10).
const ADMIN_RESET: u32 = 6;

impl Role {
    /// Ends a session that its NAS has no more, or whose end nobody will tell. It is named by its id with us, or by its
    /// Acct-Session-Id where no other one that is open has the same. Tells of it as it was.
    ///
    /// # Errors
    ///
    /// When no session of that name is open here, or several are; or when the journal takes nothing.
    pub async fn close_session(&self, name: &str) -> Result<Session, OrderError> {
        let view = self.open_session(name)?;
        self.end(std::slice::from_ref(&view)).await?;
        Ok(session(&view))
    }

    /// The open session of a name.
    fn open_session(&self, name: &str) -> Result<SessionView, OrderError> {
        let mut found = Vec::new();
        let id: Option<SessionId> = name.parse().ok();
        self.desk.sessions.for_each_open(Wall::now().moment(), |view| {
            if Some(view.id) == id {
                found = vec![view];
                return false;
            }
            if view.session == name.as_bytes() {
                found.push(view);
            }
            true
        });
        let several = found.len() > 1;
        match found.pop() {
            Some(view) if !several => Ok(view),
            Some(_) => Err(OrderError::Item(format!(
                "several open sessions have the Acct-Session-Id {name}: name the one by its id, as `muralla radius sessions --json` \
                 has it"
            ))),
            None => Err(OrderError::Item(format!(
                "no session {name} is open here; `muralla radius sessions` shows those that are. One that another server was told \
                 of is closed there"
            ))),
        }
    }

    /// Puts the ends of sessions into the journal, and waits until they are in force.
    pub(super) async fn end(&self, views: &[SessionView]) -> Result<(), OrderError> {
        const STOPPED: OrderError = OrderError::NotHere("the role has stopped");
        let appender = self.journal.lock().as_ref().ok_or(STOPPED)?.appender()?;
        let mut last = None;
        for view in views {
            last = Some(self.append_end(&appender, view)?);
            info!(session = %view.id, nas = view.nas, "a session is ended in its NAS's stead");
        }
        let Some(last) = last else { return Ok(()) };
        let mut waited = Duration::ZERO;
        while !(appender.is_durable(last) && self.applied() >= last.0) {
            if waited >= PATIENCE {
                return Err(OrderError::NotHere(
                    "the journal does not keep up, and the session ends when it does",
                ));
            }
            sleep(LOOK).await;
            waited += LOOK;
        }
        Ok(())
    }

    /// Puts the end of a session into the journal.
    fn append_end(&self, appender: &Appender, view: &SessionView) -> Result<Ticket, OrderError> {
        let wall = Wall::now();
        let attributes = stop_of(view, wall.seconds());
        // From nowhere: its NAS did not send it.
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let record = Record::of_attributes(&attributes, &view.nas, source, wall.nanoseconds());
        let record = record.map_err(|unusable| OrderError::Item(unusable.to_string()))?;
        let context = self.desk.context();
        let telco = context.nases.named(&view.nas).and_then(|nas| nas.telco.as_deref());
        let subscriber = str::from_utf8(&view.subscriber).ok().filter(|name| !name.is_empty());
        let record = record.with_subscriber(subscriber).with_telco(telco);
        let record = record.with_uptime(Some(wall.moment().uptime));
        let mut payload = Vec::new();
        payload::encode(&record, &mut payload);
        let ticket = appender.append_at(&[payload.as_slice()], wall.time())?;
        if let Some(news) = self.desk.pending.news(&record) {
            self.desk.pending.add(news, ticket);
        }
        Ok(ticket)
    }

    /// The record that the table has taken last.
    fn applied(&self) -> u64 {
        self.ledger.lock().as_ref().map_or(u64::MAX, Ledger::applied)
    }
}

/// The attributes of the Stop that ends a session as of when it was last known to go on. `now` is in seconds since 1970.
fn stop_of(view: &SessionView, now: u64) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut push = |kind: u8, value: &[u8]| {
        // None is longer than it was in a packet.
        if let Ok(length) = u8::try_from(value.len() + 2) {
            attributes.extend([kind, length]);
            attributes.extend_from_slice(value);
        }
    };
    push(kind::ACCT_STATUS_TYPE, &Status::Stop.number().to_be_bytes());
    for (kind, text) in [
        (kind::USER_NAME, Some(&view.user)),
        (kind::ACCT_SESSION_ID, Some(&view.session)),
        (kind::NAS_IDENTIFIER, view.nas_identifier.as_ref()),
        (kind::NAS_PORT_ID, view.nas_port_id.as_ref()),
        (kind::CALLING_STATION_ID, view.calling.as_ref()),
    ] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            push(kind, text);
        }
    }
    match view.nas_address {
        Some(IpAddr::V4(address)) => push(kind::NAS_IP_ADDRESS, &address.octets()),
        Some(IpAddr::V6(address)) => push(kind::NAS_IPV6_ADDRESS, &address.octets()),
        None => {}
    }
    if let Some(port) = view.nas_port {
        push(kind::NAS_PORT, &port.to_be_bytes());
    }
    if let Some(address) = view.framed_address {
        push(kind::FRAMED_IP_ADDRESS, &address.octets());
    }
    if let Some(address) = view.framed_address6 {
        push(kind::FRAMED_IPV6_ADDRESS, &address.octets());
    }
    for (kind, prefix) in [
        (kind::FRAMED_IPV6_PREFIX, view.framed_prefix),
        (kind::DELEGATED_IPV6_PREFIX, view.delegated_prefix),
    ] {
        if let Some(prefix) = prefix {
            // RFC 3162 section 2.3: a reserved octet, and the length.
            let value = [&[0, prefix.length()][..], &prefix.address().octets()].concat();
            push(kind, &value);
        }
    }
    let idle = view.idle.min(LONGEST_DELAY);
    let at = u32::try_from(now.saturating_sub(idle.into())).unwrap_or(u32::MAX);
    push(kind::EVENT_TIMESTAMP, &at.to_be_bytes());
    push(kind::ACCT_DELAY_TIME, &idle.to_be_bytes());
    push(kind::ACCT_TERMINATE_CAUSE, &ADMIN_RESET.to_be_bytes());
    attributes
}

#[cfg(test)]
mod tests {
    use muralla_radius_accounting::record::Uptime;
    use muralla_radius_accounting::{Moment, Outcome, Settings, State, Table};

    use super::*;

    const NANOS: u64 = 1_000_000_000;
    const T0: u64 = 1_800_000_000;

    fn moment(seconds: u64) -> Moment {
        let uptime = Uptime { boot: 7, nanos: (1_000 + seconds) * NANOS };
        Moment { wall: (T0 + seconds) * NANOS, uptime }
    }

    /// A record that comes so many seconds after the first, whose attributes are these.
    fn apply(table: &Table, at: u64, attributes: &[u8]) -> Outcome {
        let (now, source) = (moment(at), "0.0.0.0:0".parse().unwrap());
        let record = Record::of_attributes(attributes, "one", source, now.wall).unwrap();
        table.apply(&record.with_uptime(Some(now.uptime)), now).outcome
    }

    fn report(status: Status, more: &[&[u8]]) -> Vec<u8> {
        let status = [&[40, 6][..], &status.number().to_be_bytes()].concat();
        let known: [&[u8]; 8] = [
            &status,
            &[1, 5, b'a', b'n', b'a'],
            &[44, 4, b'4', b'7'],
            &[32, 5, b'l', b'n', b's'],
            &[4, 6, 192, 0, 2, 1],
            &[8, 6, 198, 51, 100, 7],
            &[87, 4, b'p', b'1'],
            &[123, 10, 0, 56, 0x20, 1, 0x0d, 0xb8, 0, 1],
        ];
        [known.concat(), more.concat()].concat()
    }

    #[test]
    fn a_session_ends_when_it_was_last_known_to_go_on() {
        let (number, octets) =
            (|kind: u8, value: u32| [&[kind, 6][..], &value.to_be_bytes()].concat(), 42);
        let timed = report(Status::Interim, &[&number(46, 600), &number(octets, 5_000)]);
        let untimed = report(Status::Interim, &[&number(octets, 5_000)]);
        // With interim records that tell their time, or none; and after a Start alone.
        for (interims, seconds, ended) in
            [(Some(&timed), 600, 600), (Some(&untimed), 600, 600), (None, 0, 0)]
        {
            let table = Table::new(Settings::default(), [1, 2]);
            assert_eq!(apply(&table, 0, &report(Status::Start, &[])), Outcome::Opened);
            if let Some(interim) = interims {
                assert_eq!(apply(&table, 600, interim), Outcome::Updated);
            }
            let open = table.sessions_of(b"ana", 2, moment(30_000)).remove(0);
            let stop = stop_of(&open, T0 + 30_000);
            assert_eq!(apply(&table, 30_000, &stop), Outcome::Closed);
            let closed = table.session(open.id, moment(30_000)).unwrap();
            assert_eq!(closed.state, State::Stopped);
            assert_eq!(closed.ended, Some(u32::try_from(T0 + ended).unwrap()));
            assert_eq!((closed.seconds, closed.octets_in), (seconds, open.octets_in));
            assert_eq!(
                (closed.framed_address, closed.delegated_prefix),
                (open.framed_address, open.delegated_prefix)
            );
            assert_eq!(table.stats().open, 0);
        }
    }

    #[test]
    fn a_session_without_an_id_is_found_by_its_line() {
        let start =
            [&[40, 6, 0, 0, 0, 1, 1, 5][..], b"ana", &[5, 6, 0, 0, 0, 7, 31, 4], b"49"].concat();
        let table = Table::new(Settings::default(), [1, 2]);
        assert_eq!(apply(&table, 0, &start), Outcome::Opened);
        let open = table.sessions_of(b"ana", 2, moment(7_200)).remove(0);
        assert_eq!(apply(&table, 7_200, &stop_of(&open, T0 + 7_200)), Outcome::Closed);
        assert_eq!((table.stats().open, table.stats().remembered), (0, 1));
    }
}
