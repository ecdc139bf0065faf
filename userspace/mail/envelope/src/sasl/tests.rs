use proptest::prelude::*;

use super::*;

fn begin(mechanism: Mechanism) -> Dialog {
    Dialog::new(mechanism, [7; NONCE], None)
}

fn password(user: &str, password: &[u8]) -> Step {
    Step::Password { user: user.into(), password: Password::new(password) }
}

#[test]
fn names() {
    for mechanism in
        [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus]
    {
        assert_eq!(Mechanism::parse(&mechanism.as_str().to_lowercase()), Some(mechanism));
    }
    assert_eq!(Mechanism::parse("CRAM-MD5"), None);
    assert!(Mechanism::Plain.tells_password() && !Mechanism::ScramSha256.tells_password());
}

#[test]
fn plain() {
    for (response, step) in [
        (&b"\0user\0secret"[..], Ok(password("user", b"secret"))),
        (b"user\0user\0secret", Ok(password("user", b"secret"))),
        (b"\0user\0", Ok(password("user", b""))),
        (
            "\0\u{fc}ser@example.org\0se\u{e7}ret".as_bytes(),
            Ok(password("\u{fc}ser@example.org", "se\u{e7}ret".as_bytes())),
        ),
        (b"\0user\0\xff\xfe", Ok(password("user", b"\xff\xfe"))),
        (b"other\0user\0secret", Err(SaslError::Authorisation)),
        (b"", Err(SaslError::Malformed)),
        (b"user", Err(SaslError::Malformed)),
        (b"\0user", Err(SaslError::Malformed)),
        (b"\0\0secret", Err(SaslError::Malformed)),
        (b"\0user\0a\0b", Err(SaslError::Malformed)),
        (b"\0us\r\ner\0secret", Err(SaslError::Malformed)),
        (b"\0\xff\0secret", Err(SaslError::Malformed)),
        (&[b'a'; LONGEST_RESPONSE + 1], Err(SaslError::TooLong)),
    ] {
        assert_eq!(begin(Mechanism::Plain).respond(response), step, "{response:?}");
    }
    let mut dialog = begin(Mechanism::Plain);
    assert_eq!(dialog.opening(), b"");
    dialog.respond(b"\0user\0secret").unwrap();
    assert_eq!(dialog.respond(b"\0user\0secret"), Err(SaslError::Malformed), "it is over");
}

#[test]
fn login() {
    let mut dialog = begin(Mechanism::Login);
    assert_eq!(dialog.opening(), b"Username:");
    assert_eq!(dialog.respond(b"user"), Ok(Step::Challenge(b"Password:".to_vec())));
    assert_eq!(dialog.respond(b"secret"), Ok(password("user", b"secret")));
    assert_eq!(dialog.respond(b"secret"), Err(SaslError::Malformed));
    assert_eq!(begin(Mechanism::Login).respond(b""), Err(SaslError::Malformed));
}

