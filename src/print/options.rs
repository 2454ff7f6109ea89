//! The options, read from the text of `--help`.

/// One option.
#[derive(Debug, PartialEq, Eq)]
pub struct Opt<'a> {
    /// Without the dashes.
    pub name: &'a str,
    /// What its value is called; empty for a switch.
    pub value: &'a str,
    /// Without backticks.
    pub about: String,
}

impl Opt<'_> {
    /// The first clause of what is said of it.
    pub fn short_about(&self) -> &str {
        let ends = |pair: &[u8]| matches!(pair, [b',' | b';' | b':', b' '] | [b' ', b'(']);
        let end = self.about.as_bytes().windows(2).position(ends).unwrap_or(self.about.len());
        &self.about[..end]
    }
}

/// Every option in `help`, in its order.
pub fn read(help: &str) -> impl Iterator<Item = Opt<'_>> {
    help.split("\n  -").skip(1).map(move |entry| {
        let mut words = entry.split_ascii_whitespace();
        let mut name = words.next().unwrap_or_default();
        // A short name comes first.
        if name.ends_with(',') {
            name = words.next().unwrap_or_default();
        }
        let name = name.trim_start_matches('-');
        let mut about = String::new();
        for word in words {
            if !about.is_empty() {
                about.push(' ');
            }
            about.extend(word.split('`'));
        }
        Opt { name, value: value(help, name), about }
    })
}

/// `addr:port` where the first line has `[--listen <addr:port...>]`.
fn value<'a>(help: &'a str, name: &str) -> &'a str {
    let mut words = help.split_ascii_whitespace();
    let found = words.any(|word| word.strip_prefix("[--") == Some(name));
    let value = if found { words.next().unwrap_or_default() } else { "" };
    value.split(['<', '.', '>']).nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_is_taken_apart() {
        let help = "Usage: x [--listen <addr:port...>] [--listen-longer <n>] [--off]\n\nAbout x.\n\nOptions:\n  \
                    --listen          here: there; may be repeated,\n                    (or not)\n  \
                    --listen-longer\n                    long\n  --off             a `switch`\n  \
                    -h, --help        usage\n  -V, --version     which\n";
        let option = |name, value, about: &str| Opt { name, value, about: about.to_owned() };
        let options: Vec<_> = read(help).collect();
        let expected = [
            option("listen", "addr:port", "here: there; may be repeated, (or not)"),
            option("listen-longer", "n", "long"),
            option("off", "", "a switch"),
            option("help", "", "usage"),
            option("version", "", "which"),
        ];
        assert_eq!(options, expected);
        assert_eq!([options[0].short_about(), options[3].short_about()], ["here", "usage"]);
    }
}
