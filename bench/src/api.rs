//! `api`: how long lists of calls and single calls take over HTTP, with a million calls in a real PostgreSQL.
//!
//! The service is `aimg serve` as it is. It is asked one request after the other by somebody who sees all tenants, by an
//! admin of the largest tenant and by one of the smallest, who is behind the server's wall between tenants.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use aimg_testbed::Postgres;
use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::report::{Report, rounded};

const CALLS: usize = 1_000_000;
const MS_AIM: f64 = 50.0;
/// Requests of each filter and account that count, and those before them that do not.
const REQUESTS: usize = 100;
const WARM_UP: usize = 5;
const DATABASE: &str = "calls";
const PASSWORD: &str = "correct horse battery";
/// Whoever asks: the name of the account, and whom it belongs to.
const ACCOUNTS: [(&str, &str); 3] = [("root", "all tenants"), ("admin1", "60 % of them"), ("admin5", "2 % of them")];

/// Five tenants with 60, 20, 12, 6 and 2 % of the calls, on one PBX each and a tenth of a percent on another one; numbers
/// as they are dialled, some often and most seldom; 200 calls that are going on.
const FILL: &str = "
INSERT INTO tenants (id, name, capture_rule, enabled, created_at)
    SELECT ('00000000-0000-7000-8000-00000000000' || n)::uuid, 'tenant-' || n, '\"all\"', true, 0
    FROM generate_series(1, 5) n;
INSERT INTO pbxs (id, tenant_id, name, host, ami_port, ami_user, ami_secret, ari_url, ari_user, ari_password, ari_app,
        tap_mode, codec, inbound_contexts, enabled, created_at)
    SELECT ('00000000-0000-7000-8000-0000000001' || lpad(n::text, 2, '0'))::uuid,
        ('00000000-0000-7000-8000-00000000000' || (n - 1) % 5 + 1)::uuid, 'pbx-' || n, '127.0.0.1', 1, 'a', '',
        'http://127.0.0.1:1/ari', 'a', '', 'a', 'ami', 'ulaw', '[]', false, 0
    FROM generate_series(1, 10) n;
SELECT setseed(0.5);
INSERT INTO call_sessions (id, tenant_id, pbx_id, uniqueid, linkedid, state, call_direction, caller_number,
        dialled_number, context, started_at, answered_at, ended_at, hangup_cause, node, captured)
    SELECT (lpad(to_hex(at / 1000), 12, '0') || '7' || substr(h, 1, 3) || '8' || substr(h, 4, 15))::uuid,
        ('00000000-0000-7000-8000-00000000000' || t)::uuid,
        ('00000000-0000-7000-8000-0000000001' || lpad((t + CASE WHEN r[2] < 0.001 THEN 5 ELSE 0 END)::text, 2, '0'))::uuid,
        at / 1000000 || '.' || n, at / 1000000 || '.' || n,
        CASE WHEN n > 999800 THEN 'capturing' WHEN r[3] < 0.02 THEN 'failed' ELSE 'ended' END,
        CASE WHEN r[4] < 0.7 THEN 'inbound' ELSE 'outbound' END,
        CASE WHEN r[5] >= 0.1 THEN '+4930' || lpad(floor(power(r[6], 3) * 300000)::text, 7, '0') END,
        (100 + floor(power(r[7], 2) * 400))::text, 'from-trunk', at,
        CASE WHEN r[8] < 0.8 THEN at + 8000000 END,
        CASE WHEN n <= 999800 THEN at + 8000000 + (r[9] * 600000000)::bigint END,
        16, 'n1', r[10] < 0.97
    FROM (SELECT n, 1750000000000000 + n::bigint * 31000000 AS at, md5(n::text) AS h,
            ARRAY(SELECT random() FROM generate_series(1, 10) WHERE n = n) AS r,
            CASE WHEN n % 100 < 60 THEN 1 WHEN n % 100 < 80 THEN 2 WHEN n % 100 < 92 THEN 3
                WHEN n % 100 < 98 THEN 4 ELSE 5 END AS t
        FROM generate_series(1, 1000000) n) c;
