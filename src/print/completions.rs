//! Completions for shells.

use super::NAMES;
use super::options::{Opt, read};

/// What to offer as the value of `option`: words with spaces between them, often none.
pub fn words(option: &Opt) -> String {
    match option.long() {
        "--policy" => "off".to_owned(),
        "--log-level" => "off error info debug".to_owned(),
        "--print" => NAMES.map(|(name, _)| name).join(" "),
        _ => String::new(),
    }
}

pub fn bash(help: &str) -> String {
    let options = read(help);
    let mut script = String::from(BASH);
    for option in options.iter().filter(|option| option.value.is_some()) {
        script.extend(["    ", option.long(), ") words='", &words(option), "' ;;\n"]);
    }
    script.push_str("    *) words='");
    for option in &options {
        script.extend([option.long(), " "]);
    }
    script + BASH_END
}

// Readline makes a word of the `=` in `--log-level=debug`.
const BASH: &str = "_wsecho() {
    local at=$COMP_CWORD words
    local word=${COMP_WORDS[at]} before=${COMP_WORDS[at - 1]}
    [[ $before != = ]] || before=${COMP_WORDS[at - 2]}
    [[ $word != = ]] || word=
    case $before in
";
const BASH_END: &str = "' ;;
    esac
    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))
}
complete -F _wsecho wsecho
";

pub fn zsh(help: &str) -> String {
    let mut script = String::from("#compdef wsecho\n_arguments");
    for option in read(help) {
        let about = option.short_about().replace('[', "\\[").replace(']', "\\]").replace('\'', "'\\''");
        match &option.value {
            Some(value) => {
                let value = value.replace(':', "\\:");
                let words = words(&option);
                script.extend([" \\\n  '*", option.long(), "=[", &about, "]:", &value, ":(", &words, ")'"]);
            }
            None => script.extend([" \\\n  '", option.long(), "[", &about, "]'"]),
        }
    }
    script + "\n"
}

pub fn fish(help: &str) -> String {
    let mut script = String::new();
    for option in read(help) {
        let about = option.short_about().replace('\\', "\\\\").replace('\'', "\\'");
        script.extend(["complete -c wsecho -f -l ", option.long().trim_start_matches('-')]);
        if option.value.is_some() {
            script.extend([" -xa '", &words(&option), "'"]);
        }
        script.extend([" -d '", &about, "'\n"]);
    }
    script
}
