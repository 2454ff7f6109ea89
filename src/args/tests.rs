//! Command lines and what they mean.

use super::mistakes::TAKES;
use super::*;

fn parsed(words: &[&str]) -> Result<Command, String> {
    parse(words.iter().map(OsString::from), None)
}

fn options(words: &[&str], port: Option<&str>) -> Options {
    match parse(words.iter().map(OsString::from), port.map(OsString::from)) {
        Ok(Command::Serve(options)) => *options,
        other => panic!("{other:?}"),
    }
}

#[test]
fn listen_beats_port_beats_the_default() {
    let default = |port| options(&[], port).default_listen();
    assert_eq!(default(None), Ok(Address::Any(8087)));
    assert_eq!(default(Some("")), Ok(Address::Any(8087)));
    assert_eq!(default(Some("9000")), Ok(Address::Any(9000)));
    for port in ["+9000", "http", "tcp://10.0.0.1:80", "65536", " "] {
        let error = default(Some(port)).expect_err(port);
        assert_eq!(error, format!("the environment's PORT takes a port number, not '{port}'"));
    }
    let words = ["--listen", "[::1]:1", "--listen=127.0.0.1:2", "--listen", "unix:/run/w", "--listen", ":3"];
    let listen: Vec<String> =
        options(&words, Some("tcp://x")).listen.iter().map(Address::to_string).collect();
    assert_eq!(listen, ["[::1]:1", "127.0.0.1:2", "unix:/run/w", "port 3"]);
}

fn is_refused(words: &[&str]) -> bool {
    parsed(words).is_err()
}

#[test]
fn origins_that_no_client_sends_are_mistakes() {
    for good in [
        "https://example.com",
        "http://localhost:3000",
        "http://[::1]:8087",
        "http://127.0.0.1",
        "http://[::ffff:102:304]",
        "https://a:80",
        "http://_x.a-b.example:65535",
        "file://",
        "null",
        "chrome-extension://abc",
        "*",
    ] {
        assert!(!is_refused(&["--origin", good]), "{good}");
    }
    for bad in [
        "example.com",
        "https://",
        "https://a/",
        "https://a/b",
        "https://A",
        "https://a:443",
        "http://a:80",
        "HTTP://a",
        "://a",
        "https://u@a",
        "https://a b",
        "https://a, https://b",
        "https://m\u{fc}nchen.de",
        "https://a:99999",
        "https://a:080",
        "https://a:+1",
        "https://a:x",
        "https://a:",
        "https://:80",
        "https://:",
        "https://a:1:2",
        "https://::1",
        "https://[::1",
        "https://[::1]:",
        "https://[::1]a",
        "https://[0:0:0:0:0:0:0:1]",
        "https://[a]",
        "https://a%20b",
        "https://a|b",
        "1http://a",
        "ht_tp://a",
        "chrome-extension://abc:",
        "",
    ] {
        assert!(is_refused(&["--origin", bad]), "{bad}");
    }
    let any = options(&["--origin", "https://a", "--origin", "*"], None);
    assert_eq!(any.origins, [""; 0]);
}

#[test]
fn paths_that_can_never_echo_are_mistakes() {
    for good in ["/", "/mirror", "/a%3Fb", "/boards", "*"] {
        assert!(!is_refused(&["--echo-path", good]), "{good}");
    }
    for bad in [
        "/a?b",
        "/a#b",
        "/a b",
        "/m\u{fc}",
        "mirror",
        "",
        "**",
        "/board",
        "/board/",
        "/board/room",
        "/board/a/b",
    ] {
        assert!(is_refused(&["--echo-path", bad]), "{bad}");
    }
    assert!(!is_refused(&["--no-boards", "--echo-path", "/board"]));
    assert!(is_refused(&["--echo-path", "/ws/mine"]) && !is_refused(&["--echo-path", "/ws"]));
    assert!(!is_refused(&["--no-test-paths", "--echo-path", "/ws/mine"]));
    for path in ["/metrics", "/healthz"] {
        let error = parsed(&["--stats", "page", "--echo-path", path]).expect_err(path);
        assert!(error.starts_with(&format!("--echo-path {path} would never echo: ")), "{error}");
        assert!(!is_refused(&["--stats", ":9", "--echo-path", path]) && !is_refused(&["--echo-path", path]));
    }
}

