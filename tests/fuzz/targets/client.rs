//! loadgen as a client: whatever a server answers, in any cut, is one answer or a refusal that can be printed; and URLs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loadgen::protocol::handshake::{self, Extras};
use loadgen::protocol::url::Url;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(url) = Url::parse(text)
    {
        let request = handshake::request(&url, &Extras::default(), 1);
        let lines = request.windows(2).filter(|pair| pair == b"\r\n").count();
        assert_eq!(request.split(|byte| *byte == b'\n').count(), lines + 1, "a bare line feed in a request");
    }
    let url = Url::parse("ws://127.0.0.1:8087/echo").expect("a URL");
    let extras = Extras::default();
    let read = |input: &[u8], ended| handshake::response(input, &url, &extras, 1, ended);
    let whole = read(data, false);
    if let Ok(Some(size)) = whole {
        assert!(size <= data.len());
    }
    for end in 0..data.len().min(600) {
        match (read(&data[..end], false), &whole) {
            (Ok(None), _) | (Err(_), Err(_)) => {}
            (Ok(Some(part)), Ok(Some(size))) => assert_eq!(part, *size),
            (part, _) => panic!("{end} bytes are enough ({}), all of them are not", part.is_ok()),
        }
    }
    assert!(!matches!(read(data, true), Ok(None)), "nothing said of an answer that ended");
});
