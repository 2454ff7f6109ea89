//! The numbers of a running server: their format, what moves them, and where they are served.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use support::client::*;
use support::process::wait_until;
use support::server::{PATIENCE, Server};

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
const HIXIE_75: &str = "GET /echo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: localhost\r\n\
    Origin: http://localhost\r\n\r\n";

/// Samples by name and labels, as they are written.
type Samples = BTreeMap<String, f64>;

/// Starts a server with numbers on a port of their own; where that is.
fn server(args: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(&[&["--policy", "off", "--stats", "127.0.0.1:0"], args].concat());
    let line = server.wait_for("numbers at http://");
    let (_, url) = line.split_once("http://").expect("just waited for");
    let stats = url.trim_end_matches("/metrics").parse().expect("an address");
    (server, stats)
}

/// Asks, and takes everything until the FIN.
fn ask(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("the server takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text and a FIN");
    answer
}

fn get(address: SocketAddr, path: &str) -> String {
    ask(Client::connect(address).stream, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// The samples in a whole HTTP answer. Panics where it is not what a scraper has to be given.
fn samples_in(answer: &str) -> Samples {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert_eq!(status(answer), "200", "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    parse(body).unwrap_or_else(|why| panic!("{why} in {body}"))
}

fn scrape(stats: SocketAddr) -> Samples {
    samples_in(&ask(Client::connect(stats).stream, SCRAPE))
}

/// Waits until the sample has this value.
fn wait_for(stats: SocketAddr, sample: &str, value: f64) {
    let mut seen = None;
    wait_until(&format!("{sample} {value}"), || {
        seen = scrape(stats).get(sample).copied();
        seen == Some(value)
    });
}

/// Reads Prometheus' text format 0.0.4, more strictly than Prometheus does: a family is its HELP, its TYPE and its
/// samples, in one piece and this order.
fn parse(body: &str) -> Result<Samples, String> {
    let mut samples = Samples::new();
    let mut families = BTreeSet::new();
    let (mut family, mut kind) = ("", "");
    let lines = body.strip_suffix('\n').ok_or("no line feed at the end")?;
    for line in lines.split('\n') {
        let wrong = |what: &str| Err(format!("{what}: {line:?}"));
        if let Some(help) = line.strip_prefix("# HELP ") {
            let Some((name, text)) = help.split_once(' ') else { return wrong("no help") };
            if !is_name(name) || text.is_empty() || text.contains('\\') {
                return wrong("a bad HELP");
            }
            if !families.insert(name) {
                return wrong("a family in two pieces");
            }
            (family, kind) = (name, "");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            match rest.split_once(' ') {
                Some((name, "counter")) if name == family && name.ends_with("_total") => kind = "counter",
                Some((name, "gauge")) if name == family && !name.ends_with("_total") => kind = "gauge",
                _ => return wrong("a bad TYPE"),
            }
        } else {
            let Some((series, number)) = line.rsplit_once(' ') else { return wrong("no value") };
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            if name != family || kind.is_empty() {
                return wrong("a sample outside of its family");
            }
            let Some(labels) = labels.strip_suffix('}') else { return wrong("labels without an end") };
            let mut names = BTreeSet::new();
            for label in labels.split(',').filter(|_| series.contains('{')) {
                let value =
                    label.split_once("=\"").and_then(|(name, rest)| Some((name, rest.strip_suffix('"')?)));
                match value {
                    Some((name, value))
                        if is_name(name) && !value.contains(['"', '\\']) && names.insert(name) => {}
                    _ => return wrong("a bad label"),
                }
            }
            let is_number = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let Some(number) = number.parse::<f64>().ok().filter(|_| is_number) else {
                return wrong("no number");
            };
            if kind == "counter" && number.fract() != 0.0 {
                return wrong("half an event");
            }
            if samples.insert(series.to_owned(), number).is_some() {
                return wrong("a sample twice");
            }
        }
    }
    Ok(samples)
}

fn is_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit())
}

#[test]
fn the_tests_own_parser_is_strict() {
    let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{b=\"c\",d=\"\"} 1\na_total 2\n";
    assert_eq!(parse(good).map(|samples| samples.len()), Ok(2));
    for (from, to) in [
        ("# HELP a_total A.\n", ""),
        ("# TYPE a_total counter\n", ""),
        ("TYPE a_total counter", "TYPE a_total gauge"),
        ("b=\"c\"", "b=c"),
        ("b=\"c\"", "b=\"c"),
        ("b=\"c\"", "d=\"c\""),
        ("b=\"c\"", "2=\"c\""),
        ("d=\"\"}", "d=\"\""),
        ("d=\"\"}", "}"),
        ("} 1", "} 1.5"),
        ("} 1", "} -1"),
        ("} 1", "} x"),
        ("a_total 2\n", "a_total 2"),
        ("a_total 2", "b_total 2"),
        ("a_total 2", "a_total{b=\"c\",d=\"\"} 2"),
        ("a_total 2", "a_total 2\n# HELP a_total Again."),
    ] {
        assert!(good.contains(from));
        assert!(parse(&good.replace(from, to)).is_err(), "{from:?} became {to:?}");
    }
}

#[test]
fn every_byte_and_message_of_an_echo_is_counted() {
    let (server, stats) = server(&[]);
    let first_answer = ask(Client::connect(stats).stream, SCRAPE);
    let before = samples_in(&first_answer);
    let mut client = Client::open(&server);
    client.echo("hello");
    client.send(frame(TEXT, b"in "));
    client.expect(reply(TEXT, b"in "));
    client.send(frame(FIN | CONTINUATION, b"two"));
    client.expect(reply(FIN | CONTINUATION, b"two"));
    client.send(frame(FIN | PING, b""));
    client.expect(reply(FIN | PONG, b""));
    let after = scrape(stats);
    let moved = |sample: &str| after[sample] - before[sample];
    let received = upgrade("/echo", "").len() + SCRAPE.len() + 4 * 6 + 5 + 3 + 3;
    // The first scrape's own answer was sent after it was put together.
    let sent = SWITCHING.len() + first_answer.len() + 4 * 2 + 5 + 3 + 3;
    for (sample, by) in [
        ("wsecho_received_bytes_total", received),
        ("wsecho_sent_bytes_total", sent),
        ("wsecho_messages_received_total", 2),
        ("wsecho_messages_sent_total", 2),
        ("wsecho_accepted_total{role=\"echo\"}", 1),
        ("wsecho_accepted_total{role=\"stats\"}", 1),
        ("wsecho_accepted_total{role=\"policy\"}", 0),
        ("wsecho_handshakes_total{status=\"101\",version=\"13\"}", 1),
        ("wsecho_accept_errors_total", 0),
        ("wsecho_log_lines_dropped_total", 0),
        ("wsecho_log_lines_suppressed_total", 0),
    ] {
        assert_eq!(moved(sample), by as f64, "{sample}");
    }
    assert!(moved("wsecho_loop_iterations_total") > 0.0);
    assert!(after["wsecho_loop_longest_seconds"] > 0.0);
}

#[test]
fn open_clients_are_counted_by_what_they_are_and_speak() {
    let (server, stats) = server(&[]);
    let open = |role: &str, version: &str, count: f64| {
        wait_for(stats, &format!("wsecho_open{{role=\"{role}\",version=\"{version}\"}}"), count);
    };
    let silent = Client::connect(server.echo);
    open("echo", "none", 1.0);
    let modern = Client::open(&server);
    open("echo", "13", 1.0);
    let mut old = Client::connect(server.echo);
    old.send(HIXIE_75);
    old.expect("HTTP/1.1 101 Web Socket Protocol Handshake\r\n");
    open("echo", "hixie75", 1.0);
    let mut member = Client::connect(server.echo);
    member.send(upgrade("/board/numbers", ""));
    member.expect(SWITCHING);
    open("board", "13", 1.0);
    open("echo", "13", 1.0);
    open("stats", "none", 1.0);
    drop((silent, modern, old, member));
    for (role, version) in [("echo", "none"), ("echo", "13"), ("echo", "hixie75"), ("board", "13")] {
        open(role, version, 0.0);
    }
    let samples = scrape(stats);
    assert_eq!(
        samples["wsecho_accepted_total{role=\"echo\"}"], 4.0,
        "who joins a board came to the echo port"
    );
    for version in ["13", "hixie75"] {
        let sample = format!("wsecho_handshakes_total{{status=\"101\",version=\"{version}\"}}");
        assert_eq!(samples[&sample], if version == "13" { 2.0 } else { 1.0 });
    }
}

#[test]
fn refusals_pages_and_policies_are_counted() {
    let (server, stats) = server(&["--origin", "http://good"]);
    let good = "Origin: http://good\r\n";
    for (request, expected) in [
        (upgrade("/nowhere", good), "404"),
        (upgrade("/echo", "Origin: http://bad\r\n"), "403"),
        (upgrade("/echo", good).replace("Key: dGhl", "Key: "), "400"),
        (upgrade("/echo", good).replace("GET", "PUT"), "405"),
        (upgrade("/echo", good).replace("Version: 13", "Version: 14"), "426"),
        (upgrade("/echo", good).replace("HTTP/1.1", "HTTP/1.0"), "505"),
        (upgrade("/echo", &format!("X: {}\r\n", "x".repeat(9000))), "431"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "200"),
    ] {
        let answer = ask(Client::connect(server.echo).stream, &request);
        assert_eq!(status(&answer), expected, "{request}");
    }
    let mut player = Client::connect(server.echo);
    player.send(POLICY_REQUEST);
    player.expect(POLICY);
    let samples = scrape(stats);
    for (refused, count) in
        [(400, 1.0), (403, 1.0), (404, 1.0), (405, 1.0), (426, 1.0), (431, 1.0), (503, 0.0), (505, 1.0)]
    {
        let sample = format!("wsecho_handshakes_total{{status=\"{refused}\",version=\"none\"}}");
        assert_eq!(samples[&sample], count, "{refused}");
    }
    assert_eq!(samples["wsecho_pages_total"], 1.0);
    assert_eq!(samples["wsecho_policies_total"], 1.0);
}

#[test]
fn closes_are_counted_by_code_and_side_and_ends_by_reason() {
    let (server, stats) = server(&[]);
    for (said, code, side) in [
        (frame(FIN | CLOSE, b"\x03\xe8"), "1000", "peer"),
        (frame(FIN | CLOSE, b"\x03\xe9bye"), "1001", "peer"),
        (frame(FIN | CLOSE, b""), "none", "peer"),
        (frame(FIN | CLOSE, b"\x0d\x05"), "3000-3999", "peer"),
        (frame(FIN | CLOSE, b"\x0f\xa1"), "4000-4999", "peer"),
        (frame(FIN | TEXT, b"quit"), "1000", "server"),
        (b"\x81\x00".to_vec(), "1002", "server"),
        (frame(FIN | TEXT, b"\xff"), "1007", "server"),
    ] {
        let mut client = Client::open(&server);
        client.send(said);
        client.rest();
        let sample = format!("wsecho_closes_total{{code=\"{code}\",side=\"{side}\"}}");
        assert_eq!(scrape(stats).get(&sample), Some(&1.0), "{sample}");
    }
    // Their sockets are closed now; those who asked for numbers end so too, so this one only rises.
    wait_until("eight ends", || scrape(stats)["wsecho_ends_total{reason=\"closed\"}"] >= 8.0);
    let ended = |reason: &str| wait_for(stats, &format!("wsecho_ends_total{{reason=\"{reason}\"}}"), 1.0);
    drop(Client::open(&server));
    ended("eof");
    Client::open(&server).reset();
    ended("error");
}

#[test]
fn clients_that_keep_silent_are_counted_when_they_end() {
    let (server, stats) = server(&["--handshake-timeout", "2", "--ping-interval", "1"]);
    let _silent = Client::connect(server.echo);
    let mut deaf = Client::open(&server);
    deaf.expect(b"\x89\x00");
    for reason in ["handshake-timeout", "ping-timeout"] {
        wait_for(stats, &format!("wsecho_ends_total{{reason=\"{reason}\"}}"), 1.0);
    }
}

#[test]
fn a_client_that_does_not_read_is_seen_until_it_does() {
    let (server, stats) = server(&[]);
    let (mut stuck, mut witness) = (Client::open(&server), Client::open(&server));
    let samples = scrape(stats);
    assert_eq!((samples["wsecho_blocked"], samples["wsecho_buffered_bytes"]), (0.0, 0.0));
    stuck.stuff(&frame(FIN | BINARY, &[9; 10_000]), 256 << 20, &mut witness);
    let samples = scrape(stats);
    assert_eq!(samples["wsecho_blocked"], 1.0);
    assert!(samples["wsecho_buffered_bytes"] > 0.0);
    stuck.finish();
    stuck.rest();
    wait_for(stats, "wsecho_blocked", 0.0);
    wait_for(stats, "wsecho_buffered_bytes", 0.0);
    // A frame that is not all there is kept too, and goes with its client.
    witness.send(&frame(FIN | BINARY, b"half")[..8]);
    wait_until("half a frame is counted", || scrape(stats)["wsecho_buffered_bytes"] >= 8.0);
    witness.reset();
    wait_for(stats, "wsecho_buffered_bytes", 0.0);
}

#[test]
fn the_port_of_the_numbers_serves_them_and_health_and_nothing_else() {
    let (_server, stats) = server(&[]);
    assert!(get(stats, "/healthz").ends_with("\r\n\r\nok\n"));
    assert_eq!(status(&get(stats, "/healthz")), "200");
    for path in ["/", "/echo", "/metrics/", "/Metrics", "/board"] {
        assert_eq!(status(&get(stats, path)), "404", "{path}");
    }
    assert_eq!(status(&ask(Client::connect(stats).stream, &upgrade("/echo", ""))), "404");
    for method in ["POST", "PUT", "DELETE"] {
        let answer = ask(Client::connect(stats).stream, &SCRAPE.replace("GET", method));
        assert_eq!(status(&answer), "405", "{method}");
    }
    assert_eq!(status(&ask(Client::connect(stats).stream, "nonsense\r\n\r\n")), "400");
}

#[test]
fn health_is_503_while_the_server_drains() {
    let (server, stats) = server(&["--drain-spread", "3600", "--drain-timeout", "3600"]);
    let mut clients = [Client::open(&server), Client::open(&server)];
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping: 2 clients");
    let answer = get(stats, "/healthz");
    assert!(status(&answer) == "503" && answer.ends_with("\r\n\r\ndraining\n"), "{answer}");
    clients[0].echo("not told yet");
    assert_eq!(scrape(stats)["wsecho_open{role=\"echo\",version=\"13\"}"], clients.len() as f64);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_unix_socket_serves_the_numbers_too() {
    let path = std::env::temp_dir().join(format!("wsecho-numbers-{}", std::process::id()));
    let address = format!("unix:{}", path.display());
    let server = Server::start(&["--policy", "off", "--stats", &address]);
    server.wait_for(&format!("numbers at /metrics on {address}"));
    let connect = || {
        let stream = UnixStream::connect(&path).expect("the server listens there");
        stream.set_read_timeout(Some(PATIENCE)).expect("a duration that is not zero");
        stream
    };
    assert_eq!(samples_in(&ask(connect(), SCRAPE))["wsecho_accepted_total{role=\"stats\"}"], 1.0);
    assert!(ask(connect(), &SCRAPE.replace("metrics", "healthz")).ends_with("\r\n\r\nok\n"));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().code(), Some(0));
    assert!(!path.exists(), "the socket goes with its server");
}

#[test]
fn the_page_shows_the_numbers_only_where_they_are_served_beside_it() {
    let page = |server: &Server| get(server.echo, "/");
    let server = Server::start(&["--policy", "off", "--stats", "page"]);
    assert!(
        page(&server)
            .contains("<body class=\"boards paths stats\" data-echo=\"/echo\" data-lifetime=\"300000\">")
    );
    assert_eq!(samples_in(&get(server.echo, "/metrics"))["wsecho_pages_total"], 1.0);
    assert!(get(server.echo, "/healthz").ends_with("\r\n\r\nok\n"));
    assert_eq!(status(&ask(Client::connect(server.echo).stream, &upgrade("/metrics", ""))), "404");

    let (elsewhere, _) = self::server(&[]);
    for server in [&elsewhere, &Server::start(&["--policy", "off"])] {
        assert!(
            page(server)
                .contains("<body class=\"boards paths\" data-echo=\"/echo\" data-lifetime=\"300000\">")
        );
        for path in ["/metrics", "/healthz"] {
            assert_eq!(status(&get(server.echo, path)), "404", "{path}");
        }
    }
}

#[test]
fn the_readme_names_every_number_and_every_reason() {
    let readme = include_str!("../packaging/README.md");
    let table = readme
        .split_once("| metric (`wsecho_")
        .and_then(|(_, rest)| rest.split_once("\n\n"))
        .expect("it is there")
        .0;
    let (_server, stats) = server(&[]);
    for sample in scrape(stats).keys() {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let name = name.trim_start_matches("wsecho_");
        assert!(table.contains(&format!("`{name}`")), "{name}");
        if matches!(name, "ends_total" | "given_up_total") {
            let value = labels.split('"').nth(1).expect("a label");
            assert!(table.contains(&format!("`{value}`")), "{sample}");
        }
    }
}

#[test]
fn what_is_given_up_for_want_of_memory_is_counted_by_what_it_was() {
    let (server, stats) = server(&["--max-buffered", "1M"]);
    let half = &frame(FIN | BINARY, &[7; 32 << 10])[..31 << 10];
    let mut unfinished: Vec<Client> = (0..40).map(|_| Client::open(&server)).collect();
    unfinished.iter_mut().for_each(|client| client.send(half));
    let kept = |what: &str| format!("wsecho_given_up_total{{kept=\"{what}\"}}");
    wait_until("some are given up", || scrape(stats)[&kept("unfinished")] > 0.0);
    wait_until("that is enough", || scrape(stats)["wsecho_buffered_bytes"] < f64::from(1 << 20));
    let numbers = scrape(stats);
    let (given_up, untaken) = (numbers[&kept("unfinished")], numbers[&kept("untaken")]);
    assert!(given_up < 40.0 && untaken == 0.0, "{given_up} and {untaken}");
}
