//! Text before anybody sees it: secrets masked, what others wrote escaped.
//!
//! Reports are sent around and logs are kept, so passwords and tokens of a command line are masked first: the userinfo
//! of a URL, the values in its query whose names say that they are secret, and the values of header lines of that kind.
//! And a terminal obeys whatever it is sent, so a server's words reach none as they are.

/// Stands where a secret was.
const MASK: &str = "***";

/// Stands where a text was that is said to the server.
const SAID: &str = "…";

/// Letters of a word that is hardly anything else than a token.
const LONG: usize = 16;

/// A name with one of these in it stands for something secret. Hiding too much costs little.
const WORDS: [&str; 14] = [
    "apikey",
    "auth",
    "cookie",
    "cred",
    "jwt",
    "key",
    "passw",
    "pwd",
    "secret",
    "session",
    "signature",
    "ticket",
    "token",
    "pass",
];

/// Text that is sent and never shown.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(MASK)
    }
}

/// Whether a query parameter or header of this name carries a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // The handshake's own keys are random numbers (RFC 6455 section 11.3.1).
    !name.starts_with("sec-websocket-") && WORDS.iter().any(|word| name.contains(word))
}

/// A URL without its userinfo and without the secrets in its query.
///
/// `url` need not be a good one: of one that cannot be read, all before the last `@` is taken for userinfo.
pub fn masked_url(url: &str, good: bool) -> String {
    let (scheme, rest) = url.split_at(url.find("//").map_or(0, |at| at + 2));
    let authority = if good { rest.find(['/', '?', '#']).unwrap_or(rest.len()) } else { rest.len() };
    let rest = match rest[..authority].rfind('@') {
        Some(at) => format!("{MASK}{}", &rest[at..]),
        None => rest.to_owned(),
    };
    let Some((before, after)) = rest.split_once('?') else { return scheme.to_owned() + &rest };
    let (query, fragment) = after.split_at(after.find('#').unwrap_or(after.len()));
    let shown = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(&decoded(name)) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(shown).collect();
    format!("{scheme}{before}?{}{fragment}", query.join("&"))
}

/// Subprotocols without the tokens among them: browsers can send one in no other header. One stands behind a name that
/// says so (`access_token, eyJh…`), has such a name in itself (`base64url.bearer.authorization.k8s.io.…`), or looks as no
/// name does.
pub fn masked_subprotocols(names: &str) -> String {
    let mut after = false;
    let mask = |name: &str| {
        let secret = is_secret(name) || name.to_ascii_lowercase().contains("bearer");
        let behind = std::mem::replace(&mut after, secret);
        let has = |kind: fn(&char) -> bool| name.chars().any(|c| kind(&c));
        let mixed =
            has(char::is_ascii_digit) && has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
        let random = name.len() >= 16 && mixed || name.len() >= 32 && has(char::is_ascii_digit);
        if secret || behind || random { MASK.to_owned() } else { name.to_owned() }
    };
    names.split(',').map(str::trim).map(mask).collect::<Vec<_>>().join(", ")
}

fn is_subprotocols(header: &str) -> bool {
    header.trim().eq_ignore_ascii_case("sec-websocket-protocol")
}

/// A header line `Name: value`, without its value if that is secret.
pub fn masked_header(line: &str) -> String {
    match line.split_once(':') {
        Some((name, names)) if is_subprotocols(name) => format!("{name}: {}", masked_subprotocols(names)),
        Some((name, _)) if is_secret(name) => format!("{name}: {MASK}"),
        Some(_) => line.to_owned(),
        // Who left the colon out may have meant anything.
        None => MASK.to_owned(),
    }
}

