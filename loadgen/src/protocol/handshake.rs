//! The upgrade that turns a socket into a WebSocket (RFC 6455 section 4.1, and the drafts before it).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use httparse::Header;
use sha1_smol::Sha1;

use crate::protocol::deflate;
use crate::protocol::draft::Draft;
use crate::protocol::hixie::{self, Challenge};
use crate::protocol::shown::{escaped, escaped_bytes, masked_values, values};
use crate::protocol::url::Url;

/// Longest answer that is read (bytes), interim answers included; servers' heads are a few hundred.
pub const HEAD_MAX: usize = 16 * 1024;

/// Bytes of a refusal's body that are shown.
const QUOTED: usize = 200;

/// Header lines that are read at first; a head of [`HEAD_MAX`] has at most a quarter as many as bytes.
const LINES: usize = 64;

/// The parts of the upgrade request the user chose.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    pub draft: Draft,
    /// Offer permessage-deflate.
    pub deflate: bool,
    /// Whole header lines, `Name: value`; they stand in the place of ours of the same name.
    pub headers: Vec<String>,
    pub subprotocols: Option<String>,
    pub origin: Option<String>,
}

impl Extras {
    /// The header lines of the user's that have this name.
    fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named =
            move |line: &&str| line.split_once(':').is_some_and(|(own, _)| own.eq_ignore_ascii_case(name));
        self.headers.iter().map(String::as_str).filter(named)
    }

    /// What the user has this header say.
    fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        Some(self.lines(name).next()?.split_once(':')?.1.trim())
    }

    /// The name of the subprotocol header, which 75 has without a prefix.
    fn protocol_header(&self) -> &'static str {
        if self.draft == Draft::Hixie75 { "WebSocket-Protocol" } else { "Sec-WebSocket-Protocol" }
    }
}

/// Why a connection is no WebSocket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// A few words that are the same for every connection refused alike.
    pub reason: String,
    /// What the server said, escaped and without our secrets.
    pub answer: Option<String>,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal { reason, answer: None }
    }
}

/// The upgrade request for `url` (RFC 6455 section 4.1, draft-hixie-thewebsocketprotocol-75 and -76 section 4.1),
/// with the keys that `nonce` stands for.
pub fn request(url: &Url, extras: &Extras, nonce: u128) -> Vec<u8> {
    let draft = extras.draft;
    let mut out = format!("GET {} HTTP/1.1\r\n", url.resource);
    let mut names = Vec::new();
    let mut line = |name: &'static str, value: &str| {
        names.push(name);
        let before = out.len();
        extras.lines(name).for_each(|line| out.extend([line, "\r\n"]));
        if out.len() == before {
            out.extend([name, ": ", value, "\r\n"]);
        }
    };
    // 75 wants these two first, and in this spelling.
    line("Upgrade", if draft.is_hixie() { "WebSocket" } else { "websocket" });
    line("Connection", "Upgrade");
    line("Host", &url.authority);
    let mut body = Vec::new();
    match draft {
        Draft::Hixie75 => {}
        Draft::Hixie76 => {
            let challenge = Challenge::new(nonce);
            line("Sec-WebSocket-Key1", &challenge.key1);
            line("Sec-WebSocket-Key2", &challenge.key2);
            body.extend(challenge.key3);
        }
        Draft::Rfc6455 | Draft::Hybi8 | Draft::Hybi7 => {
            line("Sec-WebSocket-Key", &key(nonce));
            line("Sec-WebSocket-Version", &draft.number().to_string());
        }
    }
    if extras.deflate {
        line("Sec-WebSocket-Extensions", deflate::OFFER);
    }
    if let Some(names) = &extras.subprotocols {
        line(extras.protocol_header(), names);
    }
    if let Some(origin) = origin(url, extras) {
        let early = matches!(draft, Draft::Hybi8 | Draft::Hybi7);
        line(if early { "Sec-WebSocket-Origin" } else { "Origin" }, &origin);
    }
    if let Some(authorization) = &url.authorization {
        line("Authorization", &authorization.0);
    }
    let ours = |line: &str| {
        names.iter().any(|name| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name)))
    };
    for line in extras.headers.iter().filter(|line| !ours(line)) {
        out.extend([line, "\r\n"]);
    }
    out += "\r\n";
    [out.into_bytes(), body].concat()
}

