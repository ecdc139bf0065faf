//! Numbers of vendors (their SMI Private Enterprise Codes), and of the vendors' own attributes that matter here.

use crate::kind::numbers;

numbers! { u32:
    CISCO = 9, "Cisco Systems.";
    MICROSOFT = 311, "Microsoft: MS-CHAP and MPPE (RFC 2548).";
    WISPR = 14_122, "Wi-Fi Alliance: WISPr.";
    MIKROTIK = 14_988, "MikroTik.";
}

/// Attributes of [`MICROSOFT`].
pub mod microsoft {
    use crate::kind::numbers;

    numbers! { u8:
        CHAP_RESPONSE = 1, "RFC 2548 section 2.1.3.";
        CHAP_ERROR = 2, "RFC 2548 section 2.1.5.";
        MPPE_ENCRYPTION_POLICY = 7, "RFC 2548 section 2.4.4.";
        MPPE_ENCRYPTION_TYPES = 8, "RFC 2548 section 2.4.5.";
        CHAP_DOMAIN = 10, "RFC 2548 section 2.1.4.";
        CHAP_CHALLENGE = 11, "RFC 2548 section 2.1.2.";
        CHAP_MPPE_KEYS = 12, "RFC 2548 section 2.4.1, hidden like User-Password.";
        MPPE_SEND_KEY = 16, "RFC 2548 section 2.4.2, hidden with a salt.";
        MPPE_RECV_KEY = 17, "RFC 2548 section 2.4.3, hidden with a salt.";
        CHAP2_RESPONSE = 25, "RFC 2548 section 2.3.2.";
        CHAP2_SUCCESS = 26, "RFC 2548 section 2.3.3.";
        PRIMARY_DNS_SERVER = 28, "RFC 2548 section 2.7.";
        SECONDARY_DNS_SERVER = 29, "RFC 2548 section 2.7.";
    }
}
