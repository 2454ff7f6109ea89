//! Requests that people, probes and proxies send, and how each is answered: whole, cut in two anywhere, and byte by byte.

use support::config::config;
use support::conversation::Conversation;
use wsecho::reactor::config::Config;
use wsecho::reactor::listener::Role;

const ECHO: Role = Role::Echo;
const STATS: Role = Role::Stats;
/// What an upgrade needs beyond its request line and Host.
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The whole answer to `request`, which must be the same however the network cuts it.
fn answer(role: Role, config: &Config, request: &str) -> String {
    let whole = said(role, config, [request.as_bytes()]);
    for cut in 1..request.len() {
        let (first, second) = request.as_bytes().split_at(cut);
        assert_eq!(said(role, config, [first, second]), whole, "{request:?} cut at {cut}");
    }
    assert_eq!(said(role, config, request.as_bytes().chunks(1)), whole, "{request:?} byte by byte");
    whole
}

fn said<'a>(role: Role, config: &Config, segments: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut conversation = Conversation::new(role, config, None);
    segments.into_iter().for_each(|segment| conversation.say(segment));
    String::from_utf8(conversation.heard()).expect("answers are text")
}

/// The status of an answer, its head and its body.
fn parts(answer: &str) -> (&str, &str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect("a status");
    (status, head, body)
}

fn status(request: &str) -> String {
    let answer = answer(ECHO, &config(), request);
    parts(&answer).0.to_owned()
}

/// An upgrade with this request line, Host and key line.
fn upgrade(line: &str, host: &str, key: &str) -> String {
    format!("{line}\r\nHost: {host}\r\n{UPGRADE}{key}\r\n")
}

