//! Whether what is offered fits what is stored.

use muralla_radius_wire::method::{mschap, mschap2};

use crate::credential::{Check, CostlyCheck, Credential, Scheme, View};
use crate::offered::{Method, Offered};

/// Looks whether `offered` proves to know what `credential` stands for.
pub fn authenticate(credential: &Credential, offered: &Offered<'_>) -> Proof {
    let mut packed = Vec::new();
    credential.pack(&mut packed);
    prove(View::of(&packed), offered)
}

/// What came of it.
#[derive(Debug)]
#[must_use]
pub enum Proof {
    /// It is him.
    Proven(Proven),
    /// It is the wrong password.
    Wrong,
    /// Nobody can say: the method can't work with what is stored.
    Impossible(Impossible),
    /// It takes milliseconds to say.
    Costly(CostlyCheck),
}

/// What a proof gives besides.
#[derive(Clone, Copy, Default)]
pub enum Proven {
    /// Nothing.
    #[default]
    Plain,
    /// What MS-CHAP gives: the value of MS-CHAP-MPPE-Keys, not hidden yet.
    MsChap([u8; 32]),
    /// What MS-CHAPv2 gives.
    MsChap2(mschap2::Proven),
}

/// Without the keys.
impl std::fmt::Debug for Proven {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Plain => "Plain",
            Self::MsChap(_) => "MsChap",
            Self::MsChap2(_) => "MsChap2",
        })
    }
}

/// Why a method can't work with what is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Impossible {
    /// No password is stored that could be compared.
    #[error("no password is stored: set one, or no login will do")]
    NothingStored,
    /// No password was offered.
    #[error("the request has no password")]
    NothingOffered,
    /// CHAP works with clear text alone.
    #[error(
        "CHAP needs the password in clear text, and a {} is stored: let the NAS use PAP, or store {{CLEARTEXT}}",
        stored.name()
    )]
    Chap {
        /// What is stored.
        stored: Scheme,
    },
    /// MS-CHAP works with clear text or the NT hash.
    #[error(
        "{} needs an NT hash or the password in clear text, and a {} is stored: let the NAS use PAP, or store {{NT}}",
        method.name(), stored.name()
    )]
    MsChap {
        /// Which version.
        method: Method,
        /// What is stored.
        stored: Scheme,
    },
}

/// As [`authenticate`], without taking anything apart first.
pub(crate) fn prove(stored: View<'_>, offered: &Offered<'_>) -> Proof {
    let plain = |fits: bool| if fits { Proof::Proven(Proven::Plain) } else { Proof::Wrong };
    match (stored, offered) {
        (View::Anything, _) => anything(offered),
        (View::None, _) => Proof::Impossible(Impossible::NothingStored),
        (_, Offered::Nothing) => Proof::Impossible(Impossible::NothingOffered),

        (_, Offered::Pap(given)) => match stored.check(given) {
            Check::Fits => Proof::Proven(Proven::Plain),
            Check::Wrong => Proof::Wrong,
            Check::Costly(check) => Proof::Costly(check),
        },

        (View::Cleartext(password), Offered::Chap(attempt)) => plain(attempt.verify(password)),
        (_, Offered::Chap(_)) => Proof::Impossible(Impossible::Chap { stored: stored.scheme() }),

        (_, Offered::MsChap(attempt)) => match nt_hash(stored) {
            Some(hash) if attempt.verify(&hash) => {
                let lm_hash = match stored {
                    View::Cleartext(password) => mschap::lm_hash(password),
                    _ => None,
                };
                Proof::Proven(Proven::MsChap(mschap::mppe_keys(&hash, lm_hash.as_ref())))
            }
            Some(_) => Proof::Wrong,
            None => impossible_mschap(offered.method(), stored),
        },
        (_, Offered::MsChap2 { attempt, user_name }) => match nt_hash(stored) {
            Some(hash) => match attempt.verify(&hash, user_name) {
                Some(proven) => Proof::Proven(Proven::MsChap2(proven)),
                None => Proof::Wrong,
            },
            None => impossible_mschap(offered.method(), stored),
        },
    }
}

