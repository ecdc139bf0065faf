use proptest::prelude::*;

use super::*;

pub(crate) fn fits(credential: &Credential, password: &[u8]) -> bool {
    match credential.check(password) {
        Check::Fits => true,
        Check::Wrong => false,
        Check::Costly(check) => check.run(),
    }
}

/// Of hashlib, of glibc's crypt, and of the reference implementation of Argon2.
const KNOWN: &[(&str, Scheme, &str)] = &[
    ("{CLEARTEXT}password", Scheme::Cleartext, "password"),
    ("{clear}{SSHA}password", Scheme::Cleartext, "{SSHA}password"),
    ("{PLAIN} password ", Scheme::Cleartext, " password "),
    ("{CLEARTEXT.B64}cGFzc3dvcmQ=", Scheme::Cleartext, "password"),
    ("{cleartext.hex}70617373776f7264", Scheme::Cleartext, "password"),
    ("{MD5}5f4dcc3b5aa765d61d8327deb882cf99", Scheme::Digest, "password"),
    ("{md5}X03MO1qnZdYdgyfeuILPmQ==", Scheme::Digest, "password"),
    ("{MD5.B64}X03MO1qnZdYdgyfeuILPmQ", Scheme::Digest, "password"),
    (
        "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
        Scheme::CramMd5,
        "secret",
    ),
    (
        "{hmac-md5.hex}CD3BA7DEAAD6E5CA23448BA42E379747A9E0F7F1FBC00C8A81BBAAC395731B56",
        Scheme::CramMd5,
        "secret",
    ),
    ("{SMD5}QkqrgnDx2pc535dzWKOZ6U5hQ2wtMTIh", Scheme::Digest, "password"),
    ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Scheme::Digest, "password"),
    ("{SHA1}5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8", Scheme::Digest, "password"),
    ("{SSHA}xpVUmES1R+X23q7hIOOLB7/LosVOYUNsLTEyIQ==", Scheme::Digest, "password"),
    ("{SHA224}1j3JGeIB17xMglYw0s8l/ck9Sy8NRnBtKQONAQ==", Scheme::Digest, "password"),
    ("{SSHA224}7KtnDZATdPeK+HlbZrwMkjko6vDYHGE0AIupk05hQ2wtMTIh", Scheme::Digest, "password"),
    ("{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=", Scheme::Digest, "password"),
    (
        "{SSHA256}mfeexhmWis19F/c8yX3o/zFby7rS4QoItrkdpbAlGJROYUNsLTEyIQ==",
        Scheme::Digest,
        "password",
    ),
    (
        "{SHA384}a8b64babd0aca91a59bdbb7761b421d4f2bb38280d3a75ba0f21f2bebc45583d446c598660c94ce680c47d19c30783a7",
        Scheme::Digest,
        "password",
    ),
    (
        "{SSHA384}UGKPDvg91nLEAPYG/62XzgpqQg30dY+7zp7HQNMxlO/ERmBEzsV83FJAFqtH7AhNTmFDbC0xMiE=",
        Scheme::Digest,
        "password",
    ),
    (
        "{SHA512}sQnzu7wkTrgkQZF+0G1hi5AI3Qmzvv0bXgc5THBqi7mAsdd4Xll27ASbRt9fEyavWi6m0QP9B8lThf+rDKy8hg==",
        Scheme::Digest,
        "password",
    ),
    (
        "{SSHA512}Ab60XGNqosKTT+1nuLZm6Mpa/PEwT7XqD26SeMpqAzbRQ2qh4MdUzyElz+DPaTFD58MFLE8n57DaLyr1dIauJk5hQ2wtMTIh",
        Scheme::Digest,
        "password",
    ),
    ("$1$O3JMY.Tw$AdLnLjQ/5jXF9.MTp3gHv/", Scheme::Crypt, "password"),
    ("{CRYPT}abJnggxhB/yWI", Scheme::Crypt, "password"),
    (
        "{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        Scheme::Crypt,
        "Hello world!",
    ),
    (
        "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        Scheme::Bcrypt,
        "correct horse",
    ),
    ("{CRYPT}$2y$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e", Scheme::Bcrypt, "x"),
    (
        "{BLF-CRYPT}$2a$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e",
        Scheme::Bcrypt,
        "x",
    ),
    (
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        Scheme::Argon2,
        "password",
    ),
    (
        "{ARGON2I}$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
        Scheme::Argon2,
        "password",
    ),
    (
        "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY",
        Scheme::Argon2,
        "password",
    ),
];

