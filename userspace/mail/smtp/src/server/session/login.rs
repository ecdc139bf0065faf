//! `AUTH`: RFC 4954.

use data_encoding::BASE64;
use muralla_mail_envelope::sasl::{self, Dialog, Mechanism, SaslError};
use muralla_mail_envelope::{EnhancedCode, Reply};

use super::{Asked, BadLine, Hello, Login, Session, State, Step};
use crate::server::config::Mode;
use crate::server::handler::{Keys, NotGranted, Proved};
use crate::server::report::Report;

/// What a login came to.
enum Outcome {
    Granted(String),
    Failed(NotGranted),
}

impl Session {
    /// RFC 4954 section 4.
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Option<Step> {
        let error = |session: &mut Self, code, subject, detail, text| {
            session.error(code, EnhancedCode::new(5, subject, detail), text);
            None
        };
        if self.config.mode != Mode::Submission {
            return error(self, 502, 5, 1, "AUTH is not offered");
        }
        if self.client.authenticated.is_some() {
            return error(self, 503, 5, 1, "You are logged in");
        }
        if self.transaction.is_some() {
            return error(self, 503, 5, 1, "Log in before MAIL");
        }
        if self.client.tls.is_none() {
            return error(self, 538, 7, 11, "Say STARTTLS first");
        }
        if self.hello != Hello::Extended {
            return error(self, 503, 5, 1, "Say EHLO first");
        }
        let Some(mechanism) = Mechanism::parse(mechanism).filter(|&one| self.has(one)) else {
            return error(self, 504, 5, 4, "That mechanism is not offered");
        };
        let binding = self.binding.as_ref().map(|binding| &binding[..]);
        let dialog = Dialog::new(mechanism, (self.random)(), binding);
        let login = Login { dialog, mechanism, account: None };
        match initial {
            None => {
                let challenge = BASE64.encode(login.dialog.opening());
                self.state = State::Login(login);
                self.say(334, None, &challenge);
                None
            }
            Some("=") => self.respond(login, b""),
            Some(text) => match BASE64.decode(text.as_bytes()) {
                Ok(response) => self.respond(login, &response),
                Err(_) => error(self, 501, 5, 2, "The response is not in base64"),
            },
        }
    }

    pub(super) fn login_line(
        &mut self,
        login: Login,
        line: Result<Vec<u8>, BadLine>,
    ) -> Option<Step> {
        let response = match line {
            Ok(line) if line == b"*" => {
                self.error(501, EnhancedCode::new(5, 7, 0), "The login was given up");
                return None;
            }
            Ok(line) => BASE64.decode(&line),
            Err(bad) => {
                self.bad_line(bad);
                return None;
            }
        };
        match response {
            Ok(response) => self.respond(login, &response),
            Err(_) => {
                self.error(501, EnhancedCode::new(5, 5, 2), "The response is not in base64");
                None
            }
        }
    }

    fn respond(&mut self, mut login: Login, response: &[u8]) -> Option<Step> {
        let step = match login.dialog.respond(response) {
            Ok(step) => step,
            Err(error) => {
                match error {
                    SaslError::Malformed | SaslError::TooLong => {
                        self.error(501, EnhancedCode::new(5, 5, 2), &error.to_string());
                    }
                    other => {
                        let reply =
                            Reply::new(535, Some(EnhancedCode::new(5, 7, 8)), &other.to_string());
                        self.logged_in(Outcome::Failed(NotGranted::Say(reply)));
                    }
                }
                return None;
            }
        };
        let asks = match step {
            sasl::Step::Challenge(challenge) => {
                self.challenge(login, &challenge);
                return None;
            }
            sasl::Step::Proved { user } => {
                let account = login.account.take().unwrap_or(user);
                self.logged_in(Outcome::Granted(account));
                return None;
            }
            sasl::Step::Password { user, password } => {
                Step::Password { mechanism: login.mechanism, user, password }
            }
            sasl::Step::Keys { user } => Step::Keys { user },
            sasl::Step::Proof { user, message, proof } => Step::Proof { user, message, proof },
        };
        self.state = State::Asked(Asked::Login(login));
        Some(asks)
    }

    fn challenge(&mut self, login: Login, challenge: &[u8]) {
        // Some challenges are longer than a line of a reply: RFC 4954 section 4 lets them be, and has them in one.
        self.out.extend_from_slice(b"334 ");
        self.out.extend_from_slice(BASE64.encode(challenge).as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.state = State::Login(login);
    }

    /// Answers [`Step::Password`]: the account, if the password is his.
    pub fn password_checked(&mut self, checked: Result<String, NotGranted>) {
        let Some(Asked::Login(_)) = self.answered() else { return };
        self.logged_in(match checked {
            Ok(account) => Outcome::Granted(account),
            Err(error) => Outcome::Failed(error),
        });
    }

    /// Answers [`Step::Keys`].
    pub fn keys_found(&mut self, keys: Result<Keys, NotGranted>) {
        let Some(Asked::Login(mut login)) = self.answered() else { return };
        match keys {
            Err(error) => self.logged_in(Outcome::Failed(error)),
            Ok(keys) => match login.dialog.keys(&keys.salt, keys.iterations) {
                Ok(challenge) => self.challenge(login, &challenge),
                Err(_) => self.logged_in(Outcome::Failed(NotGranted::Wrong)),
            },
        }
    }

    /// Answers [`Step::Proof`].
    pub fn proof_checked(&mut self, proved: Result<Proved, NotGranted>) {
        let Some(Asked::Login(mut login)) = self.answered() else { return };
        match proved {
            Err(error) => self.logged_in(Outcome::Failed(error)),
            Ok(proved) => match login.dialog.proved(&proved.signature) {
                Ok(challenge) => {
                    login.account = Some(proved.account);
                    self.challenge(login, &challenge);
                }
                Err(_) => self.logged_in(Outcome::Failed(NotGranted::Wrong)),
            },
        }
    }

    fn logged_in(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Granted(account) => {
                self.client.authenticated = Some(account);
                self.say(235, Some(EnhancedCode::new(2, 7, 0)), "Welcome");
                return;
            }
            Outcome::Failed(NotGranted::Away) => {
                let text = "Logins can't be checked now: try again later";
                self.say(454, Some(EnhancedCode::new(4, 7, 0)), text);
                return;
            }
            Outcome::Failed(NotGranted::Wrong) => {
                self.say(535, Some(EnhancedCode::new(5, 7, 8)), "Name or password is wrong");
            }
            Outcome::Failed(NotGranted::Disabled(reply)) => {
                self.reply(&reply);
                self.report.disabled_logins = self.report.disabled_logins.saturating_add(1);
                return self.bound_logins();
            }
            Outcome::Failed(NotGranted::Say(reply)) => {
                self.reply(&reply);
                if !reply.is_permanent() {
                    return;
                }
            }
        }
        self.report.failed_logins = self.report.failed_logins.saturating_add(1);
        self.bound_logins();
    }

    /// Not for long, whatever it is for.
    fn bound_logins(&mut self) {
        let Report { failed_logins, disabled_logins, .. } = self.report;
        if failed_logins.saturating_add(disabled_logins) >= self.config.limits.failed_logins {
            self.abuse("Too many logins failed");
        }
    }
}
