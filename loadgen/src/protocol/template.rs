//! Text with places in it that are filled in anew for every connection and message: `{"id":{seq}}`.
//!
//! A place is a word in braces, as [`PLACES`] lists them, or the name of what `--capture` keeps. Every other brace stands
//! for itself, as in JSON. `\{` is a brace where a place would begin, `\\{` a backslash in front of one; elsewhere a
//! backslash is a backslash. What is filled in is written as it is, with no quotes and no escapes of any format.

use super::shown::secret_words;
use std::fmt;
use std::sync::Arc;

/// What can stand in braces.
pub const PLACES: &str = "{conn}, {seq}, {shard}, {now_ms}, {now_ns}, {rand:N}, {uuid}, {stamp}, {line:FILE}";

/// Letters of a word of ours that is no secret however it comes back: two or three are in too many others.
const LETTERS: usize = 4;

/// The lines of a file, of which each connection has its own.
pub type Lines = Arc<[Box<str>]>;

/// Text with places to be filled in. Printed for debugging, it does not say what it says: it may be a secret.
#[derive(Clone, Default)]
pub struct Template {
    parts: Vec<Filling>,
}

#[derive(Clone)]
enum Filling {
    Text(Box<[u8]>),
    Conn,
    Seq,
    Shard,
    NowMillis,
    NowNanos,
    /// Below this.
    Random(u64),
    Uuid,
    Stamp,
    Line(Lines),
    /// What was captured, by the place of its name.
    Kept(usize),
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a template")
    }
}

/// What a template is read with.
pub struct Names<'a> {
    /// Of what is captured.
    pub kept: &'a [String],
    /// Reads the lines of a file.
    pub lines: &'a mut dyn FnMut(&str) -> Result<Lines, String>,
    /// It is a message, which has a stamp.
    pub stamp: bool,
}

/// What is filled in.
pub struct Values<'a> {
    /// Number of the connection, over all shards.
    pub conn: u64,
    /// Number of the message on its connection.
    pub seq: u64,
    /// Which process of a sharded run, from 1.
    pub shard: u64,
    /// Nanoseconds since 1970.
    pub now: u64,
    /// The stamp of the message.
    pub stamp: &'a [u8],
    /// What the connection keeps.
    pub kept: &'a [Vec<u8>],
    /// For what is random.
    pub rng: &'a mut fastrand::Rng,
}

impl Template {
    /// Reads `text`.
    ///
    /// # Errors
    /// A sentence that says which place is none, or why its file cannot be read.
    pub fn parse(text: &str, names: &mut Names) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some((brace, after)) = escape(rest) {
                plain.push(brace);
                rest = after;
                continue;
            }
            match place(rest) {
                Some((word, argument, after)) => {
                    if !plain.is_empty() {
                        parts.push(Filling::Text(std::mem::take(&mut plain).into_bytes().into()));
                    }
                    parts.push(Filling::parse(word, argument, names)?);
                    rest = after;
                }
                None => {
                    plain.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Filling::Text(plain.into_bytes().into()));
        }
        Ok(Template { parts })
    }

    /// The text, if nothing is to be filled in.
    pub fn plain(&self) -> Option<Vec<u8>> {
        let text = |part: &Filling| if let Filling::Text(text) = part { Some(text.to_vec()) } else { None };
        let all: Option<Vec<Vec<u8>>> = self.parts.iter().map(text).collect();
        Some(all?.concat())
    }

    /// It says which message it is.
    pub fn has_stamp(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Filling::Stamp))
    }

    /// It says what time it is.
    pub fn has_time(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Filling::NowMillis | Filling::NowNanos))
    }

    /// Bytes of what is always the same in it.
    pub fn plain_size(&self) -> usize {
        let size = |part: &Filling| if let Filling::Text(text) = part { text.len() } else { 0 };
        self.parts.iter().map(size).sum()
    }

    /// Appends the text with `values` filled in. Where `out` has room, nothing is allocated.
    pub fn write(&self, out: &mut Vec<u8>, values: &mut Values) {
        for part in &self.parts {
            match part {
                Filling::Text(text) => out.extend_from_slice(text),
                Filling::Conn => decimal(out, values.conn),
                Filling::Seq => decimal(out, values.seq),
                Filling::Shard => decimal(out, values.shard),
                Filling::NowMillis => decimal(out, values.now / 1_000_000),
                Filling::NowNanos => decimal(out, values.now),
                Filling::Random(below) => decimal(out, values.rng.u64(..below)),
                Filling::Uuid => uuid(out, values.rng.u128(..)),
                Filling::Stamp => out.extend_from_slice(values.stamp),
                Filling::Line(lines) => {
                    out.extend_from_slice(lines[values.conn as usize % lines.len()].as_bytes());
                }
                Filling::Kept(name) => {
                    out.extend_from_slice(values.kept.get(*name).map_or(&[], Vec::as_slice))
                }
            }
        }
    }

    /// What of the text with `values` nobody may see but the server: lines of files, what was captured, and of what stands
    /// there the words of four letters and more, keys apart, and whatever is behind a telling name.
    pub fn secrets(&self, values: &Values) -> Vec<String> {
        let texts = self.parts.iter().filter_map(|part| match part {
            Filling::Text(text) => Some(secret_words(&String::from_utf8_lossy(text), LETTERS)),
            _ => None,
        });
        texts.flatten().chain(self.filled_secrets(values)).collect()
    }

    /// The same without what stands in the text itself.
    pub fn filled_secrets(&self, values: &Values) -> Vec<String> {
        let secret = |part: &Filling| match part {
            Filling::Line(lines) => Some(lines[values.conn as usize % lines.len()].to_string()),
            Filling::Kept(name) => {
                values.kept.get(*name).map(|kept| String::from_utf8_lossy(kept).into_owned())
            }
            _ => None,
        };
        self.parts.iter().filter_map(secret).filter(|secret| !secret.is_empty()).collect()
    }
}

