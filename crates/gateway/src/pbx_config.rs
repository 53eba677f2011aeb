//! A PBX's row as the settings of its two clients.

use aimg_store::{Pbx, PbxSecrets};

/// The AMI client's settings for this PBX.
pub fn ami_config(pbx: &Pbx, secrets: &PbxSecrets) -> aimg_ami::Config {
    let mut config = aimg_ami::Config::new(&pbx.host, &pbx.ami_user, secrets.ami_secret.clone());
    config.port = pbx.ami_port;
    config
}

/// The ARI client's settings for this PBX.
pub fn ari_config(pbx: &Pbx, secrets: &PbxSecrets) -> Result<aimg_ari::Config, aimg_ari::ConfigError> {
    aimg_ari::Config::new(&pbx.ari_url, &pbx.ari_user, secrets.ari_password.clone(), &pbx.ari_app)
}
