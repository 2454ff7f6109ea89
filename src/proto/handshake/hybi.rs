//! The handshake of versions 7, 8 and 13 (RFC 6455 §4.2, hybi-07 to -17).

use super::asked;
use super::deflate::{self, Deflate};
use super::origin::check_origin;
use super::refusal::{Refusal, push};
use super::request::{Repeated, Request, is_token};
use super::routes::Routes;
use crate::proto::Version;
use crate::proto::paths::bad_handshake::Response;
use crate::proto::paths::chain::Chain;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, PAD};

/// What §1.3 has the server append to the key before hashing.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Some clients make keys of 22 random letters: the bits that pad the last one may be anything (RFC 4648 §3.5).
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// A good request of version 7, 8 or 13.
pub struct HybiUpgrade<'a> {
    pub version: Version,
    key: &'a [u8],
    /// The subprotocol that was offered first.
    pub protocol: Option<&'a str>,
    pub deflate: Option<Deflate>,
}

impl<'a> HybiUpgrade<'a> {
    pub fn read(request: &Request<'a>, routes: &Routes, deflate: bool) -> Result<HybiUpgrade<'a>, Refusal> {
        let version = match request.only("Sec-WebSocket-Version").ok().flatten() {
            Some(b"13") => Version::Hybi13,
            Some(b"8") => Version::Hybi8,
            Some(b"7") => Version::Hybi7,
            _ => return Err(Refusal::Version),
        };
        let key = match request.only("Sec-WebSocket-Key") {
            Ok(Some(key)) if is_key(key, version) => key,
            Ok(Some(_)) => return Err(Refusal::Bad("Sec-WebSocket-Key is not the base64 of 16 bytes")),
            Ok(None) => return Err(Refusal::Bad("Sec-WebSocket-Key is missing")),
            Err(Repeated) => return Err(Refusal::Bad("more than one Sec-WebSocket-Key")),
        };
        // Versions 7 and 8 have a name of their own for it (hybi-07 §5.2.2); some of their clients use the plain one.
        let origin = match request.only("Sec-WebSocket-Origin") {
            Ok(None) => request.only("Origin"),
            _ if version == Version::Hybi13 => request.only("Origin"),
            named => named,
        };
        check_origin(routes, origin)?;
        let protocol = first_protocol(request)?;
        let deflate = if deflate { deflate::negotiate(request) } else { None };
        Ok(HybiUpgrade { version, key, protocol, deflate })
    }

    /// Appends the 101 to `response`, with what `chain` has it be.
    pub fn write(&self, response: &mut Vec<u8>, chain: Option<&Chain>) {
        let mut sha1 = sha1_smol::Sha1::new();
        sha1.update(self.key);
        sha1.update(ACCEPT_GUID);
        let mut accept = [0; 28];
        BASE64
            .encode_slice(sha1.digest().bytes(), &mut accept)
            .expect("20 bytes are 28 characters of base64");
        let protocol = asked::subprotocol(chain, self.protocol.map(str::as_bytes));
        let headers = chain.map_or(&[][..], |chain| &chain.opening.headers);
        if let Some(fault) = chain.and_then(|chain| chain.opening.fault) {
            let accept = std::str::from_utf8(&accept).expect("base64 is ASCII");
            let extension = self.deflate.map(|deflate| deflate.to_string());
            return fault.write(&Response { accept, subprotocol: protocol, extension, headers }, response);
        }
        response.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        response.extend_from_slice(&accept);
        if let Some(protocol) = protocol {
            response.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            response.extend_from_slice(protocol);
        }
        if let Some(deflate) = self.deflate {
            push(response, format_args!("\r\nSec-WebSocket-Extensions: {deflate}"));
        }
        for (name, value) in headers {
            push(response, format_args!("\r\n{name}: {value}"));
        }
        response.extend_from_slice(b"\r\n\r\n");
    }
}

/// Whether `key` is base64 of as many bytes as this version's clients send.
///
/// Sixteen, says every draft; but web-socket-js of May 2011, which spoke versions 7 and 8, encoded sixteen random numbers
/// below 128 as they are written in decimal, one behind the other.
fn is_key(key: &[u8], version: Version) -> bool {
    const LONGEST: usize = 16 * 3;
    let sizes = if version == Version::Hybi13 { 16..=16 } else { 16..=LONGEST };
    // Anything longer is not even decoded.
    let mut nonce = [0; LONGEST + 3];
    key.len() <= LONGEST / 3 * 4
        && BASE64.decode_slice(key, &mut nonce).is_ok_and(|size| sizes.contains(&size))
}

/// The first subprotocol that was offered (§4.1 item 10, §11.3.4): an echo speaks all of them.
fn first_protocol<'a>(request: &Request<'a>) -> Result<Option<&'a str>, Refusal> {
    match request.elements("Sec-WebSocket-Protocol").next() {
        None => Ok(None),
        Some(name) if name.iter().all(|byte| is_token(*byte)) => {
            Ok(Some(std::str::from_utf8(name).expect("a token is ASCII")))
        }
        Some(_) => Err(Refusal::Bad("Sec-WebSocket-Protocol is not a list of tokens")),
    }
}
