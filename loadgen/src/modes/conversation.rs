//! What the options say about a conversation, with the files that they name.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::cli::args::Words;
use crate::cli::values::Placed;
use crate::engine::conversation::{Rejoinder, Talk, Word};
use crate::engine::payload::{Given, Matched, Payloads};
use crate::protocol::frame::Opcode;
use crate::protocol::pattern::Pattern;
use crate::protocol::template::{self, Lines, Names, Template};
use crate::report::model;
use crate::report::units;

/// What they mean.
pub struct Conversation {
    /// What is said beside the messages.
    pub talk: Talk,
    /// How replies are known, where they are no echo.
    pub matched: Option<Matched>,
    /// So many messages are the reply to one.
    pub replies: u32,
    /// Names of what is kept.
    names: Vec<String>,
    /// Files of `{line:FILE}` that were read.
    files: HashMap<String, Lines>,
    words: Words,
}

impl Conversation {
    /// Reads all but the opening words and the messages.
    ///
    /// # Errors
    /// A sentence that names the option and says what is wrong.
    pub fn of(words: &Words) -> Result<Conversation, String> {
        let names =
            words.capture.iter().map(|capture| name_of(&capture.text)).collect::<Result<Vec<_>, _>>()?;
        let mut all = Conversation {
            talk: Talk::default(),
            matched: words.matching.as_deref().map(matched).transpose()?,
            replies: words.replies,
            names,
            files: HashMap::new(),
            words: words.clone(),
        };
        let pattern = |text: &String| Pattern::parse(text).map_err(|e| format!("--ignore: {e}"));
        all.talk.ignored = words.ignore.iter().map(pattern).collect::<Result<_, _>>()?;
        let split: Result<Vec<(Pattern, &str)>, String> =
            words.answer.iter().map(|text| answer(text)).collect();
        let split = split?;
        for name in split.iter().flat_map(|(pattern, _)| pattern.names()) {
            if template::is_taken(name) {
                return Err(format!("--answer: {{{name}}} has a meaning of its own; give it another name"));
            }
            if !all.names.iter().any(|known| known == name) {
                all.names.push(name.to_owned());
            }
        }
        for (pattern, text) in split {
            let place = |name: &str| all.names.iter().position(|known| known == name);
            let keeps = pattern.names().enumerate().filter_map(|(hole, name)| Some((hole, place(name)?)));
            let keeps = keeps.collect();
            let text = all.template("--answer", text, false)?;
            all.talk.answers.push(Rejoinder { pattern, keeps, text });
        }
        all.talk.kept = all.names.len();
        Ok(all)
    }

    /// The opening words that stand between two places of the command line.
    ///
    /// # Errors
    /// A sentence that names the option and says what is wrong.
    pub fn script(&mut self, places: std::ops::Range<usize>) -> Result<Arc<[Word]>, String> {
        let words = self.words.clone();
        let kinds = [("--hello", &words.hello), ("--expect", &words.expect), ("--capture", &words.capture)];
        let mut all: Vec<(&str, &Placed)> = kinds
            .into_iter()
            .flat_map(|(option, placed)| placed.iter().map(move |one| (option, one)))
            .collect();
        all.retain(|(_, one)| places.contains(&one.place));
        all.sort_by_key(|(_, one)| one.place);
        let mut steps: Vec<Word> = Vec::new();
        for (option, Placed { text, .. }) in all {
            let wrong = |e| format!("{option}: {e}");
            steps.push(match option {
                "--hello" => {
                    let text = match text.strip_prefix('@') {
                        None => text.clone(),
                        Some(path) => {
                            let text = fs::read_to_string(path).map_err(|e| format!("--hello {path}: {e}"))?;
                            text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
                        }
                    };
                    Word::Say(self.template(option, &text, false)?)
                }
                "--expect" => Word::Hear(Pattern::parse(text).map_err(wrong)?),
                _ => {
                    let (name, pattern) = text.split_once('=').unwrap_or_default();
                    let pattern = Pattern::parse(pattern).map_err(wrong)?;
                    let hole = pattern.hole(name).ok_or_else(|| {
                        format!("--capture {name}: {{{name}}} stands for the value in its pattern, as in {name}='\"x\":\"{{{name}}}\"'")
                    })?;
                    let name = self.names.iter().position(|known| known == name).unwrap_or_default();
                    let waits = !matches!(steps.last(), Some(Word::Hear(_) | Word::Keep { .. }));
                    Word::Keep { pattern, hole, name, waits }
                }
            });
        }
        Ok(steps.into())
    }

