//! Help: a command's options in groups with examples, and what the words of a report mean.
//!
//! What an option does is said once, where it is defined ([`args`](crate::cli::args)): argh's own help is read, and shown
//! in another order.

use argh::FromArgs;

use crate::cli::args::Args;

/// The subcommands, in the order in which they are of use.
pub const COMMANDS: [&str; 11] = [
    "run",
    "conns",
    "find",
    "fanout",
    "listen",
    "storm",
    "report",
    "compare",
    "merge",
    "doctor",
    "calibrate",
];

/// Options that belong together, by their long names; a command shows those that it has.
const GROUPS: [(&str, &[&str]); 9] = [
    (
        "Load",
        &[
            "rate",
            "per-conn-rate",
            "closed",
            "pipeline",
            "think",
            "active",
            "publishers",
            "publish",
            "subscribe",
            "stamp",
            "survivors",
            "server",
            "arrival",
            "duration",
            "warmup",
            "drain",
            "timeout",
            "max-inflight",
            "steps",
            "hold",
            "slo",
            "by-connections",
            "min",
            "max",
            "precision",
            "before",
            "after",
            "fault",
            "backoff",
            "seed",
        ],
    ),
    (
        "Connections",
        &[
            "connections",
            "threads",
            "connect-rate",
            "connect-inflight",
            "connect-timeout",
            "connect-to",
            "source",
            "allow-partial",
            "ping",
            "slow-readers",
            "messages-per-connection",
        ],
    ),
    ("Messages", &["size", "binary", "fragment", "payload", "message", "deflate", "no-stamp", "no-verify"]),
    ("Conversation", &["hello", "expect", "capture", "match", "replies", "ignore", "answer"]),
    ("Request", &["header", "subprotocol", "origin", "draft"]),
    ("TLS (wss://)", &["cacert", "insecure", "cert", "key", "sni", "tls", "tls-resume"]),
    ("This host, and others", &["spin", "spin-read", "stamps", "server-pid", "shard", "start-at"]),
    (
        "Report",
        &[
            "interval", "name", "quiet", "format", "output", "json", "ndjson", "hdr", "hlog", "csv", "svg",
            "html",
        ],
    ),
    ("Judgement", &["fail-if", "baseline", "noise-threshold", "strict", "run", "repeat"]),
];

/// What people do with each command.
const EXAMPLES: [(&str, &[(&str, &str)]); 11] = [
    (
        "run",
        &[
            ("loadgen ws://127.0.0.1:8087/echo", "100 connections, a message a second on each, 30 s"),
            (
                "loadgen -c1k -R10k -d1m ws://127.0.0.1:8087/echo",
                "1,000 connections, 10,000 messages a second in all",
            ),
            (
                "loadgen -R1k:50k -d2m --html ramp.html wss://staging.example/ws",
                "a rising load over TLS, as a page",
            ),
            (
                "loadgen --closed -c64 ws://127.0.0.1:8087/",
                "as fast as replies come: the ceiling, not the latency",
            ),
            (
                "loadgen -R5k --fail-if 'p99>5ms' --baseline main.json ws://127.0.0.1:8087/",
                "in CI: exit 3 if worse",
            ),
        ],
    ),
    (
        "conns",
        &[(
            "loadgen conns --steps 1k,5k,10k --server-pid $(pidof wsecho) ws://127.0.0.1:8087/",
            "memory a connection",
        )],
    ),
    (
        "find",
        &[("loadgen find --slo 'p99<5ms' -c100 ws://127.0.0.1:8087/", "the highest rate that meets it")],
    ),
    ("fanout", &[("loadgen fanout -c1k -R10 ws://127.0.0.1:8087/board/x", "one sends, all others receive")]),
    (
        "listen",
        &[(
            "loadgen listen -c1k -d1m wss://staging.example/feed",
            "how many messages come, and in which gaps",
        )],
    ),
    (
        "storm",
        &[("loadgen storm -c5k --fault rst ws://127.0.0.1:8087/", "4,750 connections drop and come back")],
    ),
    ("report", &[("loadgen report run.json --format html -o run.html", "a report in another form")]),
    ("compare", &[("loadgen compare main.json branch.json", "exit 3 if something got worse")]),
    ("merge", &[("loadgen merge a.json b.json -o both.json", "the shards of one run, added up exactly")]),
    (
        "doctor",
        &[("loadgen doctor -c100k ws://127.0.0.1:8087/", "what stands in the way of 100,000 connections")],
    ),
    ("calibrate", &[("loadgen calibrate", "once a host")]),
];

