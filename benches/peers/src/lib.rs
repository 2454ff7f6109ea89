//! What the peers written in Rust share.

use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A connection, plain or in TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A library's own echo.
pub trait Echo: 'static {
    /// Serves one connection to its end.
    fn echo(stream: impl Stream) -> impl Future<Output = ()> + Send;
}

/// Serves on 127.0.0.1, at the port that the first argument names, with the backlog that wsecho has; in TLS where a certificate
/// and its key follow.
pub async fn serve<E: Echo>() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port: u16 = arguments.first().and_then(|port| port.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let acceptor = match &arguments[1..] {
        [certificate, key] => Some(acceptor(certificate, key)?),
        _ => None,
    };
    let listener = listener(port)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match acceptor.clone() {
            None => tokio::spawn(E::echo(stream)),
            Some(acceptor) => tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    E::echo(stream).await;
                }
            }),
        };
    }
}

fn listener(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

fn acceptor(certificate: &str, key: &str) -> io::Result<TlsAcceptor> {
    let chain = vec![CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?];
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
