//! Offers of extensions: an answer to one is what RFC 7692 section 7 allows, and the echo can keep it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use support::config;
use support::conversation::Conversation;
use support::wire::REQUEST;
use wsecho::reactor::listener::Role;

fuzz_target!(|data: &[u8]| {
    let Ok(offer) = std::str::from_utf8(data) else { return };
    if offer.len() > 2000 || offer.contains(['\r', '\n', '\0']) {
        return;
    }
    let request = REQUEST.replacen("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"), 1);
    let config = config::config();
    let mut conversation = Conversation::new(Role::Echo, &config, None);
    conversation.say(request.as_bytes());
    let heard = String::from_utf8(conversation.heard()).expect("an HTTP answer");
    if !heard.starts_with("HTTP/1.1 101 ") {
        return;
    }
    let Some((_, agreed)) = heard.split_once("Sec-WebSocket-Extensions: ") else { return };
    let agreed = agreed.split("\r\n").next().expect("a line");
    let mut parts = agreed.split(';').map(str::trim);
    assert_eq!(parts.next(), Some("permessage-deflate"), "{agreed}");
    let parts: Vec<&str> = parts.collect();
    let lower = offer.to_ascii_lowercase();
    for part in &parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            // What the server does not keep, the client must be told not to need.
            "server_no_context_takeover" => assert!(parts.contains(&"client_no_context_takeover"), "{agreed}"),
            "client_no_context_takeover" => {}
            "server_max_window_bits" => {
                assert!(lower.contains("client_max_window_bits"), "{agreed} for {offer}");
                assert!(parts.contains(&format!("client_max_window_bits={value}").as_str()), "{agreed}");
                assert!(matches!(value.parse(), Ok(8..=15u8)), "{agreed}");
            }
            "client_max_window_bits" => assert!(lower.contains(name), "{agreed} for {offer}"),
            _ => panic!("{agreed}"),
        }
    }
    for name in ["server_no_context_takeover", "server_max_window_bits"] {
        assert_eq!(
            parts.iter().filter(|part| part.starts_with(name)).count() <= 1 && (lower.contains(name) || !agreed.contains(name)),
            true,
            "{agreed} for {offer}"
        );
    }
});
