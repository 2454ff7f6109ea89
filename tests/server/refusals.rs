//! Every HTTP answer that is not 101, raw to raw: the bytes of a request, the bytes of the whole answer, a FIN.

use support::client::*;
use support::server::Server;

fn server(options: &[&str]) -> Server {
    Server::start(&[&["--policy", "off", "--log-level", "debug"], options].concat())
}

/// The answer with this status line (and its own headers) and this body.
fn answer(status: &str, text: &str) -> String {
    if text.is_empty() {
        return format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let length = text.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\n"
    )
}

fn bad(text: &str) -> String {
    answer("400 Bad Request", text)
}

const NOT_HTTP: &str = "not an HTTP request";
const REQUEST_LINE: &str = "malformed request line";
const NAME: &str = "malformed header name";
const VALUE: &str = "malformed header value";
const BARE_LF: &str = "line of the request head not ended by CR LF";
const BARE_CR: &str = "CR without LF in the request head";
const FOLDED: &str = "folded header line";
const NUL: &str = "NUL in the request head";
const HOST: &str = "Host is not a host and port";
const BODY: &str = "a request here has no body";
const KEY: &str = "Sec-WebSocket-Key is not the base64 of 16 bytes";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 49\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\nnothing is served here; open / for the test page\n";
const PLAIN: &str = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 78\r\nConnection: close, Upgrade\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\n\
    this is a WebSocket endpoint: connect with ws://, or open / for the test page\n";
const VERSION: &str = "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13, 8, 7\r\nUpgrade: websocket\r\n\
    Content-Length: 66\r\nConnection: close, Upgrade\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
    this server speaks versions 13, 8 and 7 of the WebSocket protocol\n";
const TOO_LARGE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 55\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\na request head may have 8192 bytes and 64 headers here\n";
const HTTP_VERSION: &str = "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 72\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\n\
    WebSocket needs HTTP/1.1; behind nginx that is `proxy_http_version 1.1`\n";
const METHOD: &str = "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 34\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\nonly GET and HEAD are served here\n";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 28\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\nthis Origin may not connect\n";

/// Sends `request` in one piece, with another request and a frame glued to it that nobody may answer, and reads `answer`
/// and a FIN.
fn is_answered(server: &Server, why: &str, request: impl AsRef<[u8]>, answer: &str) {
    let mut client = Client::connect(server.echo);
    client.send([request.as_ref(), upgrade("/echo", "").as_bytes(), &frame(FIN | TEXT, b"Hello")].concat());
    let got = client.rest();
    assert!(got == answer.as_bytes(), "{why}: {} is answered with {}", shown(request.as_ref()), shown(&got));
}

/// The same for `upgrade("/echo")` with `from` replaced by `to`.
fn changed(server: &Server, from: &str, to: &str, answer: &str) {
    let request = upgrade("/echo", "");
    assert_eq!(request.matches(from).count(), 1, "the request has {from:?} once");
    is_answered(server, &format!("{from:?} -> {to:?}"), request.replace(from, to), answer);
}

const HOST_LINE: &str = "Host: localhost\r\n";
const KEY_VALUE: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const KEY_LINE: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION_LINE: &str = "Sec-WebSocket-Version: 13\r\n";