impl Filling {
    fn parse(word: &str, argument: Option<&str>, names: &mut Names) -> Result<Filling, String> {
        Ok(match (word, argument) {
            ("conn", None) => Filling::Conn,
            ("seq", None) => Filling::Seq,
            ("shard", None) => Filling::Shard,
            ("now_ms", None) => Filling::NowMillis,
            ("now_ns", None) => Filling::NowNanos,
            ("uuid", None) => Filling::Uuid,
            ("stamp", None) if names.stamp => Filling::Stamp,
            ("stamp", None) => return Err("{stamp} is for messages that are timed".into()),
            ("rand", Some(below)) => match below.parse() {
                Ok(below) if below > 0 => Filling::Random(below),
                _ => return Err(format!("{{rand:{below}}} wants a number above zero: {{rand:6}} is 0 to 5")),
            },
            ("line", Some(path)) => Filling::Line((names.lines)(path)?),
            (name, None) if let Some(at) = names.kept.iter().position(|kept| kept == name) => {
                Filling::Kept(at)
            }
            (name, _) => {
                return Err(format!(
                    "{{{name}}} is none of {PLACES}, nor kept by --capture; a brace itself is \\{{, in a URL %7B"
                ));
            }
        })
    }
}

/// Whether `name` is a place of its own, so that nothing captured can have it.
pub fn is_taken(name: &str) -> bool {
    ["conn", "seq", "shard", "now_ms", "now_ns", "ms", "ns", "rand", "uuid", "stamp", "line"].contains(&name)
}

/// `\{` at the front of `text`, or `\\` with a brace behind it: the character meant, and what is behind.
pub(super) fn escape(text: &str) -> Option<(char, &str)> {
    let after = text.strip_prefix('\\')?;
    match after.strip_prefix('{') {
        Some(rest) => Some(('{', rest)),
        None => after.strip_prefix('\\').filter(|rest| rest.starts_with('{')).map(|rest| ('\\', rest)),
    }
}

/// `{word}` or `{word:argument}` at the front of `text`: word, argument, and what is behind.
pub(super) fn place(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let inside = text.strip_prefix('{')?;
    let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    let (word, rest) = inside.split_at(end);
    if !word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    match rest.strip_prefix('}') {
        Some(rest) => Some((word, None, rest)),
        // In JSON a name stands in quotes; of what takes an argument there are two.
        None => {
            let argued = rest.strip_prefix(':').filter(|_| ["rand", "line"].contains(&word))?;
            let (argument, rest) = argued.split_once('}')?;
            Some((word, Some(argument), rest))
        }
    }
}