/// The host to tell.
fn host<'a>(url: &'a Url, extras: &'a Extras) -> &'a str {
    extras.value("Host").unwrap_or(&url.authority)
}

/// The origin to tell: 75 and 76 cannot do without.
fn origin(url: &Url, extras: &Extras) -> Option<String> {
    let own = || {
        let scheme = if url.secure { "https" } else { "http" };
        extras.draft.is_hixie().then(|| format!("{scheme}://{}", host(url, extras)))
    };
    extras.value("Origin").map(str::to_owned).or_else(|| extras.origin.clone()).or_else(own)
}

/// Reads the answer to [`request`]: how many bytes it takes, or `None` when more are needed. After `ended` none come.
///
/// Interim answers are skipped (RFC 9110 section 15.2). What has to be in an answer that says 101 is in RFC 6455
/// section 4.1, "the client MUST validate the server's response", items 2 to 6.
///
/// # Errors
/// Why the connection is not a WebSocket.
pub fn response(
    input: &[u8],
    url: &Url,
    extras: &Extras,
    nonce: u128,
    ended: bool,
) -> Result<Option<usize>, Refusal> {
    let mut at = 0;
    loop {
        let Some((answer, size)) = Answer::parse(&input[at..]).map_err(|e| not_http(e, input))? else {
            return match (ended, input.is_empty()) {
                (true, true) => Err("upgrade: ended by the server without an answer".to_owned().into()),
                (true, false) => Err(not_http("ended by the server within its answer", input)),
                _ if input.len() > HEAD_MAX => Err("upgrade: endless head".to_owned().into()),
                _ => Ok(None),
            };
        };
        at += size;
        match answer.code {
            101 => {
                let size = answer.upgrades(&input[at..], url, extras, nonce)?.map(|more| at + more);
                return match size {
                    None if ended => Err("upgrade: ended by the server within its answer".to_owned().into()),
                    size => Ok(size),
                };
            }
            100..=199 => {}
            _ => {
                let body = answer.body(&input[at..], ended);
                return body.map_or(Ok(None), |body| Err(answer.refusal(body, url, extras)));
            }
        }
    }
}

/// For a peer that does not speak HTTP: what it says instead.
fn not_http(reason: &str, input: &[u8]) -> Refusal {
    let tls = input.first_chunk::<2>().is_some_and(|first| matches!(first, [0x15 | 0x16, 0x03]));
    let hint = if tls { ": the server speaks TLS (wss://)" } else { "" };
    Refusal {
        reason: format!("upgrade: {reason}{hint}"),
        answer: Some(escaped_bytes(&input[..input.len().min(QUOTED)])),
    }
}

/// A parsed response head.
#[derive(PartialEq)]
struct Answer<'a> {
    /// HTTP/1.x.
    minor: u8,
    code: u16,
    phrase: &'a str,
    lines: Vec<Header<'a>>,
}