    /// A template of the option `option`.
    ///
    /// # Errors
    /// A sentence that names the option and says what is wrong.
    pub fn template(&mut self, option: &str, text: &str, stamp: bool) -> Result<Template, String> {
        let files = &mut self.files;
        let mut lines = |path: &str| match files.get(path) {
            Some(lines) => Ok(lines.clone()),
            None => {
                let lines = lines_of(path)?;
                files.insert(path.to_owned(), lines.clone());
                Ok(lines)
            }
        };
        let mut names = Names { kept: &self.names, lines: &mut lines, stamp };
        Template::parse(text, &mut names).map_err(|e| format!("{option}: {e}"))
    }

    /// The messages that the user gave, if any.
    ///
    /// # Errors
    /// A sentence that names the option and says what is wrong.
    pub fn payloads(&mut self, opcode: Opcode, seed: u64) -> Result<Option<Payloads>, String> {
        let words = self.words.clone();
        let (mut all, mut shares) = (Vec::new(), Vec::new());
        for given in &words.payload {
            let (share, path) = match given.split_once("%:") {
                Some((share, path)) => (Some(units::share(&format!("{share}%"))?), path),
                None => (None, given.as_str()),
            };
            let messages = self.file(path, opcode)?;
            if let Some(share) = share {
                shares.extend(messages.iter().map(|_| share / messages.len() as f64));
            }
            all.extend(messages);
        }
        for text in &words.message {
            all.push(self.given("--message", text, opcode)?);
        }
        if all.is_empty() {
            return Ok(None);
        }
        let sum: f64 = shares.iter().sum();
        if !shares.is_empty() && (shares.len() < all.len() || (sum - 1.0).abs() > 1e-4) {
            let sum = 100.0 * sum;
            return Err(format!(
                "--payload: all messages have shares that add up to 100%, or none has; these are {sum:.0}%"
            ));
        }
        Ok(Some(Payloads::given(opcode, all, &shares, seed)))
    }

    /// The messages of a file: its lines if it is one of JSON Lines, or all of it.
    fn file(&mut self, path: &str, opcode: Opcode) -> Result<Vec<Given>, String> {
        let option = format!("--payload {path}");
        let content = fs::read(path).map_err(|e| format!("{option}: {e}"))?;
        if opcode != Opcode::Text {
            return Ok(vec![Given::Plain(content)]);
        }
        let text =
            String::from_utf8(content).map_err(|_| format!("{option}: not UTF-8, so it needs --binary"))?;
        let lined = Path::new(path).extension().is_some_and(|ending| ending == "jsonl" || ending == "ndjson");
        if !lined {
            return Ok(vec![self.given(&option, &text, opcode)?]);
        }
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let all: Vec<Given> =
            lines.map(|line| self.given(&option, line, opcode)).collect::<Result<_, _>>()?;
        if all.is_empty() { Err(format!("{option}: there is no line in it")) } else { Ok(all) }
    }

    fn given(&mut self, option: &str, text: &str, opcode: Opcode) -> Result<Given, String> {
        let template = self.template(option, text, opcode == Opcode::Text)?;
        Ok(match template.plain() {
            Some(text) => Given::Plain(text),
            None => Given::Filled(template),
        })
    }

    /// As a report has it: how many words there are, and none of them.
    pub fn shown(&self) -> Option<model::WordCounts> {
        let words = &self.words;
        let shown = model::WordCounts {
            hello: words.hello.len() as u64,
            expect: words.expect.len() as u64,
            capture: words.capture.len() as u64,
            ignore: words.ignore.len() as u64,
            answer: words.answer.len() as u64,
            matching: words.matching.clone(),
            replies: u64::from(words.replies),
        };
        (shown != model::WordCounts { replies: 1, ..model::WordCounts::default() }).then_some(shown)
    }
}

fn lines_of(path: &str) -> Result<Lines, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{{line:{path}}}: {e}"))?;
    let lines: Vec<Box<str>> = text.lines().filter(|line| !line.is_empty()).map(Box::from).collect();
    if lines.is_empty() { Err(format!("{{line:{path}}}: there is no line in it")) } else { Ok(lines.into()) }
}

/// The name in front of the `=` of a `--capture`.
fn name_of(capture: &str) -> Result<String, String> {
    let (name, _) = capture.split_once('=').unwrap_or_default();
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match is_word {
        false => Err("--capture: it takes NAME=PATTERN, as in token='\"token\":\"{token}\"'".into()),
        true if template::is_taken(name) => {
            Err(format!("--capture: {name} has a meaning of its own; give it another name"))
        }
        true => Ok(name.to_owned()),
    }
}

fn answer(text: &str) -> Result<(Pattern, &str), String> {
    let (pattern, answer) = text
        .split_once("=>")
        .ok_or("--answer: it takes 'PATTERN=>TEXT', as in '\"ping\"=>{\"type\":\"pong\"}'")?;
    Ok((Pattern::parse(pattern).map_err(|e| format!("--answer: {e}"))?, answer))
}

