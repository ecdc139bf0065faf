use proptest::prelude::*;

use super::*;

fn page(html: &str) -> Page {
    Page::read(html, &Limits::default(), 50_000)
}

#[test]
fn what_is_seen() {
    for (html, visible, hidden) in [
        ("", "", ""),
        ("text", "text", ""),
        ("<p>one</p><p>two</p>", "one\ntwo", ""),
        ("one<br>two", "one\ntwo", ""),
        ("<p>a  <b>b</b>\n c</p>", "a b c", ""),
        ("a<b>b</b>c", "abc", ""),
        ("<table><tr><td>a<td>b<tr><td>c</table>d", "a b\nc\nd", ""),
        ("<ul><li>a<li>b</ul>c", "a\nb\nc", ""),
        ("<pre>a\nb</pre>", "a\nb", ""),
        ("<title>t</title>a", "a", ""),
        ("<style>p{}</style><script>x</script>a", "a", ""),
        ("a&nbsp;b&amp;c", "a b&c", ""),
        ("<div style='display:none'>h<p>i</p></div>v", "v", "h\ni"),
        ("<p style='display:none'>h<p>v", "v", "h"),
        ("<p hidden>h</p>v", "v", "h"),
        ("<span style=visibility:hidden>h<b style=visibility:visible>v</b></span>", "v", "h"),
        ("<span style='font-size:0'>h<b style='font-size:12px'>v</b></span>", "v", "h"),
        ("<font style='font-size:1px'>h</font>v", "v", "h"),
        ("<div style='font-size:10%'>h</div>v", "v", "h"),
        ("<font color=white>h</font>v", "v", "h"),
        ("<td bgcolor=#000000><font color=#000001>h</font><font color=white>v</font>", "v", "h"),
        ("<div style='background:url(x)'><font color=white>v</font></div>", "v", ""),
        ("<div style='background:#fff url(x)'><span style='color:#fff'>v</span></div>", "v", ""),
        ("<span style='color:transparent'>h</span>v", "v", "h"),
        ("<div style='position:absolute;left:-9999px'>h</div>v", "v", "h"),
        ("<style>.x{display:none}</style><p class='x'>h</p>v", "v", "h"),
        ("<style>.x{display:none}</style><p class='x' style='display:block'>v</p>", "v", ""),
        ("<p class='x'>h</p>v<sTyLe>.x{display:none}</style>", "v", "h"),
        ("<style>div p{background:#000}</style><font color=white>v</font>", "v", ""),
        ("<noframes>h</noframes><iframe>i</iframe>v", "v", "hi"),
        ("<noscript>v</noscript>", "v", ""),
        ("v<input type=hidden value=x>w", "vw", ""),
        ("<textarea>v</textarea>", "v", ""),
        // What closes nothing.
        ("<div style='display:none'>h</span></td></p>h</div>v", "v", "h\nh"),
        ("<table><tr><td><b style='display:none'>h</td><td>v</td>", "v", "h"),
    ] {
        let read = page(html);
        assert_eq!((read.visible.as_str(), read.hidden.as_str()), (visible, hidden), "{html}");
        assert_eq!(read.hidden.is_empty(), read.hidden_characters() == 0, "{html}");
    }
}

#[test]
fn how_it_is_hidden() {
    for (html, how) in [
        ("<p style='display:none'>four", Hiding::Display),
        ("<p style='visibility:hidden'>four", Hiding::Visibility),
        ("<p style='opacity:0'>four", Hiding::Opacity),
        ("<p style='font-size:1px'>four", Hiding::Tiny),
        ("<p style='text-indent:-9999px'>four", Hiding::OffScreen),
        ("<p style='position:absolute;clip:rect(0,0,0,0)'>four", Hiding::Clipped),
        ("<p style='height:0;overflow:hidden'>four", Hiding::NoRoom),
        ("<p style='color:#fff'>four", Hiding::Colour),
    ] {
        let read = page(html);
        for (known, count) in Hiding::ALL.into_iter().zip(read.hiding) {
            assert_eq!(count, if known == how { 4 } else { 0 }, "{html} {known:?}");
        }
    }
}

#[test]
fn words_that_are_cut() {
    for (html, visible, cut) in [
        ("Pay<span style='font-size:0'>x</span>Pal", "PayPal", 1),
        ("Pa<i style='display:none'>x</i>yP<i style='display:none'>y</i>al", "PayPal", 2),
        ("Pay <span style='font-size:0'>x</span>Pal", "Pay Pal", 0),
        ("Pay<span style='font-size:0'>x</span> Pal", "Pay Pal", 0),
        ("<p>Pay</p><p style='display:none'>x</p><p>Pal</p>", "Pay\nPal", 0),
        ("Pay<b>Pal</b>", "PayPal", 0),
    ] {
        let read = page(html);
        assert_eq!((read.visible.as_str(), read.cut_words), (visible, cut), "{html}");
    }
}

