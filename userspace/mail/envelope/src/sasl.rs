//! How a client proves who it is, in SMTP (RFC 4954) and POP3 (RFC 5034) alike: the server's half of SASL's dialogs, without
//! the base64 around them and without the secrets. Pure.
//!
//! A [`Dialog`] is told what the client says, and asks for what it can't know itself: whether a password is right, what salt a
//! user has, whether a proof fits.

use std::fmt;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use subtle::ConstantTimeEq;

/// Longest response in octets, once it is decoded.
pub const LONGEST_RESPONSE: usize = 4096;

/// Longest name of a user in octets.
pub const LONGEST_USER: usize = 320;

/// Octets of randomness in a nonce.
pub const NONCE: usize = 18;

/// A SASL mechanism.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mechanism {
    /// `PLAIN` (RFC 4616): name and password.
    Plain,
    /// `LOGIN`: the same in two steps, never standardised, and still what some clients have.
    Login,
    /// `SCRAM-SHA-256` (RFC 7677): a proof that the password is known.
    ScramSha256,
    /// `SCRAM-SHA-256-PLUS`: a proof that is bound to the TLS connection, so that nobody in between can have passed it on.
    ScramSha256Plus,
}

/// A password as a client said it.
#[derive(Clone, Eq, PartialEq)]
pub struct Password(Box<[u8]>);

/// What comes of a client's response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The client is to be told this, and answers.
    Challenge(Vec<u8>),
    /// The dialog is over: is that his password?
    Password {
        /// Who he says he is.
        user: String,
        /// What he says to prove it.
        password: Password,
    },
    /// What salt and iterations does he have? Then [`Dialog::keys`] makes the challenge. Who does not exist has some, too.
    Keys {
        /// Who he says he is.
        user: String,
    },
    /// Does that fit his keys? If so, [`Dialog::proved`] makes the challenge; if not, the dialog is over.
    Proof {
        /// Who he says he is.
        user: String,
        /// What was said: AuthMessage of RFC 5802.
        message: Vec<u8>,
        /// His proof of that.
        proof: Vec<u8>,
    },
    /// The dialog is over, and he was who he says he is.
    Proved {
        /// Who he is.
        user: String,
    },
}

/// Why a dialog ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// Not what the mechanism has.
    #[error("the response is not as its mechanism has it")]
    Malformed,
    /// Longer than [`LONGEST_RESPONSE`].
    #[error("the response has more than {LONGEST_RESPONSE} octets")]
    TooLong,
    /// He wants to act for somebody else.
    #[error("nobody can act for somebody else here: leave the authorisation identity empty")]
    Authorisation,
    /// SCRAM: bound to another connection, or not bound although it could be.
    #[error("the proof is bound to another connection: somebody may be in between")]
    Binding,
    /// SCRAM: with another nonce, or with what this server does not know.
    #[error("the response does not belong to this dialog")]
    Strange,
}

/// The server's half of a dialog.
#[derive(Debug)]
pub struct Dialog {
    mechanism: Mechanism,
    nonce: String,
    binding: Option<Box<[u8]>>,
    state: State,
}

#[derive(Debug)]
enum State {
    Opening,
    /// LOGIN: a name was said.
    Named(String),
    /// SCRAM: the client's first message was.
    First(First),
    /// SCRAM: and the server's.
    Challenged(First, String),
    /// SCRAM: his proof is being checked.
    Proving(String),
    /// SCRAM: it was right.
    Proved(String),
    Over,
}

/// SCRAM's first message.
#[derive(Debug)]
struct First {
    user: String,
    header: String,
    bare: String,
    nonce: String,
}

