//! The command line as people type it, made into the one argh reads: `-c100` becomes `-c 100`, `--rate=5k` becomes
//! `--rate 5k`, and `loadgen ws://…` becomes `loadgen run ws://…`.

use std::ffi::OsString;

use crate::protocol::shown::masked_words;

/// The subcommands.
const COMMANDS: [&str; 10] =
    ["run", "conns", "find", "fanout", "storm", "report", "compare", "merge", "doctor", "calibrate"];

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

/// The command line that `args` came from, the program first, as a POSIX shell reads it, with what is secret in it
/// masked.
pub fn quoted(args: impl IntoIterator<Item = OsString>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%@+".contains(c);
    let mut line = "loadgen".to_owned();
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    for arg in masked_words(&args) {
        line.push(' ');
        match !arg.is_empty() && arg.chars().all(plain) {
            true => line.push_str(&arg),
            false => line.push_str(&format!("'{}'", arg.replace('\'', "'\\''"))),
        }
    }
    line
}

/// `-c100`: one dash, a letter that takes a value, and the value.
fn is_attached(arg: &str) -> bool {
    let mut chars = arg.chars();
    chars.next() == Some('-') && chars.next().is_some_and(|c| SHORT.contains(c)) && chars.next().is_some()
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
        assert_eq!(line, r"loadgen -R1k 'p99<5ms' '' 'it'\''s $HOME' 'ws://h/?a=b&c'");
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