/// Words of a report, and what they mean.
const TOPICS: [(&str, &str); 20] = [
    (
        "response",
        "From the time a message was due to the time its reply was there: what a user would have waited. It contains \
         own slip, backpressure and wire. It is the headline.",
    ),
    (
        "wire",
        "From the time a message was handed to the kernel to the time its reply was there: network and server.",
    ),
    (
        "own-slip",
        "How late loadgen itself was: from the time a message was due to the time it was written. It is part of \
         response and never subtracted. If it is of the size of the figures you look at, they are loadgen's or this \
         host's: use other cores (taskset), --spin, fewer messages, or more threads.",
    ),
    (
        "backpressure",
        "How long messages waited because the socket took no more: the server (or the network) reads too slowly.",
    ),
    (
        "read-lag",
        "How long replies waited in this host for loadgen to read them, from the kernel's stamp on. It is in no other \
         figure, unless replies end when they are read (--stamps read).",
    ),
    (
        "unsolicited",
        "Messages that answer nothing that was sent: pushes, heartbeats, greetings. They are counted and end nobody's \
         wait.",
    ),
    (
        "faulty",
        "The measurement holds, and the server did not do as it should: it changed, repeated or lost replies, or \
         ended connections. INVALID means that the measurement does not hold.",
    ),
    (
        "connect",
        "From the first SYN to the connection. Times near 1, 3 or 7 s are SYNs that were sent again: a full backlog.",
    ),
    (
        "tls",
        "The TLS handshake, from the connection to its end. It costs loadgen CPU, too: the report says how much.",
    ),
    ("upgrade", "From the request to the server's 101."),
    ("hiccup", "How late a timer of 1 kHz on a thread of its own was: what this host does to any program."),
    (
        "dash",
        "A `-` in the place of a percentile: too few samples for it. It takes ten beyond a percentile to say where it \
         lies: 1,000 messages for p99, 100,000 for p99.99.",
    ),
    (
        "verdict",
        "Whether the figures are the server's. VALID to a percentile: beyond it, they may be loadgen's own or the \
         host's. INVALID: not even the median can be trusted. FAULTY: the measurement is good and the server is at \
         fault (replies missing, corrupt, connections closed). --strict makes exit 4 of it.",
    ),
    (
        "open-loop",
        "Messages go out when they are due, whether or not earlier replies are back. A closed loop (--closed) waits \
         for replies, so a server that stalls is sent nothing and its stall is measured once a connection.",
    ),
    (
        "littles-law",
        "Messages in flight, added up over time as they come and go, have to agree with rate times latency by the \
         histograms' account. If they do not, something was measured wrongly.",
    ),
    (
        "gates",
        "--fail-if 'p99>5ms' fails (exit 3) if the condition holds, and also if it could not be judged. Names: p50 to \
         p99.99, max, mean, rate, errors, held, and more that a report lists. --baseline compares with an earlier one.",
    ),
    (
        "templates",
        "In a URL's path and query, in headers, --hello, --answer and messages: {conn}, {seq} (the connection's messages, \
         from 0), {shard} (from 1), {now_ms} and {now_ns} (since 1970), {rand:N} (0 to N-1), {uuid}, {line:FILE} (a line a \
         connection, shared out over shards), {stamp} (which message it is, 32 digits) and what --capture keeps. Every \
         other brace is a brace; \\{ (in a URL %7B) is one where a word would begin. What is filled in is not quoted.",
    ),
    (
        "patterns",
        "Literal text, anywhere in a message; {name} stands for what is there up to the next quote, comma, brace or \
         space, or to where the pattern goes on. --match takes the text around {seq}: '\"id\":{seq}'.",
    ),
    (
        "exit-codes",
        "0 good; 1 could not run, or not with all connections, or nothing was answered; 2 a mistake in the options; 3 a \
         threshold was passed or could not be judged, something got worse, or no load met the objective; 4 INVALID or \
         FAULTY with --strict; 5 a comparison could not be judged, or a search could not tell; 128 and its number after \
         a signal.",
    ),
    (
        "units",
        "Counts and rates: 500, 10k, 1M (thousands). Sizes: 128, 64k, 1M (1,024 bytes). Times: 30s, 250ms, 50us, 5m; \
         a bare number is seconds.",
    ),
];

