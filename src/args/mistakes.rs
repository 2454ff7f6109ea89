//! What is said to whoever mistyped an option, in one line.

/// What each option takes, for whoever gave it something else.
pub const TAKES: &[(&str, &str)] = &[
    (
        "--listen",
        "a port such as 8087, an address and port such as localhost:8087 or [::1]:8087, or unix:/path",
    ),
    (
        "--listen-tls",
        "a port such as 8443, an address and port such as localhost:8443 or [::1]:8443, or unix:/path",
    ),
    ("--tls-cert", "a file"),
    ("--tls-key", "a file"),
    ("--tls-client-ca", "a file"),
    ("--tls-wrong", "expired, other-name or self-signed"),
    ("--policy", "a port such as 843, an address and port such as 127.0.0.1:843, or off"),
    ("--echo-path", "a path such as /mirror, without a query, or *"),
    ("--max-connections", "a number from 1 such as 500 or 20k"),
    ("--max-message", "a size such as 64k or 16M, 0 for no limit"),
    ("--max-buffered", "a size of 1M or more such as 64M or 1G"),
    ("--spin", "a time such as 50us or 1ms, 0 for none"),
    ("--handshake-timeout", "a time above 0 such as 10s or 500ms"),
    ("--idle-timeout", "a time such as 30s, 250ms or 5m, 0 for never"),
    ("--ping-interval", "a time such as 30s, 250ms or 5m, 0 for never"),
    (
        "--origin",
        "an Origin as clients send it, such as https://example.com or http://localhost:3000, null, or *",
    ),
    ("--board-lifetime", "a time such as 30s or 5m, 0 for ever"),
    ("--max-boards", "a number from 1 such as 500 or 20k"),
    ("--max-board-members", "a number from 1 such as 500 or 20k"),
    ("--workers", "a number from 1 to 1024, or auto"),
    ("--user", "the name of a user"),
    ("--stats", "a port such as 9087, an address and port such as 127.0.0.1:9087, unix:/path, or page"),
    ("--drain-spread", "a time such as 30s, 250ms or 5m"),
    ("--drain-timeout", "a time such as 30s, 250ms or 5m"),
    ("--log-format", "text or json"),
    ("--log-level", "off, error, info, debug or trace"),
    (
        "--print",
        "unit, socket, policy-socket, activated-unit, man, completions-bash, completions-zsh, completions-fish or cert",
    ),
];

/// argh's complaint about `words`, in one line that says what the option takes, or which one may have been meant.
pub fn explain(complaint: &str, words: &[&str], help: &str) -> String {
    let complaint = complaint.lines().next().unwrap_or_default().trim_end_matches('.');
    for (at, word) in words.iter().enumerate() {
        let Some((name, takes)) = TAKES.iter().find(|(name, _)| name == word) else {
            continue;
        };
        if complaint.contains(&format!("'{name}'")) {
            if complaint.ends_with("duplicate values provided") {
                return format!("{name} may be given once");
            }
            return match words.get(at + 1) {
                // A repeated option may have been right the other times.
                Some(value) if !complaint.contains(&format!("'{value}'")) => continue,
                Some(value) => format!("{name} takes {takes}, not '{value}'"),
                None => format!("{name} takes {takes}"),
            };
        }
    }
    let unknown =
        words.iter().find(|word| word.starts_with("--") && complaint.ends_with(&format!(": {word}")));
    match unknown.and_then(|word| meant(word, help)) {
        Some(option) => format!("{complaint}; did you mean {option}?"),
        None => format!("{complaint}; wsecho --help lists the options"),
    }
}

/// The only option in `help` that `word` is the beginning of, or the nearest one if a slip of the fingers explains the
/// difference.
fn meant<'a>(word: &str, help: &'a str) -> Option<&'a str> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut options: Vec<&str> =
        help.split(|c| !is_letter(c)).filter(|option| option.len() > 2 && option.starts_with("--")).collect();
    options.sort_unstable();
    options.dedup();
    let mut longer = options.iter().filter(|option| word.len() > 4 && option.starts_with(word));
    if let (Some(option), None) = (longer.next(), longer.next()) {
        return Some(option);
    }
    options
        .into_iter()
        .map(|option| (distance(word, option), option))
        .filter(|(distance, option)| *distance <= option.len() / 5)
        .min()
        .map(|(_, option)| option)
}

/// How many letters were left out, put in, replaced or swapped with their neighbour between `a` and `b` (optimal string
/// alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // The two rows of the table above this one.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("abc", "ab", 1),
            ("abc", "axc", 1),
            ("abcd", "acbd", 1),
            ("ca", "abc", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }
}
