//! The protocol's versions: RFC 6455 and the drafts before it that browsers spoke.

/// A version to speak; the number is what `--draft` takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Draft {
    /// RFC 6455.
    #[default]
    Rfc6455 = 13,
    /// hybi-08 to hybi-12. On the wire it and [`Draft::Hybi7`] differ from RFC 6455 only in the version and in the name
    /// of the origin header.
    Hybi8 = 8,
    /// hybi-07.
    Hybi7 = 7,
    /// hixie-76, which is hybi-00.
    Hixie76 = 76,
    /// hixie-75.
    Hixie75 = 75,
}

impl Draft {
    /// Reads `13`, `8`, `7`, `76` or `75`.
    ///
    /// # Errors
    /// A sentence that lists them.
    pub fn parse(text: &str) -> Result<Draft, String> {
        [Draft::Rfc6455, Draft::Hybi8, Draft::Hybi7, Draft::Hixie76, Draft::Hixie75]
            .into_iter()
            .find(|draft| draft.number().to_string() == text)
            .ok_or_else(|| format!("`{text}` is not 13, 8, 7, 76 or 75"))
    }

    /// The version as Sec-WebSocket-Version has it, or the draft's number.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// Text between 00 and FF is all there is: no binary, no ping, no fragments, no extensions.
    pub fn is_hixie(self) -> bool {
        matches!(self, Draft::Hixie76 | Draft::Hixie75)
    }
}