/// An option, as argh's help has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flag {
    /// Without its dashes.
    pub name: String,
    /// Its letter, if it has one.
    pub short: Option<char>,
    /// What it takes, if it takes anything.
    pub takes: Option<String>,
    /// What it does, as the help says it.
    pub text: String,
}

/// A command, as argh's help has it.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What the program or subcommand does.
    pub about: String,
    /// Names and what they stand for.
    pub positionals: Vec<(String, String)>,
    /// In the order of the help.
    pub options: Vec<Flag>,
}

impl Page {
    /// The page of `command`.
    pub fn of(command: &str) -> Page {
        let help = match Args::from_args(&["loadgen"], &[command, "--help"]) {
            Err(argh::EarlyExit { output, status: Ok(()) }) => output,
            _ => String::new(),
        };
        Page::read(&help)
    }

    fn read(help: &str) -> Page {
        let (usage, rest) = help.split_once("\n\n").unwrap_or((help, ""));
        let takes = |name: &str| {
            let at = usage.find(&format!("{name} <")).map(|at| at + name.len() + 2)?;
            Some(usage[at..].split(['>', '.']).next()?.to_owned())
        };
        let mut page = Page::default();
        let mut section = "";
        let mut entries: Vec<(&str, String, String)> = Vec::new();
        for line in rest.lines() {
            if !line.starts_with(' ') && line.ends_with(':') {
                section = line;
            } else if section.is_empty() {
                page.about += line.trim();
                page.about += " ";
            } else if line.starts_with("   ") {
                if let Some((.., text)) = entries.last_mut() {
                    text.push(' ');
                    text.push_str(line.trim());
                }
            } else if let Some(entry) = line.strip_prefix("  ") {
                // A short name and a long one are one name.
                let named = if entry.starts_with('-') && entry.get(2..3) == Some(",") { 4 } else { 0 };
                let end = entry[named..].find(' ').map_or(entry.len(), |at| at + named);
                entries.push((section, entry[..end].to_owned(), entry[end..].trim().to_owned()));
            }
        }
        page.about = page.about.trim().to_owned();
        for (section, name, text) in entries {
            let text = text.trim().to_owned();
            match section {
                "Positional Arguments:" => page.positionals.push((name, text)),
                "Options:" if name != "--help," => {
                    let (short, long) = match name.split_once(", ") {
                        Some((short, long)) => (short.chars().nth(1), long),
                        None => (None, &*name),
                    };
                    let takes = short.and_then(|c| takes(&format!("-{c}"))).or_else(|| takes(long));
                    let name = long.trim_start_matches('-').to_owned();
                    page.options.push(Flag { name, short, takes, text });
                }
                _ => {}
            }
        }
        page
    }
}