impl<'a> Answer<'a> {
    /// The answer at the front of `input` and its size, or `None` when there is more to come.
    fn parse(input: &'a [u8]) -> Result<Option<(Answer<'a>, usize)>, &'static str> {
        let mut answer = Answer::parse_with(input, LINES);
        if answer == Err(httparse::Error::TooManyHeaders) {
            answer = Answer::parse_with(input, HEAD_MAX / 4);
        }
        answer.map_err(|_| "not HTTP")
    }

    fn parse_with(input: &'a [u8], most: usize) -> Result<Option<(Answer<'a>, usize)>, httparse::Error> {
        let mut lines = vec![httparse::EMPTY_HEADER; most];
        let mut head = httparse::Response::new(&mut lines);
        let httparse::Status::Complete(size) = head.parse(input)? else { return Ok(None) };
        let answer = Answer {
            minor: head.version.unwrap_or_default(),
            code: head.code.unwrap_or_default(),
            phrase: head.reason.unwrap_or_default(),
            lines: head.headers.to_vec(),
        };
        Ok(Some((answer, size)))
    }

    /// Every line of this name.
    fn values(&self, name: &str) -> Vec<&str> {
        let named = self.lines.iter().filter(|line| line.name.eq_ignore_ascii_case(name));
        // What is no text is no token either.
        named.map(|line| std::str::from_utf8(line.value).unwrap_or("\u{fffd}").trim()).collect()
    }

    /// The one line of this name has to say `expected`.
    fn proof(&self, name: &str, expected: &str) -> Result<(), Refusal> {
        match &self.values(name)[..] {
            [] => Err(format!("upgrade: no {name}").into()),
            [value] if *value == expected => Ok(()),
            [_] => Err(format!("upgrade: wrong {name}").into()),
            _ => Err(format!("upgrade: more than one {name}").into()),
        }
    }

    /// Whether this 101 is the one that was asked for: the bytes it takes of the `rest` behind it, if they are all there.
    fn upgrades(
        &self,
        rest: &[u8],
        url: &Url,
        extras: &Extras,
        nonce: u128,
    ) -> Result<Option<usize>, Refusal> {
        let fail = |what: &str| Err(format!("upgrade: {what}").into());
        if self.minor != 1 {
            return fail("a 101 of HTTP/1.0, which has none");
        }
        match &self.values("Upgrade")[..] {
            [] => return fail("no Upgrade"),
            [value] if value.eq_ignore_ascii_case("websocket") => {}
            _ => return fail("wrong Upgrade"),
        }
        let connection = self.values("Connection");
        if connection.is_empty() {
            return fail("no Connection");
        }
        let mut tokens = connection.iter().flat_map(|line| line.split(','));
        if !tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade")) {
            return fail("wrong Connection");
        }
        self.subprotocol(extras)?;
        if !extras.draft.is_hixie() {
            let own = key(nonce);
            self.proof(
                "Sec-WebSocket-Accept",
                &accept_for(extras.value("Sec-WebSocket-Key").unwrap_or(&own)),
            )?;
            let extensions = self.values("Sec-WebSocket-Extensions").join(", ");
            deflate::agreed(Some(&extensions), extras.deflate).map_err(|e| format!("upgrade: {e}"))?;
            return Ok(Some(0));
        }
        let location = format!("{}://{}{}", url.scheme(), host(url, extras), url.resource);
        let origin = origin(url, extras).unwrap_or_default();
        if extras.draft == Draft::Hixie75 {
            self.proof("WebSocket-Origin", &origin)?;
            self.proof("WebSocket-Location", &location)?;
            return Ok(Some(0));
        }
        self.proof("Sec-WebSocket-Origin", &origin)?;
        self.proof("Sec-WebSocket-Location", &location)?;
        match rest.first_chunk::<{ hixie::DIGEST }>() {
            None => Ok(None),
            Some(digest) if *digest == Challenge::new(nonce).digest() => Ok(Some(hixie::DIGEST)),
            Some(_) => fail("wrong digest"),
        }
    }

    /// The server may choose one subprotocol of those that were offered (item 6).
    fn subprotocol(&self, extras: &Extras) -> Result<(), Refusal> {
        let name = extras.protocol_header();
        let mut offered =
            extras.lines(name).filter_map(|line| Some(line.split_once(':')?.1)).collect::<Vec<_>>();
        if offered.is_empty() {
            offered.extend(extras.subprotocols.as_deref());
        }
        let mut offered = offered.iter().flat_map(|line| line.split(',')).map(str::trim);
        match &self.values(name)[..] {
            [] => Ok(()),
            [chosen] if offered.any(|own| own == *chosen) => Ok(()),
            [_] => Err("upgrade: a subprotocol was chosen that was not offered".to_owned().into()),
            _ => Err("upgrade: more than one subprotocol was chosen".to_owned().into()),
        }
    }

    /// As much of the body as is shown, or `None` while more of it may come.
    fn body<'b>(&self, rest: &'b [u8], ended: bool) -> Option<&'b [u8]> {
        let chunked = self
            .values("Transfer-Encoding")
            .iter()
            .any(|coding| coding.to_ascii_lowercase().contains("chunked"));
        let length = self.values("Content-Length").first().and_then(|n| n.parse::<usize>().ok());
        let has_none = matches!(self.code, 204 | 304);
        let complete = match length {
            _ if has_none => true,
            _ if chunked => rest.ends_with(b"0\r\n\r\n"),
            Some(length) => rest.len() >= length,
            None => !rest.is_empty(),
        };
        if !(complete || ended || rest.len() >= QUOTED + 16) {
            return None;
        }
        let rest = match rest.windows(2).position(|pair| pair == b"\r\n").filter(|_| chunked) {
            // The first chunk, of which the size and the end are no part.
            Some(at) => {
                let digits = std::str::from_utf8(&rest[..at]).unwrap_or_default();
                let size = usize::from_str_radix(digits.split(';').next().unwrap_or_default().trim(), 16);
                &rest[at + 2..][..size.unwrap_or(0).min(rest.len() - at - 2)]
            }
            None => rest,
        };
        Some(&rest[..rest.len().min(QUOTED)])
    }

    /// What any status but 101 means, and what the server said with it.
    fn refusal(&self, body: &[u8], url: &Url, extras: &Extras) -> Refusal {
        let (hint, header) = match self.code {
            200..=299 => ("this is no WebSocket server, or none at this path", None),
            301 | 302 | 303 | 307 | 308 => ("it redirects; name the URL it redirects to", Some("Location")),
            400 => ("it does not take this request", None),
            401 => (
                "it wants credentials (-H 'Authorization: …', or USER:PASSWORD@ in the URL)",
                Some("WWW-Authenticate"),
            ),
            403 => ("it may want another Origin (--origin)", None),
            404 | 405 | 410 => ("there is no WebSocket at this path", None),
            426 => ("it speaks another version (--draft)", Some("Sec-WebSocket-Version")),
            _ => ("", None),
        };
        let phrase: String = self.phrase.chars().take(60).collect();
        let mut reason =
            format!("upgrade: HTTP {} {}", self.code, escaped(phrase.trim())).trim_end().to_owned();
        if !hint.is_empty() {
            reason += &format!(": {hint}");
        }
        let mut answer = Vec::new();
        if let Some(name) = header {
            answer.extend(self.values(name).iter().map(|value| format!("{name}: {}", escaped(value))));
        }
        if !body.trim_ascii().is_empty() {
            answer.push(escaped_bytes(body.trim_ascii()));
        }
        let secrets = secrets(url, extras);
        let answer: String = masked_values(&answer.join(" "), &secrets).chars().take(4 * QUOTED).collect();
        Refusal { reason: masked_values(&reason, &secrets), answer: (!answer.is_empty()).then_some(answer) }
    }
}

