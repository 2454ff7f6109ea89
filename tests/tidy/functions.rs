//! How long functions are.

use crate::tokens::{Token, tokens};

/// The functions in `source` of more than `most` lines, from `fn` to the closing brace: their names and lines.
pub fn longer_than(most: usize, source: &str) -> Vec<(String, usize)> {
    let tokens = tokens(source);
    // `fn(` is a type.
    let starts = (0..tokens.len()).filter(|&at| tokens[at].0 == "fn" && tokens[at + 1].0 != "(");
    let measured = starts.filter_map(|at| Some((tokens[at + 1].0.clone(), lines_of(&tokens[at..])?)));
    measured.filter(|&(_, lines)| lines > most).collect()
}

/// The lines of the function whose `fn` is the first of `tokens`; `None` if it has no body.
fn lines_of(tokens: &[Token]) -> Option<usize> {
    let (mut depth, mut in_body) = (0_usize, false);
    for (text, line) in tokens {
        match text.as_str() {
            ";" if depth == 0 => return None,
            "{" if depth == 0 => (depth, in_body) = (1, true),
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if in_body && depth == 0 {
            return Some(line + 1 - tokens[0].1);
        }
    }
    None
}

#[test]
fn a_function_is_measured_from_its_name_to_its_last_brace() {
    for (source, expected) in [
        ("fn f() {\n    g();\n}", &[("f", 3)][..]),
        (
            "impl A {\n    fn f<const N: usize>(\n        self,\n    ) -> [u8; N] {\n        { g() }\n    }\n}",
            &[("f", 5)],
        ),
        ("trait A {\n    fn f(self) -> [u8; 2];\n    fn g(self) {\n    }\n}", &[("g", 2)]),
        ("struct A {\n    f: fn(u8) -> u8,\n}\nfn f() {\n}", &[("f", 2)]),
        ("fn f() {\n    fn g() {\n    }\n}", &[("f", 4), ("g", 2)]),
        ("#[cfg(test)]\nmod tests {\n    fn f() {\n    }\n}", &[]),
    ] {
        let found = longer_than(1, source);
        let found: Vec<(&str, usize)> = found.iter().map(|(name, lines)| (name.as_str(), *lines)).collect();
        assert_eq!(found, expected, "in {source}");
    }
}