/// The help of one command, or of all of them.
pub fn page(command: Option<&str>, width: usize) -> String {
    let Some(command) = command else { return overview(width) };
    let page = Page::of(command);
    let mut out = String::new();
    let what: Vec<&str> = page.positionals.iter().map(|(name, _)| name.as_str()).collect();
    out += &format!("loadgen {command} [OPTIONS] {}\n\n", what.join(" ").to_uppercase());
    out += &wrapped(&page.about, "", width);
    out += "\nExamples:\n";
    for (line, meaning) in EXAMPLES.iter().filter(|(name, _)| *name == command).flat_map(|(_, all)| *all) {
        out += &format!("  {line}\n");
        out += &wrapped(meaning, "      ", width);
    }
    for (title, options) in grouped(&page) {
        out += &format!("\n{title}:\n");
        for option in options {
            out += &entry(&spelled(option), &option.text, width);
        }
    }
    if !page.positionals.is_empty() {
        out += "\nArguments:\n";
    }
    for (name, text) in &page.positionals {
        out += &entry(&name.to_uppercase(), text, width);
    }
    out.push('\n');
    out += &wrapped(
        "What the words of a report mean: loadgen help own-slip (and others: loadgen help).",
        "",
        width,
    );
    out
}

/// The options of a page in their groups; what belongs to none comes last.
fn grouped(page: &Page) -> Vec<(&'static str, Vec<&Flag>)> {
    let mut all: Vec<(&str, Vec<&Flag>)> = Vec::new();
    for (title, names) in GROUPS {
        let find = |name: &&str| page.options.iter().find(|option| option.name == **name);
        let options: Vec<&Flag> = names.iter().filter_map(find).collect();
        if !options.is_empty() {
            all.push((title, options));
        }
    }
    let known = |option: &&Flag| !GROUPS.iter().any(|(_, names)| names.contains(&&*option.name));
    let rest: Vec<&Flag> = page.options.iter().filter(known).collect();
    if !rest.is_empty() {
        all.push(("More", rest));
    }
    all
}

/// `-c, --connections N`.
fn spelled(option: &Flag) -> String {
    let short = option.short.map_or("    ".to_owned(), |c| format!("-{c}, "));
    let takes = option.takes.as_ref().map_or(String::new(), |what| format!(" {}", what.to_uppercase()));
    format!("{short}--{}{takes}", option.name)
}

fn overview(width: usize) -> String {
    let mut out = "loadgen [run] [OPTIONS] URL...     or     loadgen COMMAND ...\n\n".to_owned();
    out += &wrapped(
        "Measures WebSocket servers: messages go out on a schedule, whatever has come back, and latency is counted \
         from the schedule.",
        "",
        width,
    );
    out += "\nFirst steps:\n";
    for (line, meaning) in EXAMPLES[0].1 {
        out += &format!("  {line}\n");
        out += &wrapped(meaning, "      ", width);
    }
    out += "\nCommands (each has a --help):\n";
    for command in COMMANDS {
        out += &entry(command, &Page::of(command).about, width);
    }
    out += "\nloadgen help WORD explains a word of the report:\n";
    let topics: Vec<&str> = TOPICS.iter().map(|(name, _)| *name).collect();
    out += &wrapped(&topics.join("  "), "  ", width);
    out.push('\n');
    let texts =
        "--version says which this is; --print man, completions-bash, completions-zsh or completions-fish.";
    out += &wrapped(texts, "", width);
    out
}

/// What `word` of a report means.
pub fn topic(word: &str, width: usize) -> Option<String> {
    let word = match word {
        "-" => "dash".to_owned(),
        word => word.to_lowercase().replace(['_', ' '], "-"),
    };
    TOPICS.iter().find(|(name, _)| *name == word).map(|(_, text)| wrapped(text, "", width))
}

/// The words that [`topic`] knows.
pub fn topics() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|(name, _)| *name)
}

/// Two columns.
fn entry(name: &str, text: &str, width: usize) -> String {
    // In a narrow terminal below each other.
    let column = if width < 70 { 6 } else { 30 };
    let text = wrapped(text, &" ".repeat(column), width);
    match name.chars().count() + 4 <= column {
        true => format!("  {name:0$}{1}", column - 2, text.trim_start()),
        false => format!("  {name}\n{text}"),
    }
}

