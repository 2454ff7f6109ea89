//! Who may connect.

use super::request::Repeated;
use super::{Refusal, Site};

/// Whether this Origin is on the list, where there is one; a request with none or with several is from nobody on it.
pub fn check_origin(site: &Site, origin: Result<Option<&[u8]>, Repeated>) -> Result<(), Refusal> {
    let is_listed = match origin {
        Ok(Some(origin)) => site.origins.iter().any(|each| each.as_bytes() == origin),
        _ => false,
    };
    if site.origins.is_empty() || is_listed { Ok(()) } else { Err(Refusal::Origin) }
}