#[test]
fn known_passwords() {
    for (text, scheme, password) in KNOWN {
        let credential = Credential::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(credential.scheme(), *scheme, "{text}");
        assert!(fits(&credential, password.as_bytes()), "{text}");
        for wrong in ["", "Password", "passwor", "1password"] {
            assert!(!fits(&credential, wrong.as_bytes()), "{text} {wrong:?}");
        }
        // As text and back; shown, it says nothing.
        assert_eq!(Credential::parse(&credential.to_text()).as_ref(), Ok(&credential), "{text}");
        assert_eq!(format!("{credential:?}"), format!("Credential({})", scheme.name()));
    }
}

#[test]
fn nt_hashes() {
    let hash =
        Credential::NtHash(*b"\x44\xeb\xba\x8d\x53\x12\xb8\xd6\x11\x47\x44\x11\xf5\x69\x89\xae");
    for text in [
        "{NT}44ebba8d5312b8d611474411f56989ae",
        "{nthash}44EBBA8D5312B8D611474411F56989AE",
        "{X-NTHASH}0x44ebba8d5312b8d611474411f56989ae",
        "{NT.B64}ROu6jVMSuNYRR0QR9WmJrg==",
    ] {
        assert_eq!(Credential::parse(text).as_ref(), Ok(&hash), "{text}");
    }
    assert_eq!(hash.to_text(), "{NT}44ebba8d5312b8d611474411f56989ae");
}

