//! The options, read from the text of `--help`.

/// One option.
#[derive(Debug, PartialEq, Eq)]
pub struct Opt {
    /// All its names: `--listen`, or `-h, --help`.
    pub names: String,
    /// What its value is called; `None` for a switch.
    pub value: Option<String>,
    pub about: String,
}

impl Opt {
    /// Its long name, with the dashes.
    pub fn long(&self) -> &str {
        self.names.rsplit(' ').next().unwrap_or_default()
    }

    /// The first clause of what is said of it.
    pub fn short_about(&self) -> &str {
        let ends = [", ", "; ", ": ", " ("].map(|end| self.about.find(end));
        &self.about[..ends.into_iter().flatten().min().unwrap_or(self.about.len())]
    }
}

/// Every option in `help`, in its order.
pub fn read(help: &str) -> Vec<Opt> {
    let mut lines = help.lines();
    let usage = lines.next().unwrap_or_default();
    let mut options: Vec<Opt> = Vec::new();
    for line in lines.skip_while(|line| *line != "Options:").skip(1) {
        let text = line.trim_start();
        let is_name = line.len() - text.len() == 2;
        let mut about = text;
        if is_name {
            // A long name has the line for itself, and a comma stands between two names.
            let end = text.match_indices(' ').map(|(at, _)| at).find(|at| !text[..*at].ends_with(','));
            let names;
            (names, about) = text.split_at(end.unwrap_or(text.len()));
            options.push(Opt { names: names.to_owned(), value: value(usage, names), about: String::new() });
        }
        if let Some(option) = options.last_mut() {
            let gap = if option.about.is_empty() { "" } else { " " };
            option.about.extend([gap, about.trim()]);
        }
    }
    options
}

/// `addr:port` where `usage` has `[--listen <addr:port...>]`.
fn value(usage: &str, name: &str) -> Option<String> {
    let (_, rest) = usage.split_once(&["[", name, " <"].concat())?;
    let (value, _) = rest.split_once('>')?;
    Some(value.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_is_taken_apart() {
        let help = "Usage: x [--listen <addr:port...>] [--listen-longer <n>] [--off]\n\nAbout x.\n\nOptions:\n  \
                    --listen          here: there; may be repeated,\n                    (or not)\n  \
                    --listen-longer\n                    long\n  --off             a switch\n  \
                    -h, --help        usage\n";
        let option = |names: &str, value: Option<&str>, about: &str| Opt {
            names: names.to_owned(),
            value: value.map(str::to_owned),
            about: about.to_owned(),
        };
        let options = read(help);
        let expected = [
            option("--listen", Some("addr:port"), "here: there; may be repeated, (or not)"),
            option("--listen-longer", Some("n"), "long"),
            option("--off", None, "a switch"),
            option("-h, --help", None, "usage"),
        ];
        assert_eq!(options, expected);
        assert_eq!([options[0].short_about(), options[3].long()], ["here", "--help"]);
    }
}
