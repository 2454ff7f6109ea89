//! The opening handshake: an HTTP request head in, 101 or a refusal out (RFC 6455 §4.2, hybi-07 to -17, Hixie-75, -76).

mod asked;
pub mod deflate;
mod head;
pub mod hixie;
mod hybi;
mod origin;
mod page;
mod place;
mod refusal;
pub mod request;
mod routes;

use super::Version;
use super::paths::chain::is_chain;
use super::paths::report::{Agreed, Report};
pub use head::Head;
use hixie::{HixieUpgrade, Numbers};
use hybi::HybiUpgrade;
use page::write_page;
pub use place::{Place, Plan};
use place::{page_of, place_of};
pub use refusal::Refusal;
use request::{Method, Request};
pub use routes::{Endpoint, Page, Paths, Question, Routes, endpoint_of, is_board};

/// How a request was answered.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// 101.
    Open(Opening, Place),
    /// A page for browsers.
    Page(Page),
    /// The numbers were asked for; nothing is written yet.
    Stats(Question),
    /// No.
    Refuse(Refusal),
}

/// How an accepted connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The answer was all.
    Hixie75,
    /// Once the last eight bytes of the challenge have come.
    Hixie76(Numbers),
    /// Versions 7 to 13.
    Hybi {
        /// Which of them.
        version: Version,
        /// permessage-deflate was agreed.
        deflate: bool,
    },
}

impl Head {
    /// Answers the whole head `bytes`, appending the answer to `response`, which is empty.
    #[inline(never)]
    pub fn answer(&self, bytes: &[u8], response: &mut Vec<u8>, routes: &Routes) -> Answer {
        let mut headers = request::no_headers();
        let decision = match self.parse(bytes, &mut headers, routes.stats) {
            Ok(request) => decide(&request, routes),
            Err(refusal) => Err(refusal),
        };
        let answer = match decision {
            Ok(Welcome::Page(page)) => {
                write_page(response, page, routes);
                Answer::Page(page)
            }
            Ok(Welcome::Stats(question)) => Answer::Stats(question),
            Ok(Welcome::Hixie(hixie, place)) => {
                hixie.write(response, place.chain(), self.is_secure);
                Answer::Open(hixie.numbers.map_or(Opening::Hixie75, Opening::Hixie76), place)
            }
            Ok(Welcome::Hybi(hybi, place)) => {
                hybi.write(response, place.chain());
                Answer::Open(Opening::Hybi { version: hybi.version, deflate: hybi.deflate.is_some() }, place)
            }
            Err(refusal) => {
                refusal.write(response);
                Answer::Refuse(refusal)
            }
        };
        withhold_body(bytes, response);
        answer
    }

    /// Which number the whole head `bytes` asks for, where nothing else is served.
    ///
    /// # Errors
    /// The refusal, whose answer has been appended to `response`, which is empty.
    pub fn question(&self, bytes: &[u8], response: &mut Vec<u8>) -> Result<Question, Refusal> {
        let mut headers = request::no_headers();
        let asked = self.parse(bytes, &mut headers, true).and_then(|request| {
            let hint = "only /metrics and /healthz are served here";
            question_of(&request).ok_or_else(|| Refusal::NotFound { path: request.path.to_owned(), hint })
        });
        asked.inspect_err(|refusal| {
            refusal.write(response);
            withhold_body(bytes, response);
        })
    }
}

/// An answer to HEAD is the one to GET without its body (RFC 9110 §9.3.2), whatever else is wrong with the request.
fn withhold_body(request: &[u8], response: &mut Vec<u8>) {
    const END: &[u8] = b"\r\n\r\n";
    let request = request.strip_prefix(b"\r\n").unwrap_or(request);
    if request.starts_with(b"HEAD ")
        && let Some(at) = response.windows(END.len()).position(|window| window == END)
    {
        response.truncate(at + END.len());
    }
}

fn question_of(request: &Request) -> Option<Question> {
    let is_head = request.method == Method::Head;
    endpoint_of(request.path).map(|endpoint| Question { endpoint, is_head })
}

enum Welcome<'a> {
    Page(Page),
    Stats(Question),
    Hixie(HixieUpgrade<'a>, Place),
    Hybi(HybiUpgrade<'a>, Place),
}

/// The path is decided before anything about WebSocket: a wrong one never sees a 101.
fn decide<'a>(request: &Request<'a>, routes: &Routes) -> Result<Welcome<'a>, Refusal> {
    let is_upgrade = request.is_upgrade();
    if let Some(question) = question_of(request).filter(|_| routes.stats && !is_upgrade) {
        return Ok(Welcome::Stats(question));
    }
    if let Some(page) = page_of(request.path, routes).filter(|_| !is_upgrade) {
        return Ok(Welcome::Page(page));
    }
    let is_test = routes.test_paths && is_chain(request.path);
    let place = if is_test {
        Place::Program(Box::new(Plan { chain: asked::read(request, routes)?, report: None }))
    } else {
        place_of(request.path, routes).ok_or_else(|| {
            let hint = "nothing is served here; open / for the test page";
            Refusal::NotFound { path: request.path.to_owned(), hint }
        })?
    };
    if !is_upgrade {
        return Err(Refusal::NotWebSocket);
    }
    let is_hixie = !request.has("Sec-WebSocket-Version")
        && (request.has("Sec-WebSocket-Key1") || !request.has("Sec-WebSocket-Key"));
    let mut welcome = if is_hixie {
        Welcome::Hixie(HixieUpgrade::read(request, routes)?, place)
    } else {
        // Messages of several compressors would mix on a board.
        let deflate = routes.deflate && place == Place::Echo;
        Welcome::Hybi(HybiUpgrade::read(request, routes, deflate)?, place)
    };
    if let Welcome::Hixie(_, Place::Program(_)) | Welcome::Hybi(_, Place::Program(_)) = &welcome {
        plan(request, routes, &mut welcome)?;
    }
    Ok(welcome)
}

/// Does to a good upgrade what its path asks for: refuses it, or agrees on other things than an echo does.
#[inline(never)]
fn plan(request: &Request, routes: &Routes, welcome: &mut Welcome) -> Result<(), Refusal> {
    let extension;
    let (plan, version, first) = match welcome {
        Welcome::Hixie(hixie, Place::Program(plan)) => {
            asked::check_hixie(&plan.chain)?;
            extension = None;
            let version = if hixie.numbers.is_some() { Version::Hixie76 } else { Version::Hixie75 };
            (plan, version, hixie.protocol)
        }
        Welcome::Hybi(hybi, Place::Program(plan)) => {
            hybi.deflate = asked::agree_on_deflate(request, &plan.chain).filter(|_| routes.deflate);
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
