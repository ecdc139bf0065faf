//! A network access server that authenticates subscribers.

use std::net::IpAddr;

use anyhow::{Result, bail};

use super::{ClientOptions, Success, ask};
use crate::frames::radius::{ACCESS_ACCEPT, ACCESS_REJECT, Packet, verified_response};
use crate::random::Random;

pub(super) fn authenticate(
    source: IpAddr,
    options: &ClientOptions,
    secret: &[u8],
    (user, password): (&str, &str),
    random: &mut Random,
) -> Result<Success> {
    let identifier = random.next_u16() as u8;
    let authenticator = random.block();
    let request = Packet::pap(identifier, authenticator, secret, user, password).encode();
    // Sent again, it is the same packet (RFC 2865 section 2.5): the server may repeat its answer.
    let (code, retried) = ask(source, options, &request, |response| {
        verified_response(response, identifier, &authenticator, secret)
    })?;
    match code {
        ACCESS_ACCEPT => Ok(Success { retried, ..Success::default() }),
        ACCESS_REJECT => bail!("Access-Reject"),
        code => bail!("RADIUS code {code}"),
    }
}
