//! A Status-Server of our own through sockets of ours (RFC 5997), as the proof that the role answers.

use std::net::SocketAddr;
use std::time::Duration;

use muralla_radius_wire::{Code, LONGEST, Packet, Secret, Writer};

use crate::client;
use crate::listening::Service;

/// Time that the request has.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks at one address, and gives the time that the answer took.
pub(crate) async fn ask(
    service: Service,
    bound: SocketAddr,
    secret: &Secret,
) -> Result<Duration, String> {
    let mut request = vec![0; LONGEST];
    let writer =
        Writer::request(&mut request, Code::STATUS_SERVER, rand::random(), rand::random(), secret);
    let len = writer.finish().map_err(|error| format!("the canary has no request: {error}"))?;
    request.truncate(len);
    let (answer, took) = client::ask(bound, &request, secret, PATIENCE).await?;
    let expected = match service {
        Service::Auth => Code::ACCESS_ACCEPT,
        Service::Acct => Code::ACCOUNTING_RESPONSE,
    };
    match Packet::parse(&answer).map(|answer| answer.code()) {
        Ok(code) if code == expected => Ok(took),
        Ok(code) => Err(format!("{bound} answered with {}, not {}", code.name(), expected.name())),
        Err(_) => Err(format!("{bound} answered with what is no packet")),
    }
}