#[test]
fn a_mistyped_option_is_told_the_right_one() {
    for (typed, meant) in [
        ("--lisen", "--listen"),
        ("--lisetn", "--listen"),
        ("--lsten=8087", "--listen"),
        ("--max-connection", "--max-connections"),
        ("--idle-timout", "--idle-timeout"),
        ("--ping", "--ping-interval"),
        ("--no-board", "--no-boards"),
        ("--verison", "--version"),
        ("--pologin", ""),
        ("--max", ""),
        ("--nope", ""),
        ("-x", ""),
    ] {
        let error = parsed(&[typed, "1"]).expect_err("unknown");
        match meant {
            "" => assert!(error.ends_with("; wsecho --help lists the options"), "{error}"),
            _ => assert!(error.ends_with(&format!("; did you mean {meant}?")), "{error}"),
        }
    }
}

#[test]
fn a_wrong_value_is_told_with_what_the_option_takes() {
    for (name, takes) in TAKES {
        let error = parsed(&[name]).expect_err("an option without its value");
        assert_eq!(error, format!("{name} takes {takes}"));
        if !["--user", "--tls-cert", "--tls-key", "--tls-client-ca"].contains(name) {
            for value in ["nonsense", "-1", ""] {
                let error = parsed(&[name, value]).expect_err("a wrong value");
                assert_eq!(error, format!("{name} takes {takes}, not '{value}'"));
            }
        }
    }
    let error = parsed(&["--idle-timeout", "1", "--idle-timeout", "x"]).expect_err("wrong or repeated");
    assert!(error.contains("--idle-timeout"), "{error}");
    assert!(parsed(&["--max-connections", "0"]).is_err());
    assert!(parsed(&["--handshake-timeout", "0"]).is_err());
    for words in [&["--nope"][..], &["word"]] {
        let error = parsed(words).expect_err("unknown");
        assert!(error.contains(words[0]) && error.contains("--help") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn every_option_is_in_the_help_and_says_what_it_takes() {
    let Ok(Command::Print(help)) = parsed(&["--help"]) else { panic!("no help") };
    let listed: Vec<&str> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    for (name, _) in TAKES {
        assert!(listed.contains(name), "{name}");
    }
    for name in listed {
        let is_switch = [
            "--no-deflate",
            "--proxy-protocol",
            "--reuse-port",
            "--no-boards",
            "--log-time",
            "--no-test-paths",
            "--pin",
            "--version",
            "--help,",
            "--help",
        ]
        .contains(&name);
        assert!(is_switch || TAKES.iter().any(|(each, _)| *each == name), "{name}");
    }
    for line in help.lines() {
        assert!(line.len() <= 80, "{} columns: {line}", line.len());
    }
}

#[test]
fn workers_serve_echo_alone() {
    let workers = |words: &[&str]| options(words, None).workers.expect("workers");
    let words = [
        "--listen",
        "127.0.0.1:1",
        "--workers=3",
        "--pin",
        "--reuse-port",
        "--policy",
        "off",
        "--stats",
        ":9",
        "--spin",
        "1ms",
        "--no-boards",
    ];
    let Workers { count, words } = workers(&words);
    assert_eq!((count, words), (3, ["--pin", "--spin", "1ms"].map(str::to_owned).to_vec()));
    assert!(workers(&["--workers", "auto"]).count >= 1);
    let one = options(&["--workers", "1"], None);
    assert!(one.boards.is_none() && one.policy == Policy::Off);
    for (words, why) in [
        (&["--workers", "0"][..], "--workers takes a number from 1 to 1024, or auto, not '0'"),
        (&["--workers", "2", "--policy", "843"], "--policy does not go with --workers"),
        (&["--workers", "2", "--listen", "unix:/x"], "a Unix socket does not go with --workers"),
        (&["--workers", "2", "--stats", "unix:/x"], "a Unix socket does not go with --workers"),
        (&["--workers", "2", "--stats", "page"], "--stats page would show one worker's numbers"),
        (&["--workers", "2", "--max-boards", "3"], "--max-boards does not go with --workers"),
        (&["--pin"], "--pin is about --workers"),
    ] {
        let error = parsed(words).expect_err(why);
        assert!(error.starts_with(why), "{error}");
    }
}
