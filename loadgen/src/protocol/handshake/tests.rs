//! Requests and answers, good and bad.

use super::*;

/// The example of RFC 6455 section 1.3; its nonce is "the sample nonce".
const NONCE: u128 = u128::from_be_bytes(*b"the sample nonce");

#[test]
fn the_rfcs_key_has_the_rfcs_accept() {
    assert_eq!(key(NONCE), "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(accept_for(&key(NONCE)), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

fn url() -> Url {
    Url::parse("ws://127.0.0.1:9/echo?x=1").unwrap()
}

fn extras(draft: Draft) -> Extras {
    Extras { draft, ..Extras::default() }
}

/// What every cut of `good` means: more is needed until all is there.
fn assert_upgrades(good: &[u8], extras: &Extras) {
    let read = |input: &[u8]| response(input, &url(), extras, NONCE, false);
    assert_eq!(read(good), Ok(Some(good.len())));
    assert_eq!(read(&[good, b"\x00"].concat()), Ok(Some(good.len())));
    for short in 0..good.len() {
        assert_eq!(read(&good[..short]), Ok(None));
    }
}

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn reason(answer: Result<Option<usize>, Refusal>) -> String {
    answer.expect_err("it is refused").reason
}

#[test]
fn only_the_right_answer_upgrades() {
    let extras = Extras { subprotocols: Some("chat, superchat".into()), ..Extras::default() };
    assert_upgrades(GOOD.as_bytes(), &extras);
    let read = |input: &str| response(input.as_bytes(), &url(), &extras, NONCE, false);
    // Other ways of saying the same.
    for (from, to) in [
        ("Upgrade: websocket", "UPGRADE:   WebSocket  "),
        ("Connection: Upgrade", "Connection: keep-alive, upgrade"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: UPGRADE"),
        ("HTTP/1.1 101 Switching Protocols", "HTTP/1.1 101"),
        ("Upgrade: websocket", "Upgrade: websocket\r\nSec-WebSocket-Protocol: superchat"),
        ("Upgrade: websocket", "Upgrade: websocket\r\nSec-WebSocket-Extensions:"),
    ] {
        let answer = GOOD.replacen(from, to, 1);
        assert_eq!(read(&answer), Ok(Some(answer.len())), "{to}");
    }
    // RFC 6455 section 4.1, items 2 to 6 of what a client has to check, each in the first and in a second line.
    let two = |name: &str, value: &str| format!("Upgrade: websocket\r\n{name}: {value}");
    for (from, to, why) in [
        ("Upgrade: websocket\r\n", "", "no Upgrade"),
        ("Upgrade: websocket", "Upgrade: websocket2", "wrong Upgrade"),
        ("Upgrade: websocket", "Upgrade: websocket, h2c", "wrong Upgrade"),
        ("Upgrade: websocket", &two("Upgrade", "h2c"), "wrong Upgrade"),
        ("Connection: Upgrade\r\n", "", "no Connection"),
        ("Connection: Upgrade", "Connection: close", "wrong Connection"),
        ("Connection: Upgrade", "Connection: Upgraded", "wrong Connection"),
        ("sec-websocket-accept: s3p", "sec-websocket-accept: t3p", "wrong Sec-WebSocket-Accept"),
        ("sec-websocket-accept", "x-accept", "no Sec-WebSocket-Accept"),
        ("Upgrade: websocket", &two("Sec-WebSocket-Accept", "s3p"), "more than one Sec-WebSocket-Accept"),
        ("HTTP/1.1", "HTTP/1.0", "a 101 of HTTP/1.0, which has none"),
    ] {
        let answer = GOOD.replacen(from, to, 1);
        assert_ne!(answer, GOOD);
        assert_eq!(reason(read(&answer)), format!("upgrade: {why}"), "{to}");
    }
    let other = response(GOOD.as_bytes(), &url(), &extras, NONCE + 1, false);
    assert_eq!(reason(other), "upgrade: wrong Sec-WebSocket-Accept");
}

#[test]
fn what_was_not_offered_cannot_be_chosen() {
    let extras = Extras { subprotocols: Some("chat, superchat".into()), ..Extras::default() };
    let two = |name: &str, value: &str| format!("Upgrade: websocket\r\n{name}: {value}");
    for (lines, why) in [
        (two("Sec-WebSocket-Extensions", "x"), "an extension was agreed to that was not offered"),
        (
            two("Sec-WebSocket-Extensions", "\r\nSec-WebSocket-Extensions: permessage-deflate"),
            "an extension was agreed to that was not offered",
        ),
        (two("Sec-WebSocket-Protocol", "mqtt"), "a subprotocol was chosen that was not offered"),
        (two("Sec-WebSocket-Protocol", "CHAT"), "a subprotocol was chosen that was not offered"),
        (two("Sec-WebSocket-Protocol", ""), "a subprotocol was chosen that was not offered"),
        (
            two("Sec-WebSocket-Protocol", "chat\r\nSec-WebSocket-Protocol: mqtt"),
            "more than one subprotocol was chosen",
        ),
    ] {
        let answer = GOOD.replacen("Upgrade: websocket", &lines, 1);
        assert_eq!(
            reason(response(answer.as_bytes(), &url(), &extras, NONCE, false)),
            format!("upgrade: {why}"),
            "{lines}"
        );
    }
    let none_offered = response(
        GOOD.replacen("Upgrade: websocket", &two("Sec-WebSocket-Protocol", "chat"), 1).as_bytes(),
        &url(),
        &Extras::default(),
        NONCE,
        false,
    );
    assert_eq!(reason(none_offered), "upgrade: a subprotocol was chosen that was not offered");
}

#[test]
fn interim_answers_and_many_lines_are_read_over() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    assert_upgrades(
        format!("{early}HTTP/1.1 100 Continue\r\n\r\n{early}{GOOD}").as_bytes(),
        &Extras::default(),
    );
    let many = |n| GOOD.replacen("Upgrade", &format!("{}Upgrade", "X-Line: 1\r\n".repeat(n)), 1);
    for n in [60, 61, 62, 70, 1000] {
        assert_eq!(many(n).parse_as_answer(), Ok(Some(many(n).len())), "{n}");
    }
    assert_eq!(many(2000)[..HEAD_MAX + 1].parse_as_answer(), Err("upgrade: endless head".into()));
    assert_eq!(early.repeat(400)[..HEAD_MAX + 1].parse_as_answer(), Err("upgrade: endless head".into()));
    let endless = format!("HTTP/1.1 101 X\r\nA: {}", "a".repeat(HEAD_MAX));
    assert_eq!(endless.parse_as_answer(), Err("upgrade: endless head".into()));
}

trait ParseAsAnswer {
    fn parse_as_answer(&self) -> Result<Option<usize>, String>;
}

impl ParseAsAnswer for str {
    fn parse_as_answer(&self) -> Result<Option<usize>, String> {
        response(self.as_bytes(), &url(), &Extras::default(), NONCE, false).map_err(|refusal| refusal.reason)
    }
}

#[test]
fn a_refusal_says_what_the_server_said() {
    let url = Url::parse("ws://ann:p4ss@h/?token=t0ken").unwrap();
    let extras = Extras { headers: vec!["Cookie: id=c00kie".into()], ..Extras::default() };
    let page = format!("HTTP/1.1 200 OK\r\n\r\n{}", "é<p>\x1b[31m".repeat(100));
    for (answer, ended, why, said) in [
        (
            &*page,
            false,
            "HTTP 200 OK: this is no WebSocket server, or none at this path",
            Some(r"é<p>\u{1b}[31mé<p>"),
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            false,
            "HTTP 404 Not Found: there is no WebSocket at this path",
            None,
        ),
        ("HTTP/1.1 418 \x1b[2J\r\n\r\n", true, "not HTTP", Some(r"HTTP/1.1 418 \u{1b}[2J\r\n\r\n")),
        ("HTTP/1.0 503\r\nContent-Length: 5\r\n\r\nsorry", false, "HTTP 503", Some("sorry")),
        ("HTTP/1.1 503 X\r\n\r\n", true, "HTTP 503 X", None),
        (
            "HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\noops\r\n0\r\n\r\n",
            false,
            "HTTP 500 X",
            Some("oops"),
        ),
        (
            "HTTP/1.1 301 Moved\r\nLocation: wss://h/?token=t0ken\r\nContent-Length: 0\r\n\r\n",
            false,
            "HTTP 301 Moved: it redirects; name the URL it redirects to",
            Some("Location: wss://h/?token=***"),
        ),
        (
            "HTTP/1.1 500 X\r\nContent-Length: 60\r\n\r\nYou sent Basic YW5uOnA0c3M= that is p4ss, and id=c00kie, dear",
            false,
            "HTTP 500 X",
            Some("You sent Basic *** that is ***, and ***, dear"),
        ),
        ("SSH-2.0-OpenSSH\r\n", false, "not HTTP", Some(r"SSH-2.0-OpenSSH\r\n")),
        ("HTTP/1.1 101 Sw", true, "ended by the server within its answer", Some("HTTP/1.1 101 Sw")),
        ("", true, "ended by the server without an answer", None),
    ] {
        let refusal = response(answer.as_bytes(), &url, &extras, NONCE, ended).expect_err(answer);
        assert_eq!(refusal.reason, format!("upgrade: {why}"), "{answer:?}");
        match said {
            None => assert_eq!(refusal.answer, None),
            Some(said) => assert!(refusal.answer.as_ref().unwrap().starts_with(said), "{refusal:?}"),
        }
        assert!(refusal.answer.is_none_or(|answer| answer.len() <= 4 * QUOTED));
    }
    let tls = response(b"\x15\x03\x01\0\x02\x02\x46", &url, &extras, NONCE, false).unwrap_err();
    assert_eq!(tls.reason, "upgrade: not HTTP: the server speaks TLS (wss://)");
    // Until the body is there, more may come.
    for short in ["HTTP/1.1 404 X\r\n\r\n", "HTTP/1.1 404 X\r\nContent-Length: 5\r\n\r\nsorr"] {
        assert_eq!(response(short.as_bytes(), &url, &extras, NONCE, false), Ok(None));
    }
}

#[test]
fn the_users_lines_stand_in_the_place_of_ours() {
    let lines = |headers: &[&str]| {
        let headers = headers.iter().map(|line| (*line).to_owned()).collect();
        let extras = Extras { headers, origin: Some("http://o".into()), ..Extras::default() };
        let url = Url::parse("ws://u:p@h/").unwrap();
        let request = String::from_utf8(request(&url, &extras, NONCE)).unwrap();
        request.lines().skip(1).map(str::to_owned).collect::<Vec<_>>().join("|")
    };
    let all = "Upgrade: websocket|Connection: Upgrade|Host: h|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|\
               Sec-WebSocket-Version: 13|Origin: http://o|Authorization: Basic dTpw|";
    assert_eq!(lines(&[]), all);
    for own in [
        "host: a.example",
        "Origin: null",
        "CONNECTION: keep-alive, Upgrade",
        "Authorization: Bearer x",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "sec-websocket-version: 12",
        "Upgrade: WebSocket",
    ] {
        let name = own.split(':').next().unwrap();
        let ours = all.split('|').find(|line| line.to_lowercase().starts_with(&name.to_lowercase())).unwrap();
        assert_eq!(lines(&[own]), all.replace(ours, own));
    }
    assert_eq!(lines(&["X: 1", "X: 2"]), format!("{all}X: 1|X: 2|").replace("||", "|"));
    // And what is checked is what was sent.
    let extras =
        Extras { headers: vec!["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==".into()], ..Extras::default() };
    assert_eq!(response(GOOD.as_bytes(), &url(), &extras, NONCE + 1, false), Ok(Some(GOOD.len())));
    let extras = Extras { headers: vec!["Sec-WebSocket-Protocol: mqtt".into()], ..Extras::default() };
    let chosen = GOOD.replacen("Upgrade", "Sec-WebSocket-Protocol: mqtt\r\nUpgrade", 1);
    assert_eq!(response(chosen.as_bytes(), &url(), &extras, NONCE, false), Ok(Some(chosen.len())));
}

#[test]
fn deflate_has_to_be_agreed_to() {
    let extras = Extras { deflate: true, ..Extras::default() };
    let read = |answer: &str, extras: &Extras| response(answer.as_bytes(), &url(), extras, NONCE, false);
    let agreed =
        GOOD.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {}\r\n\r\n", deflate::OFFER));
    assert_upgrades(agreed.as_bytes(), &extras);
    assert_eq!(reason(read(GOOD, &extras)), "upgrade: permessage-deflate was not agreed to");
    let unasked = "upgrade: an extension was agreed to that was not offered";
    assert_eq!(reason(read(&agreed, &Extras::default())), unasked);
}

/// The whole of what goes out, but for the keys, which are different every time.
#[test]
fn requests_are_their_drafts() {
    let head = |draft| {
        let extras = Extras { subprotocols: Some("a".into()), headers: vec!["X: y".into()], ..extras(draft) };
        let extras = Extras { origin: Some("http://o".into()), ..extras };
        request(&url(), &extras, NONCE)
    };
    let begin =
        "GET /echo?x=1 HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: 127.0.0.1:9\r\n";
    let challenge = Challenge::new(NONCE);
    let (key1, key2) = (&challenge.key1, &challenge.key2);
    let rest = "Protocol: a\r\nOrigin: http://o\r\nX: y\r\n\r\n";
    assert_eq!(head(Draft::Hixie75), format!("{begin}WebSocket-{rest}").as_bytes());
    let keys = format!("Sec-WebSocket-Key1: {key1}\r\nSec-WebSocket-Key2: {key2}\r\n");
    let whole = [format!("{begin}{keys}Sec-WebSocket-{rest}").as_bytes(), &challenge.key3].concat();
    assert_eq!(head(Draft::Hixie76), whole);
    let begin = begin.replace("WebSocket", "websocket") + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (draft, version, origin) in [
        (Draft::Rfc6455, "13", ""),
        (Draft::Hybi8, "8", "Sec-WebSocket-"),
        (Draft::Hybi7, "7", "Sec-WebSocket-"),
    ] {
        let rest = rest.replace("Origin", &format!("{origin}Origin"));
        let whole = format!("{begin}Sec-WebSocket-Version: {version}\r\nSec-WebSocket-{rest}");
        assert_eq!(head(draft), whole.as_bytes(), "{draft:?}");
    }
}

#[test]
fn hixie_answers_name_the_origin_and_the_location_and_76_has_a_digest() {
    for (draft, prefix) in [(Draft::Hixie75, ""), (Draft::Hixie76, "Sec-")] {
        let head = format!(
            "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
             {prefix}WebSocket-Origin: http://127.0.0.1:9\r\n\
             {prefix}WebSocket-Location: ws://127.0.0.1:9/echo?x=1\r\n\r\n"
        );
        let digest = Challenge::new(NONCE).digest();
        let proof = if draft == Draft::Hixie76 { &digest[..] } else { &[] };
        assert_upgrades(&[head.as_bytes(), proof].concat(), &extras(draft));
        let read =
            |head: &str| response(&[head.as_bytes(), proof].concat(), &url(), &extras(draft), NONCE, false);
        let error = |what: &str| Err(format!("upgrade: {what}").into());
        assert_eq!(read(&head.replace("?x=1", "")), error(&format!("wrong {prefix}WebSocket-Location")));
        assert_eq!(
            read(&head.replace("Origin: http", "Origin: ftp")),
            error(&format!("wrong {prefix}WebSocket-Origin"))
        );
        assert_eq!(read(&head.replace("Origin", "Orion")), error(&format!("no {prefix}WebSocket-Origin")));
        if draft == Draft::Hixie76 {
            let other = [head.as_bytes(), &[7; 16]].concat();
            assert_eq!(response(&other, &url(), &extras(draft), NONCE, false), error("wrong digest"));
        }
    }
}
