//! TLS as a client speaks it (RFC 8446, RFC 5246), without I/O: by rustls' unbuffered API, which keeps no buffers of its
//! own. Records go in, plaintext comes out, and the other way round.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, HandshakeKind};

/// Where connections read records to and write them from: one for all connections of a thread.
#[derive(Default)]
pub struct Buffers {
    /// Records as they came.
    pub incoming: Vec<u8>,
    /// Records to be sent.
    pub outgoing: Vec<u8>,
}

/// Most that a record has beside its content: header, explicit nonce, content type, tag (RFC 8446 section 5.2, RFC 5288).
const OVERHEAD: usize = 5 + 8 + 1 + 16;

/// Most content of a record (RFC 8446 section 5.1).
const CONTENT: usize = 16 * 1024;

/// More than the longest handshake message, which is kept until it is whole (RFC 8446 section 4).
const INCOMING: usize = 80 * 1024;

impl Buffers {
    /// How much of `incoming` to fill when `kept` bytes stand there already and no more than `plain` bytes of plaintext can
    /// be taken.
    pub fn room(&mut self, kept: usize, plain: usize) -> usize {
        if self.incoming.is_empty() {
            self.incoming = vec![0; INCOMING];
        }
        // Records are longer than what is in them. A handshake, of which nothing is plaintext, may take it all.
        let most = if kept < plain { plain } else { INCOMING };
        most.min(INCOMING)
    }
}

/// What a handshake agreed on, in the field's names.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Agreed {
    /// `TLS 1.2` or `TLS 1.3`.
    pub version: String,
    /// By IANA's name.
    pub suite: String,
    /// The group, by IANA's name.
    pub key_exchange: String,
    /// From a ticket or session of an earlier one.
    pub resumed: bool,
}

/// One connection's TLS.
pub struct Tls {
    connection: UnbufferedClientConnection,
    /// The beginning of a record, or of a handshake message.
    partial: Box<[u8]>,
    established: bool,
    /// The server has said that it sends no more (close_notify).
    ended: bool,
    /// It failed: nothing more may be asked of it.
    over: bool,
}

impl Tls {
    /// A connection to the server called `name`. Its first message is what [`Tls::open`] of nothing gives.
    ///
    /// # Errors
    /// rustls', in words.
    pub fn new(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Tls, String> {
        match UnbufferedClientConnection::new(config.clone(), name) {
            Ok(connection) => {
                Ok(Tls { connection, partial: Box::default(), established: false, ended: false, over: false })
            }
            Err(e) => Err(reason(&e)),
        }
    }

    /// The handshake is over.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// The server has said that it sends no more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What was received and is not yet a record.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// What was agreed on, once the handshake is over.
    pub fn agreed(&self) -> Agreed {
        let name = |debug: Option<String>| debug.unwrap_or_default();
        Agreed {
            version: match self.connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2".into(),
                Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3".into(),
                other => name(other.map(|version| format!("{version:?}"))),
            },
            suite: name(
                self.connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
            ),
            key_exchange: name(
                self.connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
            ),
            resumed: self.connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Takes `incoming`: what [`Tls::partial`] was, and what has come since. Plaintext goes to `plain`; what has to be sent
    /// is appended to `outgoing`, also when it fails (an alert). Returns how much plaintext there is.
    ///
    /// # Errors
    /// Why the connection is over, in a few words that are the same for all that fail alike.
    pub fn open(
        &mut self,
        incoming: &mut [u8],
        plain: &mut [u8],
        outgoing: &mut Vec<u8>,
    ) -> Result<usize, String> {
        let (mut opened, mut at) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut incoming[at..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|e| reason(&e))?;
                        discard += record.discard;
                        let room = plain.get_mut(opened..).unwrap_or_default();
                        let Some(room) = room.get_mut(..record.payload.len()) else {
                            return Err("more came at once than was asked for".into());
                        };
                        room.copy_from_slice(record.payload);
                        opened += record.payload.len();
                    }
                    // Mostly a read is one record, behind which rustls would say only that messages may go out.
                    if self.established && at + discard == incoming.len() {
                        at += discard;
                        break;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.ended = true;
                    break;
                }
                Ok(state) => {
                    // Nothing more can be done with what there is: the handshake waits, or messages may go out.
                    self.established |= matches!(state, ConnectionState::WriteTraffic(_));
                    at += discard;
                    break;
                }
                Err(e) => {
                    let why = failure(&e, &incoming[at..], self.established);
                    self.over = true;
                    // The alert that tells the server why (RFC 8446 section 6.2). It comes first, and once: nothing
                    // more may be asked of a connection that is over.
                    let rest = &mut incoming[at + discard..];
                    if let Ok(ConnectionState::EncodeTlsData(data)) =
                        self.connection.process_tls_records(rest).state
                    {
                        encode(data, outgoing);
                    }
                    return Err(why);
                }
            }
            at += discard;
        }
        self.keep(&incoming[at..]);
        Ok(opened)
    }

    /// Keeps what is not yet a record. An idle connection keeps no buffer.
    fn keep(&mut self, rest: &[u8]) {
        if !(rest.is_empty() && self.partial.is_empty()) {
            self.partial = rest.into();
        }
    }

    /// Appends `plain` to `outgoing` as records. Only of use once the handshake is over.
    pub fn seal(&mut self, plain: &[u8], outgoing: &mut Vec<u8>) {
        let size = plain.len() + plain.len().div_ceil(CONTENT) * OVERHEAD;
        self.write(outgoing, size, |traffic, room| traffic.encrypt(plain, room));
    }

    /// Appends to `outgoing` that no more will be sent (RFC 8446 section 6.1).
    pub fn close(&mut self, outgoing: &mut Vec<u8>) {
        self.write(outgoing, 2 + OVERHEAD, |traffic, room| traffic.queue_close_notify(room));
    }

    /// Appends what is to be sent by itself (alerts, answers to key updates), and then what `message` writes if messages
    /// may be sent, most likely no more than `size` bytes.
    fn write(
        &mut self,
        outgoing: &mut Vec<u8>,
        size: usize,
        mut message: impl FnMut(&mut WriteTraffic<ClientConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) {
        while !self.over {
            // With what is not yet a record: rustls knows how far it has looked at it.
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut self.partial);
            match state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return append(outgoing, size, |room| {
                        message(&mut traffic, room).map_err(|e| match e {
                            EncryptError::InsufficientSize(short) => Some(short.required_size),
                            EncryptError::EncryptExhausted => None,
                        })
                    });
                }
                Ok(_) | Err(_) => return,
            }
            if discard > 0 {
                self.partial = self.partial[discard..].into();
            }
        }
    }
}

