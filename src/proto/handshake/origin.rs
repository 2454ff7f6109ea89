//! Who may connect.

use super::request::Repeated;
use super::{Refusal, Routes};

/// Whether this Origin is on the list, where there is one; a request with none or with several is from nobody on it.
pub fn check_origin(routes: &Routes, origin: Result<Option<&[u8]>, Repeated>) -> Result<(), Refusal> {
    let is_listed = match origin {
        Ok(Some(origin)) => routes.origins.iter().any(|each| each.as_bytes() == origin),
        _ => false,
    };
    if routes.origins.is_empty() || is_listed { Ok(()) } else { Err(Refusal::Origin) }
}
