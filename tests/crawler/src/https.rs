//! https, with certificates made for the test.

use crate::program::{crawl, crawler};
use crate::site::{Site, tree};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// A certificate authority of the test's own, in a file that goes with it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("a certificate");
        let file = std::env::temp_dir().join(format!("greenloop-crawler-{}-{name}.pem", std::process::id()));
        fs::write(&file, issuer.pem()).expect("a file to write");
        Authority { issuer, file }
    }

    fn file(&self) -> &str {
        self.file.to_str().expect("a path in UTF-8")
    }

    /// A site for `localhost`, with a certificate of this authority.
    fn site(&self) -> Site {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .expect("a key that fits");
        let config = Arc::new(config);
        let wrap = move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            StreamOwned::new(session, stream)
        };
        Site::wrapped("127.0.0.1", wrap, tree)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

#[test]
fn a_trusted_site_is_crawled_as_any_other() {
    let authority = Authority::new("trusted");
    let site = authority.site();
    let (rows, errors) = crawl(&site, 0, &["-d9", "--ca-file", authority.file(), &site.secure_url("/")]);
    let secure = site.secure_url("");
    let rows: Vec<_> = rows.iter().map(|row| row.replace(&secure, "https://SITE")).collect();
    let expected = [
        "https://SITE/,0,fetched,200,https://SITE/,0,126,false,2,",
        "https://SITE/a,1,fetched,200,https://SITE/a,0,38,false,2,",
        "https://SITE/b,1,fetched,200,https://SITE/b,0,38,false,2,",
        "https://SITE/c,2,fetched,200,https://SITE/c,0,20,false,1,",
        "https://SITE/d,3,fetched,200,https://SITE/d,0,13,false,0,",
    ];
    assert_eq!(rows, expected);
    assert_eq!(errors, "");
}

#[test]
fn an_unknown_authority_is_told_in_one_line() {
    let (authority, stranger) = (Authority::new("known"), Authority::new("unknown"));
    let site = stranger.site();
    let url = site.secure_url("/");
    let reason =
        "cannot read robots.txt: the server's certificate was issued by an unknown authority (see --ca-file)";
    for arguments in [&[url.as_str()][..], &["--ca-file", authority.file(), &url]] {
        let finished = crawler(1, arguments);
        assert_eq!(finished.stderr, format!("crawler: {url}: {reason}\n"));
    }
}

#[test]
fn a_certificate_for_another_name_is_told_in_one_line() {
    let authority = Authority::new("names");
    let site = authority.site();
    let url = format!("https://{}/", site.address);
    let finished = crawler(1, &["--ca-file", authority.file(), &url]);
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    let start = format!(
        "crawler: {url}: cannot read robots.txt: TLS: invalid peer certificate: certificate not valid for name"
    );
    assert!(finished.stderr.starts_with(&start), "{finished:?}");
}