/// Appends a message of the handshake, or an alert.
fn encode(mut data: EncodeTlsData<ClientConnectionData>, outgoing: &mut Vec<u8>) {
    append(outgoing, 0, |room| {
        data.encode(room).map_err(|e| match e {
            EncodeError::InsufficientSize(short) => Some(short.required_size),
            EncodeError::AlreadyEncoded => None,
        })
    });
}

/// Appends what `write` writes to `out`; it says how much room it needs when `room` is too little. More than it needs would
/// only have to be filled with zeros for nothing.
fn append(
    out: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) {
    let before = out.len();
    loop {
        out.resize(before + room, 0);
        match write(&mut out[before..]) {
            Ok(written) => return out.truncate(before + written),
            Err(Some(required)) if required > room => room = required,
            Err(_) => return out.truncate(before),
        }
    }
}

/// What `error` means that came while `input` was looked at.
fn failure(error: &Error, input: &[u8], established: bool) -> String {
    if !established && input.starts_with(b"HTTP/") {
        return "the server answers without TLS: ws:// may be what it speaks".into();
    }
    reason(error)
}

/// `error` as a sentence that says what to do, if anything can be done.
fn reason(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => {
            let name = snake_case(&format!("{alert:?}"));
            match hint(*alert) {
                "" => format!("the server says {name}"),
                hint => format!("the server says {name}: {hint}"),
            }
        }
        Error::InvalidCertificate(e) => match e {
            CertificateError::UnknownIssuer => {
                "the certificate's issuer is not trusted: name its root with --cacert, or take it as it is with --insecure"
                    .into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired (--insecure takes it)".into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet (--insecure takes it)".into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another name: ask for that with --sni, or take it as it is with --insecure".into()
            }
            CertificateError::Revoked => "the certificate is revoked".into(),
            other => format!("the certificate is not accepted ({other}): --insecure takes it"),
        },
        Error::InvalidMessage(_) => "what the server sends is not TLS".into(),
        Error::PeerIncompatible(e) => {
            let why = snake_case(&format!("{e:?}")).replace('_', " ");
            format!("nothing in common with the server ({why}): see --tls")
        }
        Error::PeerMisbehaved(e) => {
            let what = snake_case(&format!("{e:?}")).replace('_', " ");
            format!("the server breaks the protocol ({what})")
        }
        other => other.to_string(),
    }
}

