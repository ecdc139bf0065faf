//! A login that the operator tries out: a real request through a real socket, as a NAS would send it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use muralla_radius_dictionary::Dictionary;
use muralla_radius_wire::method::{chap, mschap, mschap2};
use muralla_radius_wire::vendor::{MICROSOFT, microsoft};
use muralla_radius_wire::{Code, LONGEST, Packet, Secret, TooLong, Writer, kind};

use crate::client;
use crate::report::TestOutcome;

/// Time that the answer has, with the delay of a refusal in it.
const PATIENCE: Duration = Duration::from_secs(8);

/// How the password is offered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Method {
    /// The password itself, hidden by the secret (RFC 2865 section 5.2).
    #[default]
    Pap,
    /// RFC 1994.
    Chap,
    /// RFC 2433.
    MsChap,
    /// RFC 2759.
    MsChap2,
}

impl Method {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pap => "PAP",
            Self::Chap => "CHAP",
            Self::MsChap => "MS-CHAP",
            Self::MsChap2 => "MS-CHAPv2",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A method that there is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no such method: use pap, chap, mschap or mschap2")]
pub struct UnknownMethod;

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        match text.to_ascii_lowercase().as_str() {
            "pap" => Ok(Self::Pap),
            "chap" => Ok(Self::Chap),
            "mschap" | "mschap1" | "mschapv1" | "ms-chap" | "ms-chapv1" => Ok(Self::MsChap),
            "mschapv2" | "mschap2" | "ms-chapv2" => Ok(Self::MsChap2),
            _ => Err(UnknownMethod),
        }
    }
}

