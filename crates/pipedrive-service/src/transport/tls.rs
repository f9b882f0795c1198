use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// It cannot be read, or is not PEM.
    #[error("the certificates in {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It holds no certificate.
    #[error("there is no certificate in {}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of its certificates cannot serve as a root.
    #[error("a certificate in {} cannot be trusted as a root", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The provider of cryptography lacks the usual protocol versions.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// Trusts the public roots and those in the file; ring is named, so that no other provider can slip in.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        let unreadable = |error: rustls::pki_types::pem::Error| TlsError::Unreadable {
            path: path.to_owned(),
            reason: match error {
                rustls::pki_types::pem::Error::Io(error) => error.to_string(),
                other => format!("{other:?}"),
            },
        };
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
            let certificate = certificate.map_err(unreadable)?;
            roots
                .add(certificate)
                .map_err(|source| TlsError::Root { path: path.to_owned(), source })?;
        }
        if roots.len() == before {
            return Err(TlsError::Empty { path: path.to_owned() });
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_and_one_without_certificates_are_named() {
        let missing = client_config(Some(Path::new("/nonexistent/ca.pem"))).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/ca.pem"), "{missing}");
        let empty =
            client_config(Some(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))))
                .unwrap_err();
        assert!(matches!(empty, TlsError::Empty { .. }), "{empty}");
        assert!(client_config(None).is_ok());
    }
}
