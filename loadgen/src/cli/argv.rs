//! The command line as people type it, made into the one argh reads: `-c100` becomes `-c 100`, `--rate=5k` becomes
//! `--rate 5k`, and `loadgen ws://…` becomes `loadgen run ws://…`.

use std::ffi::OsString;

use crate::cli::help::{COMMANDS, Page, meant};
use crate::protocol::shown::{escaped, masked_words};
use crate::protocol::url::Url;

/// Short options that take a value.
const SHORT: &str = "cRtdpHo";

/// `args`, without the program's name, in argh's form.
pub fn normalize(args: impl IntoIterator<Item = String>) -> Vec<String> {
    let args: Vec<String> = args.into_iter().collect();
    let mut out = Vec::with_capacity(args.len() + 1);
    match args.first().map(String::as_str) {
        Some(first) if COMMANDS.contains(&first) || ["help", "--help", "-h"].contains(&first) => {}
        None => {}
        Some(_) => out.push("run".to_owned()),
    }
    for arg in args {
        match arg.as_str() {
            "-h" => out.push("--help".to_owned()),
            long if long.starts_with("--") && long.contains('=') => {
                let (name, value) = long.split_once('=').expect("it contains one");
                out.extend([name.to_owned(), value.to_owned()]);
            }
            short if is_attached(short) => {
                let (name, value) = short.split_at(2);
                out.extend([name.to_owned(), value.strip_prefix('=').unwrap_or(value).to_owned()]);
            }
            _ => out.push(arg),
        }
    }
    out
}

/// What is wrong with the first word of `args`, if it is neither a command nor a URL nor an option.
pub fn first_word_problem(args: &[String]) -> Option<String> {
    let first = args.first()?;
    if COMMANDS.contains(&&**first)
        || first.starts_with('-')
        || first.contains("://")
        || first.starts_with("ws+unix:")
    {
        return None;
    }
    let word = escaped(&masked_words(std::slice::from_ref(first), is_url)[0]);
    Some(match meant(first, COMMANDS.into_iter()) {
        Some(command) => {
            format!("`{word}` is neither a command nor a URL; did you mean `loadgen {command}`?")
        }
        None if first.contains(['.', ':', '/']) || first == "localhost" => {
            format!("`{word}` is not a URL; did you mean ws://{word} ?")
        }
        None => format!(
            "`{word}` is neither a command nor a URL such as ws://127.0.0.1:8087/echo; see loadgen help"
        ),
    })
}

/// What the option that argh complains of in `output` was probably meant to be: one of another command, or one spelt otherwise.
pub fn meant_option(args: &[String], output: &str) -> Option<String> {
    let unknown = output.strip_prefix("Unrecognized argument: --")?.lines().next()?.trim();
    let has = |command: &&str| Page::of(command).options.iter().any(|flag| flag.name == unknown);
    let others: Vec<&str> = COMMANDS.into_iter().filter(has).collect();
    if !others.is_empty() {
        return Some(format!("it is an option of {}", others.join(", ")));
    }
    let command = args.first().filter(|first| COMMANDS.contains(&&***first)).map_or("run", String::as_str);
    let page = Page::of(command);
    meant(unknown, page.options.iter().map(|flag| flag.name.as_str()))
        .map(|name| format!("did you mean --{name}?"))
}

