//! Whose certificate the server shows: a given one, or one of its own.
//!
//! Of its own it makes an authority, has it sign for this host, and throws the authority's key away: whoever trusts that
//! authority trusts this server and nobody else, for ever. Certificates that are wrong on purpose are signed at the same
//! time, so that a client which trusts the authority finds one fault in them and not two.

use nix::ifaddrs::getifaddrs;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{KeyLogFile, RootCertStore};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a certificate of our own is good: what browsers take at most (398 days), and a little less.
const LIFE: Duration = Duration::from_secs(397 * 24 * 60 * 60);
/// How long before its end it is replaced.
const SPARE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The name in a certificate that is for somebody else.
const SOMEBODY: &str = "somebody-else.invalid";

/// A certificate that is wrong on purpose, for people who test clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It ended a year ago.
    Expired,
    /// It is for another host.
    OtherName,
    /// It is signed by nobody but itself.
    SelfSigned,
}

impl Wrong {
    /// One a flaw.
    pub const ALL: [Wrong; 3] = [Wrong::Expired, Wrong::OtherName, Wrong::SelfSigned];

    /// As it stands on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Wrong::Expired => "expired",
            Wrong::OtherName => "other-name",
            Wrong::SelfSigned => "self-signed",
        }
    }
}

/// What TLS is to be served with.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Certificate chain and key, in PEM; without them the server makes its own.
    pub files: Option<(PathBuf, PathBuf)>,
    /// Authorities that clients' certificates are to come from; with none, clients need no certificate.
    pub client_ca: Option<PathBuf>,
    /// What is wrong with it on purpose.
    pub wrong: Option<Wrong>,
}

/// What rustls needs, and where it came from.
#[derive(Debug, Clone)]
pub struct Service {
    /// What connections are made secure with.
    pub config: Arc<ServerConfig>,
    identity: Identity,
    /// What people are told, a line each.
    pub notes: Vec<String>,
}

impl Service {
    /// The same from the files as they are now.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn reload(&self) -> Result<Service, String> {
        self.identity.load()
    }
}

impl Identity {
    /// # Errors
    /// One line that names the file, or what is wrong, and says what to do.
    pub fn load(&self) -> Result<Service, String> {
        let mut notes = Vec::new();
        let (chain, key) = match &self.files {
            Some((chain, key)) => (read_chain(chain)?, read_key(key)?),
            None => {
                let own = Own::find()?;
                notes.extend(own.notes());
                own.show(self.wrong)?
            }
        };
        if let Some(wrong) = self.wrong {
            notes.push(format!("TLS certificate wrong on purpose: {}", wrong.name()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in read_chain(path)? {
                    roots
                        .add(certificate)
                        .map_err(|error| format!("{}: no authority: {error}", path.display()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| format!("{}: {error}", path.display()))?,
                )
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("TLS: certificate and key do not go together: {error}"))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // What a ticket needs is in the ticket: no memory for sessions that may never be resumed.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| format!("TLS: {error}"))?;
        config.enable_secret_extraction = true;
        config.key_log = Arc::new(KeyLogFile::new());
        Ok(Service { config: Arc::new(config), identity: self.clone(), notes })
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err(format!("{}: no certificate in there; PEM is wanted", path.display()))
        }
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: no private key: {error}", path.display()))
}

/// The certificates that the server made itself, in PEM.
pub struct Own {
    /// What a client has to trust.
    pub authority: String,
    key: String,
    /// In the order of [`NAMES`].
    leaves: [String; 3],
    kept: Option<PathBuf>,
}

/// Files of the leaves: the good one, and those of [`Wrong`] that an authority has to sign.
const NAMES: [&str; 3] = ["cert.pem", "expired.pem", "other-name.pem"];

impl Own {
    /// Those that are kept, or new ones; kept where there is a place for that.
    ///
    /// # Errors
    /// A file that is there and cannot be read, or a place that cannot be written to.
    pub fn find() -> Result<Own, String> {
        let Some(folder) = folder() else { return Own::make() };
        if let Some(own) = Own::read(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
            return Ok(own);
        }
        let mut own = Own::make()?;
        own.write(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        own.kept = Some(folder);
        Ok(own)
    }

    /// What was kept, unless nothing was or it is about to end.
    fn read(folder: &Path) -> io::Result<Option<Own>> {
        let read = |name: &str| fs::read_to_string(folder.join(name));
        let authority = match read("ca.pem") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            authority => authority?,
        };
        let age = fs::metadata(folder.join("ca.pem"))?.modified()?.elapsed().unwrap_or_default();
        if age + SPARE > LIFE {
            return Ok(None);
        }
        let leaves = [read(NAMES[0])?, read(NAMES[1])?, read(NAMES[2])?];
        Ok(Some(Own { authority, key: read("key.pem")?, leaves, kept: Some(folder.to_owned()) }))
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let files = NAMES.iter().zip(&self.leaves).map(|(name, leaf)| (*name, leaf));
        // The authority last: it says that everything is there.
        for (name, text) in files.chain([("key.pem", &self.key), ("ca.pem", &self.authority)]) {
            let part = folder.join(format!("{name}.part"));
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&part)?
                .write_all(text.as_bytes())?;
            fs::rename(&part, folder.join(name))?;
        }
        Ok(())
    }

    fn make() -> Result<Own, String> {
        sign().map_err(|error| format!("cannot make a certificate: {error}"))
    }

    /// The chain to show, and its key.
    fn show(
        &self,
        wrong: Option<Wrong>,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let leaf = match wrong {
            None => &self.leaves[0],
            Some(Wrong::Expired) => &self.leaves[1],
            Some(Wrong::OtherName) => &self.leaves[2],
            Some(Wrong::SelfSigned) => {
                return self_signed().map_err(|error| format!("cannot make a certificate: {error}"));
            }
        };
        let bad = |error| format!("the certificate that was kept: {error}; remove it, and a new one is made");
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(leaf.as_bytes())
            .chain(CertificateDer::pem_slice_iter(self.authority.as_bytes()))
            .collect();
        Ok((chain.map_err(bad)?, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(bad)?))
    }

    /// What people are told: whose it is, its fingerprint, and how to trust it.
    fn notes(&self) -> Vec<String> {
        let fingerprint = CertificateDer::from_pem_slice(self.authority.as_bytes()).map_or_else(
            |error| error.to_string(),
            |der| {
                let mut text = String::new();
                for (at, byte) in
                    ring::digest::digest(&ring::digest::SHA256, &der).as_ref().iter().enumerate()
                {
                    let _ = write!(text, "{}{byte:02X}", if at > 0 { ":" } else { "" });
                }
                text
            },
        );
        let (place, file) = match &self.kept {
            Some(folder) => {
                (format!("kept in {}", folder.display()), folder.join("ca.pem").display().to_string())
            }
            None => (
                "new at each start, for want of $STATE_DIRECTORY, $XDG_STATE_HOME and $HOME".to_owned(),
                "ca.pem".to_owned(),
            ),
        };
        let mut notes = vec![format!("TLS certificate of our own, {place}, authority SHA-256 {fingerprint}")];
        if self.kept.is_some() {
            notes.push(format!(
                "to trust it: curl --cacert {file}, SSL_CERT_FILE={file} (Python, Go), NODE_EXTRA_CA_CERTS={file}, \
                 loadgen --cacert {file}; `wsecho --print cert` prints it"
            ));
        }
        notes
    }
}

#[cfg(test)]
impl Own {
    /// A certificate for as long as a test lasts.
    pub fn make_for_tests() -> Own {
        Own::make().expect("a certificate")
    }

    /// What serves it.
    pub fn config_for_tests(&self) -> Arc<ServerConfig> {
        let (chain, key) = self.show(None).expect("what was just made");
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).expect("a key of its own");
        config.enable_secret_extraction = true;
        Arc::new(config)
    }
}

/// Where certificates are kept: systemd's place for this service, or the user's for such things.
fn folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable("STATE_DIRECTORY") {
        return Some(folder);
    }
    let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    Some(state.join("wsecho"))
}

