//! Texts that belong to the installed program: unit files, the man page, completions.
//!
//! They are in the binary, so whoever has that has all a package needs. What is said of the options is made from the
//! text of `--help` when it is asked for, so that it cannot differ.

mod completions;
mod man;
mod options;

/// What `--print` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `wsecho.service`, which listens by itself.
    Unit,
    /// `wsecho.socket`, which listens in front of the activated unit.
    Socket,
    /// `wsecho-policy.socket`: port 843 in front of the activated unit.
    PolicySocket,
    /// `wsecho-activated.service`, which gets its listeners from the sockets and can open none.
    ActivatedUnit,
    Man,
    Bash,
    Zsh,
    Fish,
}

/// The name of each on the command line.
const NAMES: [(&str, What); 8] = [
    ("unit", What::Unit),
    ("socket", What::Socket),
    ("policy-socket", What::PolicySocket),
    ("activated-unit", What::ActivatedUnit),
    ("man", What::Man),
    ("completions-bash", What::Bash),
    ("completions-zsh", What::Zsh),
    ("completions-fish", What::Fish),
];

impl What {
    /// `None` for a name that nothing has.
    pub fn named(name: &str) -> Option<What> {
        NAMES.iter().find(|(each, _)| *each == name).map(|(_, what)| *what)
    }

    /// The text. `help` is what `--help` prints.
    pub fn text(self, help: &str) -> String {
        let unit = |[before, after]: [&str; 2]| [before, HARDENING, after].concat();
        match self {
            What::Unit => unit(UNIT),
            What::Socket => SOCKET.to_owned(),
            What::PolicySocket => POLICY_SOCKET.to_owned(),
            What::ActivatedUnit => unit(ACTIVATED_UNIT),
            What::Man => man::page(help),
            What::Bash => completions::bash(help),
            What::Zsh => completions::zsh(help),
            What::Fish => completions::fish(help),
        }
    }
}

/// What stands before and after [`HARDENING`].
const UNIT: [&str; 2] = [include_str!("print/unit"), "\n[Install]\nWantedBy=multi-user.target\n"];
const ACTIVATED_UNIT: [&str; 2] = [include_str!("print/activated-unit"), ""];
/// Lines of `[Service]` that both units have.
const HARDENING: &str = include_str!("print/hardening");
const SOCKET: &str = include_str!("print/socket");
const POLICY_SOCKET: &str = include_str!("print/policy-socket");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Command, parse};
    use std::ffi::OsString;

    fn printed(words: &[&str]) -> String {
        match parse(words.iter().map(OsString::from), None) {
            Ok(Command::Print(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    /// The long options that `text` names, sorted.
    fn named(text: &str, dashes: &str) -> Vec<String> {
        let end = |rest: &str| {
            rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '-').unwrap_or(rest.len())
        };
        let mut names: Vec<_> = text.split(dashes).skip(1).map(|rest| rest[..end(rest)].to_owned()).collect();
        names.sort();
        names.dedup();
        names.retain(|name| !name.is_empty());
        names
    }

    #[test]
    fn everything_names_the_options_of_the_help() {
        let expected = named(&printed(&["--help"]), "--");
        assert!(expected.len() > 10, "{expected:?}");
        let page = printed(&["--print", "man"]).replace("\\-", "-");
        let (_, page) = page.split_once(".SH OPTIONS").expect("the section");
        let (options, after) = page.split_once(".SH").expect("a section after it");
        let headings: Vec<&str> =
            options.split(".TP\n").skip(1).filter_map(|each| each.lines().next()).collect();
        assert_eq!(named(&headings.concat(), "--"), expected);
        for name in named(after, "--") {
            assert!(expected.contains(&name), "{name}");
        }
        assert_eq!(named(&printed(&["--print", "completions-bash"]), "--"), expected);
        assert_eq!(named(&printed(&["--print", "completions-zsh"]), "--"), expected);
        assert_eq!(named(&printed(&["--print", "completions-fish"]), " -l "), expected);
    }

    #[test]
    fn every_name_is_told_and_prints_something_else() {
        let help = printed(&["--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        let Err(error) = parse(["--print", "nonsense"].map(OsString::from), None) else { panic!("no error") };
        let mut texts: Vec<String> = Vec::new();
        let names = NAMES.map(|(name, _)| name);
        let list = [&names[..7].join(", "), " or ", names[7]].concat();
        assert!(help.contains(&list) && error.contains(&list), "{help}\n{error}");
        for name in names {
            let text = printed(&["--print", name]);
            assert!(text.ends_with('\n') && !texts.contains(&text), "{name}");
            texts.push(text);
        }
    }

    #[test]
    fn what_is_offered_as_a_value_is_taken() {
        let mut offered = 0;
        for option in options::read(&printed(&["--help"])) {
            for word in completions::words(&option).split_whitespace() {
                offered += 1;
                parse([option.long(), word].map(OsString::from), None).expect("a word that was offered");
            }
        }
        assert!(offered > NAMES.len());
    }
}
