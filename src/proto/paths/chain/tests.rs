use super::super::steps::STEPS;
use super::*;

fn read(target: &str) -> Result<Chain, Problem> {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    parse(path, query, 64 << 20)
}

fn steps(path: &str) -> Vec<Step> {
    read(path).unwrap_or_else(|problem| panic!("{path}: {}", problem.line)).steps
}

fn opening(path: &str) -> HandshakeOptions {
    read(path).unwrap_or_else(|problem| panic!("{path}: {}", problem.line)).opening
}

#[test]
fn every_step_of_the_table_is_read() {
    for step in &STEPS {
        assert!(step.example.starts_with(step.name), "{}", step.name);
        let chain = read(&format!("/ws/{}", step.example));
        let chain = chain.unwrap_or_else(|problem| panic!("{}: {}", step.name, problem.line));
        assert_eq!(step.when == When::Opening, chain.opening != HandshakeOptions::default(), "{}", step.name);
    }
}

#[test]
fn steps_stand_in_order_and_end_in_echo() {
    let ms = Duration::from_millis;
    let text = |text: &str| text.to_owned();
    for (path, expected) in [
        ("/ws", vec![Step::Echo]),
        ("/ws/echo", vec![Step::Echo]),
        ("/ws/after/3/reset", vec![Step::After(3), Step::Reset]),
        ("/ws/mute", vec![Step::Mute, Step::Echo]),
        ("/ws/stall/2.5", vec![Step::Delay(ms(2500)), Step::Echo]),
        ("/ws/fragment/1k/latency/50ms", vec![Step::Fragment(1024), Step::Latency(ms(50)), Step::Echo]),
        (
            "/ws/message/a%2Fb%20c/close",
            vec![Step::Message(text("a/b c")), Step::Close { code: None, reason: text("") }],
        ),
        ("/ws/message//sink", vec![Step::Message(text("")), Step::Sink]),
        (
            "/ws/close/4000?x=1&reason=good+b%79e",
            vec![Step::Close { code: Some(4000), reason: text("good bye") }],
        ),
        ("/ws/repeat/x/20/size", vec![Step::Repeat { text: text("x"), every: ms(20) }, Step::Size]),
        ("/ws/source/1m/1024/fin", vec![Step::Source { size: 1 << 20, count: 1024 }, Step::Fin]),
        (
            "/ws/source/1m/1023/source/512k/2/source/0/9/fin",
            vec![
                Step::Source { size: 1 << 20, count: 1023 },
                Step::Source { size: 1 << 19, count: 2 },
                Step::Source { size: 0, count: 9 },
                Step::Fin,
            ],
        ),
    ] {
        assert_eq!(steps(path), expected, "{path}");
    }
}