#[test]
fn a_head_that_is_not_http_is_400() {
    let server = server(&[]);
    for (from, to, why) in [
        ("GET", "\r\n\r\nGET", NOT_HTTP),
        ("GET", " GET", NOT_HTTP),
        ("GET", "\0GET", NOT_HTTP),
        ("GET", "\u{e9}", NOT_HTTP),
        ("GET", "{}", NOT_HTTP),
        ("GET /echo", "G(T /echo", REQUEST_LINE),
        ("GET /echo", "GET", REQUEST_LINE),
        ("GET /echo", "GET  /echo", REQUEST_LINE),
        ("/echo HTTP/1.1", "/echo\tHTTP/1.1", REQUEST_LINE),
        ("/echo", "/e\x1bcho", REQUEST_LINE),
        ("/echo", "/e\x7fcho", REQUEST_LINE),
        ("/echo HTTP/1.1", "/echo  HTTP/1.1", REQUEST_LINE),
        ("/echo HTTP/1.1", "/echo HTTP/1.1 ", REQUEST_LINE),
        ("HTTP/1.1", "http/1.1", REQUEST_LINE),
        ("HTTP/1.1", "HTTP/11", REQUEST_LINE),
        ("HTTP/1.1\r\n", "HTTP/1.1\n", BARE_LF),
        (HOST_LINE, "Host: localhost\n", BARE_LF),
        ("\r\n\r\n", "\r\n\n", BARE_LF),
        ("\r\n\r\n", "\n\n", BARE_LF),
        (HOST_LINE, "Host: local\rhost\r\n", BARE_CR),
        ("\r\n\r\n", "\r\n\rX", BARE_CR),
        (HOST_LINE, "Host: localhost\r\n folded\r\n", FOLDED),
        (HOST_LINE, "Host: localhost\r\n\tfolded\r\n", FOLDED),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\n X: y\r\n", FOLDED),
        ("localhost", "local\0host", NUL),
        ("/echo", "/ec\0ho", NUL),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\n: empty\r\n", NAME),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\nX : space\r\n", NAME),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\nX(: y\r\n", NAME),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\n\u{e9}: y\r\n", NAME),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\nno colon\r\n", NAME),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\nX: \x7f\r\n", VALUE),
        ("HTTP/1.1\r\n", "HTTP/1.1\r\nX: \x1b[2J\r\n", VALUE),
    ] {
        changed(&server, from, to, &bad(why));
    }
    for (request, why) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            "this port speaks plain HTTP and ws://, not TLS",
        ),
        (b"\x05\x01\x00", NOT_HTTP),
        (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", NOT_HTTP),
        (b"SSH-2.0-OpenSSH_9.2\r\n", NOT_HTTP),
    ] {
        is_answered(&server, "another protocol", request, &bad(why));
    }
}

#[test]
fn a_host_that_is_missing_or_repeated_or_odd_is_400() {
    let server = server(&[]);
    changed(&server, HOST_LINE, "", &bad("Host is missing"));
    changed(&server, HOST_LINE, "Host: a\r\nHost: a\r\n", &bad("more than one Host"));
    changed(&server, HOST_LINE, "Host: a\r\nhost: b\r\n", &bad("more than one Host"));
    for host in
        ["", "a b", "a, b", "[::1", "[]", "a:b", ":80", "a/b", "user@a", "\u{e9}", "a:1:2", "http://a"]
    {
        changed(&server, "localhost", host, &bad(HOST));
    }
    for host in ["[::1]:8087", "127.0.0.1", "a:", "EXAMPLE.com.:80"] {
        let mut client = Client::connect(server.echo);
        client.send(upgrade("/echo", "").replace("localhost", host));
        client.expect(SWITCHING);
    }
}

#[test]
fn a_body_is_400_and_never_frames() {
    let server = server(&[]);
    for lines in [
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +0\r\n",
        "Content-Length: 1e30\r\n",
        "Content-Length:\r\n",
        "Content-Length: 0, 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    ] {
        is_answered(&server, lines, upgrade("/echo", lines), &bad(BODY));
    }
    let mut client = Client::connect(server.echo);
    client.send(upgrade("/echo", "Content-Length: 0\r\n"));
    client.expect(SWITCHING);
}

#[test]
fn a_key_that_is_not_16_bytes_is_400() {
    let server = server(&[]);
    for key in [
        "",
        "x",
        "AAAAAAAAAAAAAAAAAAAA",
        "//////////////////////8=",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZ!==",
        "dGhlIHNhbXBs SBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        &"A".repeat(4096),
    ] {
        changed(&server, KEY_VALUE, key, &bad(KEY));
    }
    changed(&server, KEY_LINE, "", &bad("Sec-WebSocket-Key is missing"));
    changed(&server, KEY_LINE, &KEY_LINE.repeat(2), &bad("more than one Sec-WebSocket-Key"));
    let mut client = Client::connect(server.echo);
    client.send(upgrade("/echo", "").replace(KEY_VALUE, " \tdGhlIHNhbXBsZSBub25jZQ== \t"));
    client.expect(SWITCHING);
}