impl Mechanism {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// Reads its name, in any letter case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Plain, Self::Login, Self::ScramSha256, Self::ScramSha256Plus]
            .into_iter()
            .find(|one| one.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether who listens on the way learns the password.
    #[must_use]
    pub const fn tells_password(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }
}

impl Dialog {
    /// A dialog. The nonce is random; `binding` is 32 octets exported from the TLS connection (`tls-exporter`, RFC 9266), and
    /// what makes `SCRAM-SHA-256-PLUS` possible.
    #[must_use]
    pub fn new(mechanism: Mechanism, nonce: [u8; NONCE], binding: Option<&[u8]>) -> Self {
        Self {
            mechanism,
            nonce: BASE64URL_NOPAD.encode(&nonce),
            binding: binding.map(Into::into),
            state: State::Opening,
        }
    }

    /// What the server says if the client said nothing with the command.
    #[must_use]
    pub const fn opening(&self) -> &'static [u8] {
        match self.mechanism {
            Mechanism::Login => b"Username:",
            _ => b"",
        }
    }

    /// Takes a response of the client, decoded from base64.
    ///
    /// # Errors
    ///
    /// [`SaslError`]; the dialog is over then.
    pub fn respond(&mut self, response: &[u8]) -> Result<Step, SaslError> {
        if response.len() > LONGEST_RESPONSE {
            return Err(SaslError::TooLong);
        }
        match (self.mechanism, std::mem::replace(&mut self.state, State::Over)) {
            (Mechanism::Plain, State::Opening) => plain(response),
            (Mechanism::Login, State::Opening) => {
                self.state = State::Named(name(response)?);
                Ok(Step::Challenge(b"Password:".to_vec()))
            }
            (Mechanism::Login, State::Named(user)) => {
                Ok(Step::Password { user, password: Password::new(response) })
            }
            (Mechanism::ScramSha256 | Mechanism::ScramSha256Plus, State::Opening) => {
                let first = self.first(response)?;
                let user = first.user.clone();
                self.state = State::First(first);
                Ok(Step::Keys { user })
            }
            (_, State::Challenged(first, challenge)) => self.last(first, &challenge, response),
            (_, State::Proved(user)) if response.is_empty() => Ok(Step::Proved { user }),
            _ => Err(SaslError::Malformed),
        }
    }