#[test]
fn head_is_get_without_the_body() {
    let with_stats = {
        let mut config = config();
        config.routes.stats = true;
        config
    };
    let upgrade = upgrade("GET /echo HTTP/1.1", "a", KEY);
    for (role, config, get) in [
        (ECHO, config(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (ECHO, config(), "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (ECHO, config(), "GET /board/room HTTP/1.1\r\nHost: a\r\n\r\n"),
        (ECHO, config(), "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (ECHO, config(), "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"),
        // What is wrong with it is told by the status alone.
        (ECHO, config(), "GET / HTTP/1.1\r\n\r\n"),
        (ECHO, config(), "GET / HTTP/1.0\r\n\r\n"),
        (ECHO, config(), "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
        (ECHO, config(), "GET  / HTTP/1.1\r\n"),
        (ECHO, with_stats.clone(), "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
        (STATS, config(), "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
        (STATS, config(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (STATS, config(), "GET /metrics HTTP/1.1\r\n\r\n"),
        // An upgrade is asked for with GET (RFC 6455 §4.1): to HEAD the path is an endpoint that wants one.
        (ECHO, config(), &upgrade),
    ] {
        let (got, headed) =
            (answer(role, &config, get), answer(role, &config, &get.replacen("GET", "HEAD", 1)));
        let expected = if get == upgrade {
            answer(role, &config, "HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        } else {
            format!("{}\r\n\r\n", got.split_once("\r\n\r\n").expect("a head").0)
        };
        assert_eq!(headed, expected, "{get:?}");
    }
    // The numbers are never twice the same.
    let metrics = said(STATS, &config(), [&b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n"[..]]);
    let (status, head, body) = parts(&metrics);
    assert!(status == "200" && head.contains("\r\nContent-Length: ") && body.is_empty(), "{metrics}");
}

#[test]
fn people_are_told_what_there_is() {
    for (role, request, code, told) in [
        (ECHO, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", "404", "open / for the test page"),
        (STATS, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404", "/metrics and /healthz"),
        (ECHO, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", "426", "connect with ws://"),
        (
            ECHO,
            &upgrade("GET /echo HTTP/1.1", "a", KEY).replace(": 13", ": 25"),
            "426",
            "versions 13, 8 and 7",
        ),
        (ECHO, "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "405", "GET and HEAD"),
    ] {
        let answer = answer(role, &config(), request);
        let (status, head, body) = parts(&answer);
        assert!(status == code && body.contains(told) && body.ends_with('\n'), "{answer}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{answer}");
        assert!(head.contains("\r\nContent-Type: text/plain; charset=utf-8"), "{answer}");
    }
}

#[test]
fn health_alone_is_told_to_probes_that_know_no_better() {
    let here = {
        let mut config = config();
        config.routes.stats = true;
        config
    };
    let healthy = |role, request: &str| {
        let answer = answer(role, &here, request);
        let (status, _, body) = parts(&answer);
        (status.to_owned(), body.to_owned())
    };
    for role in [ECHO, STATS] {
        for request in [
            // HAProxy's `option httpchk` with a path; with GET; load balancers of old.
            "OPTIONS /healthz HTTP/1.0\r\n\r\n",
            "GET /healthz HTTP/1.0\r\n\r\n",
            "GET /healthz HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
            "OPTIONS /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "GET /healthz?from=probe HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert_eq!(healthy(role, request), ("200".to_owned(), "ok\n".to_owned()), "{request:?}");
        }
        let (status, body) = healthy(role, "HEAD /healthz HTTP/1.0\r\n\r\n");
        assert_eq!((status.as_str(), body.as_str()), ("200", ""));
        for (request, status) in [
            ("OPTIONS /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
            ("GET /metrics HTTP/1.0\r\n\r\n", "505"),
            ("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
            ("POST /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
            ("GET /healthz HTTP/1.1\r\n\r\n", "400"),
            ("GET /healthz HTTP/1.0\r\nHost: a b\r\n\r\n", "400"),
            ("GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n", "505"),
        ] {
            assert_eq!(healthy(role, request).0, status, "{request:?}");
        }
    }
    // Where no numbers are served there is nothing to probe.
    assert_eq!(status("OPTIONS /healthz HTTP/1.0\r\n\r\n"), "405");
    assert_eq!(status("GET /healthz HTTP/1.0\r\n\r\n"), "505");
}

#[test]
fn a_target_may_be_absolute() {
    for (target, code) in [
        ("http://h/echo", "101"),
        ("https://h/echo", "101"),
        ("ws://h:8087/echo?x", "101"),
        ("wss://h/echo", "101"),
        ("HTTP://h/echo", "101"),
        ("Wss://[::1]:8087/echo", "101"),
        ("http://h", "101"),
        ("http://h?next=/nowhere", "101"),
        ("http://h/nowhere?next=/echo", "404"),
        ("http://h/echo/", "404"),
        ("ftp://h/echo", "404"),
        ("h/echo", "404"),
    ] {
        assert_eq!(status(&upgrade(&format!("GET {target} HTTP/1.1"), "h", KEY)), code, "{target}");
    }
}

#[test]
fn an_absolute_target_gives_hixie_its_location() {
    let hixie = |target: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n")
    };
    for (target, location) in [
        ("/echo?a=b", "ws://h/echo?a=b"),
        ("http://h/echo?a=b", "ws://h/echo?a=b"),
        ("http://h?next=/x", "ws://h/?next=/x"),
        ("ws://h", "ws://h/"),
    ] {
        let answer = answer(ECHO, &config(), &hixie(target));
        assert!(answer.contains(&format!("\r\nWebSocket-Location: {location}\r\n")), "{answer}");
    }
}

#[test]
fn one_empty_line_may_come_first() {
    let request = upgrade("GET /echo HTTP/1.1", "a", KEY);
    assert_eq!(status(&format!("\r\n{request}")), "101");
    assert_eq!(status(&format!("\r\n\r\n{request}")), "400");
    assert_eq!(status(&format!("\n{request}")), "400");
}

#[test]
fn a_key_is_the_base64_of_16_bytes_whatever_pads_its_last_letter() {
    for (key, code) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", "101"),
        ("dGhlIHNhbXBsZSBub25jZR==", "101"),
        ("AAAAAAAAAAAAAAAAAAAAAB==", "101"),
        ("AAAAAAAAAAAAAAAAAAAAA/==", "101"),
        ("AAAAAAAAAAAAAAAAAAAAAAA=", "400"),
        ("AAAAAAAAAAAAAAAAAAAAAA=", "400"),
        ("AAAAAAAAAAAAAAAAAAAAAA", "400"),
        ("AAAAAAAAAAAAAAAAAAAAA_==", "400"),
        ("", "400"),
    ] {
        let line = format!("Sec-WebSocket-Key: {key}\r\n");
        assert_eq!(status(&upgrade("GET /echo HTTP/1.1", "a", &line)), code, "{key}");
    }
    // The answer is made from the key as it came (RFC 6455 §4.2.2 item 5.4): no client is told another.
    let line = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB==\r\n";
    let answer = answer(ECHO, &config(), &upgrade("GET /echo HTTP/1.1", "a", line));
    assert!(answer.contains("\r\nSec-WebSocket-Accept: NRJrplgTSmBqvVaQhF+6peBS1S8=\r\n"), "{answer}");
}

/// web-socket-js of May 2011 encodes sixteen numbers in decimal: 37 bytes on average, 16 to 48 at the ends.
#[test]
fn a_key_of_the_old_drafts_may_be_longer() {
    let longest = "A".repeat(64);
    for (key, is_old) in [
        ("MTA0NjMxMTI3NDQ4MTk5ODcxMjAzMzU1NjcxMDE5MDgxMTgzMg==", true),
        ("MTIzNDU2Nzg5MDEyMzQ1Ng==", false),
        (&longest, true),
        ("AAAAAAAAAAAAAAAAAAAAAAAA", true),
    ] {
        for version in ["7", "8", "13"] {
            let line = format!("Sec-WebSocket-Key: {key}\r\n");
            let request = upgrade("GET /echo HTTP/1.1", "a", &line)
                .replace("Version: 13", &format!("Version: {version}"));
            let expected = if is_old && version == "13" { "400" } else { "101" };
            assert_eq!(status(&request), expected, "{key} in version {version}");
        }
    }
    for key in ["A".repeat(68), "AAAAAAAAAAAAAAAAAAAA".to_owned(), "MTA0NjMxMTI3NDQ4MTk5ODcxMj*=".to_owned()]
    {
        let line = format!("Sec-WebSocket-Key: {key}\r\n");
        let request = upgrade("GET /echo HTTP/1.1", "a", &line).replace("Version: 13", "Version: 7");
        assert_eq!(status(&request), "400", "{key}");
    }
    let line = "Sec-WebSocket-Key: MTA0NjMxMTI3NDQ4MTk5ODcxMjAzMzU1NjcxMDE5MDgxMTgzMg==\r\n";
    let request = upgrade("GET /echo HTTP/1.1", "a", line).replace("Version: 13", "Version: 7");
    let answer = answer(ECHO, &config(), &request);
    assert!(answer.contains("\r\nSec-WebSocket-Accept: mFBZ78tfFqiu6kfNE6lnkcYpsr0=\r\n"), "{answer}");
}

#[test]
fn a_host_may_have_a_zone() {
    for (host, code) in [
        ("[fe80::1%25eth0]", "101"),
        ("[fe80::1%eth0]:8087", "101"),
        ("[fe80::1%25wlp2s0.100]:8087", "101"),
        ("[fe80::1%]", "400"),
        ("[%25eth0]", "400"),
        ("[fe80::1%25eth 0]", "400"),
        ("[fe80::1%25eth0", "400"),
    ] {
        assert_eq!(status(&upgrade("GET /echo HTTP/1.1", host, KEY)), code, "{host}");
    }
}

#[test]
fn what_is_no_http_is_told_so_at_the_byte_that_proves_it() {
    for (said, why) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP request"),
        ("SSH-2.0-OpenSSH_9.2 Debian-2\r\n", "malformed request line"),
        ("GET /echo  HTTP/1.1\r\n", "malformed request line"),
        ("GET /echo\r\n", "malformed request line"),
        ("*1\r\n$4\r\nPING\r\n", "not an HTTP request"),
        ("EHLO mail.example\r\n", "malformed request line"),
        ("\r\n\r\n\0\r\nQUIT\n", "a PROXY header, which takes --proxy-protocol"),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a PROXY header, which takes --proxy-protocol"),
        ("PROXY UNKNOWN\r\n", "a PROXY header, which takes --proxy-protocol"),
    ] {
        let answer = answer(ECHO, &config(), said);
        let (status, _, body) = parts(&answer);
        assert_eq!((status, body), ("400", format!("{why}\n").as_str()), "{said:?}");
        assert!(!answer.contains("nginx"));
    }
}