/// The words of `line`, as a POSIX shell splits them: quotes and backslashes count, nothing else is special.
///
/// # Errors
/// When a quote is not closed.
pub fn words(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let open = || format!("`{line}` has a quote that is not closed");
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(open)? {
                        end if end == c => break,
                        '\\' if c == '"' => word.push(chars.next().ok_or_else(open)?),
                        inside => word.push(inside),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            space if space.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match words.first().is_some_and(|first| first == "loadgen") {
        true => Ok(words.split_off(1)),
        false => Ok(words),
    }
}

/// `args` with what is secret in them masked, also in a whole command line that is one of them (`compare --run LINE`).
pub fn masked(args: &[String]) -> Vec<String> {
    let mut all = masked_words(args, is_url);
    for (i, arg) in args.iter().enumerate() {
        let after = i > 0 && args[i - 1] == "--run";
        let (option, line) = match arg.strip_prefix("--run=") {
            Some(line) => ("--run=", line),
            None if after => ("", arg.as_str()),
            None => continue,
        };
        let line = words(line).map(|words| quoted(words.into_iter().map(OsString::from)));
        all[i] = format!("{option}{}", line.unwrap_or_default());
    }
    all
}

/// The command line that `args` came from, the program first, as a POSIX shell reads it, with what is secret in it
/// masked.
pub fn quoted(args: impl IntoIterator<Item = OsString>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%@+".contains(c);
    let mut line = "loadgen".to_owned();
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    for arg in masked(&args) {
        line.push(' ');
        match !arg.is_empty() && arg.chars().all(plain) {
            true => line.push_str(&arg),
            false => line.push_str(&format!("'{}'", arg.replace('\'', "'\\''"))),
        }
    }
    line
}

/// [`quoted`], with the seed that the run took where none was given, so that the line repeats the run.
pub fn repeating(args: impl IntoIterator<Item = OsString>, seed: u64) -> String {
    let args: Vec<OsString> = args.into_iter().collect();
    let given = |arg: &OsString| arg == "--seed" || arg.to_string_lossy().starts_with("--seed=");
    match args.iter().any(given) {
        true => quoted(args),
        false => format!("{} --seed {seed}", quoted(args)),
    }
}

/// `-c100`: one dash, a letter that takes a value, and the value.
fn is_attached(arg: &str) -> bool {
    let mut chars = arg.chars();
    chars.next() == Some('-') && chars.next().is_some_and(|c| SHORT.contains(c)) && chars.next().is_some()
}

/// Whether a word is a URL that can be dialled.
fn is_url(word: &str) -> bool {
    Url::parse(word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(line: &str) -> String {
        normalize(line.split_whitespace().map(str::to_owned)).join(" ")
    }

    #[test]
    fn a_shell_reads_the_same_words() {
        let words = ["-R1k", "p99<5ms", "", "it's $HOME", "ws://h/?a=b&c"];
        let line = quoted(words.map(OsString::from));
        let secret = ["-H", "Cookie: s3cret", "ws://ann:s3cret@h/"].map(OsString::from);
        assert_eq!(quoted(secret), "loadgen -H 'Cookie: ***' 'ws://***@h/'");
        let twice = ["compare", "--run", "-H 'Cookie: s3cret' ws://a:s3cret@h/"].map(str::to_owned);
        assert!(!masked(&twice).join(" ").contains("s3cret"), "{:?}", masked(&twice));
        assert_eq!(super::words(&line).unwrap(), words, "and so does --run");
        assert_eq!(super::words(r#"a\ b "c \" d"  e'f'"#).unwrap(), ["a b", "c \" d", "ef"]);
        assert!(super::words("it's").unwrap_err().contains("not closed"));
        assert_eq!(line, r"loadgen -R1k 'p99<5ms' '' 'it'\''s $HOME' 'ws://h/?a=b&c'");
    }

    #[test]
    fn typing_errors_get_an_answer() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (line, says) in [
            ("fnd --slo p99<5ms ws://h", "did you mean `loadgen find`?"),
            ("localhost:8087/echo", "did you mean ws://localhost:8087/echo ?"),
            ("nonsense", "neither a command nor a URL"),
            ("u:s3cret@h/", "did you mean ws://***@h/ ?"),
        ] {
            let problem = first_word_problem(&words(line)).unwrap();
            assert!(problem.contains(says) && !problem.contains("s3cret"), "{problem}");
        }
        for line in ["run", "ws://h", "-c5", "merge", "ws+unix:/a", "wss://h", "WS://h"] {
            assert_eq!(first_word_problem(&words(line)), None);
        }
        let option = |line, output| meant_option(&words(line), output);
        assert_eq!(
            option("ws://h", "Unrecognized argument: --conections\n").as_deref(),
            Some("did you mean --connections?")
        );
        assert_eq!(
            option("storm ws://h", "Unrecognized argument: --surivors").as_deref(),
            Some("did you mean --survivors?")
        );
        assert_eq!(
            option("ws://h", "Unrecognized argument: --slo").as_deref(),
            Some("it is an option of find")
        );
        assert_eq!(option("ws://h", "Unrecognized argument: --nothing-like-it"), None);
        assert_eq!(option("ws://h", "Something else"), None);
    }

    #[test]
    fn a_line_to_repeat_names_the_seed_once() {
        let line = |words: &[&str]| repeating(words.iter().map(OsString::from), 7);
        assert_eq!(line(&["ws://h/"]), "loadgen ws://h/ --seed 7");
        assert_eq!(line(&["--seed=3", "ws://h/"]), "loadgen --seed=3 ws://h/");
        assert_eq!(line(&["--seed", "3", "ws://h/"]), "loadgen --seed 3 ws://h/");
    }

    #[test]
    fn lines_of_other_tools_are_understood() {
        assert_eq!(normal("-c10k -R50k -d60s ws://h/?a=b"), "run -c 10k -R 50k -d 60s ws://h/?a=b");
        assert_eq!(
            normal("--rate=5k --origin=http://a/?b=c ws://h"),
            "run --rate 5k --origin http://a/?b=c ws://h"
        );
        assert_eq!(normal("ws://h -c=7"), "run ws://h -c 7");
        assert_eq!(normal("find --slo p99<5ms ws://h -t2"), "find --slo p99<5ms ws://h -t 2");
        assert_eq!(normal("run -q ws://h"), "run -q ws://h");
        assert_eq!(normal("-h"), "--help");
        assert_eq!(normal("conns -h"), "conns --help");
        assert_eq!(normal("merge a.json b.json -oout.json"), "merge a.json b.json -o out.json");
        assert_eq!(normal(""), "");
    }
}
