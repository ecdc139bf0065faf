//! How well the learners do: on a folder of mail whose classes are known.
//!
//! `cargo run --release -p muralla-filter-statistics --example online -- FOLDER [half] [quick] [parameter=value ...]`
//!
//! The folder has folders of raw messages, and the class is in their names (`easy-ham-1`, `spam-2`): what has `ham` in its name
//! is wanted. Messages are taken in the order of their receipt, judged, and then learned. 1-AUC is how often, of a wanted
//! message and a spam, the wanted one was thought the worse. `missed` is the spam that would pass if so many of a hundred
//! wanted messages were allowed to be taken for spam. After that, what is learned from a part is tried on another without
//! learning. That part is left out if `quick` is asked for. With `half`, the second half of the messages is left alone: parameters are to be chosen by the first.

use std::path::Path;
use std::process::ExitCode;

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
    let (mut half, mut quick) = (false, false);
    for setting in settings {
        match setting.split_once('=') {
            Some((name, value)) if set(&mut parameters, name, value) => {}
            None if setting == "half" => half = true,
            None if setting == "quick" => quick = true,
            _ => {
                eprintln!("unknown: {setting}");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut messages = match read_folder(Path::new(folder)) {
        Ok(messages) => messages,
        Err(error) => {
            eprintln!("{folder}: {error}");
            return ExitCode::FAILURE;
        }
    };
    if half {
        messages.truncate(messages.len() / 2);
    }
    let Ok(model) = Model::new(Key::new(b"a key for measurements"), parameters) else {
        eprintln!("parameters are out of their ranges");
        return ExitCode::FAILURE;
    };
    online(model.clone(), &messages);
    if !quick {
        transfer(&model, &messages);
    }
    ExitCode::SUCCESS
}

/// Judges every message, then learns it.
fn online(mut model: Model, messages: &[Message]) {
    let mut scratch = Scratch::new();
    let mut results = Vec::with_capacity(messages.len());
    let learning = microseconds(|| {
        for message in messages {
            let lesson = Lesson::of_operator(message.class, message.day);
            let learned = message.with_text(|text| model.learn(text, &lesson, &mut scratch));
            results.push(Judged { score: learned.before, class: message.class });
        }
    });
    let judging = microseconds(|| {
        for message in messages {
            let score = message.with_text(|text| model.score(text, None, &mut scratch));
            std::hint::black_box(score);
        }
    });
    let (first, second) = results.split_at(results.len() / 2);
    title("online");
    for (name, part) in [("first half", first), ("second half", second), ("all", &results)] {
        report(name, part);
    }
    voices(second);
    calibration(second);
    let each = 1.0 / messages.len().max(1) as f64;
    println!(
        "us of processor time a message: {:.0} to judge, {:.0} to judge and learn",
        judging * each,
        learning * each
    );
}

/// Processor time that this thread spends on something: others may have work to do.
fn microseconds(work: impl FnOnce()) -> f64 {
    let spent = || {
        let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        spent.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or_default()
    };
    let before = spent();
    work();
    (spent() - before) / 1e3
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
            let lesson = Lesson::of_operator(message.class, message.day);
            message.with_text(|text| model.learn(text, &lesson, &mut scratch));
        }
        let strangers: Vec<&Message> = messages.iter().filter(|message| judged(message)).collect();
        let mut judge = |model: &Model| -> Vec<Judged> {
            let judge = |message: &&Message| {
                let score = message.with_text(|text| model.score(text, None, &mut scratch));
                Judged { score, class: message.class }
            };
            strangers.iter().map(judge).collect()
        };
        let results = judge(&model);
        report(name, &results);
        voices(&results);
        let condensed = model.condensed();
        report("  condensed", &judge(&condensed));
        println!("  octets written: {}, condensed {}", written(&model), written(&condensed));
    }
}

/// Octets that a model takes in a file.
fn written(model: &Model) -> usize {
    let mut octets = Vec::new();
    match model.write(&mut octets) {
        Ok(()) => octets.len(),
        Err(_) => 0,
    }
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
        let scores =
            Scores::new(judged, |score| score.voices.get(voice).copied().unwrap_or_default());
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
    fn with_text<T>(&self, use_it: impl FnOnce(&Text<'_>) -> T) -> T {
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields: Vec<(&str, &str)> = fields.collect();
        let extra: Vec<&str> = self.extra.iter().map(String::as_str).collect();
        let (body, markup) = (self.body.as_str(), self.markup.as_str());
        use_it(&Text { fields: &fields, body, clear: "", markup, extra: &extra })
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
        let mut files: Vec<_> = std::fs::read_dir(source.path())?.collect::<Result<_, _>>()?;
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
    macro_rules! put {
        ($($known:ident),* $(,)?) => {
            match name {
                $(stringify!($known) => match value.parse() {
                    Ok(value) => {
                        parameters.$known = value;
                        true
                    }
                    Err(_) => false,
                },)*
                _ => false,
            }
        };
    }
    put!(
        lexicon_bits,
        gram_bits,
        context_bits,
        body_window,
        header_window,
        most_tokens,
        most_body,
        most_markup,
        gram_header,
        gram_body,
        gram_markup,
        gram_rate,
        word_alpha,
        word_scale,
        word_beta,
        word_l1,
        word_l2,
        count_strength,
        count_deviation,
        context_longest,
        context_trust,
        rehearsed,
        rehearsals,
        hard,
        fusion_weight,
        fusion_rate,
        squash,
        margin,
        youth,
    )
}