/// What a server that sends this alert may miss.
fn hint(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::HandshakeFailure => {
            "no cipher suite, version or client certificate in common (--tls, --cert)"
        }
        AlertDescription::ProtocolVersion => "it speaks another version (--tls)",
        AlertDescription::CertificateRequired => "it wants a client certificate (--cert and --key)",
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown => {
            "it does not take the client's certificate (--cert and --key)"
        }
        AlertDescription::CertificateExpired => "the client's certificate has expired (--cert)",
        AlertDescription::UnrecognisedName => "it does not go by that name (--sni)",
        AlertDescription::NoApplicationProtocol => "it does not speak http/1.1",
        _ => "",
    }
}

/// `HandshakeFailure` as RFC 8446 writes it, `handshake_failure`.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        // In UnknownCA the last letters are one word.
        let begins = c.is_uppercase() && !name[..i].ends_with(char::is_uppercase);
        if begins && i > 0 && name[..i].ends_with(char::is_alphanumeric) {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

    use super::*;

    const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

    /// A client and a server of rustls' other API that trust each other.
    struct Pair {
        client: Tls,
        server: ServerConnection,
        buffers: Buffers,
        plain: Vec<u8>,
    }

    impl Pair {
        fn new(
            name: &str,
            client: &[&'static SupportedProtocolVersion],
            server: &[&'static SupportedProtocolVersion],
        ) -> Pair {
            let own = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
            let certificate = CertificateDer::from(own.cert.der().to_vec());
            let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
            let server = ServerConfig::builder_with_protocol_versions(server)
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], key.into())
                .unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(certificate).unwrap();
            let client = ClientConfig::builder_with_protocol_versions(client)
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from(name.to_owned()).unwrap();
            Pair {
                client: Tls::new(&Arc::new(client), name).unwrap(),
                server: ServerConnection::new(Arc::new(server)).unwrap(),
                buffers: Buffers::default(),
                plain: vec![0; 64 * 1024],
            }
        }

        /// Gives the client `input`, and the server what it says; returns the client's plaintext.
        fn give(&mut self, input: &[u8]) -> Result<Vec<u8>, String> {
            let mut records = [self.client.partial(), input].concat();
            self.buffers.outgoing.clear();
            let opened = self.client.open(&mut records, &mut self.plain, &mut self.buffers.outgoing);
            let mut said = &self.buffers.outgoing[..];
            while !said.is_empty() {
                self.server.read_tls(&mut said).unwrap();
                // Its own errors become alerts, which the client will see.
                let _ = self.server.process_new_packets();
            }
            opened.map(|plain| self.plain[..plain].to_vec())
        }

        fn said_by_server(&mut self) -> Vec<u8> {
            let mut said = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut said).unwrap();
            }
            said
        }

        /// Exchanges what there is in pieces of `cut` bytes, until neither has more to say.
        fn exchange(&mut self, cut: usize) -> Result<Vec<u8>, String> {
            let mut plain = self.give(&[])?;
            loop {
                let said = self.said_by_server();
                if said.is_empty() {
                    return Ok(plain);
                }
                for piece in said.chunks(cut) {
                    plain.extend(self.give(piece)?);
                }
            }
        }
    }

    #[test]
    fn messages_go_both_ways_however_they_are_cut() {
        for (versions, version) in [(&BOTH[..1], "TLS 1.2"), (BOTH, "TLS 1.3")] {
            for cut in [1, 2, 3, 5, 100, 100_000] {
                let mut pair = Pair::new("a.example", versions, BOTH);
                assert!(!pair.client.is_established());
                assert_eq!(pair.exchange(cut), Ok(Vec::new()));
                assert!(pair.client.is_established() && !pair.server.is_handshaking(), "{version}, {cut}");
                let agreed = pair.client.agreed();
                assert_eq!(
                    (&*agreed.version, &*agreed.key_exchange, agreed.resumed),
                    (version, "X25519", false)
                );
                assert!(agreed.suite.contains("AES_256_GCM"), "{agreed:?}");

                // More than a record, and nothing.
                let message: Vec<u8> = (0..40_000).map(|i| (i % 251) as u8).collect();
                pair.buffers.outgoing.clear();
                pair.client.seal(&message, &mut pair.buffers.outgoing);
                let mut sealed = &std::mem::take(&mut pair.buffers.outgoing)[..];
                let mut got = Vec::new();
                while !sealed.is_empty() {
                    pair.server.read_tls(&mut sealed).unwrap();
                    pair.server.process_new_packets().unwrap();
                    let mut part = [0; 70_000];
                    if let Ok(n) = pair.server.reader().read(&mut part) {
                        got.extend_from_slice(&part[..n]);
                    }
                }
                assert!(got == message);
                pair.server.writer().write_all(&message).unwrap();
                assert!(pair.exchange(cut).unwrap() == message);
                assert!(pair.client.partial().is_empty());
            }
        }
    }

    #[test]
    fn new_keys_are_taken_and_answered() {
        let mut pair = Pair::new("a.example", BOTH, BOTH);
        pair.exchange(1000).unwrap();
        for cut in [100_000, 7] {
            // It stands in front of a message, which is the last of a read.
            pair.server.refresh_traffic_keys().unwrap();
            pair.server.writer().write_all(b"under the new").unwrap();
            assert_eq!(pair.exchange(cut).unwrap(), b"under the new");
            pair.buffers.outgoing.clear();
            pair.client.seal(b"so are ours", &mut pair.buffers.outgoing);
            pair.server.read_tls(&mut &pair.buffers.outgoing[..]).unwrap();
            pair.server.process_new_packets().unwrap();
            let mut heard = [0; 100];
            assert_eq!(pair.server.reader().read(&mut heard).unwrap(), 11, "{cut}");
        }
    }

    #[test]
    fn the_end_is_told_and_understood() {
        let mut pair = Pair::new("a.example", BOTH, BOTH);
        pair.exchange(1000).unwrap();
        pair.server.writer().write_all(b"bye").unwrap();
        pair.server.send_close_notify();
        let mut said = pair.said_by_server();
        let mut out = Vec::new();
        let opened = pair.client.open(&mut said, &mut pair.plain, &mut out).unwrap();
        assert!(opened == 3 && pair.client.has_ended());
        pair.client.close(&mut out);
        pair.server.read_tls(&mut &out[..]).unwrap();
        assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
    }

    #[test]
    fn failures_are_sentences_and_the_server_is_told() {
        for (name, client, server, why, alert) in [
            ("b.example", BOTH, BOTH, "for another name: ask for that with --sni", Some("BadCertificate")),
            (
                "a.example",
                &BOTH[1..],
                &BOTH[..1],
                "the server says protocol_version: it speaks another version",
                None,
            ),
            (
                "a.example",
                &BOTH[..1],
                &BOTH[1..],
                "the server says protocol_version: it speaks another version",
                None,
            ),
        ] {
            let mut pair = Pair::new(name, client, server);
            let failed = pair.exchange(100_000).unwrap_err();
            assert!(failed.contains(why), "{failed}");
            if let Some(alert) = alert {
                let told = pair.server.process_new_packets().unwrap_err();
                assert!(format!("{told:?}").contains(alert), "{told:?}");
            }
        }
        for (said, why) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
                "the server answers without TLS: ws:// may be what it speaks",
            ),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "what the server sends is not TLS"),
            (b"\x15\x03\x01\x00\x02\x02\x28", "the server says handshake_failure: no cipher suite"),
            (
                b"\x15\x03\x01\x00\x02\x02\x70",
                "the server says unrecognised_name: it does not go by that name (--sni)",
            ),
            (b"\x15\x03\x03\x00\x02\x02\x50", "the server says internal_error"),
        ] {
            let mut pair = Pair::new("a.example", BOTH, BOTH);
            pair.give(&[]).unwrap();
            let failed = pair.give(said).unwrap_err();
            assert!(failed.starts_with(why), "{failed}");
        }
    }

    /// Whatever a server says, it is refused or not; nothing panics.
    #[test]
    fn a_flight_with_any_bit_changed_does_no_harm() {
        for versions in [&BOTH[..1], BOTH] {
            let mut pair = Pair::new("a.example", versions, BOTH);
            pair.give(&[]).unwrap();
            let flight = pair.said_by_server().len();
            for at in (0..flight).step_by(3) {
                let mut pair = Pair::new("a.example", versions, BOTH);
                pair.give(&[]).unwrap();
                let mut said = pair.said_by_server();
                let at = at.min(said.len() - 1);
                said[at] ^= 1 << (at % 8);
                let result = pair.give(&said).and_then(|_| pair.exchange(1000));
                // And asked again for an end it does not matter.
                pair.client.close(&mut pair.buffers.outgoing);
                pair.client.seal(b"x", &mut pair.buffers.outgoing);
                assert!(result.is_err() || pair.client.partial().len() < said.len() + 1, "{at}");
            }
        }
    }

    #[test]
    fn a_record_that_was_changed_on_the_way_is_none() {
        let mut pair = Pair::new("a.example", BOTH, BOTH);
        pair.exchange(1000).unwrap();
        pair.server.writer().write_all(b"secret").unwrap();
        let mut said = pair.said_by_server();
        *said.last_mut().unwrap() ^= 1;
        assert!(pair.give(&said).unwrap_err().contains("decrypt"), "it is noticed");
    }
}
