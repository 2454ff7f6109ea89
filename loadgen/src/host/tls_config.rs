//! What TLS connections are made with: whom they trust, how they show themselves, which versions they speak.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, KeyLogFile, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

/// Versions of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// Reads `1.2` or `1.3`.
    ///
    /// # Errors
    /// A sentence that lists them.
    pub fn parse(text: &str) -> Result<Version, String> {
        match text {
            "1.2" => Ok(Version::Tls12),
            "1.3" => Ok(Version::Tls13),
            _ => Err(format!("`{text}` is neither 1.2 nor 1.3")),
        }
    }
}

/// What the command line says about TLS.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Trusted roots, PEM; the system's if absent.
    pub cacert: Option<PathBuf>,
    /// Take any certificate.
    pub insecure: bool,
    /// The client's certificate with its chain, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM; in the file of `cert` if absent.
    pub key: Option<PathBuf>,
    /// The name to ask for, instead of the URL's host.
    pub sni: Option<String>,
    /// The only version to speak.
    pub version: Option<Version>,
    /// Take up earlier sessions.
    pub resume: bool,
}

impl Options {
    /// Whether an option was given that means nothing without TLS, and which.
    pub fn given(&self) -> Option<&'static str> {
        let given = [
            ("--cacert", self.cacert.is_some()),
            ("--insecure", self.insecure),
            ("--cert", self.cert.is_some()),
            ("--key", self.key.is_some()),
            ("--sni", self.sni.is_some()),
            ("--tls", self.version.is_some()),
            ("--tls-resume", self.resume),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
    }

    /// The name that the certificate of `host` has to have.
    ///
    /// # Errors
    /// A sentence that says which name is none.
    pub fn name(&self, host: &str) -> Result<ServerName<'static>, String> {
        let name = self.sni.as_deref().unwrap_or(host);
        ServerName::try_from(name.to_owned())
            .map_err(|_| format!("no certificate can be for `{name}`: see --sni"))
    }

    /// What connections are made with.
    ///
    /// # Errors
    /// A sentence that names the option and what is wrong with it.
    pub fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match self.version {
            None => rustls::DEFAULT_VERSIONS,
            Some(Version::Tls12) => &[&rustls::version::TLS12],
            Some(Version::Tls13) => &[&rustls::version::TLS13],
        };
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions);
        let builder = builder.map_err(|e| format!("--tls: {e}"))?;
        let builder = match self.insecure {
            true => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))),
            false => builder.with_root_certificates(self.roots()?),
        };
        let mut config = match &self.cert {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let key = self.key.as_ref().unwrap_or(path);
                let option = if self.key.is_some() { "--key" } else { "--cert" };
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|e| format!("{option} {}: no private key in PEM ({e})", key.display()))?;
                builder
                    .with_client_auth_cert(certificates("--cert", path)?, key)
                    .map_err(|e| format!("--cert {}: {e}", path.display()))?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Every handshake is to be a whole one unless asked otherwise: that is what new clients cost.
        config.resumption = if self.resume { Resumption::default() } else { Resumption::disabled() };
        // Of $SSLKEYLOGFILE, if that is set: for Wireshark.
        config.key_log = Arc::new(KeyLogFile::new());
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        match &self.cacert {
            Some(path) => {
                for certificate in certificates("--cacert", path)? {
                    roots.add(certificate).map_err(|e| format!("--cacert {}: {e}", path.display()))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err("this host has no root certificates (Debian: ca-certificates): name one with --cacert, \
                                or take any certificate with --insecure"
                        .into());
                }
            }
        }
        Ok(roots)
    }
}

/// The certificates in a PEM file, at least one.
fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |what: String| format!("{option} {}: {what}", path.display());
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(wrong("no certificate in PEM".into())),
        Ok(all) => Ok(all),
        Err(e) => Err(wrong(e.to_string())),
    }
}

/// Takes any certificate, and still asks for the proof that the server has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer,
        _intermediates: &[CertificateDer],
        _server_name: &ServerName,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_nothing_are_named_with_their_option() {
        let folder = std::env::temp_dir().join(format!("loadgen-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let own = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let empty = write("empty", String::new());
        let cert = write("cert", own.cert.pem());
        let key = write("key", own.signing_key.serialize_pem());
        let wrong_key = write("wrong", other.signing_key.serialize_pem());
        let both = write("both", own.cert.pem() + &own.signing_key.serialize_pem());
        let missing = folder.join("missing");
        let with = |cacert: Option<&PathBuf>, cert: Option<&PathBuf>, key: Option<&PathBuf>| Options {
            cacert: cacert.cloned(),
            insecure: cacert.is_none(),
            cert: cert.cloned(),
            key: key.cloned(),
            ..Options::default()
        };
        for (options, why) in [
            (with(Some(&missing), None, None), "--cacert"),
            (with(Some(&empty), None, None), "no certificate in PEM"),
            (with(None, Some(&empty), Some(&key)), "--cert"),
            (with(None, Some(&cert), Some(&empty)), "no private key in PEM"),
            (with(None, Some(&cert), None), "--cert"),
            (with(None, Some(&cert), Some(&wrong_key)), "--cert"),
        ] {
            let error = options.config().unwrap_err();
            assert!(error.contains(why) && error.contains(&*folder.to_string_lossy()), "{error}");
        }
        for options in [with(Some(&cert), Some(&cert), Some(&key)), with(None, Some(&both), None)] {
            options.config().unwrap();
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn names_are_dns_or_addresses() {
        let options = Options::default();
        assert!(matches!(options.name("::1"), Ok(ServerName::IpAddress(_))));
        assert!(matches!(options.name("a.example"), Ok(ServerName::DnsName(_))));
        assert!(options.name("a..b").is_err());
        let asked = Options { sni: Some("b.example".into()), ..options };
        assert_eq!(asked.name("::1"), Ok(ServerName::try_from("b.example").unwrap()));
    }
}
