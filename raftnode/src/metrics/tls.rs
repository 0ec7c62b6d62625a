//! Until when the certificates of this node are valid.

use prometheus::{IntGaugeVec, Opts, Registry};

use super::series::register;
use crate::tls::Tls;

/// One series for each port that has a certificate.
pub(super) struct TlsMetrics(IntGaugeVec);

impl TlsMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let help = "Seconds until the first certificate in the chain of a port expires; less than 0: it has.";
        let opts = Opts::new("tls_certificate_expiry_seconds", help);
        Ok(Self(register(registry, IntGaugeVec::new(opts, &["port"])?)?))
    }

    pub(super) fn refresh(&self, tls: &Tls) {
        for (port, seconds) in tls.expiry_seconds() {
            self.0.with_label_values(&[port.label()]).set(seconds);
        }
    }
}
