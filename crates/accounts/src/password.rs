//! Passwords: hashed with Argon2id, by few at once.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::Error;

/// The fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// The most bytes: nobody types more, and each costs time.
const PASSWORD_BYTES_MAX: usize = 1024;
/// Hashes at once: each takes 19 MiB and some 20 ms of a core (OWASP's parameters, which are the crate's defaults).
const HASHES_MAX: usize = 2;

/// Hashes and compares. Clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    places: Arc<Semaphore>,
    /// What a name without a user is compared with, so that the time it takes tells nothing.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self { places: Arc::new(Semaphore::new(HASHES_MAX)), nobody: hash("nobody's password")?.into() })
    }

    /// The hash of a new password, with its salt and parameters (PHC string).
    pub(crate) async fn hash(&self, user: &str, password: SecretString) -> Result<String, Error> {
        check(user, password.expose_secret())?;
        self.run(move || hash(password.expose_secret())).await?
    }

    /// Whether `password` is what `hashed` was made from; never for no hash.
    pub(crate) async fn is_right(&self, hashed: Option<&str>, password: SecretString) -> Result<bool, Error> {
        if password.expose_secret().len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let (is_user, hashed) = (hashed.is_some(), hashed.unwrap_or(&self.nobody).to_owned());
        let right = self
            .run(move || {
                let parsed = PasswordHash::new(&hashed);
                parsed.is_ok_and(|h| Argon2::default().verify_password(password.expose_secret().as_bytes(), &h).is_ok())
            })
            .await?;
        Ok(right && is_user)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _place = self.places.acquire().await.map_err(|e| Error::Hashing(e.to_string()))?;
        tokio::task::spawn_blocking(work).await.map_err(|e| Error::Hashing(e.to_string()))
    }
}

fn hash(password: &str) -> Result<String, Error> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|h| h.to_string()).map_err(|e| Error::Hashing(e.to_string()))
}

fn check(user: &str, password: &str) -> Result<(), Error> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(Error::WeakPassword("is shorter than 10 characters"));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(Error::WeakPassword("is longer than 1024 bytes"));
    }
    let first = password.chars().next();
    if password.chars().all(|c| Some(c) == first) {
        return Err(Error::WeakPassword("is one character again and again"));
    }
    if password.to_lowercase().contains(&user.to_lowercase()) {
        return Err(Error::WeakPassword("holds the user's name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_is_right() {
        let passwords = Passwords::new().unwrap();
        let hashed = passwords.hash("ada", "correct horse".into()).await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        for (shown, right) in [("correct horse", true), ("correct horse ", false), ("", false)] {
            assert_eq!(passwords.is_right(Some(&hashed), shown.into()).await.unwrap(), right, "{shown}");
        }
        assert!(!passwords.is_right(None, "nobody's password".into()).await.unwrap(), "nobody is let in");
        assert!(!passwords.is_right(Some("damaged"), "correct horse".into()).await.unwrap());
        assert!(!passwords.is_right(Some(&hashed), "x".repeat(2_000).into()).await.unwrap());
        assert_ne!(hashed, passwords.hash("ada", "correct horse".into()).await.unwrap(), "each has its salt");
    }

    #[test]
    fn weak_passwords_are_refused() {
        for weak in ["", "short", "aaaaaaaaaaaa", "adalovelace", &"x1".repeat(600)] {
            assert!(matches!(check("Ada", weak), Err(Error::WeakPassword(_))), "{weak}");
        }
        assert!(check("ada", "correct horse").is_ok());
    }
}
