//! PROXY headers, versions 1 and 2: one answer, however they are cut, and never more taken than the header is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wsecho::proto::proxy;

fuzz_target!(|data: &[u8]| {
    let whole = proxy::parse(data);
    if let Ok(Some(header)) = &whole {
        assert!(header.size <= data.len());
        assert!(matches!(proxy::parse(&data[..header.size]), Ok(Some(again)) if again.size == header.size));
    }
    for end in 0..data.len() {
        match (proxy::parse(&data[..end]), &whole) {
            (Ok(None), _) | (Err(_), Err(_)) => {}
            (Ok(Some(part)), Ok(Some(header))) => assert_eq!((part.size, part.client), (header.size, header.client)),
            (part, whole) => panic!("{end} bytes say {part:?}, all of them {whole:?}"),
        }
    }
});
