//! The peer: the same policy as a well-written nftables ruleset, at the earliest hook that it has.

use std::fs;

use anyhow::{Context, Result};
use muralla_lab::Lab;
use muralla_lab::topology::{
    CUSTOMERS_INTERFACE, CUSTOMERS_V4, CUSTOMERS_V6, INTERNET_INTERFACE, NAS_V4, NAS_V6,
    SERVICE_V4, SERVICE_V6,
};

use crate::run::appliance::{DNS_BUDGET, SYN_BUDGET};

/// The ruleset in force in the edge namespace. Dropping it takes it away.
pub(super) struct Ruleset<'lab>(&'lab Lab);

impl<'lab> Ruleset<'lab> {
    pub(super) fn load(lab: &'lab Lab) -> Result<Self> {
        let file = lab.folder().join("peer.nft");
        fs::write(&file, text()).with_context(|| format!("writing {}", file.display()))?;
        lab.edge()
            .run("nft", ["-f", &file.to_string_lossy()])
            .context("loading the nftables ruleset")?;
        Ok(Self(lab))
    }
}

impl Drop for Ruleset<'_> {
    fn drop(&mut self) {
        let deleted = self.0.edge().run("nft", ["delete", "table", "netdev", "muralla_peer"]);
        if let Err(error) = deleted {
            eprintln!("{error:#}");
        }
    }
}

/// Limits and prefixes are those of the wall's configuration in the lab. Sets of sources hold as many
/// as the wall's limiter, and forget them after some seconds; when one is full, its limit no longer
/// applies, and the budget of the service, asked last as the wall does, is what is left.
fn text() -> String {
    format!(
        r#"table netdev muralla_peer {{
    set customers4 {{ type ipv4_addr; flags interval; elements = {{ {CUSTOMERS_V4} }}; }}
    set customers6 {{ type ipv6_addr; flags interval; elements = {{ {CUSTOMERS_V6} }}; }}
    set nas4 {{ type ipv4_addr; flags interval; elements = {{ {NAS_V4} }}; }}
    set nas6 {{ type ipv6_addr; flags interval; elements = {{ {NAS_V6} }}; }}
    set dns_source4 {{ type ipv4_addr; size 1048576; flags dynamic,timeout; timeout 10s; }}
    set dns_source6 {{ type ipv6_addr; size 1048576; flags dynamic,timeout; timeout 10s; }}
    set dns_network4 {{ type ipv4_addr; size 65536; flags dynamic,timeout; timeout 10s; }}
    set nas_source4 {{ type ipv4_addr; size 65536; flags dynamic,timeout; timeout 10s; }}
    set nas_source6 {{ type ipv6_addr; size 65536; flags dynamic,timeout; timeout 10s; }}
    set syn_source4 {{ type ipv4_addr; size 1048576; flags dynamic,timeout; timeout 10s; }}
    set syn_source6 {{ type ipv6_addr; size 1048576; flags dynamic,timeout; timeout 10s; }}
    set syn_network4 {{ type ipv4_addr; size 65536; flags dynamic,timeout; timeout 10s; }}

    chain dns {{
        udp length < 20 drop
        @th,80,1 1 drop
        @th,81,4 != 0 drop
        @th,96,16 != 1 drop
        @th,112,16 != 0 drop
        update @dns_source4 {{ ip saddr limit rate over 50/second burst 125 packets }} drop
        update @dns_network4 {{ ip saddr & 255.255.255.0 limit rate over 1600/second burst 4000 packets }} drop
        update @dns_source6 {{ ip6 saddr limit rate over 50/second burst 125 packets }} drop
        limit rate over {DNS_BUDGET}/second burst {DNS_BUDGET} packets drop
        accept
    }}

    chain radius {{
        udp length < 28 drop
        @th,80,16 < 20 drop
        @th,80,16 > 4096 drop
        udp dport 1812 @th,64,8 != {{ 1, 12 }} drop
        udp dport 1813 @th,64,8 != {{ 4, 12 }} drop
        udp dport 3799 @th,64,8 != {{ 40, 43 }} drop
        update @nas_source4 {{ ip saddr limit rate over 5000/second burst 10000 packets }} drop
        update @nas_source6 {{ ip6 saddr limit rate over 5000/second burst 10000 packets }} drop
        accept
    }}

    chain syn {{
        update @syn_source4 {{ ip saddr limit rate over 20/second burst 100 packets }} drop
        update @syn_network4 {{ ip saddr & 255.255.255.0 limit rate over 640/second burst 3200 packets }} drop
        update @syn_source6 {{ ip6 saddr limit rate over 20/second burst 100 packets }} drop
        limit rate over {SYN_BUDGET}/second burst {SYN_BUDGET} packets drop
        accept
    }}

    chain services {{
        ip frag-off & 0x3fff != 0 udp dport 53 drop
        udp sport 0 drop
        udp dport 53 ip saddr @customers4 goto dns
        udp dport 53 ip6 saddr @customers6 goto dns
        udp dport 53 drop
        udp dport {{ 1812, 1813, 3799 }} ip saddr @nas4 goto radius
        udp dport {{ 1812, 1813, 3799 }} ip6 saddr @nas6 goto radius
        udp dport {{ 1812, 1813, 3799 }} drop
        tcp flags & (fin|syn) == fin|syn drop
        tcp flags & (syn|rst) == syn|rst drop
        tcp flags & (fin|syn|rst|ack) == 0 drop
        tcp dport {{ 25, 53, 80, 110, 143, 443, 465, 587, 993, 995 }} tcp flags & (syn|ack) == syn goto syn
        accept
    }}

    chain internet {{
        type filter hook ingress device "{INTERNET_INTERFACE}" priority -500; policy accept;
        ip saddr {{ 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/3, {SERVICE_V4} }} drop
        ip6 saddr {{ ::1, ff00::/8, {SERVICE_V6} }} drop
        ip saddr @customers4 drop
        ip6 saddr @customers6 drop
        ip daddr {SERVICE_V4} goto services
        ip6 daddr {SERVICE_V6} goto services
    }}

    chain customers {{
        type filter hook ingress device "{CUSTOMERS_INTERFACE}" priority -500; policy accept;
        ip saddr != @customers4 ip saddr != @nas4 ip saddr != 192.0.2.0/30 drop
        ip daddr {SERVICE_V4} goto services
        ip6 daddr {SERVICE_V6} goto services
    }}
}}
"#
    )
}