fn matched(text: &str) -> Result<Matched, String> {
    if text == "any" {
        return Ok(Matched::Any);
    }
    let pattern = Pattern::parse(text).map_err(|e| format!("--match: {e}"))?;
    let hole =
        pattern.hole("seq").ok_or("--match: it takes any, or the text around {seq}, as in '\"id\":{seq}'")?;
    Ok(Matched::Number { pattern, hole })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words {
            hello: Vec::new(),
            expect: Vec::new(),
            capture: Vec::new(),
            ignore: Vec::new(),
            answer: Vec::new(),
            matching: None,
            replies: 1,
            payload: Vec::new(),
            message: Vec::new(),
        }
    }

    fn placed(place: usize, text: &str) -> Placed {
        Placed { place, text: text.to_owned() }
    }

    #[test]
    fn opening_words_stand_as_on_the_command_line() {
        let given = Words {
            hello: vec![placed(2, "login"), placed(5, "join {room}")],
            expect: vec![placed(1, "hi"), placed(3, "ok")],
            capture: vec![placed(4, "room=r={room}")],
            ..words()
        };
        let mut all = Conversation::of(&given).unwrap();
        let kind = |step: &Word| match step {
            Word::Say(_) => "say",
            Word::Hear(_) => "hear",
            Word::Keep { waits: false, .. } => "keep",
            Word::Keep { .. } => "wait",
        };
        let kinds = |steps: Arc<[Word]>| steps.iter().map(kind).collect::<Vec<_>>().join(" ");
        assert_eq!(kinds(all.script(0..9).unwrap()), "hear say hear keep say");
        assert_eq!(kinds(all.script(0..3).unwrap()), "hear say");
        assert_eq!(kinds(all.script(4..9).unwrap()), "wait say");
    }

    #[test]
    fn what_is_said_may_stand_in_a_file() {
        let path = std::env::temp_dir().join(format!("loadgen-hello-{}", std::process::id()));
        for (content, said) in [("log in\n", "log in"), ("two\nlines\n\n", "two\nlines\n"), ("@x", "@x")] {
            fs::write(&path, content).unwrap();
            let hello = vec![placed(0, &format!("@{}", path.display()))];
            let script = Conversation::of(&Words { hello, ..words() }).unwrap().script(0..9).unwrap();
            let Word::Say(template) = &script[0] else { panic!("{script:?}") };
            assert_eq!(template.plain().as_deref(), Some(said.as_bytes()));
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_option_and_a_reason() {
        let cases: [(&str, Words); 9] = [
            ("--capture: it takes NAME=PATTERN", Words { capture: vec![placed(0, "token")], ..words() }),
            ("--capture: seq has a meaning", Words { capture: vec![placed(0, "seq=a{seq}")], ..words() }),
            ("--capture t: {t} stands for", Words { capture: vec![placed(0, "t=a{u}")], ..words() }),
            ("--hello: {who} is none of", Words { hello: vec![placed(0, "{who}")], ..words() }),
            ("--hello /nowhere: No such file", Words { hello: vec![placed(0, "@/nowhere")], ..words() }),
            ("--match: it takes any, or", Words { matching: Some("\"id\"".into()), ..words() }),
            ("--answer: it takes 'PATTERN=>TEXT'", Words { answer: vec!["ping".into()], ..words() }),
            ("--ignore: a pattern is text", Words { ignore: vec![String::new()], ..words() }),
            ("--expect: `{x}`: in front of", Words { expect: vec![placed(0, "{x}")], ..words() }),
        ];
        for (says, words) in cases {
            let all = Conversation::of(&words).and_then(|mut all| all.script(0..9));
            let error = all.unwrap_err();
            assert!(error.starts_with(says), "{says}: {error}");
        }
    }

    #[test]
    fn messages_are_taken_in_turn_or_by_their_shares() {
        let folder = std::env::temp_dir().join(format!("loadgen-messages-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (one, two) = (file("one.json", "1"), file("two.jsonl", "{\"n\":2}\n\n{\"n\":{seq}}\n"));
        let read = |payload: Vec<String>| {
            let words = Words { payload, ..words() };
            Conversation::of(&words).unwrap().payloads(Opcode::Text, 7)
        };
        let id = |index| crate::engine::payload::MessageId { conn: 0, index };
        let all = read(vec![one.clone(), two.clone()]).unwrap().unwrap();
        let sizes: Vec<usize> = (0..6).map(|index| all.size(id(index))).collect();
        assert_eq!(sizes, [1, 7, 6, 1, 7, 6], "of a template, what is always the same");
        assert!(!all.can_check(), "what is filled in cannot be told again");
        let all = read(vec![format!("90%:{one}"), format!("10%:{two}")]).unwrap().unwrap();
        let ones = (0..10_000).filter(|index| all.size(id(*index)) == 1).count();
        assert!((8_800..9_200).contains(&ones), "{ones}");
        let error = read(vec![format!("90%:{one}"), two]).err().unwrap();
        assert!(error.contains("add up to 100%"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
