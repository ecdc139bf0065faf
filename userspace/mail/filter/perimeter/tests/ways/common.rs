//! A judge who goes by words in the message, and a next hop that goes by names of recipients.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use muralla_filter_perimeter::{
    HeaderField, Judge, Learned, Lesson, Listener, Outcome, Question, Reason, Verdict,
};
use muralla_mail_envelope::Reply;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Goes by what stands in the message: `spam`, `refuse`, `hold`, `late`, `panic`. A recipient whose name begins with `tolerant`
/// gets everything, one that begins with `strict` has spam refused.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) questions: Mutex<Vec<Question>>,
    pub(crate) lessons: Mutex<Vec<Lesson>>,
}

impl Words {
    pub(crate) fn questions(&self) -> Vec<Question> {
        self.questions.lock().unwrap().clone()
    }
}

impl Judge for Words {
    fn judge<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Verdict> {
        async move {
            self.questions.lock().unwrap().push(question.clone());
            let text = String::from_utf8_lossy(&question.message).into_owned();
            if text.contains("late") {
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            assert!(!text.contains("panic"), "as was wished");
            let refusal = || Outcome::Refuse(Reply::of_text(550, "5.7.1 This is spam, ask us"));
            let all = match question.recipients.len() {
                0 => vec![String::new()],
                _ => question.recipients.iter().map(|one| one.said.clone()).collect(),
            };
            let outcome = |recipient: String| match () {
                () if text.contains("hold") => Outcome::Hold { why: "a program inside".to_owned() },
                () if recipient.starts_with("tolerant") => Outcome::Deliver,
                () if text.contains("refuse") => refusal(),
                () if text.contains("spam") && recipient.starts_with("strict") => refusal(),
                () if text.contains("spam") => Outcome::Spam,
                () => Outcome::Deliver,
            };
            Verdict {
                outcomes: all.into_iter().map(outcome).collect(),
                score: 4.0,
                spam_from: 5.0,
                refuse_from: 15.0,
                reasons: vec![Reason {
                    name: "WORDS".to_owned(),
                    weight: 4.0,
                    words: "it has words".to_owned(),
                    details: Vec::new(),
                }],
                head: vec![HeaderField::new("X-Muralla", "score=4").unwrap()],
                ..Verdict::default()
            }
        }
        .boxed()
    }

    fn learn<'a>(&'a self, lesson: &'a Lesson) -> BoxFuture<'a, Learned> {
        async move {
            let mut all = self.lessons.lock().unwrap();
            if all.contains(lesson) {
                return Learned::Before;
            }
            all.push(lesson.clone());
            Learned::Now
        }
        .boxed()
    }
}

/// A place to listen on, and a connection to it.
pub(crate) async fn listener() -> (Listener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (Listener::from(listener), address)
}

/// A message that the next hop was given.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Given {
    pub(crate) lines: Vec<String>,
    pub(crate) message: String,
}

/// A mail server: `unknown...` does not exist, `full...` is told after the message, `gone...` hangs up in the middle.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) given: Mutex<Vec<Given>>,
}

impl Store {
    pub(crate) async fn start(
        is_lmtp: bool,
        offers: &'static str,
    ) -> (Arc<Self>, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let store = Arc::new(Self::default());
        let kept = Arc::clone(&store);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let store = Arc::clone(&kept);
                tokio::spawn(async move { store.serve(stream, is_lmtp, offers).await });
            }
        });
        (store, address)
    }

    pub(crate) fn given(&self) -> Vec<Given> {
        self.given.lock().unwrap().clone()
    }

    async fn serve(&self, stream: TcpStream, is_lmtp: bool, offers: &str) {
        let mut stream = BufReader::new(stream);
        let mut now = Given::default();
        let mut recipients: Vec<String> = Vec::new();
        stream.write_all(b"220 store.example\r\n").await.unwrap();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_owned();
            now.lines.push(line.clone());
            let reply = match line.split(' ').next().unwrap() {
                "EHLO" | "LHLO" => {
                    let mut reply = "250-store.example\r\n".to_owned();
                    offers.split(',').for_each(|one| reply.push_str(&format!("250-{one}\r\n")));
                    now.lines.clear();
                    reply + "250 ENHANCEDSTATUSCODES"
                }
                "RCPT" if line.contains("<unknown") => "550 5.1.1 No such user".to_owned(),
                "RCPT" if line.contains("<gone") => return,
                "RCPT" => {
                    recipients.push(line.clone());
                    "250 2.1.5 Known here".to_owned()
                }
                "RSET" => {
                    recipients.clear();
                    now = Given::default();
                    "250 2.0.0 Ok".to_owned()
                }
                "DATA" => {
                    stream.write_all(b"354 go\r\n").await.unwrap();
                    loop {
                        let mut line = String::new();
                        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                            return;
                        }
                        if line == ".\r\n" {
                            break;
                        }
                        now.message.push_str(line.strip_prefix('.').unwrap_or(&line));
                    }
                    self.given.lock().unwrap().push(std::mem::take(&mut now));
                    let answer = |recipient: &String| match recipient.contains("<full") {
                        true => "452 4.2.2 The mailbox is full",
                        false => "250 2.0.0 Stored",
                    };
                    let answers: Vec<&str> = match is_lmtp {
                        true => recipients.iter().map(answer).collect(),
                        false => recipients.first().map(answer).into_iter().collect(),
                    };
                    recipients.clear();
                    answers.join("\r\n")
                }
                "QUIT" => "221 2.0.0 Bye".to_owned(),
                _ => "250 2.0.0 Ok".to_owned(),
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        }
    }
}

/// A client who says lines and hears replies.
pub(crate) struct Caller(BufReader<TcpStream>);

impl Caller {
    pub(crate) async fn call(address: std::net::SocketAddr) -> Self {
        let mut caller = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        let greeting = caller.hear().await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        caller
    }

    /// A reply, its lines joined.
    pub(crate) async fn hear(&mut self) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            all.push_str(&line);
            if line.is_empty() || line.as_bytes().get(3) != Some(&b'-') {
                return all.trim_end().to_owned();
            }
        }
    }

    pub(crate) async fn say(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.hear().await
    }

    /// A message from beginning to end: the reply to each of its recipients, and what is said at the end, in `answers` lines.
    pub(crate) async fn send(&mut self, to: &[&str], message: &str, answers: usize) -> Vec<String> {
        let sender = self.say("MAIL FROM:<a@example.org>").await;
        assert!(sender.starts_with("250"), "{sender}");
        let mut all = Vec::new();
        for one in to {
            all.push(self.say(&format!("RCPT TO:<{one}@example.net>")).await);
        }
        let data = self.say("DATA").await;
        if !data.starts_with("354") {
            all.push(data);
            return all;
        }
        all.push(self.say(&format!("{message}\r\n.")).await);
        for _ in 1..answers {
            all.push(self.hear().await);
        }
        all
    }
}