/// Names and addresses under which this host is met.
fn names() -> Vec<String> {
    let mut names = BTreeSet::from(["localhost".to_owned()]);
    let mut addresses = BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    if let Ok(host) = nix::unistd::gethostname()
        && let Some(host) = host.to_str().filter(|host| !host.is_empty())
    {
        names.insert(host.to_owned());
    }
    for interface in getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            addresses.insert(v4.ip().into());
        } else if let Some(v6) = address.as_sockaddr_in6() {
            addresses.insert(v6.ip().into());
        }
    }
    names.into_iter().chain(addresses.iter().map(ToString::to_string)).collect()
}

/// A certificate for a server, from a day ago until then; `ends` counts from now.
fn leaf(
    names: Vec<String>,
    begins: Duration,
    ends: Option<Duration>,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "wsecho");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(begins);
    params.not_after = epoch + ends.map_or(now.saturating_sub(365 * DAY), |ends| now + ends);
    Ok(params)
}

/// An authority, what it signs, and nothing of its key.
fn sign() -> Result<Own, rcgen::Error> {
    let mut params = leaf(Vec::new(), DAY, Some(LIFE))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = Vec::new();
    let host = names().into_iter().find(|name| name != "localhost" && name.parse::<IpAddr>().is_err());
    let name = format!("wsecho on {}", host.as_deref().unwrap_or("localhost"));
    params.distinguished_name.push(DnType::CommonName, name);
    let secret = KeyPair::generate()?;
    let authority = params.self_signed(&secret)?.pem();
    let issuer = Issuer::new(params, secret);
    let key = KeyPair::generate()?;
    let good = leaf(names(), DAY, Some(LIFE))?.signed_by(&key, &issuer)?.pem();
    let expired = leaf(names(), 2 * 365 * DAY, None)?.signed_by(&key, &issuer)?.pem();
    let other = leaf(vec![SOMEBODY.to_owned()], DAY, Some(LIFE))?.signed_by(&key, &issuer)?.pem();
    Ok(Own { authority, key: key.serialize_pem(), leaves: [good, expired, other], kept: None })
}

fn self_signed() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = leaf(names(), DAY, Some(LIFE))?.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok((vec![certificate.der().clone()], key))
}