/// Words of a command line without what is secret in them.
///
/// `words` may be spelled as people do (`-HCookie:a=b`, `--header=Cookie: a=b`); `is_url` tells which can be dialled.
pub fn masked_words(words: &[String], is_url: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut header, mut words_next) = (false, None);
    let mask = |word: &String| {
        let value_is_next = std::mem::replace(&mut header, matches!(&**word, "-H" | "--header"));
        if value_is_next {
            return masked_header(word);
        }
        if let Some(mask) = std::mem::replace(&mut words_next, masked_option(word)) {
            return mask(word);
        }
        if let Some((option, value)) = word.split_once('=')
            && let Some(mask) = masked_option(option)
        {
            return format!("{option}={}", mask(value));
        }
        for option in ["--header=", "-H=", "-H"] {
            if let Some(line) = word.strip_prefix(option).filter(|line| !line.is_empty()) {
                return format!("{option}{}", masked_header(line));
            }
        }
        match word.contains("://") || word.contains('@') || word.contains('?') {
            true => masked_url(word, is_url(word)),
            false => word.clone(),
        }
    };
    words.iter().map(mask).collect()
}

/// How the value of an option is masked that says something to the server.
fn masked_option(option: &str) -> Option<fn(&str) -> String> {
    match option {
        "--subprotocol" => Some(masked_subprotocols),
        // What a file says is not in its name.
        "--hello" => Some(|text| if text.starts_with('@') { text.to_owned() } else { SAID.to_owned() }),
        "--message" => Some(|_| SAID.to_owned()),
        "--answer" => Some(|value| match value.split_once("=>") {
            Some((pattern, _)) => format!("{pattern}=>{SAID}"),
            None => SAID.to_owned(),
        }),
        _ => None,
    }
}

/// `text` with every word of `given` in it as it is in `masked`.
pub fn masked_in(text: &str, given: &[String], masked: &[String]) -> String {
    let mut out = text.to_owned();
    for (word, masked) in given.iter().zip(masked) {
        if word != masked {
            out = out.replace(word, masked);
        }
    }
    out
}

/// The secrets in a path with a query, in header lines and among subprotocols, as a server that sends the request back
/// would show them.
pub fn values<'a>(resource: &str, headers: impl Iterator<Item = &'a str>) -> Vec<String> {
    let query = resource.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let in_query = pairs.filter(|(name, _)| is_secret(&decoded(name))).map(|(_, value)| value.to_owned());
    let mut all: Vec<String> = in_query.collect();
    for (name, value) in headers.filter_map(|line| line.split_once(':')) {
        if is_secret(name) {
            all.push(value.trim().to_owned());
        } else if is_subprotocols(name) {
            let shown = masked_subprotocols(value);
            let pairs = value.split(',').map(str::trim).zip(shown.split(", "));
            all.extend(pairs.filter(|(_, shown)| *shown == MASK).map(|(name, _)| name.to_owned()));
        }
    }
    all.retain(|value| !value.is_empty());
    all
}

/// `text` with each of `values` masked, the longest first, so that of none the rest of another stays.
pub fn masked_values(text: &str, values: &[String]) -> String {
    let mut values: Vec<&String> = values.iter().filter(|value| !value.is_empty()).collect();
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.iter().fold(text.to_owned(), |text, value| text.replace(*value, MASK))
}

/// Of `text`, as it may stand in a message of any format, the words that are no keys and have `letters` or more, and
/// whatever their length those behind a name that says so: `"pin":4711` has a word of four, `"token":"x"` a secret.
pub fn secret_words(text: &str, letters: usize) -> Vec<String> {
    let mut secrets: Vec<String> = Vec::new();
    // What was told by its name goes on to the end of its quotes.
    let (mut behind, mut quoted) = (false, false);
    let mut rest = text;
    while let Some(start) = rest.find(|c| !is_between(c)) {
        let (gap, word) = rest.split_at(start);
        let (word, after) = word.split_at(word.find(is_between).unwrap_or(word.len()));
        rest = after;
        let goes_on = quoted && gap.chars().all(char::is_whitespace);
        let value = after.trim_start_matches(['"', '\'', '\\']).trim_start();
        let is_key = value.starts_with([':', '=']) && !(goes_on && after.starts_with(char::is_whitespace));
        let told = (behind || goes_on) && !is_key;
        let plain = ["true", "false", "null"].contains(&word);
        if told || !is_key && word.len() >= letters.min(LONG) && !plain {
            secrets.push(word.to_owned());
        }
        quoted = told && (goes_on || gap.ends_with(['"', '\'']));
        let scheme = ["bearer", "basic", "digest"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        behind = (behind && is_key) || if told { scheme } else { is_secret(word) || scheme };
    }
    secrets
}

/// Stands between words.
fn is_between(c: char) -> bool {
    c.is_whitespace() || "\"'\\{}[](),:;=&?".contains(c)
}

/// `text` without what a terminal could obey or a reader be fooled by: control characters (ESC, line ends) and those that
/// are not seen or turn the direction of writing are spelled as Rust spells them.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_debug()),
            c => out.push(c),
        }
    }
    out
}

