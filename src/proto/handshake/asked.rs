//! How a request for a chain under `/ws` is answered (see [`crate::proto::paths`]).

use super::deflate::{self, Deflate};
use super::refusal::{Asked, Refusal};
use super::request::Request;
use super::routes::Routes;
use crate::proto::paths::chain::{self, Chain, HandshakeOptions, Scheme, Step, Subprotocol};
use crate::proto::paths::problem::Problem;

/// The chain that a request asks for.
pub fn read(request: &Request, routes: &Routes) -> Result<Chain, Refusal> {
    chain::parse(request.path, request.query, routes.limits.max_message).map_err(refuse)
}

/// A chain that a connection of Hixie-75 or -76 can carry: those have no control frames, fragments, codes or extensions.
pub fn check_hixie(chain: &Chain) -> Result<(), Refusal> {
    let step = chain.steps.iter().find_map(|step| match step {
        Step::Ping(_) => Some("ping"),
        Step::Fragment(_) => Some("fragment"),
        Step::Mute => Some("mute"),
        Step::BadFrame(_) => Some("bad-frame"),
        Step::Close { code: Some(_), .. } => Some("close/<code>"),
        _ => None,
    });
    let opening = match &chain.opening {
        HandshakeOptions { fault: Some(_), .. } => Some("bad-handshake"),
        HandshakeOptions { deflate: chain::DeflateChoice::Only(_), .. } => Some("deflate"),
        _ => None,
    };
    match step.or(opening) {
        Some(name) => {
            Err(refuse(Problem::request(format_args!("step '{name}': Hixie-75 and -76 have no such thing"))))
        }
        None => Ok(()),
    }
}

/// What the path asks for instead of a 101.
pub fn check_opening(request: &Request, opening: &HandshakeOptions) -> Result<(), Refusal> {
    let mut headers = Vec::new();
    let status = if let Some(challenge) = missing_credentials(request, opening) {
        headers.push(("WWW-Authenticate".to_owned(), challenge.to_owned()));
        401
    } else if let Some(location) = &opening.location {
        headers.push(("Location".to_owned(), location.clone()));
        302
    } else if let Some(status) = opening.status {
        status
    } else {
        return Ok(());
    };
    headers.extend_from_slice(&opening.headers);
    Err(Refusal::Asked(Box::new(Asked { status, headers, delay: opening.delay })))
}

/// The challenge for a client that does not bring what the path wants to see.
fn missing_credentials(request: &Request, opening: &HandshakeOptions) -> Option<&'static str> {
    let (scheme, wanted) = opening.credentials.as_ref()?;
    let (name, challenge) = match scheme {
        Scheme::Basic => ("Basic", "Basic realm=\"wsecho\", charset=\"UTF-8\""),
        Scheme::Bearer => ("Bearer", "Bearer realm=\"wsecho\""),
    };
    let brought = request.only("Authorization").ok().flatten().unwrap_or_default();
    let mut parts = brought.splitn(2, |byte| *byte == b' ');
    let is_good = parts.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(name.as_bytes()))
        && parts.next().is_some_and(|rest| rest.trim_ascii() == wanted.as_bytes());
    (!is_good).then_some(challenge)
}

/// The subprotocol that is agreed to, where `first` of the offered ones would be.
pub fn subprotocol<'a>(chain: Option<&'a Chain>, first: Option<&'a [u8]>) -> Option<&'a [u8]> {
    match chain.and_then(|chain| chain.opening.subprotocol.as_ref()) {
        None => first,
        Some(Subprotocol::None) => None,
        Some(Subprotocol::This(name)) => Some(name.as_bytes()),
    }
}

/// The compression that is agreed to.
///
/// A client inflates our messages by what it has deflated itself, so a chain that may not send back all of it has none.
pub fn agree_on_deflate(request: &Request, chain: &Chain) -> Option<Deflate> {
    let breaks_context = chain.steps.iter().any(|step| match step {
        Step::Sink | Step::Size | Step::Limit(_) | Step::Unfinished => true,
        Step::BadFrame(frame) => frame.needs_no_deflate(),
        _ => false,
    });
    if breaks_context || chain.opening.fault.is_some_and(|fault| fault.is_about_extensions()) {
        return None;
    }
    match chain.opening.deflate {
        chain::DeflateChoice::Negotiate => deflate::negotiate(request),
        chain::DeflateChoice::Decline => None,
        chain::DeflateChoice::Only(chosen) => deflate::negotiate_only(request, chosen),
    }
}

fn refuse(problem: Problem) -> Refusal {
    Refusal::Path(Box::new(problem))
}