INSERT INTO call_legs (session_id, tenant_id, uniqueid, name, joined_at)
    SELECT id, tenant_id, uniqueid || leg, 'PJSIP/alice-' || leg, started_at FROM call_sessions, generate_series(1, 2) leg
    WHERE started_at % 100000000 = 0;
INSERT INTO call_events (session_id, tenant_id, at, name, data)
    SELECT id, tenant_id, started_at + n, 'state', '{\"event\":\"state\",\"state\":\"answered\"}'
    FROM call_sessions, generate_series(1, 12) n WHERE started_at % 100000000 = 0;
INSERT INTO recordings (session_id, part, tenant_id, pbx_id, path, certificate, complete, duration_ms, bytes, created_at)
    SELECT id, 0, tenant_id, pbx_id, id || '.wav', '{}', true, 1000, 16044, started_at FROM call_sessions
    WHERE started_at % 100000000 = 0;
";
const ADMINS: &str = "
INSERT INTO users (id, tenant_id, name, role, password_hash, enabled, version, failed_logins, created_at)
    SELECT ('00000000-0000-7000-8000-00000000020' || n)::uuid, ('00000000-0000-7000-8000-00000000000' || n)::uuid,
        'admin' || n, 'tenant_admin', password_hash, true, 1, 0, 0
    FROM users, (VALUES (1), (5)) t (n) WHERE name = 'root';
";

/// Every filter that the list has, with values that are found often, seldom and never.
const FILTERS: [&str; 34] = [
    "",
    "order=oldest",
    "limit=500",
    "tenant=00000000-0000-7000-8000-000000000001",
    "tenant=00000000-0000-7000-8000-000000000005",
    "pbx=00000000-0000-7000-8000-000000000101",
    "pbx=00000000-0000-7000-8000-000000000106",
    "pbx=00000000-0000-7000-8000-000000000105",
    "state=ended",
    "state=failed",
    "state=capturing",
    "state=ringing",
    "direction=outbound",
    "caller=%2B49300000001",
    "caller=%2B49300299999",
    "caller=nobody",
    "dialled=100",
    "dialled=499",
    "captured=true",
    "captured=false",
    "active=true",
    "started_from=2026-01-01T00:00:00Z&started_before=2026-01-01T00:10:00Z",
    "started_before=2025-06-15T15:10:00Z",
    "after=1765000000000000.00000000-0000-7000-8000-000000000000.0",
    "state=failed&after=1765000000000000.00000000-0000-7000-8000-000000000000.0",
    "q=%2B49",
    "q=%2B493000",
    "q=%2B4930001",
    "q=%2B49300299999",
    "q=499",
    "q=1780999",
    "q=01980",
    "q=nothing",
    "state=failed&direction=outbound&dialled=499",
];

/// Measures.
pub(crate) fn run() -> Result<Report> {
    let postgres = Postgres::start()?;
    let service = Service::start(&postgres)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&postgres, &service))
}

async fn measure(postgres: &Postgres, service: &Service) -> Result<Report> {
    let client = Client::builder().no_proxy().build()?;
    let mut report = Report::default();
    let mut all = Vec::new();
    let mut worst = (0.0, String::new());
    let mut tokens = Vec::new();
    for (account, reach) in ACCOUNTS {
        let token = service.log_in(&client, account).await?;
        for filter in FILTERS {
            let path = format!("call-sessions?{filter}");
            let mut times = Vec::new();
            for n in 0..WARM_UP + REQUESTS {
                let ms = service.get(&client, &token, &path).await?;
                if n >= WARM_UP {
                    times.push(ms);
                }
            }
            let [p50, p99] = [0.5, 0.99].map(|part| quantile(&mut times, part));
            report.say(format!("{reach:13} p50 {p50:6.2} ms  p99 {p99:6.2} ms  {filter}"));
            if p99 > worst.0 {
                worst = (p99, format!("{filter}, of {reach}"));
            }
            all.extend(times);
        }
        tokens.push(token);
    }
    let ids = postgres.sql(DATABASE, "SELECT id FROM call_sessions WHERE started_at % 100000000 = 0 LIMIT 1000")?;
    let mut details = Vec::new();
    for id in ids.lines() {
        details.push(service.get(&client, &tokens[0], &format!("call-sessions/{id}")).await?);
    }
    ensure!(details.len() == 1_000, "{} calls to show", details.len());
    let list_p50 = quantile(&mut all, 0.5);
    let detail_p99 = quantile(&mut details, 0.99);
    report.figure("calls", CALLS);
    report.figure("list_p50_ms", rounded(list_p50));
    report.figure("list_p99_ms", rounded(worst.0));
    report.figure("detail_p99_ms", rounded(detail_p99));
    report.say(format!("all filters: p50 {list_p50:.2} ms; the worst p99 {:.2} ms ({})", worst.0, worst.1));
    report.say(format!("single calls: p99 {detail_p99:.2} ms"));
    report.aim(format!("p99 of every filter at most {MS_AIM} ms"), worst.0 <= MS_AIM);
    Ok(report)
}