/// Bytes as [`escaped`] text; those that are no UTF-8 are spelled `\xNN`.
pub fn escaped_bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out += &escaped(chunk.valid());
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// `text` with its `%XX` decoded; what is no such triplet stays.
pub fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| byte == b'%');
        let code = digits.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        out.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<String> {
        line.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn urls_are_shown_without_what_they_let_in_with() {
        for (url, shown) in [
            ("ws://h/a?b=c", "ws://h/a?b=c"),
            ("ws://h/@me", "ws://h/@me"),
            ("ws://ann:pa%40ss@h:9/a", "ws://***@h:9/a"),
            ("ws://ann@h/", "ws://***@h/"),
            ("ws://h/?token=s3cret&size=7#top", "ws://h/?token=***&size=7#top"),
            ("ws://h?a=1&API_Key=s3cret", "ws://h?a=1&API_Key=***"),
            ("ws://h/?p%61ssword=s3cret", "ws://h/?p%61ssword=***"),
            ("ws+unix:/run/x:/?access_token=s3cret", "ws+unix:/run/x:/?access_token=***"),
        ] {
            assert_eq!(masked_url(url, true), shown);
        }
        // Nobody knows how much of a broken one is the password.
        for url in ["ws://ann:pa/ss@h/", "ann:s3?cr@et@h", "ws://ann:s3 cret@h:port/"] {
            let shown = masked_url(url, false);
            assert!(shown.contains("***@h") && !shown.contains("s3") && !shown.contains("ss"), "{shown}");
        }
    }

    #[test]
    fn a_command_line_is_shown_without_secrets() {
        let line = words(&[
            "find",
            "-H",
            "Authorization: Bearer s3cret",
            "-HCookie: a=s3cret",
            "--header=X-Api-Key: s3cret",
            "-H",
            "X-Trace: 7",
            "-H",
            "Bearer s3cret",
            "--slo",
            "p99<5ms",
            "ws://u:s3cret@h/?token=s3cret",
        ]);
        let shown = masked_words(&line, |word| word.starts_with("ws")).join(" ");
        assert_eq!(
            shown,
            "find -H Authorization: *** -HCookie: *** --header=X-Api-Key: *** -H X-Trace: 7 -H *** --slo p99<5ms \
             ws://***@h/?token=***"
        );
        let said = "Unrecognized argument: ws://u:s3cret@h/?token=s3cret";
        assert_eq!(
            masked_in(said, &line, &masked_words(&line, |word| word.starts_with("ws"))),
            "Unrecognized argument: ws://***@h/?token=***"
        );
    }

    #[test]
    fn tokens_among_subprotocols_are_not_shown() {
        for (names, shown) in [
            ("graphql-transport-ws, v12.stomp", "graphql-transport-ws, v12.stomp"),
            ("aws.iot.securetunneling-3.0, ocpp2.0.1", "aws.iot.securetunneling-3.0, ocpp2.0.1"),
            ("access_token,s3cret,chat", "***, ***, chat"),
            (
                "base64.binary.k8s.io, base64url.bearer.authorization.k8s.io.czNjcmV0",
                "base64.binary.k8s.io, ***",
            ),
            ("chat, eyJhbGciOiJIUzI1NiJ9.e30.XmNK3GpH3Ys_7wsYBfq4C3M6goz71I7dTgUkuIa5lyQ", "chat, ***"),
            ("chat, 6f1ed002ab5595859014ebf0951522d9", "chat, ***"),
        ] {
            assert_eq!(masked_subprotocols(names), shown);
            let header = format!("Sec-WebSocket-Protocol: {names}");
            for line in [
                words(&["--subprotocol", names]),
                words(&[&format!("--subprotocol={names}")]),
                words(&["-H", &header]),
                words(&[&format!("-H{header}")]),
            ] {
                let said = masked_words(&line, |_| false).join(" ");
                assert!(said.ends_with(shown), "{said}");
            }
            let hidden = values("/", [header.as_str()].into_iter());
            assert_eq!(hidden.len(), shown.matches("***").count(), "{hidden:?}");
        }
    }

    #[test]
    fn a_server_that_repeats_the_request_is_not_quoted() {
        let values = values("/?key=k3y&n=1", ["Cookie: c00kie", "X-Trace: 7"].into_iter());
        assert_eq!(values, ["k3y", "c00kie"]);
        assert_eq!(masked_values("no /?key=k3y&n=1 for c00kie", &values), "no /?key=***&n=1 for ***");
    }

    #[test]
    fn terminals_are_not_obeyed() {
        assert_eq!(escaped("it's \"fine\" é"), "it's \"fine\" é");
        assert_eq!(escaped("\x1b[2J\r\n\u{202e}\u{9b}\\"), r"\u{1b}[2J\r\n\u{202e}\u{9b}\");
        assert_eq!(escaped_bytes(b"\x15\x03\xff ok \xc3\xa9"), r"\u{15}\u{3}\xff ok é");
    }

    #[test]
    fn percent_signs_that_mean_nothing_stay() {
        assert_eq!(decoded("a%20b%4"), "a b%4");
        assert_eq!(decoded("%zz%C3%A9"), "%zzé");
    }

    #[test]
    fn what_is_said_to_the_server_is_masked() {
        let line = [
            "--hello",
            "s3cret",
            "--hello=s3cret",
            "--answer",
            "ping=>s3cret",
            "--expect",
            "ok",
            "--answer",
            "s3cret",
        ];
        let shown = masked_words(&line.map(str::to_owned), |_| false).join(" ");
        assert_eq!(shown, "--hello … --hello=… --answer ping=>… --expect ok --answer …");
        let line = ["--message", r#"{"token":"s3cret"}"#, "--hello", "@login.txt", "--message=s3cret"];
        let shown = masked_words(&line.map(str::to_owned), |_| false).join(" ");
        assert_eq!(shown, "--message … --hello @login.txt --message=…");
    }

    #[test]
    fn what_a_server_says_behind_a_telling_name_is_masked() {
        for (text, secrets) in [
            (r#"{"token":"srv-9x","room":"lobby"}"#, &["srv-9x"][..]),
            (r#"{"session_key" : 17, "n":1}"#, &["17"]),
            (r#"{"password":"my long phrase","room":"lobby"}"#, &["my", "long", "phrase"]),
            (r#"{"token":{"value":"abc"},"room":"lobby"}"#, &["abc"]),
            (r#"say {\"token\":\"abc\"} again"#, &["abc"]),
            ("Authorization: Bearer abc", &["Bearer", "abc"]),
            ("sid=0123456789abcdef room=lobby", &["0123456789abcdef"]),
            ("token abc is not good", &["abc"]),
            ("no", &[]),
        ] {
            assert_eq!(secret_words(text, usize::MAX), secrets, "{text}");
        }
        assert_eq!(
            masked_values("swordfish sword", &["sword", "swordfish", ""].map(str::to_owned)),
            "*** ***"
        );
    }
}
