//! Text to be found in messages: `"id":{seq}`.
//!
//! A pattern is literal text anywhere in the message. A word in braces stands for what is there up to the next quote,
//! comma, brace or space, or to where the pattern goes on. `\{` is a brace itself, as in a template.

use super::template::{escape, place};

/// Text to be found, with holes in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    /// As it was given.
    text: String,
    /// What stands in front of each hole, and the hole's name.
    holes: Vec<(Box<[u8]>, String)>,
    /// What stands behind the last.
    end: Box<[u8]>,
}

impl Pattern {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is empty, or a hole has no text in front of it.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let (mut holes, mut plain) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some((brace, after)) = escape(rest) {
                plain.push(brace);
                rest = after;
            } else if let Some((word, None, after)) = place(rest) {
                if plain.is_empty() {
                    return Err(format!("`{text}`: in front of {{{word}}} stands no text to find it by"));
                }
                holes.push((std::mem::take(&mut plain).into_bytes().into(), word.to_owned()));
                rest = after;
            } else {
                plain.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        if holes.is_empty() && plain.is_empty() {
            return Err("a pattern is text to be found, and this is none".into());
        }
        Ok(Pattern { text: text.to_owned(), holes, end: plain.into_bytes().into() })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its holes, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.holes.iter().map(|(_, name)| &**name)
    }

    /// The place of the hole of this name.
    pub fn hole(&self, name: &str) -> Option<usize> {
        self.names().position(|own| own == name)
    }

    /// Whether it is in `message`.
    pub fn is_in(&self, message: &[u8]) -> bool {
        self.find(message).is_some()
    }

    /// What stands in hole `hole` where it is in `message` first.
    pub fn value<'a>(&self, message: &'a [u8], hole: usize) -> Option<&'a [u8]> {
        let mut found = None;
        let at = self.find(message)?;
        self.fits(&message[at..], |number, value| {
            if number == hole {
                found = Some(value);
            }
        });
        found
    }

    /// The number in hole `hole`, where it is in `message` first with one there.
    pub fn number(&self, message: &[u8], hole: usize) -> Option<u64> {
        let number = |digits| std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?.parse().ok();
        self.starts(message).find_map(|at| {
            let mut found = None;
            let fits = self.fits(&message[at..], |place, value| {
                if place == hole {
                    found = number(value);
                }
            });
            found.filter(|_| fits)
        })
    }

    fn find(&self, message: &[u8]) -> Option<usize> {
        self.starts(message).find(|at| self.fits(&message[*at..], |_, _| {}))
    }

    /// Where in `message` it could begin.
    fn starts(&self, message: &[u8]) -> impl Iterator<Item = usize> {
        let first = self.holes.first().map_or(&self.end, |(text, _)| text);
        let starts = message.windows(first.len()).enumerate().filter(|(_, window)| *window == &**first);
        starts.map(|(at, _)| at)
    }

    /// Whether it is at the front of `message`; `each` is told what stands in each hole.
    fn fits<'a>(&self, message: &'a [u8], mut each: impl FnMut(usize, &'a [u8])) -> bool {
        let mut rest = message;
        for (number, (text, _)) in self.holes.iter().enumerate() {
            let Some(after) = rest.strip_prefix(&**text) else { return false };
            let behind = self.holes.get(number + 1).map_or(&self.end, |(text, _)| text);
            let ends =
                |at: &usize| is_end(after[*at]) || !behind.is_empty() && after[*at..].starts_with(behind);
            let length = (0..after.len()).find(ends).unwrap_or(after.len());
            each(number, &after[..length]);
            rest = &after[length..];
        }
        rest.starts_with(&self.end)
    }
}

fn is_end(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b',' | b'{' | b'}') || byte.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_text_is_found_anywhere_and_holes_end_where_values_do() {
        for (pattern, message, values) in [
            ("ok", "it is ok", Some(&[][..])),
            ("ok", "it is not", None),
            ("ok", "o", None),
            (r#""id":{seq}"#, r#"{"id":17}"#, Some(&["17"][..])),
            (r#""id":{seq}"#, r#"{"a":1,"id":17,"b":2}"#, Some(&["17"])),
            (r#""id":{seq}"#, r#"{"id": 17}"#, Some(&[""])),
            (r#""id":{seq}"#, r#"{"ID":17}"#, None),
            (r#""token":"{token}""#, r#"{"token":"a.b-c"}"#, Some(&["a.b-c"])),
            (r#""token":"{token}""#, r#"{"token":"open"#, None),
            ("a={x};b={y}", "z a=1;b=22 c", Some(&["1", "22"])),
            ("a={x} b={y}", "a=1 a=2 b=3", Some(&["2", "3"])),
            ("t={t}", "t=7", Some(&["7"])),
            ("t={t}", "t='x y'", Some(&[""])),
            (r"\{seq}={n}", "{seq}=5", Some(&["5"])),
            ("{\"a\":{}", "{\"a\":{}", Some(&[])),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.is_in(message.as_bytes()), values.is_some(), "{pattern} in {message}");
            for (hole, value) in values.unwrap_or_default().iter().enumerate() {
                let found = parsed.value(message.as_bytes(), hole).unwrap();
                assert_eq!(std::str::from_utf8(found).unwrap(), *value, "{pattern} in {message}");
            }
        }
    }

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        let id = Pattern::parse("id={seq}").unwrap();
        for (message, number) in [
            ("id=0", Some(0)),
            ("id=18446744073709551615", Some(u64::MAX)),
            ("id=18446744073709551616", None),
            ("id=+1", None),
            ("id=-1", None),
            ("id=", None),
            ("id=1x", None),
            ("id=null id=x id=7 id=8", Some(7)),
            ("no", None),
        ] {
            assert_eq!(id.number(message.as_bytes(), 0), number, "{message}");
        }
        assert_eq!((id.hole("seq"), id.hole("x")), (Some(0), None));
    }

    #[test]
    fn what_cannot_be_looked_for_is_refused() {
        for (pattern, says) in [("", "none"), ("{seq}", "in front of {seq}"), ("a{x}{y}", "in front of {y}")]
        {
            assert!(Pattern::parse(pattern).unwrap_err().contains(says), "{pattern}");
        }
    }

    /// However a message looks, it is answered, and in no more than its length times the pattern's.
    #[test]
    fn no_message_is_too_strange() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..2000 {
            let mut bytes =
                |n: usize| (0..rng.usize(..n)).map(|_| b"a{x}\",\\ "[rng.usize(..8)]).collect::<Vec<_>>();
            let (pattern, message) = (bytes(8), bytes(30));
            let Ok(pattern) = Pattern::parse(std::str::from_utf8(&pattern).unwrap()) else { continue };
            for hole in 0..pattern.names().count() {
                assert_eq!(pattern.value(&message, hole).is_some(), pattern.is_in(&message), "{pattern:?}");
            }
        }
    }
}
