use std::collections::HashMap;

use super::*;

/// What was given, as people would read it.
#[derive(Default)]
struct Given {
    texts: Vec<String>,
    by_hash: HashMap<u64, String>,
}

impl Sink for Given {
    fn single(&mut self, hash: u64, origin: Origin, text: &[u8]) {
        let text = format!("{}:{}", origin.label(), String::from_utf8_lossy(text));
        self.by_hash.insert(hash, String::from_utf8_lossy(text.as_bytes()).into_owned());
        self.texts.push(text);
    }

    fn pair(&mut self, _: u64, [first, second]: [u64; 2], back: usize) {
        let pair = format!("{}+{back}+{}", self.by_hash[&first], self.by_hash[&second]);
        self.texts.push(pair);
    }
}

fn given(parameters: &Parameters, text: &Text<'_>) -> Vec<String> {
    let mut given = Given::default();
    read(&Key::new(b"a test"), parameters, text, &mut Vec::new(), &mut given);
    given.texts
}

fn of(text: &Text<'_>) -> Vec<String> {
    given(&Parameters { body_window: 0, header_window: 0, ..Parameters::default() }, text)
}

/// Tables of texts, and of what they must and must not give.
fn check(cases: &[(Text<'_>, &[&str], &[&str])]) {
    for (text, expected, forbidden) in cases {
        let given = of(text);
        for piece in *expected {
            assert!(given.iter().any(|given| given == piece), "{piece} of {text:?}: {given:?}");
        }
        for piece in *forbidden {
            assert!(!given.iter().any(|given| given == piece), "{piece} of {text:?}: {given:?}");
        }
    }
}

fn body(body: &str) -> Text<'_> {
    Text { body, ..Text::default() }
}

#[test]
fn words_of_a_text() {
    check(&[
        (body("Buy NOW, friend"), &[":buy", ":now", ":friend"], &[":NOW", ":now,"]),
        // Capitals count once more.
        (body("NOW"), &[":now", "capitals:now"], &[]),
        (body("I"), &[":i"], &["capitals:i"]),
        (body("free!!! really!"), &[":free", ":free!", ":!!2", ":really!"], &[":!2"]),
        (body("don't stop-me 'quoted'"), &[":don't", ":stop-me", ":stop", ":quoted"], &[":me"]),
        (body("ÜBER straße"), &[":über", ":straße"], &[]),
        (body("$500 in 2002"), &[":$500", ":#$9", ":2002", ":#9"], &[]),
        (body("1234567890"), &[":#9"], &[":1234567890"]),
        (body("aaaaaaaaaabbbbbbbbbbccccccccccdddd"), &[":~ad"], &[]),
        (body("会议通知"), &[":会议", ":议通", ":通知"], &[":会议通知"]),
        (body("a ====***= b"), &[":==3", ":**2"], &[":==1"]),
        (body("a\u{a0}b\tc"), &[":a", ":b", ":c"], &[]),
    ]);
}

#[test]
fn links_and_addresses_of_a_text() {
    check(&[
        (
            body("see (http://www.Shop.example:8080/buy/now.php?id=12345) today"),
            &["link:http:", "link:.example", "link:.shop.example", "link:@www.shop.example"],
            &[":http", ":shop"],
        ),
        (
            body("http://a.example:8080/buy/now.php?id=12345"),
            &["link::port", "link:buy", "link:php", "link:id", "link:#9"],
            &["link:12345"],
        ),
        (body("http://bank.example@10.1.2.3/"), &["link:user@", "link:#number"], &[]),
        (body("www.example.org."), &["link:@www.example.org"], &[]),
        (
            body("write to <John.Doe7@mail.example.org>."),
            &["address:john.doe7", "address:@mail.example.org", "address:.example.org"],
            &[":john"],
        ),
        (body("a @ b @home x@y"), &[":a", ":b", ":home"], &["address:@home"]),
    ]);
}

#[test]
fn header_fields() {
    fn fields<'a>(fields: &'a [(&'a str, &'a str)]) -> Text<'a> {
        Text { fields, ..Text::default() }
    }
    check(&[
        (
            fields(&[("Subject", "Re: WINNER  12")]),
            &["subject:winner", "subject:reply:", "subject:gap:", "header:Subject"],
            &[":winner"],
        ),
        (
            fields(&[("From", "\"A. Name\" <box77@Mail.Example>")]),
            &["from:name", "from:box77", "from:.example", "from:quoted", "from:#a9"],
            &[],
        ),
        (
            fields(&[("From", "a@one.example"), ("Reply-To", "b@two.example")]),
            &["measure:reply:other", "headers:from>reply-to", "measure:id:none"],
            &["measure:reply:same"],
        ),
        (
            fields(&[("From", "a@x.one.example"), ("Message-ID", "<12.ab@one.example>")]),
            &["measure:id:same", "message-id:#9.a"],
            &["message-id:.example", "message-id:@one.example"],
        ),
        // Who it is for is the receiver's.
        (
            fields(&[("To", "me@provider.example, you@provider.example")]),
            &["to:number:c", "to:bare"],
            &["to:me", "to:.provider.example", "to:@provider.example"],
        ),
        (fields(&[("To", "undisclosed-recipients:;")]), &["to:undisclosed"], &[]),
        (
            fields(&[("Date", "Mon, 2 Sep 2002 10:00:00 +0800")]),
            &["date:+0800", "date:#Aa, 9 Aa 9 9:9:9 +9"],
            &["date:2002", "date:sep"],
        ),
        (
            fields(&[("Content-Type", "multipart/mixed; boundary=\"----=_Part_12\"")]),
            &["content-type:multipart/mixed", "content-type:boundary"],
            &[],
        ),
        (fields(&[("X-Mailer", "Sender 5.6 (Win32)")]), &["x-mailer:sender"], &["x-mailer:5.6"]),
        (fields(&[("Subject", "")]), &["subject:empty"], &[]),
        // What receivers write is not read.
        (
            fields(&[("Received", "from bulk.example"), ("X-Spam-Status", "Yes")]),
            &["measure:from:none"],
            &["header:Received", "header:X-Spam-Status", ":bulk.example"],
        ),
    ]);
}

