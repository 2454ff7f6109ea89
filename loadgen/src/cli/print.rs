//! Texts that belong to the installed program: the man page and completions, made from the help when they are asked for.

use crate::cli::help::{COMMANDS, Flag, Page, topic, topics};

/// What `--print` takes.
pub const NAMES: [&str; 4] = ["man", "completions-bash", "completions-zsh", "completions-fish"];

/// The text of that name.
pub fn text(name: &str) -> Option<String> {
    match name {
        "man" => Some(man()),
        "completions-bash" => Some(bash()),
        "completions-zsh" => Some(zsh()),
        "completions-fish" => Some(fish()),
        _ => None,
    }
}

/// Commands that measure: they have most options in common.
const MODES: [&str; 5] = ["run", "conns", "find", "fanout", "storm"];

/// The options that every mode has.
fn common() -> Vec<Flag> {
    let pages = MODES.map(Page::of);
    let everywhere = |flag: &&Flag| pages.iter().all(|page| page.options.contains(flag));
    pages[0].options.iter().filter(everywhere).cloned().collect()
}

fn man() -> String {
    let common = common();
    let mut out = format!(
        ".TH LOADGEN 1 \"\" \"loadgen {}\"\n.SH NAME\nloadgen \\- measure WebSocket servers, latency counted from a schedule\n\
         .SH SYNOPSIS\n.B loadgen\n[\\fBrun\\fR] [\\fIoptions\\fR] \\fIurl\\fR ...\n.br\n.B loadgen\n\\fIcommand\\fR ...\n\
         .SH DESCRIPTION\nMessages go out on a schedule, whatever has come back, and latency is counted from the schedule: a \
         server that stalls delays exactly the messages that users would have sent into it. The first line of a report says \
         whether its figures are the server's.\n.SH COMMANDS\n",
        env!("CARGO_PKG_VERSION")
    );
    for command in COMMANDS {
        out += &format!(".TP\n\\fB{command}\\fR\n{}\n", roff(&Page::of(command).about));
    }
    for command in COMMANDS {
        let own: Vec<Flag> =
            Page::of(command).options.into_iter().filter(|flag| !common.contains(flag)).collect();
        if !own.is_empty() {
            out += &format!(".SH \"OPTIONS OF {}\"\n", command.to_uppercase());
            own.iter().for_each(|flag| out += &described(flag));
        }
    }
    out += ".SH \"OPTIONS OF ALL THAT MEASURE\"\n";
    common.iter().for_each(|flag| out += &described(flag));
    out += ".SH \"WORDS OF A REPORT\"\n";
    for word in topics() {
        let text = topic(word, usize::MAX).unwrap_or_default();
        out += &format!(".TP\n\\fB{}\\fR\n{}\n", roff(word), roff(text.trim_end()));
    }
    out + ".SH \"SEE ALSO\"\n.BR wsecho (1)\n"
}

fn described(flag: &Flag) -> String {
    let short = flag.short.map_or(String::new(), |c| format!("\\fB\\-{c}\\fR, "));
    let takes = flag.takes.as_ref().map_or(String::new(), |what| format!(" \\fI{}\\fR", roff(what)));
    format!(".TP\n{short}\\fB{}\\fR{takes}\n{}\n", roff(&format!("--{}", flag.name)), roff(&flag.text))
}

/// Text that no line of a man page takes for anything else, with dashes that can be pasted into a shell.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// `--name` and `-n` of every option of a command.
fn spellings(page: &Page) -> String {
    let names = page.options.iter().flat_map(|flag| {
        let short = flag.short.map(|c| format!("-{c}"));
        short.into_iter().chain([format!("--{}", flag.name)])
    });
    names.chain(["--help".to_owned()]).collect::<Vec<_>>().join(" ")
}

/// Whether the value of an option is the name of a file.
fn takes_file(flag: &Flag) -> bool {
    flag.takes.as_deref() == Some("file")
}

/// Words that can be the value of an option.
fn words(flag: &Flag) -> &'static str {
    match &*flag.name {
        "format" => "text json csv hgrm hlog svg html",
        "arrival" => "even poisson",
        "fault" => "rst close",
        "draft" => "13 8 7 76 75",
        "tls" => "1.2 1.3",
        "stamps" => "kernel read",
        _ => "",
    }
}

