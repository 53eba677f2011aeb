//! Signs one message and sends it.

use std::time::{Duration, Instant};

use aimg_outbound::{Client, Error as HttpError, Response};
use secrecy::SecretString;

use crate::clock;
use crate::secret::{SecretError, seconds, sign};

/// Of an answer's body so much is read; the rest is nobody's business.
const ANSWER_BYTES_MAX: usize = 4_096;
/// The longest that a receiver's `Retry-After` is listened to.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A message, ready to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Where it goes.
    pub url: &'a str,
    /// What signs it.
    pub secrets: &'a [SecretString],
    /// Its `webhook-id`, the same in each attempt.
    pub id: &'a str,
    /// JSON.
    pub body: &'a str,
}

/// What a receiver said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
    /// When it wants to be asked again, if it said so.
    pub retry_after: Option<Duration>,
    /// From the beginning of the request to the head of the answer.
    pub took: Duration,
}

impl Answer {
    /// Whether the receiver has taken the message.
    pub fn is_taken(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// There was no way to the receiver.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The webhook's secret is damaged.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Sends messages. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Courier {
    client: Client,
}

impl Courier {
    /// One that sends over this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// What it may reach.
    pub fn policy(&self) -> &aimg_outbound::Policy {
        self.client.policy()
    }

    /// Sends a message, once.
    pub async fn send(&self, message: Message<'_>) -> Result<Answer, Failure> {
        let at = clock::now();
        let signature = sign(message.secrets, message.id, at, message.body)?;
        let request = self
            .client
            .post(message.url)
            .map_err(HttpError::from)?
            .header("content-type", "application/json")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", seconds(at))
            .header("webhook-signature", signature)
            .body(message.body.to_owned());
        let began = Instant::now();
        let response = request.send().await.map_err(HttpError::from)?;
        let (status, took) = (response.status().as_u16(), began.elapsed());
        let retry_after = retry_after(&response);
        Ok(Answer { status, body: beginning(response).await, retry_after, took })
    }
}

/// Seconds only: no receiver has been seen to give a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// What comes of the body before it is too much, or its time is over. The answer is its status, whatever follows.
async fn beginning(mut response: Response) -> String {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())]);
    }
    String::from_utf8_lossy(&body).into_owned()
}
