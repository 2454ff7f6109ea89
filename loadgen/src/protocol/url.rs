//! A WebSocket URL, taken apart (RFC 6455 section 3, RFC 3986).
//!
//! Reads `ws:` and `wss:`, and `ws+unix:/path/of/socket:/resource` as other clients spell it. Strict: what could turn
//! into another request than the one that was meant (spaces, control characters) is refused, never sent.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::shown::{Secret, decoded, escaped, masked_url};
use super::template::place;

/// Where a URL leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A name, or an IPv4 address, for the resolver.
    Name(String, u16),
    /// An address, its zone (RFC 6874) and a port.
    V6(Ipv6Addr, Option<String>, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A URL that can be asked for. Printed for debugging it is as it may be shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Url {
    /// `wss:`, TLS.
    pub secure: bool,
    /// Where it leads.
    pub place: Place,
    /// What the Host header says: the host without its zone, and the port unless it is the scheme's own.
    pub authority: String,
    /// Path and query, as they go into the request line.
    pub resource: String,
    /// What the Authorization header says, if there is userinfo (RFC 7617).
    pub authorization: Option<Secret>,
    /// The URL as it may be shown.
    pub shown: String,
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Url {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without what is secret in `text`.
    pub fn parse(text: &str) -> Result<Url, String> {
        Url::read(text, false)
    }

    /// [`Url::parse`], with places of a [`Template`](super::template::Template) in path and query: the resource is what
    /// that is read from.
    ///
    /// # Errors
    /// See there.
    pub fn with_places(text: &str) -> Result<Url, String> {
        Url::read(text, true)
    }

    fn read(text: &str, places: bool) -> Result<Url, String> {
        let wrong = |what: String| format!("`{}`: {what}", escaped(&masked_url(text, false)));
        if let Some(c) = text.chars().find(|c| c.is_control() || c.is_whitespace() || "\"<>\\".contains(*c)) {
            return Err(wrong(format!("{c:?} cannot stand in a URL; write %{:02X}", u32::from(c))));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(wrong("not a URL such as ws://127.0.0.1:8087/echo".into()));
        };
        let (secure, unix) = match &*scheme.to_ascii_lowercase() {
            "ws" => (false, false),
            "wss" => (true, false),
            "ws+unix" => (false, true),
            "wss+unix" => (true, true),
            "http" => return Err(wrong("a WebSocket's URL begins with ws:// rather than http://".into())),
            "https" => return Err(wrong("a WebSocket's URL begins with wss:// rather than https://".into())),
            _ => return Err(wrong("not a URL such as ws://127.0.0.1:8087/echo".into())),
        };
        // A fragment is never sent (RFC 3986 section 3.5).
        let rest = rest.split('#').next().unwrap_or_default();
        let shown = masked_url(text, true);
        if unix {
            return unix_socket(rest, secure, shown, places).map_err(wrong);
        }
        let rest =
            rest.strip_prefix("//").ok_or_else(|| wrong(format!("{scheme}: wants two slashes behind it")))?;
        let (authority, resource) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let default = if secure { 443 } else { 80 };
        let (place, authority) = place_of(host, default).map_err(&wrong)?;
        Ok(Url {
            secure,
            place,
            authority,
            resource: resource_of(resource, places).map_err(&wrong)?,
            authorization: userinfo.map(basic).transpose().map_err(wrong)?,
            shown,
        })
    }

    /// The host, as a certificate names it.
    pub fn host(&self) -> String {
        match &self.place {
            Place::Name(name, _) => name.clone(),
            Place::V6(address, ..) => address.to_string(),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The scheme's own port is not named in `authority`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "wss" } else { "ws" }
    }
}

/// Reads `HOST:PORT`, what `--connect-to` takes.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn host_and_port(text: &str) -> Result<Place, String> {
    match place_of(text, 0) {
        Ok((Place::Name(_, 0) | Place::V6(_, _, 0), _)) => Err(format!("`{text}` names no port")),
        Ok((place, _)) => Ok(place),
        Err(what) => Err(format!("`{text}`: {what}")),
    }
}

/// The place that `HOST` or `HOST:PORT` names, and how the Host header names it.
fn place_of(text: &str, default: u16) -> Result<(Place, String), String> {
    if text.matches(':').count() > 1 && !text.starts_with('[') {
        return Err("an IPv6 address stands in brackets, and behind it at most a port".into());
    }
    let (host, port) = match text.rfind(']') {
        Some(end) => text.split_at(end + 1),
        None if text.starts_with('[') => return Err("the bracket of an IPv6 address is not closed".into()),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        None if !port.is_empty() => return Err("only a port can stand behind the bracket".into()),
        // An empty port is the scheme's own (RFC 3986 section 3.2.3).
        None | Some("") => default,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => port,
            _ => return Err("the port is not a number from 1 to 65535".into()),
        },
    };
    let suffix = if port == default { String::new() } else { format!(":{port}") };
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal.strip_suffix(']').unwrap_or(literal);
        let (address, zone) = match literal.split_once('%') {
            // RFC 6874 has %25 for the percent sign; people type the sign itself.
            Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
            None => (literal, None),
        };
        let address: Ipv6Addr = address.parse().map_err(|_| "not an IPv6 address in the brackets")?;
        if zone == Some("") {
            return Err("the zone of the IPv6 address is empty".into());
        }
        return Ok((Place::V6(address, zone.map(decoded), port), format!("[{address}]{suffix}")));
    }
    if host.is_empty() {
        return Err("names no host".into());
    }
    if !host.is_ascii() {
        return Err("the host's name has letters beyond ASCII; write it as DNS has it (xn--…)".into());
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        return Err("the host's name has characters that no name has".into());
    }
    let name = host.to_ascii_lowercase();
    let authority = format!("{name}{suffix}");
    Ok((Place::Name(name, port), authority))
}

