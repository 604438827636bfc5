//! Whom a connection is trusted to, and what an address says about that.

use crate::BrokerError;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use url::form_urlencoded;

/// In an address, a file of certificates that are trusted in place of the system's.
const TRUSTED: &str = "sslrootcert";

/// Certificates in PEM.
#[derive(Clone)]
pub(crate) struct Trusted(Option<Vec<u8>>);

impl Trusted {
    /// Takes what an address says out of it, and reads the file.
    pub(crate) fn of(address: &str) -> Result<(String, Trusted), BrokerError> {
        let (address, file) = without(address, TRUSTED);
        let read = |file: String| {
            let unreadable =
                |why: String| BrokerError::Address(format!("cannot read {TRUSTED} {file}: {why}"));
            let text = fs::read(&file).map_err(|error| unreadable(error.to_string()))?;
            match CertificateDer::from_pem_slice(&text) {
                Ok(_) => Ok(text),
                Err(_) => Err(unreadable("there is no certificate in it".to_owned())),
            }
        };
        Ok((address, Trusted(file.map(read).transpose()?)))
    }

    /// As it is, unless it is the system's.
    pub(crate) fn pem(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    /// How to connect to a server whose certificate holds and has its name.
    pub(crate) fn config(&self) -> Result<ClientConfig, BrokerError> {
        let mut roots = RootCertStore::empty();
        let certificates = match &self.0 {
            Some(pem) => CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect(),
            None => rustls_native_certs::load_native_certs().certs,
        };
        // Some of a system's may be of a kind that is not known.
        roots.add_parsable_certificates(certificates);
        let protocols = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(|error| BrokerError::Other(error.to_string()))?;
        Ok(protocols.with_root_certificates(roots).with_no_client_auth())
    }
}

/// Has there be a default for those crates that take it, unless the program has chosen.
pub(crate) fn provide() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may have been first.
        let _ = ring::default_provider().install_default();
    }
}

/// An address without a parameter, and the last value of that.
pub(crate) fn without(address: &str, name: &str) -> (String, Option<String>) {
    let Some((place, parameters)) = address.split_once('?') else { return (address.to_owned(), None) };
    let is_it = |pair: &&str| pair.split('=').next() == Some(name);
    let (found, kept): (Vec<_>, Vec<_>) = parameters.split('&').partition(is_it);
    // A plus is one, in the name of a file.
    let value = found.last().map(|pair| pair.replace('+', "%2B"));
    let value =
        value.and_then(|pair| form_urlencoded::parse(pair.as_bytes()).next().map(|pair| pair.1.into_owned()));
    let separator = if kept.is_empty() { "" } else { "?" };
    (format!("{place}{separator}{}", kept.join("&")), value)
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn a_parameter_is_taken_out_wherever_it_is() {
        let of = |address| without(address, "file");
        assert_eq!(of("x://h/?file=/a%20b+c"), ("x://h/".to_owned(), Some("/a b+c".to_owned())));
        assert_eq!(of("x://h/?a=1&file=/f&b=2"), ("x://h/?a=1&b=2".to_owned(), Some("/f".to_owned())));
        assert_eq!(of("x://h/?files=1"), ("x://h/?files=1".to_owned(), None));
        assert_eq!(of("x://h/"), ("x://h/".to_owned(), None));
    }
}
