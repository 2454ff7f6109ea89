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
    /// The protocol's version.
    pub draft: Draft,
    /// Offer permessage-deflate.
    pub deflate: bool,
    /// Whole header lines, `Name: value`; they stand in the place of ours of the same name.
    pub headers: Vec<String>,
    /// As Sec-WebSocket-Protocol offers them.
    pub subprotocols: Option<String>,
    /// As the Origin header has it.
    pub origin: Option<String>,
    /// What was filled in that no report may tell, as it is and as the request has it.
    pub hidden: Vec<String>,
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
        let Some((answer, size)) = ResponseHead::parse(&input[at..]).map_err(|e| not_http(e, input))? else {
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
struct ResponseHead<'a> {
    /// HTTP/1.x.
    minor: u8,
    code: u16,
    phrase: &'a str,
    lines: Vec<Header<'a>>,
}

impl<'a> ResponseHead<'a> {
    /// The answer at the front of `input` and its size, or `None` when there is more to come.
    fn parse(input: &'a [u8]) -> Result<Option<(ResponseHead<'a>, usize)>, &'static str> {
        let mut answer = ResponseHead::parse_with(input, LINES);
        if answer == Err(httparse::Error::TooManyHeaders) {
            answer = ResponseHead::parse_with(input, HEAD_MAX / 4);
        }
        answer.map_err(|_| "not HTTP")
    }

    fn parse_with(
        input: &'a [u8],
        most: usize,
    ) -> Result<Option<(ResponseHead<'a>, usize)>, httparse::Error> {
        let mut lines = vec![httparse::EMPTY_HEADER; most];
        let mut head = httparse::Response::new(&mut lines);
        let httparse::Status::Complete(size) = head.parse(input)? else { return Ok(None) };
        let answer = ResponseHead {
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
    let offered = extras.subprotocols.iter().map(|names| format!("Sec-WebSocket-Protocol: {names}"));
    let lines: Vec<String> = extras.headers.iter().cloned().chain(offered).collect();
    let mut all = values(&url.resource, lines.iter().map(String::as_str));
    all.extend(extras.hidden.iter().cloned());
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
mod tests;
