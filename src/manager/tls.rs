//! TLS of `amqps://` connections: files read, checks chosen.
//!
//! The files are read once, in the main process at `mod_init`: they may be readable by root only, and a wrong one must
//! stop the start instead of showing up later as a broker that cannot be reached. Manager processes inherit the result,
//! so a renewed certificate takes a restart of the server. Installs no process-wide crypto provider and shares nothing
//! with Kamailio's own TLS.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::config::Tls;

/// Where systems keep the authorities that they trust: Debian, Red Hat, SUSE, Alpine.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why `amqps://` brokers cannot be used as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read or does not hold what it should.
    #[error("{param}: {file}: {why}")]
    File {
        /// The parameter that names the file.
        param: &'static str,
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing to check a broker against.
    #[error(
        "amqps_ca_cert is not set and this system has no list of authorities: write amqps_ca_cert, the PEM file \
             of the authority that signed the brokers' certificates"
    )]
    NoAuthorities,
    /// Both files can be read and do not fit each other.
    #[error("amqps_cert and amqps_key cannot be used together: {0}")]
    Pair(rustls::Error),
    /// Refused by the TLS library for a reason of its own.
    #[error("TLS of amqps:// brokers: {0}")]
    Library(String),
}

/// How to speak TLS with every `amqps://` broker.
#[derive(Clone)]
pub struct ClientTls(TlsConnector);

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// Reads the files that `settings` name. Main process, before the fork.
    pub fn load(settings: &Tls) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let check = ServerCheck::new(settings, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::Library(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(check));
        let config = match (&settings.cert, &settings.key) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (certificates("amqps_cert", cert)?, private_key("amqps_key", key)?);
                builder.with_client_auth_cert(cert, key).map_err(TlsError::Pair)?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// For the client library.
    pub fn connector(&self) -> TlsConnector {
        self.0.clone()
    }
}

/// What an operator can do about a failed connection attempt whose error text is `error`, ready to be appended.
pub fn hint(error: &str) -> &'static str {
    /// TLS 1.3 lets a client begin before the broker has judged its certificate. What the client sends then crosses the
    /// refusal, and the broker's system may answer it with a reset, which throws the unread refusal away.
    const REFUSAL_UNREAD: &str =
        " (perhaps the broker wants a client certificate, or another one: amqps_cert, amqps_key)";
    const HINTS: [(&str, &str); 9] = [
        ("UnknownIssuer", " (its authority is not in amqps_ca_cert)"),
        // Of an authority with the name of one that is there.
        ("BadSignature", " (its authority is not in amqps_ca_cert)"),
        ("CaUsedAsEndEntity", " (it is signed by itself)"),
        ("not valid for", " (amqps_verify_hostname 0 would not ask for the name)"),
        ("CertificateRequired", " (the broker wants a client certificate: amqps_cert, amqps_key)"),
        ("InvalidContentType", " (this port does not speak TLS: use amqp:// or the broker's TLS port)"),
        ("invalid dnsname", " (a name that no certificate can hold)"),
        ("Connection reset by peer", REFUSAL_UNREAD),
        ("Broken pipe", REFUSAL_UNREAD),
    ];
    HINTS.iter().find(|(part, _)| error.contains(part)).map_or("", |(_, hint)| hint)
}

/// The two checks of a broker's certificate, each of which can be off.
#[derive(Debug)]
struct ServerCheck {
    /// `amqps_verify_peer`: signed by an authority that is trusted, and not out of date.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// `amqps_verify_hostname`: made out to the host that was connected to.
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCheck {
    fn new(settings: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let chain = settings.verify_peer.then(|| chain_check(settings, provider)).transpose()?;
        Ok(Self { chain, name: settings.verify_hostname, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        if let Some(chain) = &self.chain {
            // It checks the name last, so a wrong name means that all else is right.
            return match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
                Err(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
                    if !self.name =>
                {
                    Ok(ServerCertVerified::assertion())
                }
                checked => checked,
            };
        }
        if self.name {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn chain_check(settings: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let roots = Arc::new(authorities(settings.ca_cert.as_deref())?);
    let built = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
    built.map_err(|e| TlsError::Library(e.to_string()))
}

/// The authorities of `amqps_ca_cert`, else those that the system trusts.
fn authorities(ca_cert: Option<&str>) -> Result<RootCertStore, TlsError> {
    const PARAM: &str = "amqps_ca_cert";
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_cert {
        for certificate in certificates(PARAM, file)? {
            roots.add(certificate).map_err(|e| refused(PARAM, file, e))?;
        }
        return Ok(roots);
    }
    let bundle = SYSTEM_BUNDLES.into_iter().find(|file| Path::new(file).exists()).ok_or(TlsError::NoAuthorities)?;
    // Systems keep certificates there that are too old for this library; the others count.
    roots.add_parsable_certificates(certificates(PARAM, bundle)?);
    if roots.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(roots) }
}

/// All certificates of a PEM file; at least one.
fn certificates(param: &'static str, file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(list) if list.is_empty() => Err(refused(param, file, "holds no certificate in PEM form")),
        Ok(list) => Ok(list),
        Err(error) => Err(unreadable(param, file, &error)),
    }
}

fn private_key(param: &'static str, file: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
        pem::Error::NoItemsFound => refused(param, file, "holds no private key in PEM form, or one with a password"),
        error => unreadable(param, file, &error),
    })
}

fn unreadable(param: &'static str, file: &str, error: &pem::Error) -> TlsError {
    match error {
        pem::Error::Io(error) => refused(param, file, error),
        error => refused(param, file, format!("is damaged: {error}")),
    }
}

fn refused(param: &'static str, file: &str, why: impl fmt::Display) -> TlsError {
    TlsError::File { param, file: file.to_owned(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_client_certificate_is_named_whether_the_refusal_was_read_or_lost() {
        let read = "AMQP network error: network io error: received fatal alert: CertificateRequired";
        let lost = "AMQP network error: network io error: Connection reset by peer (os error 104)";
        let unsent = "AMQP network error: network io error: Broken pipe (os error 32)";
        for error in [read, lost, unsent] {
            assert!(hint(error).contains("amqps_cert, amqps_key"), "{error}");
        }
        assert_eq!(hint("AMQP network error: network io error: Connection refused (os error 111)"), "");
    }
}
