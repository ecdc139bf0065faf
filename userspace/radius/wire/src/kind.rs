//! Numbers of attributes, the first octet of each.

/// Names numbers, each with the place that defines it.
macro_rules! numbers {
    ($type:ty: $($name:ident = $number:literal, $source:literal;)+) => {
        $(#[doc = $source] pub const $name: $type = $number;)+
    };
}
pub(crate) use numbers;

numbers! { u8:
    USER_NAME = 1, "RFC 2865 section 5.1.";
    USER_PASSWORD = 2, "RFC 2865 section 5.2, hidden.";
    CHAP_PASSWORD = 3, "RFC 2865 section 5.3.";
    NAS_IP_ADDRESS = 4, "RFC 2865 section 5.4.";
    NAS_PORT = 5, "RFC 2865 section 5.5.";
    SERVICE_TYPE = 6, "RFC 2865 section 5.6.";
    FRAMED_PROTOCOL = 7, "RFC 2865 section 5.7.";
    FRAMED_IP_ADDRESS = 8, "RFC 2865 section 5.8.";
    FRAMED_IP_NETMASK = 9, "RFC 2865 section 5.9.";
    FRAMED_ROUTING = 10, "RFC 2865 section 5.10.";
    FILTER_ID = 11, "RFC 2865 section 5.11.";
    FRAMED_MTU = 12, "RFC 2865 section 5.12.";
    FRAMED_COMPRESSION = 13, "RFC 2865 section 5.13.";
    LOGIN_IP_HOST = 14, "RFC 2865 section 5.14.";
    LOGIN_SERVICE = 15, "RFC 2865 section 5.15.";
    LOGIN_TCP_PORT = 16, "RFC 2865 section 5.16.";
    REPLY_MESSAGE = 18, "RFC 2865 section 5.18.";
    CALLBACK_NUMBER = 19, "RFC 2865 section 5.19.";
    CALLBACK_ID = 20, "RFC 2865 section 5.20.";
    FRAMED_ROUTE = 22, "RFC 2865 section 5.22.";
    STATE = 24, "RFC 2865 section 5.24.";
    CLASS = 25, "RFC 2865 section 5.25.";
    VENDOR_SPECIFIC = 26, "RFC 2865 section 5.26.";
    SESSION_TIMEOUT = 27, "RFC 2865 section 5.27, in seconds.";
    IDLE_TIMEOUT = 28, "RFC 2865 section 5.28, in seconds.";
    TERMINATION_ACTION = 29, "RFC 2865 section 5.29.";
    CALLED_STATION_ID = 30, "RFC 2865 section 5.30.";
    CALLING_STATION_ID = 31, "RFC 2865 section 5.31.";
    NAS_IDENTIFIER = 32, "RFC 2865 section 5.32.";
    PROXY_STATE = 33, "RFC 2865 section 5.33.";
    ACCT_STATUS_TYPE = 40, "RFC 2866 section 5.1.";
    ACCT_DELAY_TIME = 41, "RFC 2866 section 5.2, in seconds.";
    ACCT_INPUT_OCTETS = 42, "RFC 2866 section 5.3, modulo 2^32.";
    ACCT_OUTPUT_OCTETS = 43, "RFC 2866 section 5.4, modulo 2^32.";
    ACCT_SESSION_ID = 44, "RFC 2866 section 5.5.";
    ACCT_AUTHENTIC = 45, "RFC 2866 section 5.6.";
    ACCT_SESSION_TIME = 46, "RFC 2866 section 5.7, in seconds.";
    ACCT_INPUT_PACKETS = 47, "RFC 2866 section 5.8.";
    ACCT_OUTPUT_PACKETS = 48, "RFC 2866 section 5.9.";
    ACCT_TERMINATE_CAUSE = 49, "RFC 2866 section 5.10.";
    ACCT_MULTI_SESSION_ID = 50, "RFC 2866 section 5.11.";
    ACCT_LINK_COUNT = 51, "RFC 2866 section 5.12.";
    ACCT_INPUT_GIGAWORDS = 52, "RFC 2869 section 5.1.";
    ACCT_OUTPUT_GIGAWORDS = 53, "RFC 2869 section 5.2.";
    EVENT_TIMESTAMP = 55, "RFC 2869 section 5.3, in seconds since 1970.";
    CHAP_CHALLENGE = 60, "RFC 2865 section 5.40.";
    NAS_PORT_TYPE = 61, "RFC 2865 section 5.41.";
    PORT_LIMIT = 62, "RFC 2865 section 5.42.";
    TUNNEL_TYPE = 64, "RFC 2868 section 3.1, tagged.";
    TUNNEL_MEDIUM_TYPE = 65, "RFC 2868 section 3.2, tagged.";
    TUNNEL_CLIENT_ENDPOINT = 66, "RFC 2868 section 3.3, tagged.";
    TUNNEL_SERVER_ENDPOINT = 67, "RFC 2868 section 3.4, tagged.";
    ACCT_TUNNEL_CONNECTION = 68, "RFC 2867 section 4.1.";
    TUNNEL_PASSWORD = 69, "RFC 2868 section 3.5, tagged and hidden.";
    PROMPT = 76, "RFC 2869 section 5.10.";
    CONNECT_INFO = 77, "RFC 2869 section 5.11.";
    EAP_MESSAGE = 79, "RFC 3579 section 3.1.";
    MESSAGE_AUTHENTICATOR = 80, "RFC 3579 section 3.2.";
    TUNNEL_PRIVATE_GROUP_ID = 81, "RFC 2868 section 3.6, tagged.";
    TUNNEL_ASSIGNMENT_ID = 82, "RFC 2868 section 3.7, tagged.";
    TUNNEL_PREFERENCE = 83, "RFC 2868 section 3.8, tagged.";
    ACCT_INTERIM_INTERVAL = 85, "RFC 2869 section 5.16, in seconds.";
    NAS_PORT_ID = 87, "RFC 2869 section 5.17.";
    FRAMED_POOL = 88, "RFC 2869 section 5.18.";
    CHARGEABLE_USER_IDENTITY = 89, "RFC 4372 section 2.2.";
    TUNNEL_CLIENT_AUTH_ID = 90, "RFC 2868 section 3.9, tagged.";
    TUNNEL_SERVER_AUTH_ID = 91, "RFC 2868 section 3.10, tagged.";
    NAS_IPV6_ADDRESS = 95, "RFC 3162 section 2.1.";
    FRAMED_INTERFACE_ID = 96, "RFC 3162 section 2.2.";
    FRAMED_IPV6_PREFIX = 97, "RFC 3162 section 2.3.";
    LOGIN_IPV6_HOST = 98, "RFC 3162 section 2.4.";
    FRAMED_IPV6_ROUTE = 99, "RFC 3162 section 2.5.";
    FRAMED_IPV6_POOL = 100, "RFC 3162 section 2.6.";
    ERROR_CAUSE = 101, "RFC 5176 section 3.5.";
    DELEGATED_IPV6_PREFIX = 123, "RFC 4818 section 3.";
    FRAMED_IPV6_ADDRESS = 168, "RFC 6911 section 3.1.";
    DNS_SERVER_IPV6_ADDRESS = 169, "RFC 6911 section 3.2.";
    DELEGATED_IPV6_PREFIX_POOL = 171, "RFC 6911 section 3.4.";
    EXTENDED_1 = 241, "RFC 6929 section 3.1.";
    EXTENDED_2 = 242, "RFC 6929 section 3.2.";
    EXTENDED_3 = 243, "RFC 6929 section 3.3.";
    EXTENDED_4 = 244, "RFC 6929 section 3.4.";
    EXTENDED_5 = 245, "RFC 6929 section 3.5, in fragments.";
    EXTENDED_6 = 246, "RFC 6929 section 3.6, in fragments.";
}
