//! What each command does. Here is what they share: settings in, an open store out.

mod ami_handler;
mod calls;
mod check;
mod doctor;
mod migrate;
mod models;
mod pbx;
mod pbx_row;
mod pbx_rules;
mod secret;
mod serve;
mod session;
mod speech;
mod tenant;
mod transcribe;
mod user;
mod worker;

use aimg_core::{TenantId, TenantScope};
use aimg_gateway::Parts;
use aimg_store::{Place, Store};

pub(crate) use serve::WorkerEnded;

use crate::cli::{Cli, Command, OfTenants};
use crate::output::Output;
use crate::settings::{Places, Settings};

/// Runs the command that the command line names.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<()> {
    let settings = Settings::load(&Places::usual(cli.config), std::env::vars_os())?;
    let output = Output { json: cli.json };
    match cli.command {
        Command::Serve(serve) if !serve.worker.is_empty() => worker::run(settings, output, Parts::All, serve).await,
        Command::AriHandler(serve) if !serve.worker.is_empty() => {
            worker::run(settings, output, Parts::AriAlone, serve).await
        }
        Command::Serve(_) | Command::AriHandler(_) => {
            worker::init_log(&settings);
            serve::run(&settings).await
        }
        Command::AmiHandler(of) => ami_handler::run(&settings, output, &of).await,
        Command::Check => check::run(&settings, output).await,
        Command::Doctor { pbx } => doctor::run(&settings, output, pbx).await,
        Command::Speech => speech::run(&settings, output).await,
        Command::Transcribe(what) => transcribe::run(&settings, output, what).await,
        Command::Models(command) => models::run(&settings, output, command).await,
        Command::Migrate { status } => migrate::run(&settings, output, status).await,
        Command::CreateSuperuser(new) => user::create_superuser(&settings, output, new).await,
        Command::User(command) => user::run(&settings, output, command).await,
        Command::Tenant(command) => tenant::run(&settings, output, command).await,
        Command::Pbx(command) => pbx::run(&settings, output, command).await,
        Command::Calls(which) => calls::run(&settings, output, which).await,
        Command::Session(command) => session::run(&settings, output, command).await,
    }
}

/// The store, made or migrated where needed.
async fn open_store(settings: &Settings) -> anyhow::Result<Store> {
    let key = aimg_store::data_key(settings.secret_key.as_ref(), &settings.key_file())?;
    Ok(Store::open(store_config(settings), key).await?)
}

/// The store as it is, for looking only.
async fn read_store(settings: &Settings) -> anyhow::Result<Store> {
    Ok(Store::open_read_only(store_config(settings)).await?)
}

fn store_config(settings: &Settings) -> aimg_store::Config {
    match &settings.database {
        Place::Sqlite(path) => aimg_store::Config::sqlite(path),
        Place::Postgres(place) => aimg_store::Config::postgres(place.clone()),
    }
}

/// The tenants that are named, by name or id; nothing when none is.
async fn named_tenants(store: &Store, of: &OfTenants) -> anyhow::Result<Option<Vec<TenantId>>> {
    let mut named = Vec::new();
    for name in &of.tenants {
        let tenant = match name.parse() {
            Ok(id) => store.tenant(TenantScope::Operator, id).await?,
            Err(_) => store.tenant_by_name(TenantScope::Operator, name).await?,
        };
        named.push(tenant.id);
    }
    Ok((!named.is_empty()).then_some(named))
}
