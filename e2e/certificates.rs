//! The control plane's certificates: made by the lab, trusted by nobody else.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A CA whose certificates and keys lie in one folder as `NAME.crt` and `NAME.key`.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Who a certificate speaks for. Kubernetes reads user and group from it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// CN: the user.
    pub user: &'a str,
    /// O: the group; empty for none.
    pub group: &'a str,
    /// Names and addresses, for servers.
    pub names: &'a [&'a str],
}

impl Authority {
    /// A fresh CA, `ca.crt` in the folder.
    pub fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "palisade-lab");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        fs::write(dir.join("ca.crt"), params.self_signed(&key)?.pem())?;
        Ok(Self { dir: dir.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// Issues `NAME.crt` and `NAME.key`.
    pub fn issue(&self, name: &str, subject: Subject<'_>) -> Result<()> {
        let names: Vec<String> = subject.names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, subject.user);
        if !subject.group.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, subject.group);
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.dir.join(format!("{name}.crt")), certificate.pem())?;
        write_secret(&self.dir.join(format!("{name}.key")), &key.serialize_pem())
    }

    /// The key pair that signs service accounts' tokens: `sa.key` and `sa.pub`.
    pub fn service_account_keys(&self) -> Result<()> {
        let key = KeyPair::generate()?;
        fs::write(self.dir.join("sa.pub"), key.public_key_pem())?;
        write_secret(&self.dir.join("sa.key"), &key.serialize_pem())
    }
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}