/// `text` in lines of at most `width` columns, each behind `indent`.
pub fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let mut out = String::new();
    let mut line = indent.to_owned();
    for word in text.split(' ') {
        let begun = line.len() > indent.len();
        if begun && line.chars().count() + 1 + word.chars().count() > width {
            out += line.trim_end();
            out.push('\n');
            indent.clone_into(&mut line);
        } else if begun {
            line.push(' ');
        }
        line.push_str(word);
    }
    out += line.trim_end();
    out.push('\n');
    out
}

/// The one of `known` that `word` was probably meant to be: at most two letters are wrong, or a third of them.
pub fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count() / 3).clamp(1, 2);
    let near = known.map(|other| (distance(word, other), other)).min()?;
    (near.0 <= most).then_some(near.1)
}

/// How many letters are to be changed, left out, put in or swapped with their neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::argv::normalize;

    #[test]
    fn every_option_is_in_one_group_and_explained() {
        let readme = include_str!("../../README.md");
        let told = |name: &str| {
            let ends = |rest: &str| !rest.starts_with(|c: char| c == '-' || c.is_ascii_lowercase());
            readme.split(&format!("--{name}")).skip(1).any(ends)
        };
        let mut named = std::collections::BTreeSet::new();
        for command in COMMANDS {
            let page = Page::of(command);
            assert!(!page.about.is_empty(), "{command}");
            for option in &page.options {
                let groups = GROUPS.iter().filter(|(_, names)| names.contains(&&*option.name)).count();
                assert_eq!(groups, 1, "--{} of {command}: put it into a group", option.name);
                assert!(option.text.len() > 5, "{option:?}");
                assert!(told(&option.name), "README.md lacks --{}", option.name);
                named.insert(option.name.clone());
            }
        }
        assert!(named.len() > 60, "argh's help was not understood: {named:?}");
    }

    #[test]
    fn argh_says_what_options_take() {
        let page = Page::of("run");
        let option = |name: &str| page.options.iter().find(|option| option.name == name).unwrap();
        assert_eq!((option("rate").short, option("rate").takes.as_deref()), (Some('R'), Some("rate")));
        assert_eq!((option("closed").short, option("closed").takes.as_deref()), (None, None));
        assert_eq!(option("connect-inflight").takes.as_deref(), Some("n"));
        assert_eq!(option("header").takes.as_deref(), Some("line"));
        assert!(option("connect-inflight").text.starts_with("connections under way"));
        assert_eq!(page.positionals[0].0, "url");
    }

    /// Examples are lines that work.
    #[test]
    fn argh_takes_every_example() {
        for (command, examples) in EXAMPLES {
            assert!(!examples.is_empty());
            for (line, _) in examples {
                let words =
                    line.replace('\'', "").replace("$(pidof wsecho)", &std::process::id().to_string());
                let words = normalize(words.split_whitespace().skip(1).map(str::to_owned));
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                assert_eq!(words[0], command, "{line}");
                if let Err(e) = Args::from_args(&["loadgen"], &words) {
                    panic!("{line}: {}", e.output);
                }
            }
        }
        assert_eq!(EXAMPLES.map(|(command, _)| command), COMMANDS);
    }

    #[test]
    fn help_fits_its_width() {
        for width in [60, 80, 120] {
            for text in
                COMMANDS.map(|command| page(Some(command), width)).into_iter().chain([page(None, width)])
            {
                for line in text
                    .lines()
                    .filter(|line| !line.starts_with("  loadgen ") && !line.starts_with("loadgen "))
                {
                    assert!(line.chars().count() <= width.max(81), "{width}: {line}");
                }
            }
        }
        assert!(topic("own slip", 80).unwrap().lines().count() > 2);
        assert!(topic("-", 80).unwrap().contains("too few samples"));
        assert_eq!(topic("nonsense", 80), None);
    }

    #[test]
    fn typing_errors_are_understood() {
        let meant = |word| meant(word, COMMANDS.into_iter());
        assert_eq!(meant("fnd"), Some("find"));
        assert_eq!(meant("comapre"), Some("compare"));
        assert_eq!(meant("strom"), Some("storm"));
        assert_eq!(meant("localhost"), None);
        assert_eq!(meant("x"), None);
    }
}
