//! Where a collector listens.

use std::fmt;
use std::str::FromStr;

use tonic::codegen::http::Uri;

/// A collector's address, as in `http://collector:4317`. Without TLS, like everything here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(Uri);

impl OtlpEndpoint {
    pub(super) fn uri(&self) -> Uri {
        self.0.clone()
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why| format!("'{text}' is not a collector's address: {why}, as in http://localhost:4317");
        let uri: Uri = text.parse().map_err(|_| wrong("expected a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("expected http:// (gRPC without TLS)"));
        }
        if uri.port().is_none() {
            return Err(wrong("expected a port"));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(wrong("expected no path (OTLP over gRPC, not HTTP)"));
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_of_grpc_without_tls() {
        for good in ["http://localhost:4317", "http://[::1]:4317/", "http://10.0.0.1:1"] {
            good.parse::<OtlpEndpoint>().unwrap();
        }
        for (bad, why) in [
            ("", "URL"),
            ("collector", "http://"),
            ("localhost:4317", "http"),
            ("https://c:4317", "without TLS"),
            ("http://c", "port"),
            ("http://c:4318/v1/traces", "no path"),
        ] {
            let error = bad.parse::<OtlpEndpoint>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
