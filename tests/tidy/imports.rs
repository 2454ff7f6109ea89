//! Which file of a crate uses which: read off the paths that its code names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tokens::{Token, tokens};

/// A crate's files and what each of them uses, by module path: `reactor::token`; the root is the empty path.
pub struct Imports {
    uses: BTreeMap<String, BTreeSet<String>>,
}

/// What a file gives on from elsewhere: a name, and the path it stands for.
type Reexports = BTreeMap<String, Vec<String>>;

/// A crate's modules that are files.
struct Modules {
    files: BTreeMap<String, (Vec<Token>, Reexports)>,
    /// What the crate calls itself in its `main.rs`.
    name: String,
}

impl Imports {
    /// Of the crate called `name`, whose sources are `files` in `directory`.
    pub fn of(name: &str, directory: &Path, files: &[(PathBuf, String)]) -> Imports {
        let mut modules = Modules { files: BTreeMap::new(), name: name.to_owned() };
        for (path, source) in files {
            let module = module_of(path.strip_prefix(directory).expect("it lies there"));
            let tokens = tokens(source);
            let reexports = reexports(&tokens);
            modules.files.insert(module, (tokens, reexports));
        }
        let uses = modules
            .files
            .iter()
            .map(|(module, (tokens, _))| (module.clone(), modules.used_by(module, tokens)));
        Imports { uses: uses.collect() }
    }

    /// The groups of files that use each other, directly or through others, each in alphabetical order.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            self.uses.keys().map(|module| (module.as_str(), self.reached_from(module))).collect();
        let circle_of = |module: &str| -> Vec<&str> {
            let others = reached[module].iter().filter(|other| reached[**other].contains(module));
            others.copied().collect()
        };
        let circles: BTreeSet<Vec<&str>> = reached.keys().map(|module| circle_of(module)).collect();
        circles.into_iter().filter(|circle| circle.len() > 1).collect()
    }

    /// The uses that lead from one of `rooms`, which stand one upon the other, to a higher one: "a -> b". A room is
    /// named by modules that stand side by side; what is in none may not exist.
    pub fn upward(&self, rooms: &[&[&str]]) -> Vec<String> {
        let height = |module: &str| {
            let first = module.split("::").next().unwrap_or_default();
            let floor = rooms.iter().position(|room| room.contains(&first));
            floor.unwrap_or_else(|| panic!("{module:?} is in no room: give it a place in this test"))
        };
        let arrows = self.uses.iter().flat_map(|(from, used)| used.iter().map(move |to| (from, to)));
        let upward = arrows.filter(|(from, to)| height(to) < height(from));
        upward.map(|(from, to)| format!("{from} -> {to}")).collect()
    }

    fn reached_from<'a>(&'a self, module: &str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = self.uses[module].iter().map(String::as_str).collect();
        while let Some(module) = next.pop() {
            if reached.insert(module) {
                next.extend(self.uses[module].iter().map(String::as_str));
            }
        }
        reached
    }
}

impl Modules {
    /// The files that `module` uses by a path: from the crate, from above, or from a module of its own.
    fn used_by(&self, module: &str, tokens: &[Token]) -> BTreeSet<String> {
        let starts = (0..tokens.len()).filter(|&at| at == 0 || tokens[at - 1].0 != ":");
        let paths = starts.map(|at| path_at(&tokens[at..])).filter(|path| path.len() > 1);
        let used = paths.filter_map(|path| self.file_of(module, &path));
        used.filter(|used| used != module).collect()
    }

    /// The file that `path`, said in `module`, leads to. `None` for what is not this crate's.
    fn file_of(&self, module: &str, path: &[String]) -> Option<String> {
        let mut at = module.to_owned();
        let mut rest = path.iter().peekable();
        match path[0].as_str() {
            first if first == "crate" || (first == self.name && module == "main") => {
                at.clear();
                rest.next();
            }
            "self" => _ = rest.next(),
            "super" => {
                while rest.next_if(|part| *part == "super").is_some() {
                    at.truncate(at.rfind("::").unwrap_or(0));
                }
            }
            first if !self.files.contains_key(&join(module, first)) => return None,
            _ => {}
        }
        while let Some(part) = rest.next_if(|part| self.files.contains_key(&join(&at, part))) {
            at = join(&at, part);
        }
        // What a file passes on is used where it comes from.
        match rest.peek().and_then(|part| self.files[&at].1.get(*part)) {
            Some(path) if at != module => self.file_of(&at, path).or(Some(at)),
            _ => Some(at),
        }
    }
}

fn join(module: &str, part: &str) -> String {
    if module.is_empty() { part.to_owned() } else { format!("{module}::{part}") }
}

/// The module that the file at `path`, from the crate's root, is.
fn module_of(path: &Path) -> String {
    let path = path.with_extension("");
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().expect("sources have plain names")).collect();
    if parts == ["lib"] { String::new() } else { parts.join("::") }
}

/// The parts of the path that `tokens` begin with.
fn path_at(tokens: &[Token]) -> Vec<String> {
    let is_name = |text: &str| text.starts_with(|first: char| first.is_alphabetic() || first == '_');
    let mut path = Vec::new();
    let mut rest = tokens;
    while let [(part, _), after @ ..] = rest
        && is_name(part)
    {
        path.push(part.clone());
        match after {
            [(a, _), (b, _), behind @ ..] if a == ":" && b == ":" => rest = behind,
            _ => break,
        }
    }
    path
}

fn reexports(tokens: &[Token]) -> Reexports {
    let mut found = BTreeMap::new();
    for at in 1..tokens.len() {
        if tokens[at].0 != "use" || !["pub", ")"].contains(&tokens[at - 1].0.as_str()) {
            continue;
        }
        let end = tokens[at..].iter().position(|(text, _)| text == ";").expect("a use ends");
        for branch in tokens[at + 1..at + end].split(|(text, _)| text == ",") {
            let path = path_at(branch);
            if let Some(last) = path.last() {
                found.insert(last.clone(), path);
            }
        }
    }
    found
}

#[test]
fn paths_lead_to_the_files_they_mean() {
    let files = |list: &[(&str, &str)]| -> Vec<(PathBuf, String)> {
        list.iter().map(|(path, source)| (PathBuf::from("src").join(path), (*source).to_owned())).collect()
    };
    let of = |list: &[(&str, &str)]| Imports::of("it", Path::new("src"), &files(list));
    let tree = of(&[
        ("lib.rs", "pub mod a;\npub mod b;"),
        ("main.rs", "use it::a; fn main() { it::b::run(a::X) }"),
        ("a.rs", "mod c; pub use c::{Deep, Other}; fn f() { c::g() }"),
        ("a/c.rs", "#[cfg(test)] use crate::b; pub struct Deep;"),
        ("b.rs", "use crate::a::{self, Deep}; use std::a::b;"),
    ]);
    let uses = |module: &str| tree.uses[module].iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(uses("main"), "a b");
    assert_eq!(uses("a"), "a::c");
    assert_eq!(uses("a::c"), "");
    assert_eq!(uses("b"), "a a::c");
    assert_eq!(tree.circles(), Vec::<Vec<&str>>::new());
    assert_eq!(tree.upward(&[&["main", ""], &["a"], &["b"]]), ["b -> a", "b -> a::c"]);
    let circle = of(&[
        ("lib.rs", ""),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "pub mod c;\nuse self::c::C; pub(crate) use crate::d::D;"),
        ("b/c.rs", "fn f() { super::super::a::f() }"),
        ("d.rs", "use crate::b::D;"),
    ]);
    assert_eq!(circle.circles(), [["a", "b", "b::c"]]);
}