/// A login to be tried.
#[derive(Clone, Default)]
pub struct Login {
    /// User-Name.
    pub user: String,
    /// The password.
    pub password: String,
    /// How it is offered.
    pub method: Method,
    /// Calling-Station-Id.
    pub calling_station: Option<String>,
    /// Called-Station-Id.
    pub called_station: Option<String>,
    /// NAS-Port.
    pub nas_port: Option<u32>,
    /// Attributes besides, as they stand in a packet.
    pub attributes: Vec<u8>,
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Login")
            .field("user", &self.user)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// Asks, and tells what came back.
///
/// # Errors
///
/// When the request can't be made.
pub(crate) async fn ask(
    bound: SocketAddr,
    secret: &Secret,
    dictionary: &Dictionary,
    login: &Login,
) -> Result<TestOutcome, TooLong> {
    let mut request = vec![0; LONGEST];
    let len = write(&mut request, secret, bound.ip(), login)?;
    request.truncate(len);
    let mut outcome = TestOutcome {
        user: login.user.clone(),
        method: login.method.name().to_owned(),
        accepted: None,
        code: None,
        attributes: Vec::new(),
        remarks: Vec::new(),
        took: Duration::ZERO,
    };
    match client::ask(bound, &request, secret, PATIENCE).await {
        Ok((answer, took)) => {
            outcome.took = took;
            if let Ok(answer) = Packet::parse(&answer) {
                outcome.accepted = Some(answer.code() == Code::ACCESS_ACCEPT);
                outcome.code = Some(answer.code().name().to_owned());
                let pairs = dictionary.decode(answer.attribute_bytes());
                outcome.attributes = pairs.iter().map(ToString::to_string).collect();
            }
        }
        Err(silence) => {
            outcome.took = PATIENCE;
            outcome.remarks.push(format!(
                "{silence}: what NASes get is silence too; `muralla radius tail` shows why"
            ));
        }
    }
    Ok(outcome)
}

fn write(
    buffer: &mut [u8],
    secret: &Secret,
    server: IpAddr,
    login: &Login,
) -> Result<usize, TooLong> {
    let (user, password) = (login.user.as_bytes(), login.password.as_bytes());
    let mut writer =
        Writer::request(buffer, Code::ACCESS_REQUEST, rand::random(), rand::random(), secret);
    writer.push(kind::USER_NAME, user);
    match login.method {
        Method::Pap => writer.hide_password(password),
        Method::Chap => {
            let (id, challenge): (u8, [u8; 16]) = rand::random();
            let response = chap::respond(id, password, &challenge);
            let mut value = [id; 17];
            value.iter_mut().skip(1).zip(response).for_each(|(to, from)| *to = from);
            writer.push(kind::CHAP_PASSWORD, &value);
            writer.push(kind::CHAP_CHALLENGE, &challenge);
        }
        Method::MsChap => {
            let (id, challenge): (u8, [u8; 8]) = rand::random();
            let response = mschap::respond(&challenge, &mschap::nt_hash(password));
            // RFC 2548 section 2.1.3: flag 1 says that the response of the NT hash counts; none is made of the other.
            let mut value = Vec::with_capacity(50);
            value.extend_from_slice(&[id, 1]);
            value.extend_from_slice(&[0; 24]);
            value.extend_from_slice(&response);
            writer.push_vendor(MICROSOFT, microsoft::CHAP_CHALLENGE, &challenge);
            writer.push_vendor(MICROSOFT, microsoft::CHAP_RESPONSE, &value);
        }
        Method::MsChap2 => {
            let (id, challenge, peer): (u8, [u8; 16], [u8; 16]) = rand::random();
            let hash = mschap::nt_hash(password);
            // RFC 2759 section 8.2: without a domain.
            let name = user.rsplit(|byte| *byte == b'\\').next().unwrap_or(user);
            let response = mschap2::respond(&challenge, &peer, name, &hash);
            let mut value = Vec::with_capacity(50);
            value.extend_from_slice(&[id, 0]);
            value.extend_from_slice(&peer);
            value.extend_from_slice(&[0; 8]);
            value.extend_from_slice(&response);
            writer.push_vendor(MICROSOFT, microsoft::CHAP_CHALLENGE, &challenge);
            writer.push_vendor(MICROSOFT, microsoft::CHAP2_RESPONSE, &value);
        }
    }
    // RFC 2865 section 4.1 wants one of these.
    match server {
        IpAddr::V4(address) => writer.push_address(kind::NAS_IP_ADDRESS, address),
        IpAddr::V6(address) => writer.push(kind::NAS_IPV6_ADDRESS, &address.octets()),
    }
    let stations = [
        (kind::CALLING_STATION_ID, &login.calling_station),
        (kind::CALLED_STATION_ID, &login.called_station),
    ];
    for (kind, station) in stations {
        if let Some(station) = station {
            writer.push(kind, station.as_bytes());
        }
    }
    if let Some(port) = login.nas_port {
        writer.push_number(kind::NAS_PORT, port);
    }
    writer.append(&login.attributes);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_names() {
        for method in [Method::Pap, Method::Chap, Method::MsChap, Method::MsChap2] {
            assert_eq!(method.name().parse(), Ok(method));
        }
        // As the command line has them.
        for (text, method) in [
            ("pap", Method::Pap),
            ("chap", Method::Chap),
            ("mschap", Method::MsChap),
            ("mschap2", Method::MsChap2),
        ] {
            assert_eq!(text.parse(), Ok(method));
        }
        assert_eq!("eap".parse::<Method>(), Err(UnknownMethod));
    }

    #[test]
    fn a_password_is_in_no_text() {
        let login =
            Login { user: "ann".to_owned(), password: "arctangent".to_owned(), ..Login::default() };
        assert!(!format!("{login:?}").contains("arctangent"));
    }

    #[test]
    fn each_method_has_what_its_server_needs() {
        let secret = Secret::new("a secret").unwrap();
        for (method, kinds) in [
            (Method::Pap, [kind::USER_PASSWORD].as_slice()),
            (Method::Chap, &[kind::CHAP_PASSWORD, kind::CHAP_CHALLENGE]),
            (Method::MsChap, &[kind::VENDOR_SPECIFIC]),
            (Method::MsChap2, &[kind::VENDOR_SPECIFIC]),
        ] {
            let login = Login {
                user: "User".to_owned(),
                password: "clientPass".to_owned(),
                method,
                nas_port: Some(7),
                ..Login::default()
            };
            let mut buffer = [0; LONGEST];
            let address = "127.0.0.1".parse().unwrap();
            let len = write(&mut buffer, &secret, address, &login).unwrap();
            let packet = Packet::parse(&buffer[..len]).unwrap();
            for kind in kinds {
                assert!(packet.has(*kind), "{method} {kind}");
            }
            match method {
                Method::Chap => {
                    let attempt = chap::Attempt::of(&packet).unwrap().unwrap();
                    assert!(attempt.verify(b"clientPass"));
                }
                Method::MsChap => {
                    let attempt = mschap::Attempt::of(&packet).unwrap().unwrap();
                    assert!(attempt.verify(&mschap::nt_hash(b"clientPass")));
                    assert!(!attempt.verify(&mschap::nt_hash(b"clientpass")));
                }
                Method::MsChap2 => {
                    let attempt = mschap2::Attempt::of(&packet).unwrap().unwrap();
                    assert!(attempt.verify(&mschap::nt_hash(b"clientPass"), b"User").is_some());
                }
                Method::Pap => {}
            }
            assert_eq!(packet.number(kind::NAS_PORT), Some(7));
        }
    }
}
