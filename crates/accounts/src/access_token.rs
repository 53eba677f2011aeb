//! Access tokens: JWTs that say which user, and until when. What the user may do is looked up at each use, so a token of
//! one who was disabled or changed is worthless at once.

use std::time::Duration;

use aimg_core::{Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Who made the token, and for whom.
const ISSUER: &str = "aimg";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    /// The user.
    pub(crate) sub: UserId,
    /// The user's row as it was: after a change the token is not valid any more.
    pub(crate) ver: i32,
    /// What a browser has to send along besides the cookie.
    pub(crate) csrf: String,
    /// When it was made, in seconds since 1970.
    iat: i64,
    /// Until when it is good.
    exp: i64,
}

/// Makes and reads tokens.
pub(crate) struct AccessTokens {
    sign: EncodingKey,
    verify: DecodingKey,
    life: Duration,
}

impl AccessTokens {
    pub(crate) fn new(key: &[u8; 32], life: Duration) -> Self {
        Self { sign: EncodingKey::from_secret(key), verify: DecodingKey::from_secret(key), life }
    }

    pub(crate) fn make(&self, user: UserId, version: i32, csrf: &str, now: Timestamp) -> Result<String, Error> {
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: user,
            ver: version,
            csrf: csrf.to_owned(),
            iat: seconds(now),
            exp: seconds(now + self.life),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign)
            .map_err(|e| Error::Hashing(e.to_string()))
    }

    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Result<Claims, Error> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        // By our own clock, below.
        validation.validate_exp = false;
        let claims =
            jsonwebtoken::decode::<Claims>(token, &self.verify, &validation).map_err(|_| Error::NotValid)?.claims;
        if claims.exp <= seconds(now) { Err(Error::NotValid) } else { Ok(claims) }
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.as_micros() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_token_is_good_for_its_time_with_its_key() {
        let tokens = AccessTokens::new(&[1; 32], Duration::from_secs(60));
        let user: UserId = "0198c1de-1111-7000-8000-000000000001".parse().unwrap();
        let token = tokens.make(user, 3, "c", at(1_000)).unwrap();
        for (now, good) in [(at(1_000), true), (at(1_059), true), (at(1_060), false)] {
            assert_eq!(tokens.read(&token, now).is_ok(), good, "{now}");
        }
        let claims = tokens.read(&token, at(1_000)).unwrap();
        assert_eq!((claims.sub, claims.ver, claims.csrf.as_str()), (user, 3, "c"));
        assert!(AccessTokens::new(&[2; 32], Duration::from_secs(60)).read(&token, at(1_000)).is_err());

        let parts: Vec<&str> = token.split('.').collect();
        // {"alg":"none","typ":"JWT"}
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
        for bad in ["", "a.b.c", &unsigned, &format!("{}.{}.", parts[0], parts[1]), &token[..token.len() - 2]] {
            assert!(matches!(tokens.read(bad, at(1_000)), Err(Error::NotValid)), "{bad}");
        }
    }
}
