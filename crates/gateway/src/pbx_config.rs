//! A PBX's row as the settings of its two clients.

use aimg_ari::Entrance;
use aimg_store::{Pbx, PbxSecrets};

/// The AMI client's settings for this PBX.
pub fn ami_config(pbx: &Pbx, secrets: &PbxSecrets) -> aimg_ami::Config {
    let mut config = aimg_ami::Config::new(&pbx.host, &pbx.ami_user, secrets.ami_secret.clone());
    config.port = pbx.ami_port;
    config.tls = pbx.ami_tls.clone();
    // Queues are told of in class `agent`; a user who may not read it hears of everything else.
    config.event_mask = "call,system,agent".to_owned();
    config
}

/// The ARI client's settings for this PBX.
pub fn ari_config(pbx: &Pbx, secrets: &PbxSecrets) -> Result<aimg_ari::Config, aimg_ari::ConfigError> {
    let mut config = aimg_ari::Config::new(&pbx.ari_url, &pbx.ari_user, secrets.ari_password.clone(), &pbx.ari_app)?;
    config.tls = pbx.ari_tls.clone();
    Ok(config)
}

/// Where this PBX arrives when it opens ARI's event stream to us: at a path of its own, with ARI's credentials.
pub fn ari_entrance(pbx: &Pbx, secrets: &PbxSecrets) -> Entrance {
    Entrance { path: format!("/ari/{}", pbx.name), user: pbx.ari_user.clone(), password: secrets.ari_password.clone() }
}
