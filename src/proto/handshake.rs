//! The opening handshake: an HTTP request head in, 101 or a refusal out (RFC 6455 §4.2, hybi-07 to -17, Hixie-75, -76).

mod deflate;
pub mod hixie;
mod http;
mod hybi;
mod page;
mod refusal;
mod site;

use super::Version;
use hixie::{HixieUpgrade, Numbers};
pub use http::Head;
use http::Request;
use hybi::HybiUpgrade;
use page::write_page;
pub use refusal::Refusal;
pub use site::{Endpoint, Page, Paths, Place, Site, is_board};
use site::{endpoint_of, page_of, place_of};

/// How a request was answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Open(Opening, Place),
    Page(Page),
    /// The numbers were asked for; nothing is written yet.
    Stats(Endpoint),
    Refuse(Refusal),
}

/// How an accepted connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    Hixie75,
    /// Once the last eight bytes of the challenge have come.
    Hixie76(Numbers),
    Hybi {
        version: Version,
        deflate: bool,
    },
}

impl Head {
    /// Answers the whole head `bytes`, appending the answer to `letter`.
    #[inline(never)]
    pub fn answer(&self, bytes: &[u8], letter: &mut Vec<u8>, site: &Site) -> Answer {
        let mut headers = [httparse::EMPTY_HEADER; http::HEADERS_MAX];
        let decision = match self.parse(bytes, &mut headers) {
            Ok(request) => decide(&request, site),
            Err(refusal) => Err(refusal),
        };
        match decision {
            Ok(Welcome::Page(page)) => {
                write_page(letter, page, site);
                Answer::Page(page)
            }
            Ok(Welcome::Stats(endpoint)) => Answer::Stats(endpoint),
            Ok(Welcome::Hixie(hixie, place)) => {
                hixie.write(letter);
                Answer::Open(hixie.numbers.map_or(Opening::Hixie75, Opening::Hixie76), place)
            }
            Ok(Welcome::Hybi(hybi, place)) => {
                hybi.write(letter);
                Answer::Open(Opening::Hybi { version: hybi.version, deflate: hybi.deflate.is_some() }, place)
            }
            Err(refusal) => {
                refusal.write(letter);
                Answer::Refuse(refusal)
            }
        }
    }
}

impl Head {
    /// Which number the whole head `bytes` asks for.
    pub fn question(&self, bytes: &[u8]) -> Result<Endpoint, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; http::HEADERS_MAX];
        let path = self.parse(bytes, &mut headers)?.path;
        endpoint_of(path).ok_or_else(|| Refusal::NotFound(path.to_owned()))
    }
}

enum Welcome<'a> {
    Page(Page),
    Stats(Endpoint),
    Hixie(HixieUpgrade<'a>, Place),
    Hybi(HybiUpgrade<'a>, Place),
}

/// The path is decided before anything about WebSocket: a wrong one never sees a 101.
fn decide<'a>(request: &Request<'a>, site: &Site) -> Result<Welcome<'a>, Refusal> {
    let is_upgrade = request.lists("Upgrade", "websocket") && request.lists("Connection", "upgrade");
    if let Some(endpoint) = endpoint_of(request.path).filter(|_| site.stats && !is_upgrade) {
        return Ok(Welcome::Stats(endpoint));
    }
    let place = match (place_of(request.path, site), page_of(request.path, site)) {
        (_, Some(page)) if !is_upgrade => return Ok(Welcome::Page(page)),
        (Some(_), _) if !is_upgrade => return Err(Refusal::NotWebSocket),
        (Some(place), _) => place,
        (None, _) => return Err(Refusal::NotFound(request.path.to_owned())),
    };
    let is_hixie = !request.has("Sec-WebSocket-Version")
        && (request.has("Sec-WebSocket-Key1") || !request.has("Sec-WebSocket-Key"));
    if is_hixie {
        Ok(Welcome::Hixie(HixieUpgrade::read(request, site)?, place))
    } else {
        // Messages of several compressors would mix on a board.
        let deflate = site.deflate && place == Place::Echo;
        Ok(Welcome::Hybi(HybiUpgrade::read(request, site, deflate)?, place))
    }
}
