//! Records for tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use muralla_radius_wire::kind;

use crate::record::{NANOS, Record, Status, Uptime};
use crate::table::Moment;

/// 2026-11-29, 10:00 UTC.
pub(crate) const T0: u32 = 1_795_946_400;

/// Now, at a second of the wall clock; the machine was booted a million seconds before [`T0`].
pub(crate) fn moment(wall: u32) -> Moment {
    let steady = u64::from(wall) + 1_000_000 - u64::from(T0);
    Moment { wall: u64::from(wall) * NANOS, uptime: Uptime { boot: 1, nanos: steady * NANOS } }
}

/// A record to be made.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    status: Status,
    nas: String,
    source: SocketAddr,
    at: u32,
    session: String,
    user: String,
    identifier: Option<String>,
    nas_address: Option<[u8; 4]>,
    rest: Vec<u8>,
    attributes: Vec<u8>,
}

impl Sample {
    /// Ana's session on the first NAS, at [`T0`].
    pub(crate) fn new(status: Status) -> Self {
        let sample = Self {
            status,
            nas: "pop-1".into(),
            source: "192.0.2.7:1646".parse().unwrap(),
            at: T0,
            session: "00000001".into(),
            user: "ana".into(),
            identifier: Some("lns-1".into()),
            nas_address: Some([192, 0, 2, 7]),
            rest: Vec::new(),
            attributes: Vec::new(),
        };
        sample.built()
    }

    pub(crate) fn record(&self) -> Record<'_> {
        let received = u64::from(self.at) * NANOS;
        Record::of_attributes(&self.attributes, &self.nas, self.source, received).unwrap()
    }

    pub(crate) fn attributes(&self) -> &[u8] {
        &self.attributes
    }

    /// The second at which it came.
    pub(crate) fn received_at(&self) -> u32 {
        self.at
    }

    /// With the second at which it came.
    pub(crate) fn at(self, at: u32) -> Self {
        Self { at, ..self }.built()
    }

    pub(crate) fn nas(self, nas: &str) -> Self {
        Self { nas: nas.into(), ..self }.built()
    }

    pub(crate) fn source(self, source: &str) -> Self {
        Self { source: source.parse().unwrap(), ..self }.built()
    }

    pub(crate) fn session(self, session: &str) -> Self {
        Self { session: session.into(), ..self }.built()
    }

    pub(crate) fn user(self, user: &str) -> Self {
        Self { user: user.into(), ..self }.built()
    }

    pub(crate) fn identifier(self, identifier: &str) -> Self {
        Self { identifier: Some(identifier.into()), ..self }.built()
    }

    pub(crate) fn nas_address(self, address: [u8; 4]) -> Self {
        Self { nas_address: Some(address), ..self }.built()
    }

    /// Says nothing about its box.
    pub(crate) fn anonymous(self) -> Self {
        Self { identifier: None, nas_address: None, ..self }.built()
    }

    pub(crate) fn delay(self, seconds: u32) -> Self {
        self.number(kind::ACCT_DELAY_TIME, seconds)
    }

    pub(crate) fn stamp(self, at: u32) -> Self {
        self.number(kind::EVENT_TIMESTAMP, at)
    }

    pub(crate) fn seconds(self, seconds: u32) -> Self {
        self.number(kind::ACCT_SESSION_TIME, seconds)
    }

    pub(crate) fn port(self, port: u32) -> Self {
        self.number(kind::NAS_PORT, port)
    }

    pub(crate) fn cause(self, cause: u32) -> Self {
        self.number(kind::ACCT_TERMINATE_CAUSE, cause)
    }

    pub(crate) fn address(self, address: [u8; 4]) -> Self {
        self.with(kind::FRAMED_IP_ADDRESS, &address)
    }

    pub(crate) fn calling(self, calling: &str) -> Self {
        self.with(kind::CALLING_STATION_ID, calling.as_bytes())
    }

    pub(crate) fn port_id(self, id: &str) -> Self {
        self.with(kind::NAS_PORT_ID, id.as_bytes())
    }

    pub(crate) fn prefix(self, prefix: &str) -> Self {
        let (address, length) = prefix.split_once('/').unwrap();
        let address: std::net::Ipv6Addr = address.parse().unwrap();
        let mut value = vec![0, length.parse().unwrap()];
        value.extend(address.octets());
        self.with(kind::FRAMED_IPV6_PREFIX, &value)
    }

    /// Octets with gigawords.
    pub(crate) fn octets(self, octets_in: u64, octets_out: u64) -> Self {
        self.low_octets(octets_in, octets_out)
            .number(kind::ACCT_INPUT_GIGAWORDS, (octets_in >> 32) as u32)
            .number(kind::ACCT_OUTPUT_GIGAWORDS, (octets_out >> 32) as u32)
    }

    /// Octets without.
    pub(crate) fn low_octets(self, octets_in: u64, octets_out: u64) -> Self {
        self.number(kind::ACCT_INPUT_OCTETS, octets_in as u32)
            .number(kind::ACCT_OUTPUT_OCTETS, octets_out as u32)
    }

    pub(crate) fn number(self, kind: u8, number: u32) -> Self {
        self.with(kind, &number.to_be_bytes())
    }

    pub(crate) fn with(mut self, kind: u8, value: &[u8]) -> Self {
        push(&mut self.rest, kind, value);
        self.built()
    }

    fn built(mut self) -> Self {
        let mut attributes = Vec::new();
        let out = &mut attributes;
        push(out, kind::ACCT_STATUS_TYPE, &self.status.number().to_be_bytes());
        if self.status.is_of_session() {
            push(out, kind::ACCT_SESSION_ID, self.session.as_bytes());
            push(out, kind::USER_NAME, self.user.as_bytes());
        }
        if let Some(identifier) = &self.identifier {
            push(out, kind::NAS_IDENTIFIER, identifier.as_bytes());
        }
        if let Some(address) = self.nas_address {
            push(out, kind::NAS_IP_ADDRESS, &address);
        }
        attributes.extend(&self.rest);
        self.attributes = attributes;
        self
    }
}

fn push(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.push(value.len() as u8 + 2);
    out.extend(value);
}

/// The address that a text means.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
