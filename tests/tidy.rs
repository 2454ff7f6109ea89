//! Rules about the sources that neither the compiler nor clippy knows. They read tokens, so that comments and strings
//! may name what code may not.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Panics when stderr is closed or its disk is full, blocks when its pipe is, or was meant to be replaced.
const MACROS: [&str; 7] =
    ["println !", "eprintln !", "print !", "eprint !", "todo !", "unimplemented !", "dbg !"];

/// An `expect` says why it cannot fail.
const UNREASONED: [&str; 2] = [". unwrap (", ". expect ( \"\" )"];

/// What would let the protocol reach outside of its arguments. A `use` that takes several names of a path is read as if
/// each were written out.
const OUTSIDE: [&str; 7] = [
    "mio : :",
    "slab : :",
    "std : : net",
    "std : : io",
    "std : : thread",
    "Instant : : now",
    "SystemTime : : now",
];

const LINES_MAX: usize = 600;

#[test]
fn the_server_neither_panics_by_accident_nor_prints_in_a_way_that_can() {
    assert_clean("src", &[&MACROS[..], &UNREASONED].concat());
}

#[test]
fn the_protocol_is_a_function_of_its_arguments() {
    assert_clean("src/proto", &OUTSIDE);
}

#[test]
fn a_file_can_be_read_in_one_go() {
    for (path, source) in sources(Path::new("src")) {
        let lines = source.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, more than {LINES_MAX}", path.display());
    }
}

#[test]
fn what_a_rule_names_is_found_and_what_looks_like_it_is_not() {
    let rules = [&MACROS[..], &UNREASONED, &OUTSIDE].concat();
    for (source, expected) in [
        ("fn f() { println!(\"a\") }", "1: println !"),
        ("fn f() {\n    std::eprint!()\n}", "2: eprint !"),
        ("fn f() { g(vec![h().unwrap()]) }", "1: . unwrap ("),
        ("fn f() { g().expect(\"\") }", "1: . expect ( \"\" )"),
        ("use mio::Poll;", "1: mio : :"),
        ("use std::{fmt, io::{Read, Write}};", "1: std : : io"),
        ("use std::{collections::{HashMap, HashSet}, net::SocketAddr};", "1: std : : net"),
        ("use {std::thread, std::fmt};", "1: std : : thread"),
        ("fn f() -> std::time::Instant { std::time::Instant::now() }", "1: Instant : : now"),
        ("#[cfg(test)]\nmod tests { fn f() { g().unwrap() } }\nfn f() { todo!() }", "3: todo !"),
        ("#[cfg(not(test))]\nfn f() { todo!() }", "2: todo !"),
        ("#[cfg(test)]\nuse std::io;\nfn f() { todo!() }", "3: todo !"),
        ("/// Not `println!`.\nfn f() { \"todo!()\" /* dbg!() */ }", ""),
        ("fn f() { g().unwrap_or(1); g().expect(\"a reason\"); print(!x) }", ""),
        ("use std::{fmt, time::Instant}; fn f(io: u8, now: Instant) -> u8 { net::io(io) }", ""),
    ] {
        assert_eq!(offences(source, &rules).join(", "), expected, "in {source}");
    }
}

/// Fails when a file whose path begins with `prefix` contains one of `rules` outside of tests.
fn assert_clean(prefix: &str, rules: &[&str]) {
    let all = sources(Path::new("src"));
    let tests: Vec<_> = all.iter().flat_map(|(path, source)| test_modules(path, source)).collect();
    let (mut read, mut found) = (0, Vec::new());
    for (path, source) in &all {
        let name = path.to_str().expect("sources have plain names");
        if name.starts_with(prefix) && !tests.contains(path) {
            read += 1;
            found.extend(offences(source, rules).iter().map(|offence| format!("{name}:{offence}")));
        }
    }
    assert!(read > 0, "no sources at {prefix}");
    assert!(found.is_empty(), "not allowed:\n{}", found.join("\n"));
}

/// The files that `source`, which is at `path`, declares as modules for tests only.
fn test_modules(path: &Path, source: &str) -> Vec<PathBuf> {
    let root = ["src/lib.rs", "src/main.rs"].iter().any(|root| path == Path::new(root));
    let directory = if root { PathBuf::from("src") } else { path.with_extension("") };
    let declared = source.split("#[cfg(test)]\nmod ").skip(1);
    declared
        .filter_map(|rest| rest.lines().next()?.strip_suffix(';'))
        .map(|name| directory.join(format!("{name}.rs")))
        .collect()
}

/// Where `source` contains one of `rules`: "LINE: RULE". A rule is tokens with spaces between them.
fn offences(source: &str, rules: &[&str]) -> Vec<String> {
    let stream: TokenStream = source.parse().expect("the file compiles, so it has tokens");
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        for rule in rules {
            let words = rule.split(' ');
            if words.clone().count() <= tokens.len() - at
                && words.zip(&tokens[at..]).all(|(word, (text, _))| word == text)
            {
                found.push(format!("{}: {rule}", tokens[at].1));
            }
        }
    }
    // The names in `use std::{io::{Read, Write}}` are one mention of std::io.
    found.dedup();
    found
}

/// Appends the tokens of `stream` with their lines, without what only tests compile.
fn flatten(stream: TokenStream, tokens: &mut Vec<(String, usize)>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Punct(hash) if hash.as_char() == '#' && trees.peek().is_some_and(is_cfg_test) => {
                // The item that follows ends with the first braces or semicolon.
                trees.find(|tree| match tree {
                    TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                    other => other.to_string() == ";",
                });
            }
            TokenTree::Group(group) if ends_a_path(tokens) && group.delimiter() == Delimiter::Brace => {
                let path = path_before(tokens);
                for branch in branches(group.stream()) {
                    tokens.extend(path.iter().map(|word| (word.clone(), line)));
                    flatten(branch, tokens);
                    tokens.push((",".to_owned(), line));
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push((open.to_owned(), line));
                flatten(group.stream(), tokens);
                tokens.push((close.to_owned(), line));
            }
            other => tokens.push((other.to_string(), line)),
        }
    }
}

fn is_cfg_test(tree: &TokenTree) -> bool {
    tree.to_string().replace(' ', "") == "[cfg(test)]"
}

fn ends_a_path(tokens: &[(String, usize)]) -> bool {
    matches!(tokens, [.., (a, _), (b, _)] if a == ":" && b == ":")
}

/// Removes the path that `tokens` end with, `std : :`, and returns it.
fn path_before(tokens: &mut Vec<(String, usize)>) -> Vec<String> {
    let is_path = |word: &str| word.chars().all(|letter| letter.is_alphanumeric() || "_:".contains(letter));
    let start =
        tokens.iter().rposition(|(word, _)| !is_path(word) || word == "use").map_or(0, |before| before + 1);
    tokens.drain(start..).map(|(word, _)| word).collect()
}

/// The parts between the commas.
fn branches(stream: TokenStream) -> Vec<TokenStream> {
    let trees: Vec<_> = stream.into_iter().collect();
    trees.split(|tree| tree.to_string() == ",").map(|branch| branch.iter().cloned().collect()).collect()
}

/// Every Rust file under `directory`, with its text.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("tests run in the package's root") {
        let path = entry.expect("a directory can be read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("sources are UTF-8");
            found.push((path, source));
        }
    }
    found
}