#[test]
fn what_freeradius_calls_them() {
    let sha = b"\x5b\xaa\x61\xe4\xc9\xb9\x3f\x3f\x06\x82\x25\x0b\x6c\xf8\x33\x1b\x7e\xe6\x8f\xd8";
    let cases: &[(&str, &[u8], &str)] = &[
        ("Cleartext-Password", b"password", "password"),
        ("cleartext-password", b"{SSHA}x", "{SSHA}x"),
        ("User-Password", b"password", "password"),
        ("MD5-Password", b"5f4dcc3b5aa765d61d8327deb882cf99", "password"),
        ("SMD5-Password", b"QkqrgnDx2pc535dzWKOZ6U5hQ2wtMTIh", "password"),
        // As raw bytes, too: 0x... in the file.
        ("SHA-Password", sha, "password"),
        ("SHA1-Password", b"W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"),
        ("SSHA-Password", b"xpVUmES1R+X23q7hIOOLB7/LosVOYUNsLTEyIQ==", "password"),
        ("SHA2-Password", b"XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg=", "password"),
        (
            "SHA2-Password",
            b"b109f3bbbc244eb82441917ed06d618b9008dd09b3befd1b5e07394c706a8bb980b1d7785e5976ec049b46df5f1326af5a2ea6d103fd07c95385ffab0cacbc86",
            "password",
        ),
        (
            "SSHA2-256-Password",
            b"mfeexhmWis19F/c8yX3o/zFby7rS4QoItrkdpbAlGJROYUNsLTEyIQ==",
            "password",
        ),
        ("Crypt-Password", b"abJnggxhB/yWI", "password"),
        ("Crypt-Password", b"$1$O3JMY.Tw$AdLnLjQ/5jXF9.MTp3gHv/", "password"),
        (
            "Crypt-Password",
            b"$2y$04$abcdefghijklmnopqrstuuPp7HPfoAs8I2dCQCQ/fW7zEJv8I8C8e",
            "x",
        ),
        ("Password-With-Header", b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"),
        ("Password-With-Header", b"{crypt}abJnggxhB/yWI", "password"),
        ("Password-With-Header", b"password", "password"),
        ("Password-With-Header", b"\xff\xfe", "\u{fffd}"),
    ];
    for (name, value, password) in cases {
        let credential = Credential::from_attribute(name, value).unwrap();
        let credential = credential.unwrap_or_else(|why| panic!("{name}: {why}"));
        let password = match *value {
            b"\xff\xfe" => value,
            _ => password.as_bytes(),
        };
        assert!(fits(&credential, password), "{name} {value:?}");
    }
    for name in ["Auth-Type", "NT", "Password", "SHA3-Password", ""] {
        assert!(Credential::from_attribute(name, b"password").is_none(), "{name}");
    }
}

#[test]
fn what_is_no_credential_is_refused_without_repeating_it() {
    let long = format!("{{CLEARTEXT}}{}", "secret".repeat(22));
    let longer = format!("{{CLEARTEXT}}{}", "secret".repeat(220));
    for text in [
        "secret",
        "{secret",
        "{SECRET}secret",
        "{SHA3}secret",
        "{CLEARTEXT.XYZ}secret",
        "{CLEARTEXT}",
        "{CLEARTEXT.HEX}secret",
        "{CLEARTEXT.B64}secret!",
        &long,
        &longer,
        "{NT}secret",
        "{NT}44ebba8d5312b8d611474411f56989aesecret",
        "{MD5}secret",
        "{MD5}QkqrgnDx2pc535dzWKOZ6U5hQ2wtMTIh",
        "{SHA}X03MO1qnZdYdgyfeuILPmQ==",
        "{SSHA.HEX}secret",
        "{CRYPT}secret",
        "{CRYPT}!abJnggxhB/yWI",
        "$9$secret",
        "$2x$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        "$2b$31$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        "$2b$5$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy",
        "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lO:2",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$secret!",
        "$argon2id$v=19$m=256,t=2,p=1$c2E$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=20$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=999,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=33$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=1,data=x$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ] {
        let error = Credential::parse(text).expect_err(text).to_string();
        assert!(!error.contains("secret"), "{text}: {error}");
    }
    assert_eq!(Credential::parse(""), Ok(Credential::None));
    assert_eq!(Credential::parse("{NONE}"), Ok(Credential::None));
    assert_eq!(Credential::parse("{any}"), Ok(Credential::Anything));
}

#[test]
fn a_decoy_costs_the_same_and_fits_nobody() {
    for (text, scheme, password) in KNOWN {
        let decoy = Credential::parse(text).unwrap().decoy();
        assert_eq!(decoy.scheme(), *scheme);
        let keeps_hash = matches!(scheme, Scheme::Bcrypt | Scheme::Crypt);
        assert!(keeps_hash || !fits(&decoy, password.as_bytes()), "{text}");
    }
    assert_eq!(Credential::None.decoy().scheme(), Scheme::NtHash);
    assert_eq!(Credential::Anything.decoy().scheme(), Scheme::NtHash);
}

#[test]
fn torn_bytes_are_nothing() {
    for (text, ..) in KNOWN {
        let mut packed = Vec::new();
        Credential::parse(text).unwrap().pack(&mut packed);
        for length in 0..packed.len() {
            if let View::Costly(torn) = View::of(&packed[..length]) {
                // Too short to be looked at; that it does not panic is what matters.
                let scheme = View::of(torn).scheme();
                assert!(scheme.is_costly());
                assert!(
                    scheme != Scheme::Argon2 || length > 20 || !CostlyCheck::new(torn, b"").run()
                );
            }
        }
    }
    assert_eq!(View::of(&[]).scheme(), Scheme::None);
    assert_eq!(View::of(&[99, 1, 2]).scheme(), Scheme::None);
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in ".{0,80}") {
        let _ = Credential::parse(&text);
        let _ = Credential::parse(&format!("{{CRYPT}}{text}"));
        let _ = Credential::parse(&format!("$argon2id$v=19$m=256,t=2,p=1${text}"));
        let _ = Credential::from_attribute("Password-With-Header", text.as_bytes());
    }

    #[test]
    fn any_password_comes_back(password in proptest::collection::vec(any::<u8>(), 1..129)) {
        let credential = Credential::cleartext(&password).unwrap();
        prop_assert!(fits(&credential, &password));
        prop_assert_eq!(Credential::parse(&credential.to_text()), Ok(credential));
    }

    #[test]
    fn any_salt_does(
        password in proptest::collection::vec(any::<u8>(), 0..40),
        salt in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let digest = Sha256::new().chain_update(&password).chain_update(&salt).finalize();
        let credential = Credential::Digest {
            algorithm: Algorithm::Sha256,
            digest: digest.to_vec().into(),
            salt: salt.into(),
        };
        prop_assert!(fits(&credential, &password));
        prop_assert_eq!(Credential::parse(&credential.to_text()), Ok(credential));
    }
}
