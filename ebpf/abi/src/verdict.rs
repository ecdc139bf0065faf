//! What happens to a packet, and the one reason for it.

/// What the wall does with a packet.
#[must_use]
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// The packet goes on to the network stack.
    Pass = 0,
    /// The packet ends here.
    Drop = 1,
    /// The packet is turned into a truncated answer (TC=1) and sent back, so that a real client
    /// comes again over TCP.
    Slip = 2,
    /// A rule in observe mode would have dropped or slipped the packet; it goes on.
    Observe = 3,
    /// The query is answered from the NIC cache: the packet is turned into the answer and sent back.
    Answer = 4,
}

impl Verdict {
    /// Number of verdicts, for tables indexed by them.
    pub const COUNT: usize = 5;

    /// All verdicts, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Pass, Self::Drop, Self::Slip, Self::Observe, Self::Answer];

    /// The verdict's name in metrics and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Slip => "slip",
            Self::Observe => "observe",
            Self::Answer => "answer",
        }
    }

    /// The verdict of that number, as read from a map.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Pass),
            1 => Some(Self::Drop),
            2 => Some(Self::Slip),
            3 => Some(Self::Observe),
            4 => Some(Self::Answer),
            _ => None,
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $words:literal;)+) => {
        /// Why a packet met its verdict: one reason each, counted by service.
        ///
        /// The numbers are part of the maps' layout: append, never renumber.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The reason's name in metrics, JSON and configuration.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The reason as a clause that a person reads after "dropped: ".
            pub const fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)+ }
            }

            /// The reason of that number, as read from a map or a sample.
            pub const fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

impl Reason {
    /// Room for reasons in tables indexed by them; a power of two above every number in use.
    pub const ROOM: usize = 64;
}

reasons! {
    /// Not for a service of ours: none of the wall's business.
    Other = 0, "other", "not for a protected service";
    /// Neither IPv4 nor IPv6 (ARP, LLDP and the like).
    NotIp = 1, "not_ip", "not an IP packet";
    /// The source is in the protected set.
    Protected = 2, "protected", "source is in the protected set";
    /// The source is in the allow list.
    Allowed = 3, "allowed", "source is in the allow list";
    /// Passed every check of its service.
    Clean = 4, "clean", "passed every check";
    /// Above the service's global budget, but from a source recently seen doing legitimate business.
    Familiar = 5, "familiar", "global budget is used up, but the source is a known good one";
    /// A fragment after the first, which carries no ports.
    LaterFragment = 6, "later_fragment", "a later fragment, which carries no ports";
    /// A TCP segment other than an opening SYN.
    Established = 7, "established", "a segment of a TCP connection";

    /// Shorter than its own headers say.
    Truncated = 8, "truncated", "the packet is shorter than its headers say";
    /// IPv4 header length below 20, or version and EtherType disagree.
    BadIpHeader = 9, "bad_ip_header", "the IP header contradicts itself";
    /// More IPv6 extension headers, or VLAN tags, than any honest packet carries.
    HeaderChain = 10, "header_chain", "too many VLAN tags or IPv6 extension headers";
    /// UDP length below 8 or beyond the IP payload.
    UdpLength = 11, "udp_length", "the UDP length lies";
    /// UDP over IPv6 without a checksum (RFC 8200 section 8.1).
    ZeroChecksum = 12, "zero_checksum", "UDP over IPv6 without a checksum";
    /// Source and destination are the same address.
    Land = 13, "land", "source and destination address are the same (LAND)";
    /// A source that no packet on a wire can have (loopback, multicast, this network, reserved).
    Martian = 14, "martian", "the source address can not exist on a network";
    /// A source that is not routed on the Internet.
    Bogon = 15, "bogon", "the source address is not routed on the Internet";
    /// A customer's address arriving from the Internet's side.
    SpoofedCustomer = 16, "spoofed_customer", "a customer's address arriving from the Internet";
    /// An address that is no customer's, arriving from the customers' side (BCP 38).
    SpoofedSource = 17, "spoofed_source", "a source that is no customer's, arriving from the customers";
    /// TCP flags, or a header length, that no stack sends.
    TcpFlags = 18, "tcp_flags", "TCP flags or header length that no stack sends";
    /// Source port zero.
    ZeroPort = 19, "zero_port", "source port 0";
    /// A fragment for a protected service.
    Fragment = 20, "fragment", "a fragment for a protected service";

    /// Blocked by the operator.
    Blocked = 21, "blocked", "source is blocked by the operator";
    /// Banned for what a service saw it do.
    Banned = 22, "banned", "source is banned for what a service saw it do";
    /// Listed in a feed.
    Feed = 23, "feed", "source is listed in a feed";

    /// A DNS query from outside the customers' prefixes.
    DnsOutsider = 24, "dns_outsider", "DNS query from outside the customers' prefixes";
    /// A DNS response sent to a server's port.
    DnsResponse = 25, "dns_response", "a DNS response sent to port 53";
    /// A DNS opcode that is not served.
    DnsOpcode = 26, "dns_opcode", "a DNS opcode that is not served";
    /// DNS section counts that no query has.
    DnsCounts = 27, "dns_counts", "DNS section counts that no query has";
    /// A DNS question that doesn't parse.
    DnsQuestion = 28, "dns_question", "a DNS question that does not parse";
    /// A query of type ANY over UDP.
    DnsAny = 29, "dns_any", "a DNS query of type ANY";
    /// A DNS class other than IN and CH.
    DnsClass = 30, "dns_class", "a DNS class that is not served";

    /// A RADIUS packet from outside the NAS prefixes.
    RadiusOutsider = 31, "radius_outsider", "RADIUS from an address that is no NAS";
    /// A RADIUS code that has no business on that port.
    RadiusCode = 32, "radius_code", "a RADIUS code that has no business on this port";
    /// RADIUS Length outside 20..=4096 or beyond the datagram.
    RadiusLength = 33, "radius_length", "the RADIUS length lies";
    /// RADIUS attributes that don't add up to Length.
    RadiusAttributes = 34, "radius_attributes", "RADIUS attributes do not add up";

    /// Above the limit of the source address.
    SourceLimit = 35, "source_limit", "source address is above its limit";
    /// Above the limit of a prefix around the source.
    PrefixLimit = 36, "prefix_limit", "the network around the source is above its limit";
    /// Above the service's global budget.
    GlobalLimit = 37, "global_limit", "the service is above its global budget";
    /// A TCP segment without a known connection, above the budget for such.
    StrayLimit = 38, "stray_limit", "TCP segments without a known connection are above their budget";
    /// A customer opening more outgoing SMTP connections than allowed.
    OutgoingSmtp = 39, "outgoing_smtp", "customer opens too many connections to port 25";

    /// A query answered by the wall itself.
    Answered = 40, "answered", "answered from the NIC cache";
}
