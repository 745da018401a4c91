//! Certificates for a [`Broker`](crate::Broker) with TLS: an authority of our own and what it signs.
//!
//! The files lie in a folder that goes with the [`Authority`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::error::{Context, Result};
use crate::rundir::RunDir;

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// PEM file of the certificate.
    pub cert: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    dir: RunDir,
    issuer: Issuer<'static, KeyPair>,
    files: AtomicU32,
}

impl Authority {
    /// A new one that nobody else trusts.
    pub fn new() -> Result<Self> {
        let dir = RunDir::new("tls")?;
        let key = KeyPair::generate().context(|| "making the authority's key".into())?;
        let mut params = params(&format!("authority of {}", dir.path().display()), &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = params.self_signed(&key).context(|| "making the authority".into())?;
        dir.write("ca.pem", &cert.pem())?;
        Ok(Self { dir, issuer: Issuer::new(params, key), files: AtomicU32::new(0) })
    }

    /// PEM file of the authority's own certificate, for those who shall trust it.
    pub fn file(&self) -> PathBuf {
        self.dir.file("ca.pem")
    }

    /// The folder of all files, for further ones.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A certificate for these host names or addresses, good for servers and clients.
    pub fn sign(&self, names: &[&str]) -> Result<Identity> {
        self.write(params("rig", names)?, true)
    }

    /// The same, but out of date.
    pub fn sign_expired(&self, names: &[&str]) -> Result<Identity> {
        let mut params = params("rig", names)?;
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        self.write(params, true)
    }

    /// A certificate for these names that is signed by its own key only.
    pub fn self_signed(&self, names: &[&str]) -> Result<Identity> {
        self.write(params("rig", names)?, false)
    }

    fn write(&self, params: CertificateParams, signed: bool) -> Result<Identity> {
        let key = KeyPair::generate().context(|| "making a key".into())?;
        let cert = if signed { params.signed_by(&key, &self.issuer) } else { params.self_signed(&key) };
        let cert = cert.context(|| "making a certificate".into())?;
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        Ok(Identity {
            cert: self.dir.write(&format!("{number}.pem"), &cert.pem())?,
            key: self.dir.write(&format!("{number}.key"), &key.serialize_pem())?,
        })
    }
}

fn params(common_name: &str, names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).context(|| "names of a certificate".into())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}