/// The dialog of RFC 7677 section 3, in our nonce.
#[test]
fn scram() {
    let mut dialog = begin(Mechanism::ScramSha256);
    let nonce = BASE64URL_NOPAD.encode(&[7; NONCE]);
    assert_eq!(
        dialog.respond(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"),
        Ok(Step::Keys { user: "user".into() })
    );
    let challenge = dialog.keys(b"salt", 4096).unwrap();
    assert_eq!(challenge, format!("r=rOprNGfwEbeRWgbNEkqO{nonce},s=c2FsdA==,i=4096").into_bytes());
    let last = format!("c=biws,r=rOprNGfwEbeRWgbNEkqO{nonce}");
    let step = dialog.respond(format!("{last},p=cHJvb2Y=").as_bytes()).unwrap();
    let message = format!(
        "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO{nonce},s=c2FsdA==,i=4096,{last}"
    );
    assert_eq!(
        step,
        Step::Proof {
            user: "user".into(),
            message: message.into_bytes(),
            proof: b"proof".to_vec()
        }
    );
    assert_eq!(dialog.proved(b"signature"), Ok(b"v=c2lnbmF0dXJl".to_vec()));
    assert_eq!(dialog.respond(b""), Ok(Step::Proved { user: "user".into() }));
    assert_eq!(dialog.respond(b""), Err(SaslError::Malformed));
}

#[test]
fn first_messages() {
    for (mechanism, bound, response, step) in [
        (Mechanism::ScramSha256, false, "n,,n=user,r=abc", Ok("user")),
        (Mechanism::ScramSha256, false, "y,,n=user,r=abc", Ok("user")),
        (Mechanism::ScramSha256, true, "n,,n=user,r=abc", Ok("user")),
        (Mechanism::ScramSha256, false, "n,,n=a=2Cb=3Dc,r=abc", Ok("a,b=c")),
        (Mechanism::ScramSha256, false, "n,a=user,n=user,r=abc", Ok("user")),
        (Mechanism::ScramSha256, false, "n,,n=user,r=abc,x=later", Ok("user")),
        (Mechanism::ScramSha256Plus, true, "p=tls-exporter,,n=user,r=abc", Ok("user")),
        // Somebody took the better mechanism out of our list.
        (Mechanism::ScramSha256, true, "y,,n=user,r=abc", Err(SaslError::Binding)),
        (Mechanism::ScramSha256, true, "p=tls-exporter,,n=user,r=abc", Err(SaslError::Binding)),
        (Mechanism::ScramSha256Plus, true, "p=tls-unique,,n=user,r=abc", Err(SaslError::Binding)),
        (Mechanism::ScramSha256Plus, true, "n,,n=user,r=abc", Err(SaslError::Binding)),
        (
            Mechanism::ScramSha256Plus,
            false,
            "p=tls-exporter,,n=user,r=abc",
            Err(SaslError::Binding),
        ),
        (Mechanism::ScramSha256, false, "n,a=other,n=user,r=abc", Err(SaslError::Authorisation)),
        (Mechanism::ScramSha256, false, "", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,,", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "q,,n=user,r=abc", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,user,n=user,r=abc", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,,m=must,n=user,r=abc", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,,n=user", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,,n=user,r=", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,,n=user,r=a b", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,,n=,r=abc", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,,n=a=b,r=abc", Err(SaslError::Malformed)),
        (Mechanism::ScramSha256, false, "n,,n=a=,r=abc", Err(SaslError::Malformed)),
    ] {
        let mut dialog = Dialog::new(mechanism, [7; NONCE], bound.then_some(&[9; 32]));
        let step = step.map(|user| Step::Keys { user: user.to_owned() });
        assert_eq!(dialog.respond(response.as_bytes()), step, "{response}");
    }
}

#[test]
fn last_messages() {
    let nonce = BASE64URL_NOPAD.encode(&[7; NONCE]);
    let binding = BASE64.encode(&[b"p=tls-exporter,,", &[9; 32][..]].concat());
    let other = BASE64.encode(&[b"p=tls-exporter,,", &[8; 32][..]].concat());
    for (plus, response, error) in [
        (false, format!("c=biws,r=abc{nonce},p=cHJvb2Y="), None),
        (false, format!("c=biws,r=abc{nonce},x=later,p=cHJvb2Y="), None),
        (true, format!("c={binding},r=abc{nonce},p=cHJvb2Y="), None),
        (true, format!("c={other},r=abc{nonce},p=cHJvb2Y="), Some(SaslError::Binding)),
        (true, format!("c=biws,r=abc{nonce},p=cHJvb2Y="), Some(SaslError::Binding)),
        (false, format!("c=eSws,r=abc{nonce},p=cHJvb2Y="), Some(SaslError::Binding)),
        (false, format!("c=biws,r=abd{nonce},p=cHJvb2Y="), Some(SaslError::Strange)),
        (false, format!("c=biws,r=abc{nonce}x,p=cHJvb2Y="), Some(SaslError::Strange)),
        (false, "c=biws,r=abc,p=cHJvb2Y=".to_owned(), Some(SaslError::Strange)),
        (false, format!("c=biws,r=abc{nonce}"), Some(SaslError::Malformed)),
        (false, format!("c=biws,r=abc{nonce},p=*"), Some(SaslError::Malformed)),
        (false, format!("c=*,r=abc{nonce},p=cHJvb2Y="), Some(SaslError::Malformed)),
        (false, format!("r=abc{nonce},p=cHJvb2Y="), Some(SaslError::Malformed)),
        (false, String::new(), Some(SaslError::Malformed)),
    ] {
        let mechanism = if plus { Mechanism::ScramSha256Plus } else { Mechanism::ScramSha256 };
        let mut dialog = Dialog::new(mechanism, [7; NONCE], plus.then_some(&[9; 32]));
        let flag = if plus { "p=tls-exporter" } else { "n" };
        dialog.respond(format!("{flag},,n=user,r=abc").as_bytes()).unwrap();
        // Nobody goes on before the keys are there.
        dialog.keys(b"salt", 1).unwrap();
        assert_eq!(dialog.respond(response.as_bytes()).err(), error, "{response}");
    }
}

#[test]
fn out_of_turn() {
    assert_eq!(begin(Mechanism::Plain).keys(b"salt", 1), Err(SaslError::Malformed));
    let mut dialog = begin(Mechanism::ScramSha256);
    dialog.respond(b"n,,n=user,r=abc").unwrap();
    assert_eq!(dialog.respond(b"c=biws,r=abc,p="), Err(SaslError::Malformed));
    // A proof that nobody found right is none.
    let nonce = BASE64URL_NOPAD.encode(&[7; NONCE]);
    let mut dialog = begin(Mechanism::ScramSha256);
    dialog.respond(b"n,,n=user,r=abc").unwrap();
    dialog.keys(b"salt", 1).unwrap();
    dialog.respond(format!("c=biws,r=abc{nonce},p=cHJvb2Y=").as_bytes()).unwrap();
    assert_eq!(dialog.respond(b""), Err(SaslError::Malformed));
    assert_eq!(dialog.proved(b"signature"), Err(SaslError::Malformed));
    assert_eq!(format!("{:?}", Password::new(b"secret")), "Password");
    assert_eq!(Password::new(b"secret").reveal(), b"secret");
}

proptest! {
    #[test]
    fn anything(responses in proptest::collection::vec("[a-z=,\\x00 ]{0,30}|(n|y|p=tls-exporter),,n=[a-z]{1,5},r=[a-z]{1,5}", 0..4)) {
        let mut bytes = vec![];
        for response in responses {
            bytes.push(u8::try_from(response.len()).unwrap());
            bytes.extend(response.bytes());
        }
        crate::fuzzing::sasl(&bytes);
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        crate::fuzzing::sasl(&bytes);
    }
}
