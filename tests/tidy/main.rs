//! Rules about the sources that neither the compiler nor clippy knows. They read tokens, so that comments and strings
//! may name what code may not.

mod functions;
mod imports;
mod names;
mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;
use tokens::offences;

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

/// What would give loadgen's core a socket, a thread or a clock.
const UNSIMULATED: [&str; 8] = [
    "mio : :",
    "TcpStream",
    "UdpSocket",
    "std : : io",
    "std : : thread",
    "Instant : : now",
    "SystemTime : : now",
    "Moment : : now",
];

/// What its simulation drives: the meaning of bytes, and of the engine who connects, sends and is counted when.
const CORE: [&str; 17] = [
    "protocol",
    "engine/connector",
    "engine/conversation",
    "engine/deliveries",
    "engine/flow",
    "engine/in_flight",
    "engine/patience",
    "engine/payload",
    "engine/recorder",
    "engine/recovery",
    "engine/running",
    "engine/schedule",
    "engine/sender",
    "engine/silence",
    "engine/slow",
    "engine/tally",
    "engine/verify",
];

const LINES_MAX: usize = 600;
const FUNCTION_MAX: usize = 70;

/// Where Rust that is not a test's stands: the server's and loadgen's.
const CRATES: [&str; 2] = ["src", "loadgen/src"];

/// Where any Rust stands.
const EVERYWHERE: [&str; 6] = ["src", "tests", "benches", "loadgen/src", "loadgen/tests", "loadgen/benches"];

/// The rooms of the server, the highest first. One may use what is below it, and nothing above.
const SERVER: [&[&str]; 10] = [
    &["main"],
    &[""],
    &["workers"],
    &["daemon"],
    &["listeners", "worker"],
    &["args", "print", "activation"],
    &["reactor"],
    &["tls"],
    &["proto"],
    &["log", "escape", "memory_limit", "notify", "tls", "units", "backtrace", "failure"],
];
const LOADGEN: [&[&str]; 9] = [
    &["main"],
    &[""],
    &["modes"],
    &["cli"],
    &["verdict"],
    &["engine"],
    &["report"],
    &["protocol"],
    &["host"],
];

#[test]
fn the_server_neither_panics_by_accident_nor_prints_in_a_way_that_can() {
    assert_clean("src", &[&MACROS[..], &UNREASONED].concat());
}

#[test]
fn loadgen_does_not_panic_by_accident() {
    assert_clean("loadgen/src", &UNREASONED);
}

#[test]
fn the_protocol_is_a_function_of_its_arguments() {
    assert_clean("src/proto", &OUTSIDE);
}

#[test]
fn the_core_of_loadgen_has_neither_sockets_nor_a_clock() {
    for part in CORE {
        assert_clean(&format!("loadgen/src/{part}"), &UNSIMULATED);
    }
}

#[test]
fn a_file_can_be_read_in_one_go() {
    let mut found = Vec::new();
    for (path, source) in EVERYWHERE.into_iter().flat_map(|directory| sources(Path::new(directory))) {
        let lines = source.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{} has {lines} lines, more than {LINES_MAX}", path.display()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_function_can_be_read_in_one_go() {
    let mut found = Vec::new();
    for (path, source) in EVERYWHERE.into_iter().flat_map(|directory| sources(Path::new(directory))) {
        for (name, lines) in functions::longer_than(FUNCTION_MAX, &source) {
            found.push(format!("{name} in {} has {lines} lines, more than {FUNCTION_MAX}", path.display()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let circles: Vec<String> = crates()
        .iter()
        .flat_map(|(_, imports)| imports.circles().iter().map(|circle| circle.join(" ")).collect::<Vec<_>>())
        .collect();
    assert!(circles.is_empty(), "in a circle:\n{}", circles.join("\n"));
}

#[test]
fn no_room_uses_one_above_it() {
    let [(_, server), (_, loadgen)] = crates();
    let arrows = [server.upward(&SERVER), loadgen.upward(&LOADGEN)].concat();
    assert!(arrows.is_empty(), "upward:\n{}", arrows.join("\n"));
}

/// A count that a reader sees first is that of the table it stands for.
#[test]
fn the_foreign_clients_are_as_many_as_the_readme_says() {
    let read = |path| fs::read_to_string(path).expect("it is there");
    let (readme, table) = (read("README.md"), read("tests/foreign/README.md"));
    let (_, table) = table.split_once("<!-- clients: ").expect("the table begins");
    let (table, _) = table.split_once("<!-- end of clients -->").expect("the table ends");
    // Its head is two lines.
    let rows = table.lines().filter(|line| line.starts_with('|')).count() - 2;
    assert!(rows >= 50, "{rows} foreign clients");
    let said = format!("[{rows} foreign clients](tests/foreign/README.md)");
    assert!(readme.contains(&said), "README.md does not say {said}");
}

#[test]
fn one_name_has_one_meaning_in_a_crate() {
    let mut found = Vec::new();
    for directory in CRATES {
        let all = sources(Path::new(directory));
        let tests: Vec<_> = all.iter().flat_map(|(path, source)| test_modules(path, source)).collect();
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, source) in all.iter().filter(|(path, _)| !tests.contains(path)) {
            for (name, line) in names::types(source) {
                places.entry(name).or_default().push(format!("{}:{line}", path.display()));
            }
        }
        let several = places.into_iter().filter(|(_, places)| places.len() > 1);
        found.extend(several.map(|(name, places)| format!("{name}: {}", places.join(", "))));
    }
    assert!(found.is_empty(), "types of one name:\n{}", found.join("\n"));
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

/// The server's files and loadgen's, and which uses which.
fn crates() -> [(&'static str, Imports); 2] {
    [("wsecho", CRATES[0]), ("loadgen", CRATES[1])].map(|(name, directory)| {
        (name, Imports::of(name, Path::new(directory), &sources(Path::new(directory))))
    })
}

/// Fails when a file whose path begins with `prefix` contains one of `rules` outside of tests.
fn assert_clean(prefix: &str, rules: &[&str]) {
    let all: Vec<_> = CRATES.into_iter().flat_map(|directory| sources(Path::new(directory))).collect();
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
    let root = ["lib.rs", "main.rs"].iter().any(|root| path.file_name() == Some(root.as_ref()));
    let directory = if root { path.with_file_name("") } else { path.with_extension("") };
    let declared = source.split("#[cfg(test)]\nmod ").skip(1);
    declared
        .filter_map(|rest| rest.lines().next()?.strip_suffix(';'))
        .map(|name| directory.join(format!("{name}.rs")))
        .collect()
}

/// Every Rust file under `directory`, with its text.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("tests run in the package's root") {
        let path = entry.expect("a directory can be read").path();
        if path.is_dir() {
            // What a build of its own has left there, or what tests have fetched (`.tools`), is nobody's to read.
            if !path.ends_with("target") && !path.ends_with(".tools") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("sources are UTF-8");
            found.push((path, source));
        }
    }
    found
}
