//! What is asked of the server, and what its answers mean.

use std::{
    io::{ErrorKind, Read},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ureq::{
    Agent, Body, Error,
    http::{HeaderMap, Response, StatusCode, Uri, header, uri::Scheme},
    tls::{RootCerts, TlsConfig},
};

use super::{DownloadError, Trouble};

/// Redirects within the server that is asked, such as after a repository was renamed.
const RENAMES: usize = 5;
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(20);
/// Until an answer begins, and between two pieces of it.
const SILENCE: Duration = Duration::from_secs(30);

/// What a server says of a file before it sends it.
#[derive(Debug, Default)]
pub struct Announced {
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Revision of its repository.
    pub revision: Option<String>,
}

/// A file on its way.
pub struct Answer {
    /// The byte it starts with: the one asked for, or 0.
    pub from: u64,
    /// Length of the whole file, if the server says.
    pub size: Option<u64>,
    /// The bytes.
    pub body: Box<dyn Read>,
}

/// One file on one server.
pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    pub fn new(url: &str) -> Result<Self, DownloadError> {
        let bad = |what: String| DownloadError::Address {
            url: url.to_owned(),
            what,
        };
        let uri: Uri = url.parse().map_err(|e| bad(format!("{e}")))?;
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        if !secure && uri.scheme() != Some(&Scheme::HTTP) {
            return Err(bad("neither https:// nor http://".to_owned()));
        }
        let host = uri.host().ok_or_else(|| bad("no host".to_owned()))?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let mut config = Agent::config_builder()
            .user_agent(concat!("driftscope/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            .https_only(secure)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .tls_config(tls);
        if is_this_machine(host) {
            // A proxy would look for the server on its own machine.
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().into(),
            url: url.to_owned(),
        })
    }

    /// The address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the server says of the file. What another one says to which it redirects is not its word.
    pub fn announced(&self) -> Result<Announced, Trouble> {
        let mut url = self.url.clone();
        for _ in 0..=RENAMES {
            let head = self.agent.head(&url).config();
            let head = head.max_redirects(0).max_redirects_will_error(false);
            let answer = head.build().call().map_err(|e| self.unreachable(&e))?;
            let status = answer.status();
            if matches!(
                status,
                StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
            ) {
                return Ok(Announced::default());
            }
            if !status.is_success() && !status.is_redirection() {
                return Err(self.refused(status));
            }
            let announced = Announced::read(&answer);
            match same_server(&url, answer.headers()) {
                Some(next) if announced.sha256.is_none() && status.is_redirection() => url = next,
                _ => return Ok(announced),
            }
        }
        Ok(Announced::default())
    }

    /// The file from the byte `from` on, or all of it where the server cannot do that; `None` if it has
    /// nothing from there on.
    pub fn get(&self, from: u64) -> Result<Option<Answer>, Trouble> {
        let mut get = self.agent.get(&self.url);
        if from > 0 {
            // Without `If-Range`: the server that sends the bytes has other tags than the one that
            // announced them, and the hash of the whole decides.
            get = get.header(header::RANGE, format!("bytes={from}-"));
        }
        let answer = get.call().map_err(|error| match self.astray(&error) {
            Some(wrong) => Trouble::Final(wrong),
            None => self.broke_off(&error, false),
        })?;
        let headers = answer.headers();
        let (from, size) = match answer.status() {
            StatusCode::OK => (0, number(headers, "content-length")),
            StatusCode::PARTIAL_CONTENT => match content_range(headers) {
                Some((start, size)) if start == from => (from, size),
                _ => return Ok(None),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(None),
            status => return Err(self.refused(status)),
        };
        let body: Box<dyn Read> = Box::new(answer.into_body().into_reader());
        Ok(Some(Answer { from, size, body }))
    }

    /// What a status that is no file means.
    fn refused(&self, status: StatusCode) -> Trouble {
        let (url, status) = (self.url.clone(), status.as_u16());
        match status {
            401 | 403 => Trouble::Final(DownloadError::Forbidden { url, status }),
            404 | 410 => Trouble::Final(DownloadError::NotFound { url, status }),
            408 | 425 | 429 | 500.. => Trouble::Passing {
                error: DownloadError::Server { url, status },
                moved: false,
            },
            _ => Trouble::Final(DownloadError::Server { url, status }),
        }
    }

    /// What it means that the first question was not answered: without a connection there is no use in
    /// waiting, but one that broke off may come back.
    fn unreachable(&self, error: &Error) -> Trouble {
        if let Some(wrong) = self.astray(error) {
            return Trouble::Final(wrong);
        }
        let lost = matches!(error, Error::Io(e) if matches!(
            e.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
        ));
        match self.broke_off(error, false) {
            Trouble::Passing { error, .. } if !lost => Trouble::Final(error),
            trouble => trouble,
        }
    }

    /// A connection that did not last; `moved` if at least some bytes came.
    pub fn broke_off(&self, error: &Error, moved: bool) -> Trouble {
        let what = match error {
            Error::Io(error) => error.to_string(),
            Error::Timeout(_) => "no answer in time".to_owned(),
            other => other.to_string(),
        };
        Trouble::Passing {
            error: DownloadError::Unreachable {
                url: self.url.clone(),
                what,
            },
            moved,
        }
    }

    /// Whether the address, or one it leads to, is what is wrong.
    fn astray(&self, error: &Error) -> Option<DownloadError> {
        let url = self.url.clone();
        let what = error.to_string();
        match error {
            Error::BadUri(_) | Error::Http(_) => Some(DownloadError::Address { url, what }),
            Error::TooManyRedirects => Some(DownloadError::Redirect { url, what }),
            Error::RequireHttpsOnly(to) => Some(DownloadError::Redirect {
                url,
                what: format!("{to} is not encrypted"),
            }),
            _ => None,
        }
    }
}

impl Announced {
    fn read(answer: &Response<Body>) -> Self {
        let headers = answer.headers();
        let tag = text(headers, "x-linked-etag").or_else(|| text(headers, "etag"));
        // The length of a redirect is not that of the file.
        let own = answer.status().is_success();
        let length = || own.then(|| number(headers, "content-length")).flatten();
        Self {
            sha256: tag.and_then(sha256_in),
            size: number(headers, "x-linked-size").or_else(length),
            revision: text(headers, "x-repo-commit").map(str::to_owned),
        }
    }
}

/// The hash in an entity tag, which for large files is their SHA-256. Other tags are of no use here.
fn sha256_in(tag: &str) -> Option<String> {
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    is_sha256(tag).then(|| tag.to_ascii_lowercase())
}

/// Whether `text` is a SHA-256 in hexadecimal.
#[must_use]
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Where a redirect leads, if that is the server of `url` itself.
fn same_server(url: &str, headers: &HeaderMap) -> Option<String> {
    let to = text(headers, "location")?;
    let from: Uri = url.parse().ok()?;
    let server = format!("{}://{}", from.scheme()?, from.authority()?);
    if to.starts_with('/') && !to.starts_with("//") {
        return Some(server + to);
    }
    let next: Uri = to.parse().ok()?;
    let same = next.scheme() == from.scheme() && next.authority() == from.authority();
    same.then(|| to.to_owned())
}

/// First byte and length of the whole in `Content-Range: bytes 5-9/10`; the length may be `*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = text(headers, "content-range")?.strip_prefix("bytes ")?;
    let (bytes, size) = range.split_once('/')?;
    let (start, _) = bytes.split_once('-')?;
    Some((start.trim().parse().ok()?, size.trim().parse().ok()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = |address: IpAddr| address.is_loopback();
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let name = header::HeaderName::from_static(name);
            (name, value.parse().expect("a header value"))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_tag_is_a_hash_only_with_64_digits() {
        let lower = HASH.to_ascii_lowercase();
        assert_eq!(sha256_in(&format!("\"{HASH}\"")), Some(lower.clone()));
        assert_eq!(sha256_in(&format!("W/\"{HASH}\"")), Some(lower));
        assert_eq!(sha256_in(&format!("\"{}\"", &HASH[..40])), None);
        assert_eq!(sha256_in(&format!("\"{}x\"", &HASH[1..])), None);
        assert_eq!(sha256_in(""), None);
    }

    #[test]
    fn a_range_says_where_it_starts_and_how_long_the_whole_is() {
        let range = |text: &str| content_range(&headers(&[("content-range", text)]));
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        for other in ["bytes */10", "items 5-9/10", "bytes 5/10", "bytes -9/10"] {
            assert_eq!(range(other), None, "{other}");
        }
    }

    #[test]
    fn only_redirects_within_the_server_are_followed_for_the_hash() {
        let url = "https://hub.example/old/resolve/main/model.safetensors";
        let leads = |to: &str| same_server(url, &headers(&[("location", to)]));
        let there = Some("https://hub.example/new".to_owned());
        assert_eq!(leads("/new"), there);
        assert_eq!(leads("https://hub.example/new"), there);
        for elsewhere in [
            "//cdn.example/new",
            "https://cdn.example/new",
            "http://hub.example/new",
            "new",
        ] {
            assert_eq!(leads(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(same_server(url, &HeaderMap::new()), None);
    }

    #[test]
    fn servers_on_this_machine_are_known() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.8.0.1", "[::1]"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["hub.example", "10.0.0.1", "localhost.example", ""] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn an_address_is_whole_or_refused() {
        for url in [
            "hub.example/file",
            "ftp://hub.example/file",
            "/file",
            "https://",
            "",
        ] {
            let error = Client::new(url).err().expect("refused").to_string();
            assert!(error.contains("https://"), "{error}");
        }
        assert!(Client::new("https://hub.example/file").is_ok());
    }
}
