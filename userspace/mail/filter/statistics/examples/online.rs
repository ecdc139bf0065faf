//! How well the learners do: on a folder of mail whose classes are known.
//!
//! `cargo run --release -p muralla-filter-statistics --example online -- FOLDER [parameter=value ...]`
//!
//! The folder has folders of raw messages, and the class is in their names (`easy-ham-1`, `spam-2`): what has `ham` in its name
//! is wanted. Messages are taken in the order of their receipt, judged, and then learned. 1-AUC is how often, of a wanted
//! message and a spam, the wanted one was thought the worse. `missed` is the spam that would pass if so many of a hundred
//! wanted messages were allowed to be taken for spam. After that, what is learned from a part is tried on another without
//! learning.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use mail_parser::decoders::html::html_to_text;
use mail_parser::parsers::MessageStream;
use mail_parser::{MessageParser, MimeHeaders, PartType};
use muralla_filter_statistics::{Class, Day, Key, Lesson, Model, Parameters, Score, Scratch, Text};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, settings)) = arguments.split_first() else {
        eprintln!("name a folder of folders of messages");
        return ExitCode::FAILURE;
    };
    let mut parameters = Parameters::default();
    let (mut quick, mut worst, mut tuning) = (false, false, false);
    let mut sets = Vec::new();
    for setting in settings {
        if let Some(set) = setting.strip_prefix('+') {
            sets.push(set);
            continue;
        }
        match setting.split_once('=') {
            Some((name, value)) if set(&mut parameters, name, value) => {}
            None if setting == "quick" => quick = true,
            None if setting == "tune" => tuning = true,
            None if setting == "worst" => worst = true,
            _ => {
                eprintln!("unknown: {setting}");
                return ExitCode::FAILURE;
            }
        }
    }
    let messages = match read_folder(Path::new(folder)) {
        Ok(messages) => messages,
        Err(error) => {
            eprintln!("{folder}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let Ok(model) = Model::new(Key::new(b"a key for measurements"), parameters) else {
        eprintln!("parameters are out of their ranges");
        return ExitCode::FAILURE;
    };
    if tuning {
        for trial in &sets {
            let mut parameters = model.parameters().clone();
            for (name, value) in trial.split(',').filter_map(|s| s.split_once('=')) {
                assert!(set(&mut parameters, name, value), "{name}");
            }
            let model = Model::new(Key::new(b"a key for measurements"), parameters).unwrap();
            print!("{trial:<40}");
            tune(&model, &messages);
            println!();
            while Path::new("/tmp/builds-forbidden").exists() {
                std::thread::sleep(std::time::Duration::from_secs(10));
            }
        }
        return ExitCode::SUCCESS;
    }
    online(model.clone(), &messages, quick, worst);
    if !quick {
        transfer(&model, &messages);
    }
    ExitCode::SUCCESS
}

/// Judges every message, then learns it.
fn online(mut model: Model, messages: &[Message], quick: bool, worst: bool) {
    let mut scratch = Scratch::new();
    let mut results = Vec::with_capacity(messages.len());
    let (mut judging, mut learning) = (0.0, 0.0);
    for message in messages {
        let fields = message.fields();
        let extra: Vec<&str> = message.extra.iter().map(String::as_str).collect();
        let text = message.text(&fields, &extra);
        let begin = Instant::now();
        let score = model.score(&text, None, &mut scratch);
        judging += begin.elapsed().as_secs_f64();
        results.push(Judged { score, class: message.class });
        let begin = Instant::now();
        model.learn(&text, &Lesson::of_operator(message.class, message.day), &mut scratch);
        learning += begin.elapsed().as_secs_f64();
    }
    let (first, second) = results.split_at(results.len() / 2);
    title("online");
    for (name, part) in [("first half", first), ("second half", second), ("all", &results)] {
        report(name, part);
    }
    if worst {
        let mut all: Vec<_> = results.iter().zip(messages).enumerate().collect();
        all.sort_by(|a, b| a.1.0.score.log_odds.total_cmp(&b.1.0.score.log_odds));
        let show = |(at, (judged, message)): &(usize, (&Judged, &Message))| {
            println!(
                "{at:>5} {:>6.2} {:?} {} {}: {:?}",
                judged.score.log_odds, judged.score.voices, message.day.0, message.source,
                message.fields.iter().find(|f| f.0.eq_ignore_ascii_case("subject")).map(|f| f.1.trim())
            );
        };
        all.iter().filter(|r| r.1.0.class == Class::Spam).take(40).for_each(show);
        println!();
        all.iter().rev().filter(|r| r.1.0.class == Class::Ham).take(40).for_each(show);
    }
    if quick {
        voices(first);
        voices(second);
        return;
    }
    voices(second);
    calibration(second);
    let each = 1e6 / messages.len() as f64;
    println!("us a message: {:.0} to judge, {:.0} to judge and learn", judging * each, learning * each);
}

/// Learns a part and judges another.
fn transfer(untaught: &Model, messages: &[Message]) {
    title("transfer, without learning");
    let half = messages.get(messages.len() / 2).map_or(0, |message| message.received);
    let trials: [(&str, &dyn Fn(&Message) -> bool, &dyn Fn(&Message) -> bool); 5] = [
        ("first half > second", &|m| m.received < half, &|m| m.received >= half),
        ("second half > first", &|m| m.received >= half, &|m| m.received < half),
        (
            "no hard ham, spam 2 >",
            &|m| !m.source.contains("hard") && !m.source.contains("spam-2"),
            &|m| m.source.contains("hard") || m.source.contains("spam-2"),
        ),
        (
            "no easy 1, spam 1 >",
            &|m| !m.source.contains("easy-ham-1") && !m.source.contains("spam-1"),
            &|m| m.source.contains("easy-ham-1") || m.source.contains("spam-1"),
        ),
        (
            "no easy 2, spam 2 >",
            &|m| !m.source.contains("easy-ham-2") && !m.source.contains("spam-2"),
            &|m| m.source.contains("easy-ham-2") || m.source.contains("spam-2"),
        ),
    ];
    let mut scratch = Scratch::new();
    for (name, learned, judged) in trials {
        let mut model = untaught.clone();
        for message in messages.iter().filter(|message| learned(message)) {
            let fields = message.fields();
            let extra: Vec<&str> = message.extra.iter().map(String::as_str).collect();
            let lesson = Lesson::of_operator(message.class, message.day);
            model.learn(&message.text(&fields, &extra), &lesson, &mut scratch);
        }
        let results: Vec<Judged> = messages
            .iter()
            .filter(|message| judged(message))
            .map(|message| {
                let fields = message.fields();
                let extra: Vec<&str> = message.extra.iter().map(String::as_str).collect();
                let score = model.score(&message.text(&fields, &extra), None, &mut scratch);
                Judged { score, class: message.class }
            })
            .collect();
        report(name, &results);
        voices(&results);
    }
}

/// For trials.
fn tune(untaught: &Model, messages: &[Message]) {
    let mut scratch = Scratch::new();
    let run = |model: &mut Model, messages: &[&Message], learn: bool, scratch: &mut Scratch| {
        let mut results = Vec::new();
        for message in messages {
            let fields = message.fields();
            let extra: Vec<&str> = message.extra.iter().map(String::as_str).collect();
            let text = message.text(&fields, &extra);
            let score = model.score(&text, None, scratch);
            results.push(Judged { score, class: message.class });
            if learn {
                model.learn(&text, &Lesson::of_operator(message.class, message.day), scratch);
            }
        }
        results
    };
    let line = |name: &str, judged: &[Judged]| {
        let scores = Scores::new(judged, |score| score.log_odds);
        print!(" {name} {:.3} {:4.1} (", scores.area() * 100.0, scores.missed(0.005) * 100.0);
        for voice in 0..judged[0].score.voices.len() {
            let scores = Scores::new(judged, |score| score.voices[voice]);
            print!("{:.3} ", scores.area() * 100.0);
        }
        print!(")");
    };
    let refs: Vec<&Message> = messages.iter().collect();
    let half = messages.len() / 2;
    let mut model = untaught.clone();
    let results = run(&mut model, &refs[..half / 2], true, &mut scratch);
    let transferred = run(&mut model.clone(), &refs[half / 2..half], false, &mut scratch);
    let mut all = results;
    all.extend(run(&mut model, &refs[half / 2..half], true, &mut scratch));
    line("first", &all);
    line("first 500..", &all[500..]);
    line("q1>q2", &transferred);
    // Strangers within the first half: what is not of the lists.
    let (hard, easy): (Vec<&Message>, Vec<&Message>) =
        refs[..half].iter().partition(|m| m.source.contains("hard") || (m.class == Class::Spam && m.received % 2 == 0));
    let mut model = untaught.clone();
    run(&mut model, &easy, true, &mut scratch);
    let judged = run(&mut model, &hard, false, &mut scratch);
    line("hard", &judged);
}

struct Judged {
    score: Score,
    class: Class,
}

fn title(name: &str) {
    println!(
        "{name:<22} {:>6} {:>6} {:>9} {:>14} {:>14} {:>12} {:>12}",
        "ham", "spam", "1-AUC %", "missed at 0.1%", "missed at 0.5%", "ham > 0.5", "spam < 0.5"
    );
}

fn report(name: &str, judged: &[Judged]) {
    let scores = Scores::new(judged, |score| score.log_odds);
    println!(
        "{name:<22} {:>6} {:>6} {:>9.3} {:>13.2}% {:>13.2}% {:>11.2}% {:>11.2}%",
        scores.ham.len(),
        scores.spam.len(),
        scores.area() * 100.0,
        scores.missed(0.001) * 100.0,
        scores.missed(0.005) * 100.0,
        share(scores.ham.iter().filter(|&&score| score > 0.0).count(), scores.ham.len()) * 100.0,
        share(scores.spam.iter().filter(|&&score| score < 0.0).count(), scores.spam.len()) * 100.0,
    );
}

/// Each learner by itself.
fn voices(judged: &[Judged]) {
    for voice in 0.. {
        if !judged.first().is_some_and(|judged| judged.score.voices.len() > voice) {
            break;
        }
        let scores = Scores::new(judged, |score| score.voices.get(voice).copied().unwrap_or_default());
        println!(
            "  learner {voice:<11} {:>6} {:>6} {:>9.3} {:>13.2}% {:>13.2}%",
            "",
            "",
            scores.area() * 100.0,
            scores.missed(0.001) * 100.0,
            scores.missed(0.005) * 100.0
        );
    }
}

/// Whether a probability is what it says.
fn calibration(judged: &[Judged]) {
    let bounds = [0.0, 0.001, 0.01, 0.1, 0.3, 0.7, 0.9, 0.99, 0.999, 1.01];
    let mut off = 0.0;
    for pair in bounds.windows(2) {
        let &[low, high] = pair else { continue };
        let within: Vec<&Judged> =
            judged.iter().filter(|j| (low..high).contains(&j.score.probability)).collect();
        let spam = within.iter().filter(|judged| judged.class == Class::Spam).count();
        let said = within.iter().map(|judged| f64::from(judged.score.probability)).sum::<f64>();
        off += (said - spam as f64).abs();
        let number = within.len().max(1) as f64;
        println!(
            "  said {low:>5} to {high:>5}: {:>5} messages, {:>7.2}% said, {:>7.2}% were",
            within.len(),
            said / number * 100.0,
            spam as f64 / number * 100.0
        );
    }
    println!("  off by {:.2}% on average", off / judged.len().max(1) as f64 * 100.0);
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Scores of each class, the lowest first.
struct Scores {
    ham: Vec<f32>,
    spam: Vec<f32>,
}

impl Scores {
    fn new(judged: &[Judged], of: impl Fn(&Score) -> f32) -> Self {
        let sorted = |class| {
            let mut scores: Vec<f32> =
                judged.iter().filter(|j| j.class == class).map(|j| of(&j.score)).collect();
            scores.sort_by(f32::total_cmp);
            scores
        };
        Self { ham: sorted(Class::Ham), spam: sorted(Class::Spam) }
    }

    /// How often a wanted message was thought worse than a spam; a draw is half.
    fn area(&self) -> f64 {
        let wrong: f64 = self
            .spam
            .iter()
            .map(|spam| {
                let above = self.ham.len() - self.ham.partition_point(|ham| ham <= spam);
                let from = self.ham.partition_point(|ham| ham < spam);
                above as f64 + (self.ham.len() - above - from) as f64 / 2.0
            })
            .sum();
        wrong / (self.ham.len().max(1) * self.spam.len().max(1)) as f64
    }

    /// The share of spam that passes if such a share of the wanted mail may be refused.
    fn missed(&self, share_of_ham: f64) -> f64 {
        let refused = (self.ham.len() as f64 * share_of_ham) as usize;
        let bound = self.ham.iter().rev().nth(refused).copied().unwrap_or(f32::MIN);
        share(self.spam.partition_point(|&spam| spam <= bound), self.spam.len())
    }
}

/// A message, read as far as the learners need it.
struct Message {
    source: String,
    class: Class,
    received: i64,
    day: Day,
    fields: Vec<(String, String)>,
    body: String,
    markup: String,
    extra: Vec<String>,
}

impl Message {
    fn fields(&self) -> Vec<(&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn text<'a>(&'a self, fields: &'a [(&'a str, &'a str)], extra: &'a [&'a str]) -> Text<'a> {
        Text { fields, body: &self.body, clear: "", markup: &self.markup, extra }
    }
}

fn read_folder(folder: &Path) -> std::io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    for source in std::fs::read_dir(folder)? {
        let source = source?;
        if !source.file_type()?.is_dir() {
            continue;
        }
        let name = source.file_name().to_string_lossy().into_owned();
        let class = if name.contains("ham") { Class::Ham } else { Class::Spam };
        let mut files: Vec<_> =
            std::fs::read_dir(source.path())?.collect::<Result<_, _>>()?;
        files.sort_by_key(std::fs::DirEntry::file_name);
        for file in files {
            // Some packages put a description beside each message.
            if file.path().extension().is_some_and(|extension| extension == "json") {
                continue;
            }
            let raw = std::fs::read(file.path())?;
            let id = format!("{name}/{}", file.file_name().to_string_lossy());
            messages.extend(read_message(&raw, &id, class));
        }
    }
    messages.sort_by(|a, b| (a.received, &a.source).cmp(&(b.received, &b.source)));
    Ok(messages)
}

fn read_message(raw: &[u8], source: &str, class: Class) -> Option<Message> {
    // An mbox' separator is not of the message.
    let raw = match raw.strip_prefix(b"From ") {
        Some(rest) => rest.get(rest.iter().position(|&byte| byte == b'\n')? + 1..)?,
        None => raw,
    };
    let message = MessageParser::default().parse(raw)?;
    let within = |time: &i64| (990_000_000..1_050_000_000).contains(time);
    let dates = message.received_all().filter_map(|received| received.date.as_ref());
    let received = dates
        .chain(message.date())
        .map(mail_parser::DateTime::to_timestamp)
        .find(within)
        .unwrap_or(1_030_000_000);
    let fields = message
        .headers()
        .iter()
        .filter_map(|header| {
            let name = raw.get(header.offset_field as usize..header.offset_start as usize)?;
            let name = String::from_utf8_lossy(name);
            let value = raw.get(header.offset_start as usize..header.offset_end as usize)?;
            let value = match MessageStream::new(value).parse_unstructured() {
                mail_parser::HeaderValue::Text(text) => text.into_owned(),
                _ => String::new(),
            };
            Some((name.trim_end_matches([':', ' ']).to_owned(), value))
        })
        .collect();
    let mut body = String::new();
    let mut markup = String::new();
    let mut extra = Vec::new();
    for part in message.html_bodies() {
        if let PartType::Html(html) = &part.body {
            body.push_str(&html_to_text(html));
            body.push('\n');
            markup.push_str(html);
        }
    }
    for part in message.text_bodies() {
        if let PartType::Text(text) = &part.body {
            body.push_str(text);
            body.push('\n');
        }
    }
    for part in message.attachments() {
        if let Some(media) = part.content_type() {
            extra.push(format!("part:{}/{}", media.ctype(), media.subtype().unwrap_or_default()));
        }
    }
    Some(Message {
        source: source.to_owned(),
        class,
        received,
        day: Day(u32::try_from(received / 86_400).unwrap_or_default()),
        fields,
        body,
        markup,
        extra,
    })
}

/// Sets a parameter by its name.
fn set(parameters: &mut Parameters, name: &str, value: &str) -> bool {
    fn put<T: std::str::FromStr>(place: &mut T, value: &str) -> bool {
        value.parse().map(|value| *place = value).is_ok()
    }
    let p = parameters;
    match name {
        "lexicon_bits" => put(&mut p.lexicon_bits, value),
        "gram_bits" => put(&mut p.gram_bits, value),
        "body_window" => put(&mut p.body_window, value),
        "header_window" => put(&mut p.header_window, value),
        "most_tokens" => put(&mut p.most_tokens, value),
        "most_body" => put(&mut p.most_body, value),
        "most_markup" => put(&mut p.most_markup, value),
        "gram_header" => put(&mut p.gram_header, value),
        "gram_body" => put(&mut p.gram_body, value),
        "gram_markup" => put(&mut p.gram_markup, value),
        "gram_rate" => put(&mut p.gram_rate, value),
        "word_alpha" => put(&mut p.word_alpha, value),
        "word_beta" => put(&mut p.word_beta, value),
        "word_l1" => put(&mut p.word_l1, value),
        "word_l2" => put(&mut p.word_l2, value),
        "count_strength" => put(&mut p.count_strength, value),
        "count_deviation" => put(&mut p.count_deviation, value),
        "count_most" => put(&mut p.count_most, value),
        "fusion_rate" => put(&mut p.fusion_rate, value),
        "squash" => put(&mut p.squash, value),
        "margin" => put(&mut p.margin, value),
        "threads" => true,
        _ => match name.strip_prefix('x').and_then(|at| p.x.get_mut(at.parse::<usize>().ok()?)) {
            Some(place) => put(place, value),
            None => false,
        },
    }
}
