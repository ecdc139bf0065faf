//! HTTP as rspamd's clients speak it, and what is older than that: whoever asks rspamd can ask here instead.
//!
//! | request | answer |
//! |---|---|
//! | `POST /checkv2` | the verdict, as JSON |
//! | `POST /learnspam`, `POST /learnham` | whether it was learned; with a password |
//! | `GET /ping` | `pong` |
//! | `CHECK RSPAMC/1.3` | the verdict in lines, for Exim |
//!
//! What is known of the message beside it comes in header fields: `From`, `Rcpt` (one or several), `Deliver-To`, `IP`, `Helo`,
//! `Hostname`, `User`, `Queue-Id`, `TLS-Version`, `TLS-Cipher`, `Settings-ID`, `Pass`. A body may be compressed with zstd.
//! Files of this machine are not opened for anybody, and rspamd's own encryption is not spoken: requests that need the one or
//! the other are refused.
//!
//! Actions are named as rspamd names them: `no action`, `add header`, `soft reject`, `reject`, and `quarantine` where that was
//! configured because the client knows it. `messages.smtp_message` has the words for the sender, `milter` the header fields.
//!
//! # Exim
//!
//! In the main section, and in the ACL for `DATA`:
//!
//! ```text
//! spamd_address = 127.0.0.1 11333 variant=rspamd
//!
//! acl_check_data:
//!   warn    spam       = nobody:true
//!   defer   condition  = ${if eq{$spam_action}{soft reject}}
//!           message    = The message could not be examined now
//!   deny    condition  = ${if eq{$spam_action}{reject}}
//!           message    = This message looks like spam ($spam_score). Ask postmaster if it is not.
//!   warn    condition  = ${if eq{$spam_action}{add header}}
//!           add_header = X-Spam-Flag: YES
//! ```
//!
//! A warning without `/defer_ok` puts mail off while the filter is down, which is what should be.
//!
//! # Haraka
//!
//! In `config/rspamd.ini`: `host`, `port`, and `[soft_reject] enabled=true`, `[smtp_message] enabled=true`, without which
//! messages that could not be looked at are taken.

mod answer;
mod legacy;
mod request;
mod server;

pub use server::{Asking, Server};

/// Any bytes, as requests of old clients.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(Some((head, length))) = legacy::Head::parse(data) {
        assert!(length <= data.len(), "more was taken than came");
        let about = request::About::read(head.fields(), 10);
        assert!(about.recipients.len() <= 10, "too many were kept");
    }
    request::decompressed(data, 10_000).ok();
}
