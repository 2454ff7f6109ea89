//! The opening handshake: an HTTP request head in, 101 or a refusal out (RFC 6455 §4.2, hybi-07 to -17, Hixie-75, -76).

mod asked;
pub mod deflate;
pub mod hixie;
pub mod http;
mod hybi;
mod page;
mod refusal;
mod site;

use super::Version;
use super::paths::chain::is_chain;
use super::paths::report::{Agreed, Report};
use hixie::{HixieUpgrade, Numbers};
pub use http::Head;
use http::Request;
use hybi::HybiUpgrade;
use page::write_page;
pub use refusal::Refusal;
pub use site::{Endpoint, Page, Paths, Place, Plan, Site, is_board};
use site::{endpoint_of, page_of, place_of};

/// How a request was answered.
#[derive(Debug, PartialEq)]
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
                hixie.write(letter, place.chain());
                Answer::Open(hixie.numbers.map_or(Opening::Hixie75, Opening::Hixie76), place)
            }
            Ok(Welcome::Hybi(hybi, place)) => {
                hybi.write(letter, place.chain());
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
    if let Some(page) = page_of(request.path, site).filter(|_| !is_upgrade) {
        return Ok(Welcome::Page(page));
    }
    let is_test = site.test_paths && is_chain(request.path) && !site.echo_paths.name(request.path);
    let place = if is_test {
        Place::Program(Box::new(Plan { chain: asked::read(request, site)?, report: None }))
    } else {
        place_of(request.path, site).ok_or_else(|| Refusal::NotFound(request.path.to_owned()))?
    };
    if !is_upgrade {
        return Err(Refusal::NotWebSocket);
    }
    let is_hixie = !request.has("Sec-WebSocket-Version")
        && (request.has("Sec-WebSocket-Key1") || !request.has("Sec-WebSocket-Key"));
    let mut welcome = if is_hixie {
        Welcome::Hixie(HixieUpgrade::read(request, site)?, place)
    } else {
        // Messages of several compressors would mix on a board.
        let deflate = site.deflate && place == Place::Echo;
        Welcome::Hybi(HybiUpgrade::read(request, site, deflate)?, place)
    };
    if let Welcome::Hixie(_, Place::Program(_)) | Welcome::Hybi(_, Place::Program(_)) = &welcome {
        plan(request, site, &mut welcome)?;
    }
    Ok(welcome)
}

/// Does to a good upgrade what its path asks for: refuses it, or agrees on other things than an echo does.
#[inline(never)]
fn plan(request: &Request, site: &Site, welcome: &mut Welcome) -> Result<(), Refusal> {
    let extension;
    let (plan, version, first) = match welcome {
        Welcome::Hixie(hixie, Place::Program(plan)) => {
            asked::check_hixie(&plan.chain)?;
            extension = None;
            let version = if hixie.numbers.is_some() { Version::Hixie76 } else { Version::Hixie75 };
            (plan, version, hixie.protocol)
        }
        Welcome::Hybi(hybi, Place::Program(plan)) => {
            hybi.deflate = asked::agree_on_deflate(request, &plan.chain).filter(|_| site.deflate);
            extension = hybi.deflate.map(|deflate| deflate.to_string());
            (plan, hybi.version, hybi.protocol.map(str::as_bytes))
        }
        _ => return Ok(()),
    };
    asked::check_opening(request, &plan.chain.opening)?;
    let subprotocol = asked::subprotocol(Some(&plan.chain), first);
    let agreed = Agreed { version, subprotocol, extension: extension.as_deref().map(str::as_bytes) };
    plan.report = Report::wanted(&plan.chain, request, &agreed);
    Ok(())
}
