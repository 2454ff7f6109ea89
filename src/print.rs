//! Texts that belong to the installed program: unit files, the man page, completions.
//!
//! They are in the binary, so whoever has that has all a package needs. What is said of the options is made from the
//! text of `--help` when it is asked for, so that it cannot differ.

mod options;

use options::Opt;

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
    /// The manual page.
    Man,
    /// Completions for bash,
    Bash,
    /// for zsh,
    Zsh,
    /// and for fish.
    Fish,
    /// The authority of our own TLS certificates: not a text of the program, so `args` prints it.
    Cert,
}

/// The name of each on the command line.
const NAMES: [(&str, What); 9] = [
    ("unit", What::Unit),
    ("socket", What::Socket),
    ("policy-socket", What::PolicySocket),
    ("activated-unit", What::ActivatedUnit),
    ("man", What::Man),
    ("completions-bash", What::Bash),
    ("completions-zsh", What::Zsh),
    ("completions-fish", What::Fish),
    ("cert", What::Cert),
];

impl What {
    /// `None` for a name that nothing has.
    pub fn named(name: &str) -> Option<What> {
        NAMES.iter().find(|(each, _)| *each == name).map(|(_, what)| *what)
    }

    /// The text. `help` is what `--help` prints.
    pub fn text(self, help: &str) -> String {
        let mut text = String::new();
        match self {
            What::Unit => add(&mut text, &[UNIT, HARDENING, INSTALL]),
            What::ActivatedUnit => add(&mut text, &[ACTIVATED_UNIT, HARDENING]),
            What::Socket => add(&mut text, &[SOCKET]),
            What::PolicySocket => add(&mut text, &[POLICY_SOCKET]),
            What::Man => fill(&mut text, &MAN, help),
            What::Bash => fill(&mut text, &BASH, help),
            What::Zsh => fill(&mut text, &ZSH, help),
            What::Fish => fill(&mut text, &FISH, help),
            What::Cert => {}
        }
        text
    }
}

const UNIT: &str = include_str!("print/unit");
const ACTIVATED_UNIT: &str = include_str!("print/activated-unit");
/// Lines of `[Service]` that both units have.
const HARDENING: &str = include_str!("print/hardening");
const INSTALL: &str = "\n[Install]\nWantedBy=multi-user.target\n";
const SOCKET: &str = include_str!("print/socket");
const POLICY_SOCKET: &str = include_str!("print/policy-socket");

/// A text with something for every option.
///
/// After a `%`, `N` stands for its name, `V` for what its value is called, `W` for words that can be its value, `A` for
/// what is said of it, and `S` for the first clause of that. A clause has nothing in it that a shell would need quoted.
struct Template {
    before: &'static str,
    with_value: &'static str,
    /// The same for one whose value is a file.
    with_file: &'static str,
    switch: &'static str,
    after: &'static str,
    /// How a dash in a name is written.
    dash: &'static str,
}

const MAN: Template = Template {
    before: concat!(
        ".TH WSECHO 1 \"\" \"wsecho ",
        env!("CARGO_PKG_VERSION"),
        "\"\n",
        include_str!("print/man-before")
    ),
    with_value: ".TP\n\\fB\\-\\-%N\\fR \\fI%V\\fR\n%A\n",
    with_file: ".TP\n\\fB\\-\\-%N\\fR \\fI%V\\fR\n%A\n",
    switch: ".TP\n\\fB\\-\\-%N\\fR\n%A\n",
    after: include_str!("print/man-after"),
    // A bare one is a hyphen, which nobody can paste into a shell.
    dash: "\\-",
};

// Readline makes a word of the `=` in `--log-level=debug`.
const BASH: Template = Template {
    before: r#"_wsecho() {
    local at=$COMP_CWORD names= words=-
    local word=${COMP_WORDS[at]} before=${COMP_WORDS[at - 1]}
    [[ $before != = ]] || before=${COMP_WORDS[at - 2]}
    [[ $word != = ]] || word=
"#,
    with_value: "    names+=' --%N'; [[ $before != --%N ]] || words='%W'\n",
    with_file: "    names+=' --%N'; [[ $before != --%N ]] || { compopt -o default; return; }\n",
    switch: "    names+=' --%N'\n",
    after: r#"    [[ $words != - ]] || words=$names
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _wsecho wsecho
"#,
    dash: "-",
};