    /// SCRAM: the challenge for what [`Step::Keys`] asked for.
    ///
    /// # Errors
    ///
    /// If nothing asked for it.
    pub fn keys(&mut self, salt: &[u8], iterations: u32) -> Result<Vec<u8>, SaslError> {
        let State::First(first) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(SaslError::Malformed);
        };
        let salt = BASE64.encode(salt);
        let challenge = format!("r={}{},s={salt},i={iterations}", first.nonce, self.nonce);
        let bytes = challenge.clone().into_bytes();
        self.state = State::Challenged(first, challenge);
        Ok(bytes)
    }

    /// SCRAM: his proof was right. The challenge shows the client that this server knows his keys, and he answers with nothing.
    ///
    /// # Errors
    ///
    /// If there was no proof.
    pub fn proved(&mut self, signature: &[u8]) -> Result<Vec<u8>, SaslError> {
        let State::Proving(user) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(SaslError::Malformed);
        };
        self.state = State::Proved(user);
        Ok(format!("v={}", BASE64.encode(signature)).into_bytes())
    }

    /// RFC 5802 section 7: client-first-message.
    fn first(&self, response: &[u8]) -> Result<First, SaslError> {
        let text = std::str::from_utf8(response).map_err(|_| SaslError::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authorisation), Some(bare)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(SaslError::Malformed);
        };
        match (flag, self.mechanism) {
            ("p=tls-exporter", Mechanism::ScramSha256Plus) if self.binding.is_some() => {}
            ("n", Mechanism::ScramSha256) => {}
            // He could bind, and believes that we can't: where we can, somebody took it out of our list.
            ("y", Mechanism::ScramSha256) if self.binding.is_none() => {}
            ("n" | "y", _) => return Err(SaslError::Binding),
            (other, _) if other.starts_with("p=") => return Err(SaslError::Binding),
            _ => return Err(SaslError::Malformed),
        }
        let header = format!("{flag},{authorisation},");
        // An "m=" would stand here, and must not be passed over.
        let mut attributes = bare.split(',');
        let user = attributes.next().and_then(|one| one.strip_prefix("n="));
        let nonce = attributes.next().and_then(|one| one.strip_prefix("r="));
        let (Some(user), Some(nonce)) = (user, nonce) else { return Err(SaslError::Malformed) };
        if nonce.is_empty()
            || nonce.len() > 256
            || !nonce.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(SaslError::Malformed);
        }
        let user = name(sasl_name(user)?.as_bytes())?;
        match authorisation.strip_prefix("a=") {
            None if authorisation.is_empty() => {}
            None => return Err(SaslError::Malformed),
            Some(other) if sasl_name(other)? == user => {}
            Some(_) => return Err(SaslError::Authorisation),
        }
        Ok(First { user, header, bare: bare.to_owned(), nonce: nonce.to_owned() })
    }

    /// RFC 5802 section 7: client-final-message.
    fn last(&mut self, first: First, challenge: &str, response: &[u8]) -> Result<Step, SaslError> {
        let text = std::str::from_utf8(response).map_err(|_| SaslError::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(SaslError::Malformed)?;
        let proof = BASE64.decode(proof.as_bytes()).map_err(|_| SaslError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|one| one.strip_prefix("c="));
        let nonce = attributes.next().and_then(|one| one.strip_prefix("r="));
        let (Some(binding), Some(nonce)) = (binding, nonce) else {
            return Err(SaslError::Malformed);
        };

        let binding = BASE64.decode(binding.as_bytes()).map_err(|_| SaslError::Malformed)?;
        let mut expected = first.header.into_bytes();
        if let (Mechanism::ScramSha256Plus, Some(binding)) = (self.mechanism, &self.binding) {
            expected.extend_from_slice(binding);
        }
        if !bool::from(binding.ct_eq(&expected)) {
            return Err(SaslError::Binding);
        }
        if nonce.strip_prefix(&*first.nonce) != Some(&*self.nonce) {
            return Err(SaslError::Strange);
        }
        let message = format!("{},{challenge},{without_proof}", first.bare).into_bytes();
        self.state = State::Proving(first.user.clone());
        Ok(Step::Proof { user: first.user, message, proof })
    }
}

/// RFC 4616 section 2.
fn plain(response: &[u8]) -> Result<Step, SaslError> {
    let mut parts = response.splitn(3, |&byte| byte == 0);
    let (Some(authorisation), Some(user), Some(password)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Malformed);
    };
    let user_name = name(user)?;
    if password.contains(&0) {
        return Err(SaslError::Malformed);
    }
    if !authorisation.is_empty() && authorisation != user {
        return Err(SaslError::Authorisation);
    }
    Ok(Step::Password { user: user_name, password: Password::new(password) })
}

/// Who somebody says he is.
fn name(bytes: &[u8]) -> Result<String, SaslError> {
    let name = std::str::from_utf8(bytes).map_err(|_| SaslError::Malformed)?;
    if name.is_empty() || name.len() > LONGEST_USER || name.chars().any(char::is_control) {
        return Err(SaslError::Malformed);
    }
    Ok(name.to_owned())
}

/// RFC 5802 section 5.1: a comma is `=2C` and an equals sign `=3D`, and no other escapes exist.
fn sasl_name(text: &str) -> Result<String, SaslError> {
    let mut parts = text.split('=');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (char, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(SaslError::Malformed),
        };
        out.push(char);
        out.push_str(rest);
    }
    Ok(out)
}

impl Password {
    /// A password.
    #[must_use]
    pub fn new(password: &[u8]) -> Self {
        Self(password.into())
    }

    /// The password, for who checks it.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password")
    }
}

#[cfg(test)]
mod tests;
