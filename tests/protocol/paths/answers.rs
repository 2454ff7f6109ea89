//! How a path decides the answer to a handshake.

use super::{FIN, answer, check, converse, frame, request, text, with};
use support::wire::ANSWER;
use wsecho::proto::handshake::{Paths, Routes};
use wsecho::reactor::config::Config;

#[test]
fn a_path_decides_how_the_handshake_is_answered() {
    for (path, lines, expected) in [
        (
            "/ws/status/503/header/Retry-After/1",
            "",
            &["HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n", "Content-Length: 22\r\n"][..],
        ),
        ("/ws/status/204", "", &["HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"]),
        ("/ws/status/205", "", &["HTTP/1.1 205 As Asked\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]),
        (
            "/ws/status/304/header/ETag/x",
            "",
            &["HTTP/1.1 304 Not Modified\r\nETag: x\r\nConnection: close\r\n\r\n"],
        ),
        (
            "/ws/status/401",
            "",
            &["HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"wsecho\"\r\n"],
        ),
        (
            "/ws/status/401/header/www-authenticate/Digest",
            "",
            &["HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Digest\r\nContent-Length: "],
        ),
        ("/ws/status/407", "", &["\r\nProxy-Authenticate: Basic realm=\"wsecho\"\r\n"]),
        ("/ws/status/405", "", &["HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"]),
        (
            "/ws/status/426",
            "",
            &[
                "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n",
                "\r\nConnection: close, Upgrade\r\n",
            ],
        ),
        ("/ws/status/101", "", &["HTTP/1.1 400 Bad Request\r\n"]),
        ("/ws/redirect/2/echo?x", "", &["HTTP/1.1 302 Found\r\nLocation: /ws/redirect/1/echo?x\r\n"]),
        ("/ws/redirect/0/echo", "", &[ANSWER]),
        ("/ws/redirect-to?url=%2Fecho", "", &["HTTP/1.1 302 Found\r\nLocation: /echo\r\n"]),
        (
            "/ws/basic-auth/a/b",
            "",
            &["HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"wsecho\""],
        ),
        ("/ws/basic-auth/a/b", "Authorization: basic  YTpi\r\n", &[ANSWER]),
        ("/ws/basic-auth/a/b", "Authorization: Basic YTpj\r\n", &["HTTP/1.1 401 "]),
        ("/ws/bearer/t", "Authorization: Bearer t\r\n", &[ANSWER]),
        (
            "/ws/bearer/t",
            "Authorization: Basic t\r\n",
            &["HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"wsecho\"\r\n"],
        ),
        ("/ws/bearer/t/status/418", "Authorization: Bearer t\r\n", &["HTTP/1.1 418 "]),
        ("/ws/subprotocol/mqtt", "", &["\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"]),
        ("/ws/no-subprotocol", "Sec-WebSocket-Protocol: a, b\r\n", &[ANSWER]),
        ("/ws/echo", "Sec-WebSocket-Protocol: a, b\r\n", &["\r\nSec-WebSocket-Protocol: a\r\n\r\n"]),
        ("/ws/header/Set-Cookie/a%3Db/header/X-Y/z", "", &["\r\nSet-Cookie: a=b\r\nX-Y: z\r\n\r\n"]),
        ("/ws/no-deflate", "Sec-WebSocket-Extensions: permessage-deflate\r\n", &[ANSWER]),
        ("/ws/nonsense", "", &["HTTP/1.1 404 Not Found\r\n", "Content-Type: text/plain"]),
        ("/ws/delay/x", "", &["HTTP/1.1 400 Bad Request\r\n"]),
    ] {
        let (head, _) = answer(&with(&request(path), lines), |_| {});
        for part in expected {
            assert!(head.contains(part), "{path}: {head}");
        }
    }
}

#[test]
fn credentials_come_first_then_redirects_then_a_status() {
    for (path, lines, expected) in [
        ("/ws/status/404/redirect/1/bearer/t", "", "HTTP/1.1 401 "),
        (
            "/ws/status/404/redirect/1/bearer/t/header/X-Y/z",
            "Authorization: Bearer t\r\n",
            "HTTP/1.1 302 Found\r\nLocation: /ws/status/404/bearer/t/header/X-Y/z\r\nX-Y: z\r\n",
        ),
        ("/ws/redirect/0/status/404", "", "HTTP/1.1 404 "),
    ] {
        let (head, _) = answer(&with(&request(path), lines), |_| {});
        assert!(head.contains(expected), "{path}: {head}");
    }
}

#[test]
fn only_who_asks_for_an_upgrade_is_answered_by_a_chain() {
    let plain = b"GET /ws/mute HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(answer(plain, |_| {}).0.starts_with("HTTP/1.1 426 "), "no upgrade");
    let redirect = b"GET /ws/redirect-to?url=http%3A%2F%2Felse HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(answer(redirect, |_| {}).0.starts_with("HTTP/1.1 426 "), "nobody else is redirected");
    assert!(
        answer(b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", |_| {}).0.starts_with("HTTP/1.1 200 OK"),
        "a page"
    );
}

#[test]
fn a_late_answer_takes_everything_with_it() {
    let hi = [(5, text("hi"))];
    check(&[
        ("/ws/handshake-delay/2/message/a", &hi, 2999, &[r"2000 101 \x81\x01a", r"2000 \x81\x02hi"]),
        ("/ws/handshake-delay/2", &hi, 2999, &["2000 101", r"2000 \x81\x02hi"]),
        ("/ws/handshake-delay/1/close", &[], 1999, &[r"1000 101 \x88\x00", "1000 FIN"]),
        ("/ws/handshake-stall", &hi, 99_999, &[]),
    ]);
    let glued = [request("/ws/handshake-delay/0/mute"), text("hi")].concat();
    assert_eq!(converse(&glued, &[(0, FIN)], 9), ["101", r"\x81\x02hi"]);
    let refused = converse(&request("/ws/status/404/handshake-delay/1"), &[], 9999);
    assert!(refused[0].starts_with("1000 HTTP/1.1 404 Not Found"), "{refused:?}");
    assert_eq!(refused[1..], ["1000 FIN"]);
}

#[test]
fn the_option_the_origin_and_other_paths_come_first() {
    let routes = |change: fn(&mut Routes)| move |config: &mut Config| change(&mut config.routes);
    let mute = request("/ws/mute");
    let (head, _) = answer(&mute, routes(|routes| routes.test_paths = false));
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let (head, _) =
        answer(&request("/ws/status/503"), routes(|routes| routes.origins = vec!["http://a".to_owned()]));
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    let (head, _) = answer(&request("/ws/nonsense"), routes(|routes| routes.echo_paths = Paths::Any));
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[test]
fn what_breaks_the_context_of_a_compressor_declines_it() {
    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let agreed = |path: &str| {
        let (head, _) = answer(&with(&request(path), OFFER), |_| {});
        let line = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        line.map(str::to_owned)
    };
    for path in [
        "/ws",
        "/ws/mute",
        "/ws/fragment/2",
        "/ws/latency/1",
        "/ws/after/1/bad-frame/deflate",
        "/ws/deflate/",
    ] {
        assert_eq!(agreed(path).as_deref(), Some("permessage-deflate"), "{path}");
    }
    for path in
        ["/ws/sink", "/ws/size", "/ws/limit/9", "/ws/unfinished", "/ws/bad-frame/rsv1", "/ws/no-deflate"]
    {
        assert_eq!(agreed(path), None, "{path}");
    }
    let bits = "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9";
    let path = "/ws/deflate/server_max_window_bits%3D10;client_max_window_bits=9";
    assert_eq!(agreed(path).as_deref(), Some(bits));
    let (head, _) = answer(&with(&request("/ws/mute"), OFFER), |config| config.routes.deflate = false);
    assert_eq!(head, ANSWER);
    // Compressed messages come back as they are, in fragments too, and a message of the server's own is not compressed.
    let compressed = [(1, frame(0xC1, "abc"))];
    let says = converse(&with(&request("/ws/message/x/fragment/2"), OFFER), &compressed, 9);
    assert_eq!(says[1..], [r"1 A\x02ab\x80\x01c"]);
    assert!(says[0].ends_with(r"\x81\x01x"), "{}", says[0]);
}