/// The value below which this part of the times is.
fn quantile(times: &mut [f64], part: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let place = (times.len() as f64 * part).ceil() as usize;
    times[place.saturating_sub(1)]
}

/// A running `aimg serve` on a full database; killed when it is dropped.
#[derive(Debug)]
struct Service {
    process: Child,
    address: String,
    _dir: TempDir,
}

impl Service {
    fn start(postgres: &Postgres) -> Result<Self> {
        let url = postgres.make_database(DATABASE)?;
        let dir = tempfile::tempdir()?;
        let program = std::env::current_exe()?.parent().context("no directory")?.join("aimg");
        std::fs::write(dir.path().join("aimg.toml"), "")?;
        // It makes the tables, too.
        let made = command(&program, dir.path(), &url, &["createsuperuser", "--name", "root"]).output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        postgres.sql(DATABASE, FILL)?;
        postgres.sql(DATABASE, ADMINS)?;
        postgres.sql(DATABASE, "VACUUM ANALYZE")?;
        let mut process = command(&program, dir.path(), &url, &["serve", "--json"]).stdout(Stdio::piped()).spawn()?;
        let mut ready = String::new();
        BufReader::new(process.stdout.take().context("no standard output")?).read_line(&mut ready)?;
        let ready: Value = serde_json::from_str(&ready).context("aimg serve does not run")?;
        let address = ready["http"].as_str().context("no HTTP")?.to_owned();
        Ok(Self { process, address, _dir: dir })
    }

    async fn log_in(&self, client: &Client, name: &str) -> Result<String> {
        let body = json!({ "name": name, "password": PASSWORD });
        let answer = client.post(self.url("auth/login")).json(&body).send().await?;
        let tokens: Value = answer.error_for_status()?.json().await?;
        Ok(tokens["access_token"].as_str().context("no token")?.to_owned())
    }

    /// From the request to the last byte of its answer, in milliseconds.
    async fn get(&self, client: &Client, token: &str, path: &str) -> Result<f64> {
        let begin = Instant::now();
        let answer = client.get(self.url(path)).bearer_auth(token).send().await?;
        answer.error_for_status()?.bytes().await?;
        Ok(begin.elapsed().as_secs_f64() * 1_000.0)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.address)
    }
}

fn command(program: &PathBuf, dir: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("AIMG_DATA_DIR", dir.join("data"))
        .env("AIMG_MEDIA_PORT", "0")
        .env("AIMG_HTTP_BIND", "127.0.0.1:0")
        .env("AIMG_HTTP_ADDRESS_REQUESTS_PER_SECOND", "1000000")
        .env("AIMG_HTTP_ACCOUNT_REQUESTS_PER_SECOND", "1000000")
        .env("AIMG_SUPERUSER_PASSWORD", PASSWORD)
        .env("DATABASE_URL", url)
        .arg("--config")
        .arg(dir.join("aimg.toml"))
        .args(arguments)
        .stdin(Stdio::null());
    command
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail for one that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
