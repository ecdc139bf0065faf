use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, CharacterTokens, EndTag, StartTag, TagToken, Token as Theirs, TokenSink,
    TokenSinkResult, Tokenizer, TokenizerOpts,
};
use proptest::prelude::*;

use super::*;

/// Tokens without comments, texts put together: what can be compared.
#[derive(Debug, Default, Eq, PartialEq)]
struct Plain(Vec<(char, String, Vec<(String, String)>)>);

impl Plain {
    fn text(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        match self.0.last_mut() {
            Some(('t', before, _)) => before.push_str(&text),
            _ => self.0.push(('t', text, vec![])),
        }
    }

    fn ours(html: &str) -> Self {
        let mut plain = Self::default();
        for token in Tokens::new(html, 1_000) {
            match token {
                Token::Text(text) => plain.text(&text),
                Token::Start(tag) => {
                    let attributes = tag.attributes.iter().map(|(name, value)| {
                        (name.to_string(), value.replace("\r\n", "\n").replace('\r', "\n"))
                    });
                    plain.0.push(('s', tag.name.to_string(), attributes.collect()));
                }
                Token::End(name) => plain.0.push(('e', name.to_string(), vec![])),
                Token::Comment(_) => {}
            }
        }
        plain
    }

    fn theirs(html: &str) -> Self {
        struct Sink(RefCell<Plain>);
        impl TokenSink for Sink {
            type Handle = ();
            fn process_token(&self, token: Theirs, _: u64) -> TokenSinkResult<()> {
                let mut plain = self.0.borrow_mut();
                match token {
                    CharacterTokens(text) => plain.text(&text),
                    TagToken(tag) if tag.kind == StartTag => {
                        let attributes = tag.attrs.iter().map(|attribute| {
                            (attribute.name.local.to_string(), attribute.value.to_string())
                        });
                        plain.0.push(('s', tag.name.to_string(), attributes.collect()));
                        return match &*tag.name {
                            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
                            "style" | "xmp" | "iframe" | "noembed" | "noframes" => {
                                TokenSinkResult::RawData(RawKind::Rawtext)
                            }
                            "plaintext" => TokenSinkResult::Plaintext,
                            _ => TokenSinkResult::Continue,
                        };
                    }
                    TagToken(tag) if tag.kind == EndTag => {
                        plain.0.push(('e', tag.name.to_string(), vec![]));
                    }
                    _ => {}
                }
                TokenSinkResult::Continue
            }
        }
        let tokenizer = Tokenizer::new(
            Sink(RefCell::default()),
            TokenizerOpts { discard_bom: false, ..TokenizerOpts::default() },
        );
        let queue = BufferQueue::default();
        queue.push_back(StrTendril::from(html));
        while !queue.is_empty() {
            let _ = tokenizer.feed(&queue);
        }
        tokenizer.end();
        tokenizer.sink.0.take()
    }
}

#[test]
fn as_browsers_do() {
    for html in [
        "",
        "text",
        "a < b <3 <",
        "<p>text</p>",
        "<P CLASS=Big id='a b' hidden title=\"x > y\">",
        "<a href=https://example.org/?a=1&b=2>x</a>",
        "<a href = 'x' href='y'>",
        "<br/><br /><img src=a/>",
        "<a/b/c=d>",
        "<a =b =c=d>",
        "<a b=>c",
        "<a b='c'd>",
        "<a \"quoted\">",
        "<!-- comment -->a<!-->b<!--->c<!-- x --!>d<!-- y -- z -->e<!-- open",
        "<!DOCTYPE html PUBLIC \"a>b\">c",
        "<![CDATA[x]]>y",
        "<?php echo 1; ?>z",
        "</>a</ b>c</p x=y>d",
        "<p",
        "<p class='open",
        "a</",
        "a<!",
        "<title>a &amp; <b>b</b></title>c",
        "<textarea></p></textarea >d",
        "<style>p > a { color: red }</style>x",
        "<script>if (a < b) document.write('</p>')</SCRIPT>x",
        "<script>open",
        "<script><!-- <script> </script> --> </script>x",
        "<script><!-- </script>x",
        "<script><!--> <script></script>x",
        "<script><!-- <script> --></script>x",
        "<script><!-- <script> </script> </script>x</script>",
        "<script></script><p>",
        "<xmp><p></xmp><iframe><p></iframe><noembed>&amp;</noembed>",
        "<plaintext>a</plaintext>b",
        "&lt;p&gt;&#65;&copy=1<a b=&copy=1&amp;&lt>",
        "\u{e4}<\u{e4}>\u{1f600}<p \u{e4}=\u{f6}>",
        "a\r\nb\rc<p title='d\r\ne'>",
    ] {
        assert_eq!(Plain::ours(html), Plain::theirs(html), "{html}");
    }
}

#[test]
fn every_name_of_the_table() {
    assert_eq!(entities::names().count(), 2_231);
    for name in entities::names() {
        for html in [format!("&{name}"), format!("&{name}x;"), format!("<a b='&{name}=&{name}'>")] {
            assert_eq!(Plain::ours(&html), Plain::theirs(&html), "{html}");
        }
    }
}

#[test]
fn attributes_have_a_limit() {
    let many: String = (0..10_000).map(|number| format!(" a{number}=b")).collect();
    let html = format!("<p{many}>x");
    let tokens: Vec<_> = Tokens::new(&html, 10).collect();
    let [Token::Start(tag), Token::Text(text)] = &tokens[..] else { panic!("{tokens:?}") };
    assert_eq!((tag.attributes.len(), &**text), (10, "x"));
}

/// Pieces of HTML that mean something beside each other.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<"),
        Just(">"),
        Just("/"),
        Just("="),
        Just("'"),
        Just("\""),
        Just(" "),
        Just("\n"),
        Just("!"),
        Just("-"),
        Just("--"),
        Just("-->"),
        Just("<!--"),
        Just("a"),
        Just("B"),
        Just("p"),
        Just("\u{e4}"),
        Just("&"),
        Just("#"),
        Just(";"),
        Just("&amp"),
        Just("&lt;"),
        Just("&#x41"),
        Just("x"),
        Just("1"),
        Just("<p "),
        Just("</p"),
        Just("<style>"),
        Just("</style>"),
        Just("<title>"),
        Just("</title>"),
        Just("<?"),
        Just("</"),
        Just("<!doctype "),
        Just("[CDATA["),
        Just("]]>"),
        Just("href"),
        Just("\r"),
        Just("<textarea>"),
        Just("</textarea"),
        Just("<script>"),
        Just("</script>"),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn as_browsers_do_with_anything(html in pieces()) {
        prop_assert_eq!(Plain::ours(&html), Plain::theirs(&html));
    }

    #[test]
    fn it_ends(html in "(?s).{0,200}") {
        prop_assert!(Tokens::new(&html, 8).count() <= html.len());
    }
}