fn bash() -> String {
    let mut out =
        "_loadgen() {\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n    \
                   local command=${COMP_WORDS[1]} words=\n    case $before in\n"
            .to_owned();
    let mut seen = Vec::new();
    for flag in COMMANDS.into_iter().flat_map(|command| Page::of(command).options) {
        let values = words(&flag);
        let action = match takes_file(&flag) {
            true => "COMPREPLY=($(compgen -f -- \"$word\")); return".to_owned(),
            false if !values.is_empty() => {
                format!("COMPREPLY=($(compgen -W '{values}' -- \"$word\")); return")
            }
            false => continue,
        };
        if !seen.contains(&flag.name) {
            let short = flag.short.map_or(String::new(), |c| format!("-{c}|"));
            out += &format!("        {short}--{}) {action} ;;\n", flag.name);
            seen.push(flag.name.clone());
        }
    }
    out += "    esac\n    case $command in\n";
    for command in COMMANDS {
        out += &format!("        {command}) words='{}' ;;\n", spellings(&Page::of(command)));
    }
    out += &format!("        help) words='{}' ;;\n", topics().collect::<Vec<_>>().join(" "));
    out += &format!(
        "        *) words='{}' ;;\n    esac\n    [[ $COMP_CWORD != 1 ]] || words=\"{} help $words\"\n    \
         [[ $command != report && $command != compare && $command != merge || $word == -* ]] ||\n        \
         {{ COMPREPLY=($(compgen -f -- \"$word\")); return; }}\n    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}}\n\
         complete -F _loadgen loadgen\n",
        spellings(&Page::of("run")),
        COMMANDS.join(" ")
    );
    out
}

/// The first clause of what is said of an option, without what a shell would need quoted.
fn clause(text: &str) -> String {
    let end = text.find([':', ',', '(', ';']).unwrap_or(text.len());
    text[..end].trim().replace(['\'', '[', ']', '"', '`', '$', '\\'], "")
}

fn zsh() -> String {
    let mut out = "#compdef loadgen\nlocal -a commands=(\n".to_owned();
    for command in COMMANDS {
        out += &format!("  '{command}:{}'\n", clause(&Page::of(command).about));
    }
    out += "  'help:explain a word of the report'\n)\ncase $words[2] in\n";
    for command in COMMANDS {
        out +=
            &format!("  {command}) (( CURRENT > 2 )) && {{ shift words; (( CURRENT-- )) }}; _arguments -s");
        out += &zsh_options(&Page::of(command));
        out += " ;;\n";
    }
    out += "  *) if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then _describe command commands; else _arguments -s";
    out += &zsh_options(&Page::of("run"));
    out += "; fi ;;\nesac\n";
    out
}

fn zsh_options(page: &Page) -> String {
    let mut out = String::new();
    for flag in &page.options {
        let value = match (&flag.takes, takes_file(flag)) {
            (None, _) => String::new(),
            (Some(_), true) => ":file:_files".to_owned(),
            (Some(what), false) => format!(":{}:({})", clause(what), words(flag)),
        };
        let text = clause(&flag.text);
        out += &format!(" \\\n    '*--{}[{text}]{value}'", flag.name);
        if let Some(c) = flag.short {
            out += &format!(" '*-{c}[{text}]{value}'");
        }
    }
    let files = page.positionals.iter().any(|(name, _)| name != "url");
    out + if files { " '*:file:_files'" } else { " '*:url:'" }
}

fn fish() -> String {
    let mut out = String::new();
    for command in COMMANDS {
        let about = clause(&Page::of(command).about);
        out += &format!("complete -c loadgen -n __fish_use_subcommand -f -a {command} -d '{about}'\n");
    }
    for command in COMMANDS {
        let when = match command {
            // It need not be said.
            "run" => format!("not __fish_seen_subcommand_from {}", COMMANDS[1..].join(" ")),
            other => format!("__fish_seen_subcommand_from {other}"),
        };
        for flag in &Page::of(command).options {
            let short = flag.short.map_or(String::new(), |c| format!(" -s {c}"));
            let value = match (&flag.takes, takes_file(flag)) {
                (None, _) => " -f".to_owned(),
                (Some(_), true) => " -r -F".to_owned(),
                (Some(_), false) => format!(" -xa '{}'", words(flag)),
            };
            let (name, text) = (&flag.name, clause(&flag.text));
            out += &format!("complete -c loadgen -n '{when}'{short} -l {name} -d '{text}'{value}\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_names_every_option() {
        for name in NAMES {
            let text = text(name).unwrap();
            for flag in COMMANDS.into_iter().flat_map(|command| Page::of(command).options) {
                let spelled = match name {
                    "man" => roff(&format!("--{}", flag.name)),
                    "completions-fish" => format!("-l {} ", flag.name),
                    _ => format!("--{}", flag.name),
                };
                assert!(text.contains(&spelled), "{name} lacks {spelled}");
            }
            for command in COMMANDS {
                assert!(text.contains(command));
            }
        }
        assert_eq!(text("nonsense"), None);
    }
}