#[test]
fn what_concerns_the_answer_may_stand_anywhere() {
    let chain = read("/ws/after/1/header/X-A/b%20c/subprotocol/mqtt/header/x-d/e/close").expect("good");
    assert_eq!(chain.steps.len(), 2);
    let name = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(chain.opening.headers, [name("X-A", "b c"), name("x-d", "e")]);
    assert_eq!(chain.opening.subprotocol, Some(Subprotocol::This("mqtt".to_owned())));
    let basic = opening("/ws/basic-auth/Aladdin/open%20sesame").credentials;
    assert_eq!(basic, Some((Scheme::Basic, "QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_owned())), "as in RFC 7617 §2");
}

#[test]
fn redirects_count_down_and_keep_the_rest() {
    for (path, location) in [
        ("/ws/redirect/2/echo", Some("/ws/redirect/1/echo")),
        (
            "/ws/redirect/1/message/redirect%2F/close/1000?reason=a",
            Some("/ws/message/redirect%2F/close/1000?reason=a"),
        ),
        ("/ws/message/redirect/redirect/2", Some("/ws/message/redirect/redirect/1")),
        ("/ws/redirect/1", Some("/ws")),
        ("/ws/redirect/0", None),
        ("/ws/redirect-to?url=ws%3A%2F%2Fh%3A1%2Fx%3Fa%26b", Some("ws://h:1/x?a&b")),
        // One after the other, from left to right, and to another URL last.
        ("/ws/redirect/1/redirect/2/echo", Some("/ws/redirect/2/echo")),
        ("/ws/redirect/0/redirect/2/echo", Some("/ws/redirect/0/redirect/1/echo")),
        ("/ws/redirect/2/redirect-to?url=%2Fx", Some("/ws/redirect/1/redirect-to?url=%2Fx")),
        ("/ws/redirect-to/redirect/1?url=%2Fx", Some("/ws/redirect-to?url=%2Fx")),
        ("/ws/status/404/redirect/1/header/X-A/b", Some("/ws/status/404/header/X-A/b")),
    ] {
        assert_eq!(opening(path).location.as_deref(), location, "{path}");
    }
}

#[test]
fn a_mistake_is_told_with_the_step_and_what_it_takes() {
    for (path, status, line) in [
        ("/ws/", 404, "there is no step ''"),
        ("/ws/nonsense", 404, "there is no step 'nonsense'"),
        ("/ws/%1b[2J", 404, r"there is no step '\x1b[2J'"),
        ("/ws/delay", 400, "step 'delay': <seconds> is missing"),
        ("/ws/delay/11", 400, "step 'delay/11': takes up to 10 seconds"),
        ("/ws/close/1005", 400, "step 'close/1005': takes a code"),
        ("/ws/close?reason=x", 400, "step 'close': a reason needs a code"),
        ("/ws/echo/close", 400, "step 'close': nothing can follow"),
        ("/ws/echo?reason=x", 400, "?reason="),
        ("/ws/bad-frame/close-1000", 400, "step 'bad-frame/close-1000': takes masked, rsv1"),
        ("/ws/bad-frame/opcode-2", 400, "step 'bad-frame/opcode-2'"),
        ("/ws/bad-handshake/x", 400, "step 'bad-handshake/x': takes accept, no-accept"),
        ("/ws/status/101", 400, "step 'status/101': takes a number from 200 to 599"),
        ("/ws/status/600", 400, "step 'status/600': takes a number from 200 to 599"),
        ("/ws/redirect/51", 400, "step 'redirect/51': takes a number from 0 to 50"),
        ("/ws/header/a%0d%0ab/c", 400, r"takes the name of a header"),
        ("/ws/header/a/b%0d%0aSet-Cookie:x", 400, "takes a value of printable ASCII"),
        ("/ws/header/sec-websocket-accept/x", 400, "part of the handshake"),
        ("/ws/header/Upgrade/x", 400, "part of the handshake"),
        ("/ws/redirect-to", 400, "takes a URL as ?url="),
        ("/ws/redirect-to?url=a%0d%0ab", 400, "?url= is not a URL"),
        ("/ws/subprotocol/a%20b", 400, "takes a token"),
        ("/ws/bearer/", 400, "takes a token"),
        ("/ws/basic-auth/a%3Ab/c", 400, "a user has no colon"),
        ("/ws/message/%ff", 400, "is not UTF-8"),
        ("/ws/source/1m/1025", 400, "step 'source/1m/1025': a chain sends at most 1073741824 bytes in all"),
        ("/ws/source/1m/1024/source/1/1", 400, "step 'source/1/1': a chain sends at most"),
        (
            "/ws/source/1m/500/message/a/source/1m/500/after/1/source/1m/25",
            400,
            "step 'source/1m/25': a chain sends at most",
        ),
        ("/ws/source/65m/1", 400, "takes bytes from 0 to 67108864"),
        ("/ws/repeat/x/0", 400, "takes a number from 1 to 10000"),
        ("/ws/fragment/0", 400, "takes bytes from 1"),
        ("/ws/deflate/server_no_context_takeover", 400, "an echo keeps"),
        ("/ws/deflate/x", 400, "takes parameters"),
        ("/ws/mute/mute/mute/mute/mute/mute/mute/mute/echo", 400, "step 'echo': a chain has at most 8 steps"),
    ] {
        let problem = read(path).expect_err(path);
        assert_eq!(problem.status, status, "{path}");
        assert!(problem.line.contains(line), "{path}: {}", problem.line);
        assert!(!problem.line.contains(char::is_control), "{}", problem.line);
    }
    let long = format!("/ws/message/{}", "x".repeat(TARGET_MAX));
    assert!(read(&long).expect_err("too long").line.contains("1024"));
}

#[test]
fn only_the_paths_below_ws_are_chains() {
    for (path, expected) in
        [("/ws", true), ("/ws/", true), ("/ws/x", true), ("/wsx", false), ("/", false), ("/a/ws", false)]
    {
        assert_eq!(is_chain(path), expected, "{path}");
    }
}
