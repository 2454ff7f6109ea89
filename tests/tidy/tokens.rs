//! Sources as tokens with their lines, without comments and without what only tests compile.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A token and the line it stands on.
pub type Token = (String, usize);

/// The tokens of `source`, which is a whole file.
pub fn tokens(source: &str) -> Vec<Token> {
    let stream: TokenStream = source.parse().expect("the file compiles, so it has tokens");
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    tokens
}

/// Where `source` contains one of `rules`: "LINE: RULE". A rule is tokens with spaces between them.
pub fn offences(source: &str, rules: &[&str]) -> Vec<String> {
    let tokens = tokens(source);
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
fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
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
                tokens.push((close.to_owned(), group.span_close().start().line));
            }
            other => tokens.push((other.to_string(), line)),
        }
    }
}

fn is_cfg_test(tree: &TokenTree) -> bool {
    tree.to_string().replace(' ', "") == "[cfg(test)]"
}

fn ends_a_path(tokens: &[Token]) -> bool {
    matches!(tokens, [.., (a, _), (b, _)] if a == ":" && b == ":")
}

/// Removes the path that `tokens` end with, `std : :`, and returns it.
fn path_before(tokens: &mut Vec<Token>) -> Vec<String> {
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