fn impossible_mschap(method: Method, stored: View<'_>) -> Proof {
    Proof::Impossible(Impossible::MsChap { method, stored: stored.scheme() })
}

/// Where anything will do: but a client that speaks MS-CHAPv2 wants a proof of the server, which nobody can give
/// without a password.
fn anything(offered: &Offered<'_>) -> Proof {
    match offered {
        Offered::MsChap2 { .. } => impossible_mschap(Method::MsChap2, View::Anything),
        _ => Proof::Proven(Proven::Plain),
    }
}

fn nt_hash(stored: View<'_>) -> Option<[u8; 16]> {
    match stored {
        View::Cleartext(password) => Some(mschap::nt_hash(password)),
        View::NtHash(hash) => Some(*hash),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use muralla_radius_wire::method::chap;

    use super::*;

    const CHALLENGE: [u8; 16] = [3; 16];

    /// What the outcome is for each method, if the user types `given`.
    fn outcomes(stored: &str, given: &str) -> [&'static str; 4] {
        let stored = Credential::parse(stored).unwrap();
        let given = given.as_bytes();
        let hash = mschap::nt_hash(given);
        let chap_response = chap::respond(9, given, &CHALLENGE);
        let response = mschap::respond(&[5; 8], &hash);
        let response2 = mschap2::respond(&CHALLENGE, &[6; 16], b"ann", &hash);
        let offers = [
            Offered::Pap(given),
            Offered::Chap(chap::Attempt { id: 9, challenge: &CHALLENGE, response: &chap_response }),
            Offered::MsChap(mschap::Attempt { id: 1, challenge: &[5; 8], response: &response }),
            Offered::MsChap2 {
                attempt: mschap2::Attempt {
                    id: 1,
                    challenge: &CHALLENGE,
                    peer_challenge: &[6; 16],
                    response: &response2,
                },
                user_name: b"HOME\\ann",
            },
        ];
        offers.map(|offered| match authenticate(&stored, &offered) {
            Proof::Proven(_) => "proven",
            Proof::Wrong => "wrong",
            Proof::Impossible(_) => "impossible",
            Proof::Costly(check) => match check.run() {
                true => "proven, costly",
                false => "wrong, costly",
            },
        })
    }

    #[test]
    fn methods_and_what_is_stored() {
        let (proven, wrong, impossible) = ("proven", "wrong", "impossible");
        let bcrypt = "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";
        let cases = [
            ("{CLEARTEXT}clientPass", "clientPass", [proven; 4]),
            ("{CLEARTEXT}clientPass", "clientpass", [wrong; 4]),
            ("{CLEARTEXT}clientPass", "", [wrong; 4]),
            (
                "{NT}44ebba8d5312b8d611474411f56989ae",
                "clientPass",
                [proven, impossible, proven, proven],
            ),
            (
                "{NT}44ebba8d5312b8d611474411f56989ae",
                "clientPas",
                [wrong, impossible, wrong, wrong],
            ),
            (
                "{MD5}5f4dcc3b5aa765d61d8327deb882cf99",
                "password",
                [proven, impossible, impossible, impossible],
            ),
            (bcrypt, "correct horse", ["proven, costly", impossible, impossible, impossible]),
            (bcrypt, "correct hors", ["wrong, costly", impossible, impossible, impossible]),
            ("", "", [impossible; 4]),
            ("{ANYTHING}", "whatever", [proven, proven, proven, impossible]),
        ];
        for (stored, given, expected) in cases {
            assert_eq!(outcomes(stored, given), expected, "{stored} {given}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let stored = Credential::parse("$1$12345678$4DK4ebv57KmaPG8fC6f5l1").unwrap();
        let attempt = chap::Attempt { id: 9, challenge: &CHALLENGE, response: &[0; 16] };
        let Proof::Impossible(why) = authenticate(&stored, &Offered::Chap(attempt)) else {
            panic!("CHAP with a hash");
        };
        assert_eq!(
            why.to_string(),
            "CHAP needs the password in clear text, and a crypt is stored: let the NAS use PAP, or store {CLEARTEXT}"
        );
        let Proof::Impossible(why) = authenticate(&Credential::Anything, &Offered::Nothing) else {
            return;
        };
        panic!("{why}");
    }
}