/// `/path/of/socket:/resource`.
fn unix_socket(rest: &str, secure: bool, shown: String, places: bool) -> Result<Url, String> {
    // Two slashes would begin an authority: an empty one is none.
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, resource) = rest.split_once(':').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err("names no socket: ws+unix:/path/of/socket:/resource".into());
    }
    Ok(Url {
        secure,
        place: Place::Unix(decoded(path).into()),
        authority: "localhost".into(),
        resource: resource_of(resource, places)?,
        authorization: None,
        shown,
    })
}

/// Path and query as they are sent: with a path, and encoded where RFC 3986 wants it. With `places`, what will be filled
/// in stays as it is.
fn resource_of(text: &str, places: bool) -> Result<String, String> {
    let mut out = if text.starts_with('/') { String::new() } else { "/".to_owned() };
    let mut filled = 0;
    for (at, c) in text.char_indices() {
        if let Some((.., rest)) = place(&text[at..]).filter(|_| places) {
            filled = text.len() - rest.len();
        }
        match c {
            c if at < filled => out.push(c),
            '%' if !is_triplet(&text[at + 1..]) => {
                return Err("a % that is not followed by two hexadecimal digits; write %25".into());
            }
            // Browsers encode or pass these, in a query and in a path.
            '[' | ']' | '^' | '`' | '{' | '|' | '}' | '\u{80}'.. => {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| out += &format!("%{byte:02X}"));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

/// What was filled into a path and query, as it can be sent: what cannot stand there is percent-encoded.
pub fn encoded(resource: &[u8]) -> String {
    let mut out = String::with_capacity(resource.len());
    for &byte in resource {
        match byte {
            b'!' | b'#'..=b';' | b'=' | b'?'..=b'Z' | b'_' | b'a'..=b'z' | b'~' if byte != b'#' => {
                out.push(char::from(byte));
            }
            byte => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn is_triplet(text: &str) -> bool {
    text.as_bytes().first_chunk::<2>().is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
}

/// The value of an Authorization header for `user:password`, both percent-encoded (RFC 7617 section 2).
fn basic(userinfo: &str) -> Result<Secret, String> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (user, password) = (decoded(user), decoded(password));
    if user.contains(':') || [&user, &password].iter().any(|part| part.contains(char::is_control)) {
        return Err(
            "the user's name has a colon in it, or one of name and password a control character".into()
        );
    }
    Ok(Secret(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, port: u16) -> Place {
        Place::Name(name.into(), port)
    }

    fn v6(zone: Option<&str>, port: u16) -> Place {
        Place::V6(Ipv6Addr::LOCALHOST, zone.map(str::to_owned), port)
    }

    #[test]
    fn urls_give_place_host_header_and_request_line() {
        for (url, place, authority, resource) in [
            ("ws://127.0.0.1:9/echo?x=1", name("127.0.0.1", 9), "127.0.0.1:9", "/echo?x=1"),
            ("ws://h", name("h", 80), "h", "/"),
            ("ws://h:80/", name("h", 80), "h", "/"),
            ("ws://h:443/", name("h", 443), "h:443", "/"),
            ("wss://h", name("h", 443), "h", "/"),
            ("wss://h:80/", name("h", 80), "h:80", "/"),
            ("WS://H.Example:9/A", name("h.example", 9), "h.example:9", "/A"),
            ("Wss://h", name("h", 443), "h", "/"),
            ("ws://h:", name("h", 80), "h", "/"),
            ("ws://h:/", name("h", 80), "h", "/"),
            ("ws://h?x", name("h", 80), "h", "/?x"),
            ("ws://h#f", name("h", 80), "h", "/"),
            ("ws://h/a#f?g", name("h", 80), "h", "/a"),
            ("ws://h/?a=1?b=/#f", name("h", 80), "h", "/?a=1?b=/"),
            ("ws://h//a/../b", name("h", 80), "h", "//a/../b"),
            ("ws://my_host-1.a./", name("my_host-1.a.", 80), "my_host-1.a.", "/"),
            ("ws://u:p@h:9/@", name("h", 9), "h:9", "/@"),
            ("ws://h/a%20b%C3%A9", name("h", 80), "h", "/a%20b%C3%A9"),
            ("ws://h/é?f[a]={1|2}", name("h", 80), "h", "/%C3%A9?f%5Ba%5D=%7B1%7C2%7D"),
            ("ws://[::1]:81/#top", v6(None, 81), "[::1]:81", "/"),
            ("ws://[::1]", v6(None, 80), "[::1]", "/"),
            ("ws://[0:0::0:1]:/", v6(None, 80), "[::1]", "/"),
            ("ws://[::1%lo]:9/", v6(Some("lo"), 9), "[::1]:9", "/"),
            ("ws://[::1%25lo]:9/", v6(Some("lo"), 9), "[::1]:9", "/"),
            ("ws+unix:/run/a.sock:/b?c", Place::Unix("/run/a.sock".into()), "localhost", "/b?c"),
            ("ws+unix:///run/a.sock", Place::Unix("/run/a.sock".into()), "localhost", "/"),
            ("ws+unix:./a%20b", Place::Unix("./a b".into()), "localhost", "/"),
        ] {
            let parsed = Url::parse(url).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(
                (&parsed.place, &*parsed.authority, &*parsed.resource),
                (&place, authority, resource),
                "{url}"
            );
            assert_eq!(parsed.secure, url.to_ascii_lowercase().starts_with("wss"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_a_reason() {
        for (url, reason) in [
            ("127.0.0.1", "not a URL such as"),
            ("localhost:8087/echo", "not a URL such as"),
            ("http://h/", "begins with ws://"),
            ("https://h/", "begins with wss://"),
            ("ws:h/", "two slashes"),
            ("ws:/h/", "two slashes"),
            ("ws://", "names no host"),
            ("ws://:80/", "names no host"),
            ("ws://u:p@/", "names no host"),
            ("ws://h:http/", "port"),
            ("ws://h:0/", "port"),
            ("ws://h:65536/", "port"),
            ("ws://h:+80/", "port"),
            ("ws://h:80:90/", "at most a port"),
            ("ws://::1/", "in brackets"),
            ("ws://fe80::1/", "in brackets"),
            ("ws://[::1/", "bracket"),
            ("ws://[::1]80/", "behind the bracket"),
            ("ws://[::g]/", "not an IPv6 address"),
            ("ws://[::1%]/", "zone"),
            ("ws://[127.0.0.1]/", "not an IPv6 address"),
            ("ws://bücher.example/", "xn--"),
            ("ws://a%41b/", "no name has"),
            ("ws://h/a b", "write %20"),
            ("ws://h/ ", "write %20"),
            (" ws://h/", "write %20"),
            ("ws://h/\u{a0}", "write %A0"),
            ("ws://h/x HTTP/1.1\r\nEvil: 1", "write %20"),
            ("ws://h/x\r\nEvil:1", "write %0D"),
            ("ws://h/\t", "write %09"),
            ("ws://h/\0", "write %00"),
            ("ws://h/\u{1b}[2J", "write %1B"),
            ("ws://h\\@evil/", "write %5C"),
            ("ws://h/%", "write %25"),
            ("ws://h/%4", "write %25"),
            ("ws://h/%zz", "write %25"),
            ("ws+unix:", "names no socket"),
            ("ws+unix::/x", "names no socket"),
        ] {
            let error = Url::parse(url).expect_err(url);
            assert!(error.contains(reason), "{url:?}: {error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn userinfo_is_what_authorization_says_and_nothing_else_says_it() {
        let authorization = |url: &str| Url::parse(url).unwrap().authorization.map(|secret| secret.0);
        // RFC 7617 section 2.
        let example = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(authorization("ws://Aladdin:open%20sesame@h/").as_deref(), Some(example));
        assert_eq!(authorization("ws://ann@h/"), Some(format!("Basic {}", STANDARD.encode("ann:"))));
        assert_eq!(authorization("ws://a:b:c@d@h/"), Some(format!("Basic {}", STANDARD.encode("a:b:c@d"))));
        assert_eq!(authorization("ws://h/"), None);
        let url = Url::parse("ws://ann:s3cret@h:9/?token=s3cret").unwrap();
        assert!(!format!("{url:?}").contains("s3cret") && !url.shown.contains("s3cret"), "{url:?}");
        for bad in
            ["ws://a%3Ab:s3cret@h/", "ws://a:s3cret%0A@h/", "ws://a:s3cret@h:port/", "ws://a:s3/cret@h/"]
        {
            let error = Url::parse(bad).unwrap_err();
            assert!(!error.contains("s3") && !error.contains("cret"), "{error}");
        }
    }

    #[test]
    fn connect_to_takes_a_host_and_a_port() {
        assert_eq!(host_and_port("H:9"), Ok(name("h", 9)));
        assert_eq!(host_and_port("[::1%lo]:9"), Ok(v6(Some("lo"), 9)));
        for bad in ["h", "h:", "h:0", ":9", "::1:9", "ws://h:9"] {
            assert!(host_and_port(bad).is_err(), "{bad}");
        }
    }

    /// Another reader of URLs agrees wherever it does not repair.
    #[test]
    fn the_url_crate_reads_the_same() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut pick = |parts: &[&str]| parts[rng.usize(..parts.len())].to_owned();
        for _ in 0..5000 {
            let text = [
                pick(&["ws://", "wss://", "WS://", "Wss://"]),
                pick(&["", "", "a@", "a:b@", "a%20:%3a@"]),
                pick(&["h", "H.example", "127.0.0.1", "[::1]", "[1:0::2]", "[::1", "a_b"]),
                pick(&["", ":", ":80", ":443", ":8087", ":99999", ":x"]),
                pick(&["", "/", "/a/b", "/%41", "/~a!$&'()*+,;=:@"]),
                pick(&["", "?", "?a=b&c=d", "?/?"]),
                pick(&["", "#", "#f/?"]),
            ]
            .concat();
            let (ours, theirs) = (Url::parse(&text), url::Url::parse(&text));
            let (ours, theirs) = match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => (ours, theirs),
                (Err(_), Err(_)) => continue,
                (ours, theirs) => panic!("{text}: {ours:?}, {theirs:?}"),
            };
            let query = theirs.query().map_or(String::new(), |query| format!("?{query}"));
            assert_eq!(ours.resource, format!("{}{query}", theirs.path()), "{text}");
            let port = theirs.port().map_or(String::new(), |port| format!(":{port}"));
            assert_eq!(ours.authority, format!("{}{port}", theirs.host_str().unwrap()), "{text}");
            assert_eq!(ours.secure, theirs.scheme() == "wss", "{text}");
            assert_eq!(ours.authorization.is_some(), !theirs.username().is_empty(), "{text}");
        }
    }

    #[test]
    fn places_stay_and_what_is_filled_in_is_encoded() {
        let url = Url::with_places("ws://h/{conn}/{x|y}?t={line:/a b}&u={now_ms}").map(|url| url.resource);
        assert!(url.is_err(), "a space is refused wherever it is");
        let url = Url::with_places("ws://h/{conn}/{x|y}?t={line:/a}&u={now_ms}").unwrap();
        assert_eq!(url.resource, "/{conn}/%7Bx%7Cy%7D?t={line:/a}&u={now_ms}");
        assert_eq!(Url::parse("ws://h/{conn}").unwrap().resource, "/%7Bconn%7D");
        assert_eq!(encoded(b"/a b?t=\xff\"{#}~&u=%20"), "/a%20b?t=%FF%22%7B%23%7D~&u=%20");
    }
}