const ZSH: Template = Template {
    before: "#compdef wsecho\n_arguments",
    with_value: " \\\n  '*--%N=[%S]:value:(%W)'",
    with_file: " \\\n  '*--%N=[%S]:file:_files'",
    switch: " \\\n  '--%N[%S]'",
    after: "\n",
    dash: "-",
};

const FISH: Template = Template {
    before: "",
    with_value: "complete -c wsecho -l %N -d '%S' -xa '%W'\n",
    with_file: "complete -c wsecho -l %N -d '%S' -r\n",
    switch: "complete -c wsecho -l %N -d '%S' -f\n",
    after: "",
    dash: "-",
};

fn fill(text: &mut String, template: &Template, help: &str) {
    add(text, &[template.before]);
    for option in options::read(help) {
        let entry = match option.value {
            "" => template.switch,
            "file" => template.with_file,
            _ => template.with_value,
        };
        for (at, part) in entry.split('%').enumerate() {
            let (key, rest) = part.split_at(usize::from(at > 0));
            match key {
                "N" => option.name.split('-').enumerate().for_each(|(at, word)| {
                    add(text, &[if at > 0 { template.dash } else { "" }, word]);
                }),
                "V" => add(text, &[option.value]),
                "W" => words(&option, text),
                "A" => add(text, &[&option.about]),
                "S" => add(text, &[option.short_about()]),
                _ => {}
            }
            add(text, &[rest]);
        }
    }
    add(text, &[template.after]);
}

/// Adds what to offer as the value of `option`: words with spaces between them, often none.
fn words(option: &Opt, text: &mut String) {
    match option.name {
        "policy" => add(text, &["off"]),
        "stats" => add(text, &["page"]),
        "log-format" => add(text, &["text json"]),
        "log-level" => add(text, &["off error info debug trace"]),
        "tls-wrong" => add(text, &["expired other-name self-signed"]),
        "workers" => add(text, &["auto"]),
        "print" => NAMES.iter().for_each(|(name, _)| add(text, &[" ", name])),
        _ => {}
    }
}

// One copy of the code that lets a text grow, not one at every place that adds to it.
#[inline(never)]
fn add(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
}

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
        assert_eq!(named(&page, "\n\\fB--"), expected);
        assert_eq!(named(&printed(&["--print", "completions-bash"]), " --"), expected);
        assert_eq!(named(&printed(&["--print", "completions-zsh"]), "--"), expected);
        assert_eq!(named(&printed(&["--print", "completions-fish"]), " -l "), expected);
        for name in named(&page, "--") {
            assert!(expected.contains(&name), "{name} is no option");
        }
    }

    #[test]
    fn a_clause_needs_no_quoting() {
        for option in options::read(&printed(&["--help"])) {
            let clause = option.short_about();
            assert!(!clause.is_empty() && !clause.contains(['\'', '\\', '[', ']']), "{clause}");
        }
    }

    #[test]
    fn every_name_is_told_and_prints_something_else() {
        let help = printed(&["--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        let Err(error) = parse(["--print", "nonsense"].map(OsString::from), None) else { panic!("no error") };
        let mut texts: Vec<String> = Vec::new();
        let names = NAMES.map(|(name, _)| name);
        let list = [&names[..8].join(", "), " or ", names[8]].concat();
        assert!(help.contains(&list) && error.contains(&list), "{help}\n{error}");
        for name in names.into_iter().filter(|name| *name != "cert") {
            let text = printed(&["--print", name]);
            assert!(text.ends_with('\n') && !texts.contains(&text), "{name}");
            texts.push(text);
        }
    }

    #[test]
    fn the_words_that_an_option_takes_are_offered() {
        let mut all = 0;
        for option in options::read(&printed(&["--help"])).filter(|option| !option.value.is_empty()) {
            let mut offered = String::new();
            words(&option, &mut offered);
            let Err(error) = parse([&["--", option.name].concat(), "n n"].map(OsString::from), None) else {
                continue;
            };
            let told = error.split_once(" takes ").and_then(|(_, told)| told.split_once(", not '"));
            let told = told.map_or(String::new(), |(told, _)| told.replace(" or ", ", ").replace("or ", ""));
            let is_word =
                |text: &&str| text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
            let told: Vec<&str> = told.split(", ").filter(|text| !text.is_empty()).filter(is_word).collect();
            assert_eq!(offered.split_whitespace().collect::<Vec<_>>(), told, "{}: {error}", option.name);
            all += told.len();
        }
        assert!(all > NAMES.len());
    }
}
