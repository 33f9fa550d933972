//! The flags of the health check.

use std::path::PathBuf;

use crate::web::{self, ListenAddress};

/// Ask the exporter on this host whether it is healthy, and exit: 0 if it is, 1 if not. Give it the
/// exporter's own `--web` flags.
#[derive(clap::Args)]
pub struct HealthcheckArgs {
    /// Address the exporter listens on.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":10095"
    )]
    pub listen_address: ListenAddress,

    /// The exporter's web configuration. With TLS, the check shows the exporter's own certificate.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config: Option<PathBuf>,
}

impl HealthcheckArgs {
    /// Asks.
    ///
    /// # Errors
    ///
    /// It is not healthy, and why.
    pub fn ask(&self) -> anyhow::Result<()> {
        web::healthcheck(&self.listen_address, self.web_config.as_deref())
    }
}
