//! A proxy in front of a mail server: LMTP or SMTP comes in, is judged, and goes on to the next hop while the client waits.
//!
//! Nothing is ever accepted here. Sender and recipients are passed on as they come, and the client hears what the next hop says of
//! each; the message is passed on when it was judged, and what the next hop says of it is what the client hears. If either
//! side or the proxy dies in between, the client still has the message. In LMTP each recipient has an answer of his own, and
//! may have another verdict than others: who has other header fields than the rest gets the message in a transaction of his
//! own.
//!
//! What has no place in that: a message that is to be held (there is nobody here to keep it) is refused, or whatever else the
//! policy says. In SMTP there is one answer for all recipients, and so one verdict: the mildest; where recipients' own
//! tolerances matter more than round trips, [`Relay::one_recipient`] has the client send a message for each.
//!
//! Who a message comes from, the proxy knows of its client by `XFORWARD` or `XCLIENT`, which are offered to those whom
//! [`Relay::believed`] names, and to nobody else; it says it to the next hop by `XFORWARD` if that offers it. Extensions that
//! the next hop does not have are not offered to the client. There is no TLS on either side: both are meant to be on the same
//! machine or on a network of one's own.
//!
//! # Postfix, before the queue
//!
//! In `master.cf`, with the filter's SMTP proxy at port 10024, whose next hop is `127.0.0.1:10025`:
//!
//! ```text
//! smtp      inet  n  -  y  -  100  smtpd
//!     -o smtpd_proxy_filter=127.0.0.1:10024
//!     -o smtpd_client_connection_count_limit=20
//! 127.0.0.1:10025 inet n -  y  -   -    smtpd
//!     -o smtpd_authorized_xforward_hosts=127.0.0.0/8
//!     -o smtpd_client_restrictions=
//!     -o smtpd_helo_restrictions=
//!     -o smtpd_sender_restrictions=
//!     -o smtpd_relay_restrictions=
//!     -o smtpd_recipient_restrictions=permit_mynetworks,reject
//!     -o smtpd_data_restrictions=
//!     -o mynetworks=127.0.0.0/8
//!     -o receive_override_options=no_unknown_recipient_checks
//! ```
//!
//! # Dovecot, or any store, behind an MTA
//!
//! The MTA delivers by LMTP to the proxy, whose next hop is Dovecot's LMTP (`unix:/run/dovecot/lmtp`). In Postfix:
//!
//! ```text
//! virtual_transport = lmtp:inet:127.0.0.1:10026
//! lmtp_send_xforward_command = yes
//! ```
//!
//! In Exim, a transport with `driver = smtp`, `protocol = lmtp`, `hosts = 127.0.0.1`, `port = 10026` and `hosts_override`; Exim
//! does not say who its client was, so that nothing is known of him but what the message's own header says. Two stores at once,
//! during a migration: two proxies, and the MTA chooses the transport by user. Behind the queue, a refusal makes the MTA
//! send a notice to the sender: refuse before the queue what is to be refused, and have LMTP file and hold alone.

mod hop;
mod lines;
mod relay;
mod server;
mod sharing;

pub use hop::{NextHop, Waits};
pub use relay::Relay;
pub use server::Server;

/// Any bytes, as what a client says of another.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(data: &[u8]) {
    if let Some(Ok(said)) = lines::Extension::parse(data) {
        let about = said.about();
        for text in [&about.helo, &about.login, &about.proto].into_iter().flatten() {
            assert!(!text.contains(char::is_control), "a control in {text:?}");
        }
    }
    let mut out = data.to_vec();
    lines::amend(&mut out, 0, &muralla_smtp::client::Capabilities::default(), true);
}
