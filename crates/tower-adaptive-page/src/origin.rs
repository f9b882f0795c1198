//! Whether a URL stays where the credentials belong.

use std::fmt;

use http::Uri;

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// `None` if `uri` is not absolute, or if its port is none.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let host = uri.host()?.to_ascii_lowercase();
        if !has_true_port(uri) {
            return None;
        }
        let port = uri.port_u16().or(match &*scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        });
        Some(Self { scheme, host, port })
    }

    /// The address that `url` means, if it lies within this origin; else the
    /// words for where it lies.
    pub(crate) fn resolve(&self, url: &str) -> Result<Uri, String> {
        // Browsers and some clients read `\` as `/`, and `//host` as a host.
        let path_only = url.starts_with('/') && !url.starts_with("//");
        if url.contains('\\') {
            return Err("an address with a backslash".to_owned());
        }
        let text = if path_only { format!("{self}{url}") } else { url.to_owned() };
        let Ok(uri) = text.parse::<Uri>() else { return Err("no valid address".to_owned()) };
        if !has_true_port(&uri) {
            return Err("an address with a wrong port".to_owned());
        }
        let Some(found) = Self::of(&uri) else { return Err("no absolute address".to_owned()) };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("{found} with a user name"));
        }
        if found == *self { Ok(uri) } else { Err(found.to_string()) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{scheme}://{host}")?;
        match (&**scheme, *port) {
            ("http", Some(80)) | ("https", Some(443)) | (_, None) => Ok(()),
            (_, Some(port)) => write!(f, ":{port}"),
        }
    }
}

/// Whether what stands behind the host is nothing, or a port. `Uri` lets more
/// through and then knows of no port, which would pass for the default one.
fn has_true_port(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return true };
    let behind_user = authority.as_str().rsplit('@').next().unwrap_or("");
    match behind_user.strip_prefix(authority.host()) {
        Some("" | ":") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        }),
        None => false,
    }
}

/// `url` from behind the user name and password, if it has such.
pub(crate) fn without_user(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..].find('/').map_or(url.len(), |at| authority + at);
    match url[authority..end].rfind('@') {
        Some(at) => &url[authority + at + 1..],
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Origin {
        Origin::of(&uri.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_same_origin_is_followed() {
        let home = origin("https://api.example.com/v1/deals");
        for url in [
            "https://api.example.com/v1/deals?page=2",
            "https://API.example.com:443/v1/deals?page=2",
            "HTTPS://api.example.com/v1/deals?page=2#there",
            "https://api.example.com:/v1/deals?page=2",
            "/v1/deals?page=2",
        ] {
            let uri = home.resolve(url).unwrap();
            assert_eq!(uri.path_and_query().unwrap(), "/v1/deals?page=2");
            assert_eq!(uri.scheme_str(), Some("https"));
        }
    }

    #[test]
    fn every_other_origin_is_refused() {
        let home = origin("https://api.example.com");
        for url in [
            "http://api.example.com/x",
            "https://api.example.com:8443/x",
            "https://example.com/x",
            "https://api.example.com.evil.test/x",
            "https://api.example.com@evil.test/x",
            "https://user:secret@api.example.com/x",
            "//evil.test/x",
            "/\\evil.test/x",
            "https:\\\\evil.test/x",
            "api.example.com/x",
            "evil.test",
            "javascript:alert(1)",
            "https://",
            "https://api.example.com:65979/x",
            "https://api.example.com:+443/x",
            "https://m\u{fc}nchen.example/x",
            "https://api.example.com./x",
            "//api.example.com/x",
            "/\t/evil.test/x",
            "?page=2",
            " https://api.example.com/x",
            "",
        ] {
            assert!(home.resolve(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_shown_of_a_url_names_no_user() {
        assert_eq!(without_user("https://a:b@h/x@y"), "h/x@y");
        assert_eq!(without_user("https://h/x@y"), "https://h/x@y");
        assert_eq!(without_user("/x@y"), "/x@y");
    }
}