#[test]
fn a_subprotocol_list_is_answered_with_its_first_or_refused() {
    let server = server(&[]);
    for (lines, first) in [
        ("Sec-WebSocket-Protocol: superchat, chat\r\n", "superchat"),
        ("Sec-WebSocket-Protocol: ,, chat,\r\n", "chat"),
        ("Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Protocol: a\r\n", "b"),
        ("Sec-WebSocket-Protocol: \r\n", ""),
        ("Sec-WebSocket-Protocol: ,,,,\r\n", ""),
        ("Sec-WebSocket-Extensions: x-webkit-deflate-frame; b=\"\\c\\c\\c\r\n", ""),
    ] {
        let mut client = Client::connect(server.echo);
        client.send(upgrade("/echo", lines));
        if first.is_empty() {
            client.expect(SWITCHING);
        } else {
            client.expect(SWITCHING.trim_end());
            client.expect(format!("\r\nSec-WebSocket-Protocol: {first}\r\n\r\n"));
        }
        client.echo("and nothing else was said");
    }
    for name in ["a b", "a\"b", "a/b, c", "\u{e9}"] {
        let lines = format!("Sec-WebSocket-Protocol: {name}\r\n");
        is_answered(
            &server,
            name,
            upgrade("/echo", &lines),
            &bad("Sec-WebSocket-Protocol is not a list of tokens"),
        );
    }
}

#[test]
fn another_path_is_404_and_one_line_in_the_log() {
    let server = server(&[]);
    for (target, logged) in [
        ("/nowhere", "/nowhere"),
        ("/echo/", "/echo/"),
        ("/Echo", "/Echo"),
        ("/query?a=b", "/query"),
        ("http://localhost/absolute", "/absolute"),
        ("/%0d%0aSet-Cookie:x", "/%0d%0aSet-Cookie:x"),
        ("/quote'", r"/quote\'"),
        ("/caf\u{e9}", r"/caf\xc3\xa9"),
        ("*", "*"),
    ] {
        is_answered(&server, target, upgrade(target, ""), NOT_FOUND);
        server.wait_for(&format!("404 {logged} ("));
    }
}

#[test]
fn the_path_is_decided_before_anything_about_websocket() {
    let server = server(&[]);
    is_answered(&server, "no upgrade", "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n", NOT_FOUND);
    is_answered(&server, "no key", upgrade("/nokey", "").replace(KEY_LINE, ""), NOT_FOUND);
    is_answered(&server, "version", upgrade("/version", "").replace(": 13", ": 99"), NOT_FOUND);
    is_answered(&server, "long", upgrade(&format!("/{}", "l".repeat(5000)), ""), NOT_FOUND);
    let long = server.wait_for("404 /lll");
    assert!(long.contains("lll... (127.0.0.1:") && long.len() < 300, "{long}");
    let lines: Vec<String> = server.lines().into_iter().filter(|line| line.contains(": 404 ")).collect();
    assert_eq!(lines.len(), 4, "a line each: {lines:?}");
    for line in lines {
        assert!(line.starts_with("wsecho: 404 /") && line.is_ascii(), "{line}");
    }
}