/// What no answer of the server's may bring into a report.
fn secrets(url: &Url, extras: &Extras) -> Vec<String> {
    let mut all = values(&url.resource, extras.headers.iter().map(String::as_str));
    if let Some(authorization) = &url.authorization {
        let encoded = authorization.0.strip_prefix("Basic ").unwrap_or_default();
        let plain = String::from_utf8(STANDARD.decode(encoded).unwrap_or_default()).unwrap_or_default();
        let password = plain.split_once(':').map_or("", |(_, password)| password);
        all.extend([encoded, password].map(str::to_owned).into_iter().filter(|secret| !secret.is_empty()));
    }
    all
}

/// A server's answer to a request with `key`.
pub fn acceptance(key: &str) -> String {
    let accept = accept_for(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

fn key(nonce: u128) -> String {
    STANDARD.encode(nonce.to_be_bytes())
}

/// The answer to `key` (RFC 6455 section 4.2.2, item 5.4).
fn accept_for(key: &str) -> String {
    let mut hash = Sha1::from(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.digest().bytes())
}

#[cfg(test)]
mod tests {
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
            (
                "Upgrade: websocket",
                &two("Sec-WebSocket-Extensions", "x"),
                "an extension was agreed to that was not offered",
            ),
            (
                "Upgrade: websocket",
                &two("Sec-WebSocket-Extensions", "\r\nSec-WebSocket-Extensions: permessage-deflate"),
                "an extension was agreed to that was not offered",
            ),
            (
                "Upgrade: websocket",
                &two("Sec-WebSocket-Protocol", "mqtt"),
                "a subprotocol was chosen that was not offered",
            ),
            (
                "Upgrade: websocket",
                &two("Sec-WebSocket-Protocol", "CHAT"),
                "a subprotocol was chosen that was not offered",
            ),
            (
                "Upgrade: websocket",
                &two("Sec-WebSocket-Protocol", ""),
                "a subprotocol was chosen that was not offered",
            ),
            (
                "Upgrade: websocket",
                &two("Sec-WebSocket-Protocol", "chat\r\nSec-WebSocket-Protocol: mqtt"),
                "more than one subprotocol was chosen",
            ),
            ("HTTP/1.1", "HTTP/1.0", "a 101 of HTTP/1.0, which has none"),
        ] {
            let answer = GOOD.replacen(from, to, 1);
            assert_ne!(answer, GOOD);
            assert_eq!(reason(read(&answer)), format!("upgrade: {why}"), "{to}");
        }
        let none_offered = response(
            GOOD.replacen("Upgrade: websocket", &two("Sec-WebSocket-Protocol", "chat"), 1).as_bytes(),
            &url(),
            &Extras::default(),
            NONCE,
            false,
        );
        assert_eq!(reason(none_offered), "upgrade: a subprotocol was chosen that was not offered");
        let other = response(GOOD.as_bytes(), &url(), &extras, NONCE + 1, false);
        assert_eq!(reason(other), "upgrade: wrong Sec-WebSocket-Accept");
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
            response(self.as_bytes(), &url(), &Extras::default(), NONCE, false)
                .map_err(|refusal| refusal.reason)
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
            let ours =
                all.split('|').find(|line| line.to_lowercase().starts_with(&name.to_lowercase())).unwrap();
            assert_eq!(lines(&[own]), all.replace(ours, own));
        }
        assert_eq!(lines(&["X: 1", "X: 2"]), format!("{all}X: 1|X: 2|").replace("||", "|"));
        // And what is checked is what was sent.
        let extras = Extras {
            headers: vec!["sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==".into()],
            ..Extras::default()
        };
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
            let extras =
                Extras { subprotocols: Some("a".into()), headers: vec!["X: y".into()], ..extras(draft) };
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
        let begin =
            begin.replace("WebSocket", "websocket") + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
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
            let read = |head: &str| {
                response(&[head.as_bytes(), proof].concat(), &url(), &extras(draft), NONCE, false)
            };
            let error = |what: &str| Err(format!("upgrade: {what}").into());
            assert_eq!(read(&head.replace("?x=1", "")), error(&format!("wrong {prefix}WebSocket-Location")));
            assert_eq!(
                read(&head.replace("Origin: http", "Origin: ftp")),
                error(&format!("wrong {prefix}WebSocket-Origin"))
            );
            assert_eq!(
                read(&head.replace("Origin", "Orion")),
                error(&format!("no {prefix}WebSocket-Origin"))
            );
            if draft == Draft::Hixie76 {
                let other = [head.as_bytes(), &[7; 16]].concat();
                assert_eq!(response(&other, &url(), &extras(draft), NONCE, false), error("wrong digest"));
            }
        }
    }
}
