//! A stream that may become TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use muralla_mail_envelope::TlsFacts;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::{Certificates, Trust};

/// A stream, in the clear or not.
#[derive(Debug)]
pub enum Wire<S> {
    /// In the clear.
    Plain(S),
    /// Encrypted.
    Tls(Box<TlsStream<S>>),
    /// Lost in a handshake.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// The server's half of a handshake.
    ///
    /// # Errors
    ///
    /// If it fails, or if this was done before. The stream is gone then.
    pub async fn accept(&mut self, certificates: &Certificates) -> io::Result<()> {
        let Self::Plain(stream) = std::mem::replace(self, Self::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let stream = TlsAcceptor::from(certificates.server_config()).accept(stream).await?;
        *self = Self::Tls(Box::new(stream.into()));
        Ok(())
    }

    /// The client's half of a handshake. `name` is whom it calls, and has to be proved if `verified`.
    ///
    /// # Errors
    ///
    /// If it fails, or if this was done before. The stream is gone then.
    pub async fn connect(
        &mut self,
        trust: &Trust,
        name: ServerName<'static>,
        verified: bool,
    ) -> io::Result<()> {
        self.shake_hands(trust.client_config(verified), name).await
    }

    /// The same with what the server has to prove in `config`.
    ///
    /// # Errors
    ///
    /// As [`Wire::connect`].
    pub async fn shake_hands(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        let Self::Plain(stream) = std::mem::replace(self, Self::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        *self = Self::Tls(Box::new(stream.into()));
        Ok(())
    }
}

impl<S> Wire<S> {
    /// How it is encrypted, if it is.
    #[must_use]
    pub fn facts(&self) -> Option<TlsFacts> {
        let Self::Tls(stream) = self else { return None };
        let (_, connection) = stream.get_ref();
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
            Some(other) => format!("{other:?}"),
            None => String::new(),
        };
        // The names that IANA has: rustls tells the version in them.
        let cipher = connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .map(|name| name.replacen("TLS13_", "TLS_", 1))
            .unwrap_or_default();
        let server_name = match &**stream {
            TlsStream::Server(stream) => stream.get_ref().1.server_name().map(str::to_owned),
            TlsStream::Client(_) => None,
        };
        Some(TlsFacts { version, cipher, server_name })
    }

    /// What binds a login to this connection: `tls-exporter` of RFC 9266. With TLS 1.2 it would depend on an extension of which
    /// rustls does not tell whether it was used, and so there is none.
    #[must_use]
    pub fn binding(&self) -> Option<[u8; 32]> {
        let Self::Tls(stream) = self else { return None };
        let (_, connection) = stream.get_ref();
        if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return None;
        }
        match &**stream {
            TlsStream::Server(stream) => {
                stream.get_ref().1.export_keying_material([0; 32], LABEL, Some(&[])).ok()
            }
            TlsStream::Client(stream) => {
                stream.get_ref().1.export_keying_material([0; 32], LABEL, Some(&[])).ok()
            }
        }
    }
}

const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, octets),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Gone => Poll::Ready(Ok(())),
        }
    }
}