#[test]
fn another_method_is_405() {
    let server = server(&[]);
    for method in ["POST", "PUT", "OPTIONS", "DELETE", "CONNECT", "get", "BREW"] {
        changed(&server, "GET", method, METHOD);
    }
    is_answered(&server, "a form", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=b", METHOD);
}

#[test]
fn a_plain_request_for_an_echo_path_is_426() {
    let server = server(&[]);
    is_answered(&server, "plain", "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", PLAIN);
    is_answered(&server, "plain, with a query", "GET /echo?x HTTP/1.1\r\nHost: a\r\n\r\n", PLAIN);
    for (from, to) in [
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"),
        ("Upgrade: websocket\r\n", "Upgrade: websockets\r\n"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade\r\n", "Connection: keep-alive\r\n"),
    ] {
        changed(&server, from, to, PLAIN);
    }
    for (from, to) in [
        ("Upgrade: websocket\r\n", "upgrade: h2c, WebSocket\r\n"),
        ("Connection: Upgrade\r\n", "CONNECTION: keep-alive\r\nConnection: x, uPGRADE ,\r\n"),
    ] {
        let mut client = Client::connect(server.echo);
        client.send(upgrade("/echo", "").replace(from, to));
        client.expect(SWITCHING);
    }
}

#[test]
fn another_version_is_426_with_the_list_of_ours() {
    let server = server(&[]);
    for version in ["0", "6", "9", "12", "14", "13, 8", "abc", "", "013", "13.0", "-13", "1 3"] {
        let line = format!("Sec-WebSocket-Version: {version}\r\n");
        changed(&server, VERSION_LINE, &line, VERSION);
    }
    changed(&server, VERSION_LINE, "", VERSION);
    changed(&server, VERSION_LINE, &VERSION_LINE.repeat(2), VERSION);
    changed(&server, VERSION_LINE, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n", VERSION);
}

#[test]
fn a_head_beyond_8192_bytes_or_64_headers_is_431() {
    let server = server(&[]);
    let padded = |size: usize| {
        let rest = upgrade("/echo", "X: \r\n").len();
        upgrade("/echo", &format!("X: {}\r\n", "x".repeat(size - rest)))
    };
    assert_eq!(padded(8192).len(), 8192);
    let mut client = Client::connect(server.echo);
    client.send(padded(8192));
    client.expect(SWITCHING);
    is_answered(&server, "8193 bytes", padded(8193), TOO_LARGE);
    // No end in sight: the answer comes at the limit.
    let mut client = Client::connect(server.echo);
    client.send(&padded(8193)[..8192]);
    assert_eq!(client.rest(), TOO_LARGE.as_bytes());
    for request in [
        upgrade(&format!("/{}", "u".repeat(65536)), ""),
        upgrade("/echo", &"X: 0123456\r\n".repeat(20_000)),
        format!("GET / HTTP/1.1\r\n{}: x\r\n\r\n", "N".repeat(9000)),
    ] {
        is_answered(&server, "far too long", request, TOO_LARGE);
    }
    // The request has five headers of its own.
    let mut client = Client::connect(server.echo);
    client.send(upgrade("/echo", &"X: y\r\n".repeat(59)));
    client.expect(SWITCHING);
    is_answered(&server, "65 headers", upgrade("/echo", &"X: y\r\n".repeat(60)), TOO_LARGE);
    is_answered(&server, "1000 headers", upgrade("/echo", &"X: y\r\n".repeat(1000)), TOO_LARGE);
}

#[test]
fn another_version_of_http_is_505_with_a_hint() {
    let server = server(&[]);
    for version in ["HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/9.9"] {
        changed(&server, "HTTP/1.1", version, HTTP_VERSION);
    }
    is_answered(&server, "HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_VERSION);
    is_answered(&server, "no Host", "GET / HTTP/1.0\r\n\r\n", HTTP_VERSION);
}

#[test]
fn an_origin_that_is_not_on_the_list_is_403() {
    let server = server(&["--origin", "https://good.example", "--origin", "http://localhost:3000"]);
    let request =
        |version: &str, lines: &str| upgrade("/echo", lines).replace(": 13", &format!(": {version}"));
    for (version, lines) in [
        ("13", ""),
        ("13", "Origin: https://evil.example\r\n"),
        ("13", "Origin: null\r\n"),
        ("13", "Origin: https://good.example:443\r\n"),
        ("13", "Origin: https://good.example.evil.example\r\n"),
        ("13", "Origin: HTTPS://good.example\r\n"),
        ("13", "Origin: https://good.example\r\nOrigin: https://good.example\r\n"),
        ("13", "Sec-WebSocket-Origin: https://good.example\r\n"),
        ("8", ""),
        ("8", "Sec-WebSocket-Origin: https://evil.example\r\n"),
        ("7", "Sec-WebSocket-Origin: https://evil.example\r\nOrigin: https://good.example\r\n"),
        (
            "7",
            "Sec-WebSocket-Origin: https://evil.example\r\nSec-WebSocket-Origin: https://good.example\r\n\
             Origin: https://good.example\r\n",
        ),
    ] {
        is_answered(&server, &format!("{version} {lines}"), request(version, lines), FORBIDDEN);
    }
    for (version, lines) in [
        ("13", "Origin: https://good.example\r\n"),
        ("13", "origin:http://localhost:3000\r\n"),
        ("8", "Sec-WebSocket-Origin: https://good.example\r\n"),
        ("7", "Sec-WebSocket-Origin: http://localhost:3000\r\n"),
        ("7", "Origin: https://good.example\r\n"),
    ] {
        let mut client = Client::connect(server.echo);
        client.send(request(version, lines));
        client.expect(SWITCHING);
        client.echo("let in");
    }
    // Without a list everybody is.
    let open = Server::start(&["--policy", "off"]);
    let mut client = Client::connect(open.echo);
    client.send(upgrade("/echo", "Origin: https://evil.example\r\n"));
    client.expect(SWITCHING);
}

#[test]
fn a_browser_is_given_the_page() {
    let server = server(&[]);
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /?from=somewhere HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nAccept: text/html\r\n\r\n",
        &upgrade("/", "").replace("Upgrade: websocket", "Upgrade: h2c"),
    ] {
        let mut client = Client::connect(server.echo);
        client.send([request, request].concat());
        let answer = String::from_utf8(client.rest()).expect("text");
        let (head, page) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"), "{head}");
        assert!(
            head.contains("\r\nConnection: close")
                && head.contains("\r\nContent-Security-Policy: default-src 'none'")
        );
        assert!(
            head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())),
            "one page and no second: {head}"
        );
        assert!(page.starts_with("<!") && page.trim_end().ends_with("</html>"));
    }
}

#[test]
fn a_refusal_does_not_wait_for_more_than_proves_it() {
    let server = server(&[]);
    let get = "GET /echo HTTP/1.1\r\n";
    for (said, why) in [
        ("\x16".to_owned(), "this port speaks plain HTTP and ws://, not TLS"),
        (" ".to_owned(), NOT_HTTP),
        ("SSH-2.0-OpenSSH_9.2\r".to_owned(), NOT_HTTP),
        ("GET /echo  ".to_owned(), REQUEST_LINE),
        ("GET /echo HTTP/1.1\n".to_owned(), BARE_LF),
        (format!("{get}Host: a\n"), BARE_LF),
        (format!("{get} "), FOLDED),
        (format!("{get}Host: a\rb"), BARE_CR),
        (format!("{get}Host: \0"), NUL),
    ] {
        let (before, last) = said.split_at(said.len() - 1);
        let mut client = Client::connect(server.echo);
        client.send(before);
        client.expect_nothing();
        client.send(last);
        client.expect(bad(why));
        client.expect_eof();
    }
}

#[test]
fn a_head_that_drips_is_answered_as_one_in_one_piece() {
    let server = server(&[]);
    let requests = [
        (upgrade("/echo", "Content-Length: 5\r\n"), bad(BODY)),
        (upgrade("/drip", ""), NOT_FOUND.to_owned()),
        (upgrade("/echo", "").replace(": 13", ": 14"), VERSION.to_owned()),
        (format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(8192 - 19)), TOO_LARGE.to_owned()),
    ];
    for (request, answer) in requests {
        let mut client = Client::connect(server.echo);
        for byte in request.bytes() {
            client.send([byte]);
        }
        client.expect(&answer);
        client.expect_eof();
    }
}

#[test]
fn a_refused_client_gets_its_answer_whatever_it_still_sends() {
    let server = server(&[]);
    for (request, answer) in [
        (upgrade("/nowhere", ""), NOT_FOUND),
        (format!("{}\0", &upgrade("/", "")[..30]), bad(NUL).as_str()),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), HTTP_VERSION),
    ] {
        let mut client = Client::connect(server.echo);
        let mut writer = client.twin();
        std::thread::scope(|scope| {
            scope.spawn(move || writer.send([request.as_bytes(), &[b'x'; 1 << 20]].concat()));
            client.expect(answer);
            client.expect_eof();
        });
    }
}