#[test]
fn links() {
    let read = page(
        "<base href='https://b.example/'><a href='https://a.example/x'>see <b>here</b></a>
         <a name=x>no link</a><a href='y'><img src=z></a><map><area href='w'></map>
         <a href=' h\ntt\tp://c.example '>open",
    );
    let anchors: Vec<_> = read
        .anchors
        .iter()
        .map(|one| (one.target.as_str(), one.text.as_str(), one.image))
        .collect();
    assert_eq!(
        anchors,
        [
            ("https://a.example/x", "see here", false),
            ("y", "", true),
            ("w", "", false),
            ("http://c.example", "open", false),
        ]
    );
    assert_eq!(read.base.as_deref(), Some("https://b.example/"));
    // A link in a link ends the one before.
    let read = page("<a href=a>one <a href=b>two</a>");
    let texts: Vec<_> = read.anchors.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn what_else_there_is() {
    let read = page(
        "<!-- c --><form action='https://f.example/'><input name=a><input type=password>
         <input type=submit></form><img src='https://i.example/p.gif' width=1 height=1 alt='A cat'>
         <img src=cid:x><table background='http://i.example/b.png'><iframe src='https://e.example/'></iframe>
         <meta http-equiv=Refresh content='0; URL=\"https://r.example/\"'><p onclick='location.href=1'>
         <script src='https://s.example/'></script>",
    );
    assert_eq!(
        read.forms,
        [Form { action: "https://f.example/".into(), fields: 2, password: true }]
    );
    let images: Vec<_> =
        read.images.iter().map(|one| (one.source.as_str(), one.remote, one.pixel)).collect();
    assert_eq!(
        images,
        [
            ("https://i.example/p.gif", true, true),
            ("cid:x", false, false),
            ("http://i.example/b.png", true, false),
        ]
    );
    assert_eq!(read.loaded, ["https://e.example/", "https://s.example/"]);
    assert_eq!(read.refresh.as_deref(), Some("https://r.example/"));
    assert_eq!(
        (read.comments, read.frames, read.scripts.count, read.scripts.handlers),
        (1, 1, 1, 1)
    );
    assert_eq!(read.scripts.leaves, 1);
    assert_eq!((read.alternatives.as_str(), read.pixels()), ("A cat", 1));
    let read = page("<script type='application/ld+json'>{}</script><ScRiPt>x</sCrIpT>");
    assert_eq!((read.scripts.count, read.visible.as_str()), (1, ""));
}

#[test]
fn smuggling() {
    let data = "QUJD".repeat(300);
    for (html, smuggles) in [
        (
            format!("<script>var b=new Blob([atob('{data}')]);u=URL.createObjectURL(b)</script>"),
            true,
        ),
        (format!("<script>x='{}';document.write(atob(x))</script>", data.repeat(4)), true),
        (format!("<script>x='{data}'</script>"), false),
        ("<script>new Blob([atob('QUJD')])</script>".to_owned(), false),
        (format!("<img src='data:image/png;base64,{data}'>"), false),
        (format!("<p>{data}</p>"), false),
    ] {
        assert_eq!(page(&html).scripts.smuggles(), smuggles, "{}", head(&html, 60));
    }
}

#[test]
fn limits_hold() {
    let limits =
        Limits { html: 10_000, text: 100, links: 3, link: 50, open: 8, ..Limits::default() };
    let read = Page::read(&"<a href=x>word</a> ".repeat(100), &limits, 50_000);
    assert!(read.more && read.text_cut && !read.cut);
    assert_eq!(read.anchors.len(), 3);
    assert!((90..=100).contains(&read.visible.len()), "{}", read.visible.len());
    let read = Page::read(&"<p>".repeat(10_000), &limits, 50_000);
    assert!(read.cut);
    assert_eq!(read.octets, 10_000);
    let read = Page::read(&"<p>x".repeat(100), &limits, 10);
    assert!(read.cut);
    assert_eq!(read.tags, 10);
    let read = Page::read(&format!("<a href='{}'>x", "y".repeat(1_000)), &limits, 10);
    assert_eq!(read.anchors[0].target.len(), 51);
    // Depth beyond the limit: what is hidden outside stays hidden, and ends are counted.
    let deep = format!("<b style='display:none'>{}h{}h</b>v", "<i>".repeat(50), "</i>".repeat(50));
    let read = Page::read(&deep, &limits, 50_000);
    assert_eq!((read.visible.as_str(), read.hidden.as_str()), ("v", "hh"));
}

#[test]
fn what_takes_others_time() {
    let many_attributes: String = (0..100_000).map(|number| format!("a{number} ")).collect();
    for html in [
        "<div>".repeat(200_000),
        "<p><b>".repeat(100_000),
        "</div>".repeat(100_000),
        format!("<p {many_attributes}>"),
        "<".repeat(1_000_000),
        "<!--".repeat(250_000),
        "<style>".to_owned() + &"a{".repeat(400_000),
        "<style>".to_owned() + &".a{background:url(x)}".repeat(40_000),
        "&".repeat(1_000_000),
        "&#x".repeat(300_000),
        "<a href='".to_owned() + &"x".repeat(1_000_000),
        "<script>".to_owned() + &"</scrip".repeat(100_000),
        "<table><tr><td>".repeat(50_000),
        "<p style='".to_owned() + &"a:b;".repeat(200_000) + "'>",
    ] {
        let read = page(&html);
        assert!(read.visible.len() + read.hidden.len() <= 2 * Limits::default().text);
    }
}

proptest! {
    #[test]
    fn anything(html in "(<[a-z/!]{0,3}[ a-z='\"-]{0,9}>?|[a-z &;#<>]{0,5}|style='display:none'|\u{e4}){0,60}") {
        let read = page(&html);
        prop_assert!(read.visible.len() <= html.len());
        prop_assert!(read.tags <= html.len());
    }
}