#[test]
fn markup() {
    let of = |markup| Text { markup, ..Text::default() };
    check(&[
        (
            of("<A HREF='http://x.example/y' target=_blank>hi</a><!-- x -->"),
            &["tag:a", "attribute:href", "link:@x.example", "attribute:target=_blank", "tag:!--"],
            &[":hi"],
        ),
        (
            of("<font size=\"+3\" color=red>"),
            &["tag:font", "attribute:size=+3", "attribute:color=red", "measure:tags:b"],
            &[],
        ),
        (of("<"), &["measure:kind:markup"], &[]),
        (of("<a href="), &["tag:a"], &[]),
        (of("1 < 2 > 3"), &[], &["tag:2"]),
    ]);
}

#[test]
fn what_other_stages_say_and_how_it_is_written() {
    let extra = ["struct:html-only"];
    check(&[
        (Text { extra: &extra, ..Text::default() }, &[":struct:html-only", "measure:any"], &[]),
        (Text::default(), &["measure:kind:empty", "measure:words:a"], &["measure:disguised"]),
        (
            Text { body: "v1agra", clear: "viagra", ..Text::default() },
            &[":v1agra", ":viagra", "measure:disguised"],
            &[],
        ),
        (body("A B! C! http://x.example/"), &["measure:links:b", "measure:exclamations:c"], &[]),
    ]);
}

#[test]
fn words_are_paired_with_those_before() {
    let parameters = Parameters { body_window: 2, header_window: 1, ..Parameters::default() };
    let fields = [("Subject", "one two three")];
    let text = Text { fields: &fields, body: "four FIVE six", ..Text::default() };
    let given = given(&parameters, &text);
    let pairs: Vec<&str> =
        given.iter().filter(|piece| piece.contains('+')).map(String::as_str).collect();
    assert_eq!(
        pairs,
        [
            "subject:one+1+subject:two",
            "subject:two+1+subject:three",
            ":four+1+:five",
            ":five+1+:six",
            ":four+2+:six",
        ]
    );
}

#[test]
fn where_a_word_stood_counts() {
    let fields = [("Subject", "word"), ("From", "word")];
    let text = Text { fields: &fields, body: "word", ..Text::default() };
    let mut given = Given::default();
    read(&Key::new(b"a"), &Parameters::default(), &text, &mut Vec::new(), &mut given);
    let words = given.by_hash.values().filter(|text| text.ends_with(":word")).count();
    assert_eq!(words, 3);
}

#[test]
fn no_more_pieces_than_asked_for() {
    let long = "word and another <a href=http://x.example/y> a@b.example ".repeat(2000);
    let fields = vec![("Subject", long.as_str()); 300];
    let extra = vec![long.as_str(); 1000];
    let text = Text { fields: &fields, body: &long, clear: &long, markup: &long, extra: &extra };
    for most_tokens in [0, 1, 100, 6000] {
        let parameters = Parameters { most_tokens, ..Parameters::default() };
        assert!(given(&parameters, &text).len() <= usize::from(most_tokens));
    }
}

#[test]
fn a_long_text_leaves_room_for_the_rest() {
    let long = "word and another ".repeat(2000);
    let markup = "<blink>";
    let text = Text { body: &long, markup, ..Text::default() };
    let given = given(&Parameters { most_tokens: 400, ..Parameters::default() }, &text);
    for piece in ["tag:blink", "measure:kind:both", "measure:links:a"] {
        assert!(given.iter().any(|given| given == piece), "{piece}");
    }
}

#[test]
fn texts_are_cut_between_letters() {
    for (text, most, expected) in
        [("abc", 2, "ab"), ("abc", 9, "abc"), ("aé", 2, "a"), ("é", 0, ""), ("会", 2, "")]
    {
        assert_eq!(cut(text, most), expected);
    }
}