fn decimal(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// A random UUID (RFC 9562 section 5.4).
fn uuid(out: &mut Vec<u8>, random: u128) {
    let bits = random & !(0xF << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    for digit in 0..32 {
        if [8, 12, 16, 20].contains(&digit) {
            out.push(b'-');
        }
        out.push(b"0123456789abcdef"[(bits >> (124 - 4 * digit)) as usize & 15]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Template, String> {
        let mut lines = |path: &str| match path {
            "users" => Ok(["ann", "bob", "eve"].map(Box::from).to_vec().into()),
            _ => Err(format!("{path}: no such file")),
        };
        let kept = ["token".to_owned(), "room".to_owned()];
        Template::parse(text, &mut Names { kept: &kept, lines: &mut lines, stamp: true })
    }

    fn filled(text: &str, conn: u64, seq: u64) -> String {
        let mut rng = fastrand::Rng::with_seed(7);
        let kept = [b"t0k".to_vec(), b"r 1".to_vec()];
        let now = 1_700_000_000_123_456_789;
        let mut values = Values { conn, seq, shard: 2, now, stamp: b"0123abcd", kept: &kept, rng: &mut rng };
        let mut out = Vec::new();
        read(text).unwrap().write(&mut out, &mut values);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn places_are_filled_in_and_other_braces_stay() {
        for (text, is) in [
            ("", ""),
            ("{", "{"),
            ("{}", "{}"),
            (r#"{"id":{seq}}"#, r#"{"id":7}"#),
            (r#"{"a":{"b":{conn}},"c":{}}"#, r#"{"a":{"b":4},"c":{}}"#),
            ("{seq}{seq}", "77"),
            ("/room/{shard}?t={token}", "/room/2?t=t0k"),
            ("{now_ms} {now_ns}", "1700000000123 1700000000123456789"),
            ("{line:users} {room}", "bob r 1"),
            ("{stamp}", "0123abcd"),
            ("{1} {a b} {conn", "{1} {a b} {conn"),
            (r"\{seq} \\{seq} \n \\ \", r"{seq} \7 \n \\ \"),
            ("é{seq}ü", "é7ü"),
        ] {
            assert_eq!(filled(text, 4, 7), is, "{text}");
        }
    }

    #[test]
    fn what_is_random_keeps_its_shape() {
        for seq in 0..100 {
            let text = filled("{rand:6} {uuid}", seq, seq);
            let (rand, uuid) = text.split_once(' ').unwrap();
            assert!(rand.parse::<u64>().unwrap() < 6, "{text}");
            let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
            assert_eq!(&uuid[14..15], "4", "the version");
            assert!("89ab".contains(&uuid[19..20]), "the variant: {uuid}");
        }
        assert_eq!(filled("{rand:1}", 0, 0), "0");
    }

    #[test]
    fn what_is_no_place_is_refused_with_a_reason() {
        for (text, says) in [
            ("{name}", "{name} is none of {conn}, {seq}"),
            ("{rand:0}", "wants a number above zero"),
            ("{rand:x}", "wants a number above zero"),
            ("{rand}", "is none of"),
            ("{line:none}", "none: no such file"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    /// What is filled into a buffer that has room needs no other: its memory stays where it is.
    #[test]
    fn filling_in_keeps_the_buffer() {
        let kept = [b"t0k".to_vec(), b"r 1".to_vec()];
        let template =
            read("{conn}{seq}{shard}{now_ms}{now_ns}{rand:9}{uuid}{stamp}{line:users}{token}").unwrap();
        let (mut rng, mut out) = (fastrand::Rng::with_seed(1), Vec::with_capacity(256));
        let memory = (out.as_ptr(), out.capacity());
        for seq in 0..10_000 {
            let stamp = [b'7'; 32];
            let mut values =
                Values { conn: seq, seq, shard: 1, now: u64::MAX, stamp: &stamp, kept: &kept, rng: &mut rng };
            out.clear();
            template.write(&mut out, &mut values);
            assert_eq!((out.as_ptr(), out.capacity()), memory);
        }
    }

    #[test]
    fn lines_are_shared_out_over_all_connections() {
        let lines =
            |conns: std::ops::Range<u64>| conns.map(|c| filled("{line:users}", c, 0)).collect::<Vec<_>>();
        // Two shards of three connections each.
        assert_eq!([lines(0..3), lines(3..6)].concat(), ["ann", "bob", "eve", "ann", "bob", "eve"]);
    }

    #[test]
    fn secrets_are_what_was_filled_in_from_files_and_captures() {
        let mut rng = fastrand::Rng::with_seed(1);
        let kept = [b"t0k".to_vec()];
        let values = Values { conn: 1, seq: 0, shard: 0, now: 0, stamp: b"", kept: &kept, rng: &mut rng };
        assert_eq!(read("{line:users}:{token}:{conn}").unwrap().secrets(&values), ["bob", "t0k"]);
        let text = r#"{"type":"login","password":"s3cret","jwt":"x","n":"0123456789abcdef","room":"lobby"}"#;
        assert_eq!(
            read(text).unwrap().secrets(&values),
            ["login", "s3cret", "x", "0123456789abcdef", "lobby"]
        );
        let text = r#"{"user":"bob-smith","pin":4711,"n":12,"on":true}"#;
        assert_eq!(read(text).unwrap().secrets(&values), ["bob-smith", "4711"]);
        assert_eq!(read("LOGIN ann swordfish").unwrap().secrets(&values), ["LOGIN", "swordfish"]);
        assert_eq!(format!("{:?}", read("s3cret").unwrap()), "a template");
    }
}
