//! What types are called.

use crate::tokens::tokens;

/// The types that `source` defines, but for the associated ones: their names and lines.
pub fn types(source: &str) -> Vec<(String, usize)> {
    let tokens = tokens(source);
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for (at, (text, _)) in tokens.iter().enumerate() {
        match text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            "struct" | "enum" | "union" | "trait" | "type" if depth == 0 => {
                found.extend(tokens.get(at + 1).cloned())
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_type_is_found_by_what_it_is_called_and_an_associated_one_is_nobodys_name() {
    for (source, expected) in [
        (
            "pub struct A;\nenum B {\n    C,\n}\npub(crate) trait D {}\ntype E = u8;",
            &[("A", 1), ("B", 2), ("D", 5), ("E", 6)][..],
        ),
        ("trait A {\n    type Output;\n}\nimpl A for B {\n    type Output = u8;\n}", &[("A", 1)]),
        ("#[cfg(test)]\nmod tests {\n    struct A;\n}", &[]),
        ("/// The type of a struct.\nfn f() -> &'static str {\n    \"struct A\"\n}", &[]),
    ] {
        let found = types(source);
        let found: Vec<(&str, usize)> = found.iter().map(|(name, line)| (name.as_str(), *line)).collect();
        assert_eq!(found, expected, "in {source}");
    }
}
