//! TLS, with files as etcd is given them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// What etcd's server offers (`NextProtos` in etcd's
/// `client/pkg/transport/listener.go`).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate of the members, and whose clients they let in.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the certificate, with those that vouch for it, and its key, both in PEM
    /// (`--cert-file`, `--key-file`). Any client is let in.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
        Tls::new(certificate, key, None)
    }

    /// The same, and every client has to show a certificate that an authority in the file
    /// `trusted` has issued (`--trusted-ca-file`, with which `--client-cert-auth` goes).
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub fn with_client_certificates(
        certificate: &Path,
        key: &Path,
        trusted: &Path,
    ) -> Result<Tls, TlsError> {
        Tls::new(certificate, key, Some(trusted))
    }

    fn new(certificate: &Path, key: &Path, trusted: Option<&Path>) -> Result<Tls, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("it has cipher suites for the versions of TLS that are usual");
        let builder = match trusted {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let roots = Arc::new(authorities(file)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let refused = |source| TlsError::Authorities {
                    file: file.to_owned(),
                    source,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(refused)?)
            }
        };
        let chain = certificates(certificate)?;
        let secret =
            PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::read(key, error))?;
        let refused = |source| TlsError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        };
        let mut config = builder.with_single_cert(chain, secret).map_err(refused)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Tls {
            config: Arc::new(config),
        })
    }

    pub(super) fn accept(&self, stream: TcpStream) -> Secured {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        Secured::Greeting(Box::new(acceptor.accept(stream)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The certificates in a file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| TlsError::read(file, error))?;
    if all.is_empty() {
        return Err(TlsError::read(file, pem::Error::NoItemsFound));
    }
    Ok(all)
}

fn authorities(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let refused = |source| TlsError::Authority {
            file: file.to_owned(),
            source,
        };
        roots.add(certificate).map_err(refused)?;
    }
    Ok(roots)
}

/// Why a file cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: cannot read the file: {source}", file.display())]
    Read {
        /// Which one.
        file: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// There is no certificate or no key in a file, or it is no PEM.
    #[error("{}: not what is expected there, in PEM: {source}", file.display())]
    Pem {
        /// Which one.
        file: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A certificate is none of an authority.
    #[error("{}: a certificate cannot vouch for others: {source}", file.display())]
    Authority {
        /// The file that it is in.
        file: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// Certificates of clients cannot be checked with these authorities.
    #[error("{}: certificates of clients cannot be checked with it: {source}", file.display())]
    Authorities {
        /// The file that they are in.
        file: PathBuf,
        /// What is wrong.
        source: VerifierBuilderError,
    },
    /// Certificate and key do not go together, or one of them cannot be used.
    #[error("{} with {}: {source}", certificate.display(), key.display())]
    Pair {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

impl TlsError {
    fn read(file: &Path, error: pem::Error) -> TlsError {
        let file = file.to_owned();
        match error {
            pem::Error::Io(source) => TlsError::Read { file, source },
            source => TlsError::Pem { file, source },
        }
    }
}

/// A connection with TLS. Client and server greet each other when somebody first reads or
/// writes, so that nobody else waits for a client that does not.
pub(super) enum Secured {
    Greeting(Box<Accept<TcpStream>>),
    Open(Box<TlsStream<TcpStream>>),
}

impl Secured {
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Pin<&mut TlsStream<TcpStream>>>> {
        if let Secured::Greeting(accept) = self {
            let open = ready!(Pin::new(accept).poll(context))?;
            *self = Secured::Open(Box::new(open));
        }
        match self {
            Secured::Open(stream) => Poll::Ready(Ok(Pin::new(stream))),
            Secured::Greeting(_) => unreachable!("the greeting is over"),
        }
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?.poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?.poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?.poll_shutdown(context)
    }
}
