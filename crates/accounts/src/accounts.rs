//! The accounts of an installation.

use std::sync::Arc;
use std::time::Duration;

use aimg_core::{Permission, Role, TenantId, TenantScope, Timestamp, UserId};
use aimg_store::{ApiKey, NewApiKey, NewRefreshToken, NewUser, Rotation, Store, User, UserChange};
use secrecy::{ExposeSecret, SecretString};

use crate::access_token::AccessTokens;
use crate::password::Passwords;
use crate::{Error, Principal, Who, opaque};

const REFRESH_PREFIX: &str = "aimgr_";
const KEY_PREFIX: &str = "aimgk_";
/// Characters of a key that are shown: its prefix, and enough to tell it from others.
const KEY_CHARS_SHOWN: usize = KEY_PREFIX.len() + 6;
/// A key's last use is written down this often at most.
const KEY_USE_EVERY: Duration = Duration::from_secs(60);

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How long an access token is good. Default 1 h.
    pub access_life: Duration,
    /// How long a refresh token is good. Default 7 d.
    pub refresh_life: Duration,
    /// Wrong passwords before nobody looks at another one for a while. Default 5.
    pub failures_max: u32,
    /// The first such while; it doubles with each further failure. Default 30 s.
    pub lock_first: Duration,
    /// The longest. Default 15 min.
    pub lock_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            access_life: Duration::from_secs(3_600),
            refresh_life: Duration::from_secs(7 * 24 * 3_600),
            failures_max: 5,
            lock_first: Duration::from_secs(30),
            lock_max: Duration::from_secs(900),
        }
    }
}

/// What a log-in gives.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// Who.
    pub user: User,
    /// Shown with each request.
    pub access: SecretString,
    /// Until when it is good.
    pub access_expires_at: Timestamp,
    /// Shown once, for the next pair.
    pub refresh: SecretString,
    /// Until when it is good.
    pub refresh_expires_at: Timestamp,
    /// What a browser sends besides its cookie with each request that changes something.
    pub csrf: String,
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// Whose it is to be; nobody's for one of the installation.
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: String,
    /// What it may do at most.
    pub role: Role,
    /// What of that; all when there is no list.
    pub permissions: Option<Vec<Permission>>,
    /// From when on it is worth nothing.
    pub expires_at: Option<Timestamp>,
}

/// A key that was made. Nobody sees it again.
#[derive(Clone, Debug)]
pub struct MadeKey {
    /// All but the key.
    pub key: ApiKey,
    /// The key.
    pub secret: SecretString,
}

/// The accounts of an installation. Clones share everything.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    tokens: Arc<AccessTokens>,
    passwords: Passwords,
    policy: Policy,
    set_up: Arc<SecretString>,
}

impl Accounts {
    /// The accounts in a store, which has to be open with its key.
    pub fn new(store: Store, policy: Policy) -> Result<Self, Error> {
        let tokens = Arc::new(AccessTokens::new(store.token_key()?, policy.access_life));
        let set_up = Arc::new(opaque::make(""));
        Ok(Self { store, tokens, passwords: Passwords::new()?, policy, set_up })
    }

    /// What makes the first user, while there is none: to be shown to whoever starts the gateway, and to nobody else. It is
    /// another one after each start.
    pub async fn set_up_token(&self) -> Result<Option<SecretString>, Error> {
        Ok((!self.store.has_users().await?).then(|| (*self.set_up).clone()))
    }

    /// Makes the first user, a super admin, for who shows [`Accounts::set_up_token`].
    pub async fn set_up(&self, token: &SecretString, name: &str, password: SecretString) -> Result<User, Error> {
        // Hashes, so that the time it takes tells nothing.
        if opaque::hash(token) != opaque::hash(&self.set_up) || self.store.has_users().await? {
            return Err(Error::NotValid);
        }
        let password_hash = self.passwords.hash(name, password).await?;
        let new = NewUser { tenant: None, name: name.to_owned(), role: Role::SuperAdmin, password_hash };
        self.store.add_first_user(new).await?.ok_or(Error::NotValid)
    }

    /// Adds a user.
    pub async fn add_user(
        &self,
        scope: TenantScope,
        tenant: Option<TenantId>,
        name: &str,
        role: Role,
        password: SecretString,
    ) -> Result<User, Error> {
        let password_hash = self.passwords.hash(name, password).await?;
        Ok(self.store.add_user(scope, NewUser { tenant, name: name.to_owned(), role, password_hash }).await?)
    }

    /// Gives a user another password; all its log-ins end.
    pub async fn set_password(&self, scope: TenantScope, id: UserId, password: SecretString) -> Result<User, Error> {
        let user = self.store.user(scope, id).await?;
        let password_hash = Some(self.passwords.hash(&user.name, password).await?);
        self.change_user(scope, id, None, UserChange { password_hash, ..UserChange::default() }).await
    }

    /// Changes a user; all its log-ins end. See [`Store::change_user`].
    pub async fn change_user(
        &self,
        scope: TenantScope,
        id: UserId,
        version: Option<i32>,
        change: UserChange,
    ) -> Result<User, Error> {
        let user = self.store.change_user(scope, id, version, change).await?;
        self.store.revoke_refresh_tokens_of(id).await?;
        Ok(user)
    }

    /// Lets a user in who knows the password.
    pub async fn log_in(&self, name: &str, password: SecretString, now: Timestamp) -> Result<LoggedIn, Error> {
        let known = self.store.credentials(name).await?;
        if let Some(until) = known.as_ref().and_then(|k| k.locked_until).filter(|until| *until > now) {
            return Err(Error::LockedOut { until });
        }
        let right = self.passwords.is_right(known.as_ref().map(|k| k.password_hash.as_str()), password).await?;
        let Some(known) = known else { return Err(Error::WrongCredentials) };
        if !right {
            let locked_until = self.lock(known.failed_logins + 1).map(|pause| now + pause);
            self.store.note_failed_login(known.user.id, locked_until).await?;
            return Err(Error::WrongCredentials);
        }
        if !known.user.enabled {
            return Err(Error::WrongCredentials);
        }
        self.store.note_login(known.user.id, now).await?;
        let refresh = opaque::make(REFRESH_PREFIX);
        let new = NewRefreshToken {
            hash: opaque::hash(&refresh),
            user: known.user.id,
            tenant: known.user.tenant,
            created_at: now,
            expires_at: now + self.policy.refresh_life,
        };
        self.store.add_refresh_token(new).await?;
        self.logged_in(known.user, refresh, now)
    }

    /// How long nobody looks at another password after so many wrong ones in a row.
    fn lock(&self, failures: u32) -> Option<Duration> {
        let doublings = failures.checked_sub(self.policy.failures_max)?;
        let pause = self.policy.lock_first.saturating_mul(2u32.saturating_pow(doublings.min(16)));
        Some(pause.min(self.policy.lock_max))
    }

    /// Takes a refresh token for the next pair.
    pub async fn refresh(&self, token: &SecretString, now: Timestamp) -> Result<LoggedIn, Error> {
        let next = opaque::make(REFRESH_PREFIX);
        let expires_at = now + self.policy.refresh_life;
        let rotation =
            self.store.rotate_refresh_token(opaque::hash(token), opaque::hash(&next), now, expires_at).await?;
        match rotation {
            Rotation::Done(user) => self.logged_in(*user, next, now),
            Rotation::Reused(_) => Err(Error::Reused),
            Rotation::Refused => Err(Error::NotValid),
        }
    }

    fn logged_in(&self, user: User, refresh: SecretString, now: Timestamp) -> Result<LoggedIn, Error> {
        let csrf = opaque::make("");
        let csrf = csrf.expose_secret();
        Ok(LoggedIn {
            access: self.tokens.make(user.id, user.version, csrf, now)?.into(),
            access_expires_at: now + self.policy.access_life,
            refresh_expires_at: now + self.policy.refresh_life,
            csrf: csrf.to_owned(),
            refresh,
            user,
        })
    }

    /// Ends a log-in: its refresh token, and all that came before or may come after it, are worthless.
    pub async fn log_out(&self, refresh: &SecretString) -> Result<(), Error> {
        Ok(self.store.revoke_refresh_token(opaque::hash(refresh)).await?)
    }

    /// Who shows this access token or API key.
    pub async fn authenticate(&self, shown: &SecretString, now: Timestamp) -> Result<Principal, Error> {
        if shown.expose_secret().starts_with(KEY_PREFIX) {
            return self.of_key(shown, now).await;
        }
        self.of_token(shown, None, now).await
    }

    /// Who shows this access token as a cookie. A request that changes something has to show `csrf` besides: a page of
    /// somebody else's can make a browser send the cookie, and cannot read what goes with it.
    pub async fn authenticate_cookie(
        &self,
        shown: &SecretString,
        csrf: Option<&str>,
        changes: bool,
        now: Timestamp,
    ) -> Result<Principal, Error> {
        let required = changes.then(|| csrf.unwrap_or_default());
        self.of_token(shown, required, now).await
    }

    async fn of_token(&self, shown: &SecretString, csrf: Option<&str>, now: Timestamp) -> Result<Principal, Error> {
        let claims = self.tokens.read(shown.expose_secret(), now)?;
        // Hashes, so that the time it takes tells nothing.
        if csrf.is_some_and(|csrf| opaque::hash(&csrf.into()) != opaque::hash(&claims.csrf.clone().into())) {
            return Err(Error::NotValid);
        }
        match self.store.user(TenantScope::Operator, claims.sub).await {
            Ok(user) if user.enabled && user.version == claims.ver => Ok(Principal::of_user(&user)),
            Ok(_) | Err(aimg_store::Error::NotFound { .. }) => Err(Error::NotValid),
            Err(e) => Err(e.into()),
        }
    }

    async fn of_key(&self, shown: &SecretString, now: Timestamp) -> Result<Principal, Error> {
        let key = self.store.api_key_by_hash(opaque::hash(shown)).await?.ok_or(Error::NotValid)?;
        if key.revoked_at.is_some() || key.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::NotValid);
        }
        if key.last_used_at.is_none_or(|last| now.since(last) >= KEY_USE_EVERY) {
            self.store.note_api_key_used(key.id, now).await?;
        }
        Ok(Principal::of_key(key))
    }

    /// Makes an API key, which may never do more than `maker` may.
    pub async fn make_key(&self, maker: &Principal, request: KeyRequest) -> Result<MadeKey, Error> {
        let asked = Permission::ALL
            .into_iter()
            .filter(|p| request.role.may(*p) && request.permissions.as_ref().is_none_or(|list| list.contains(p)));
        for permission in asked {
            maker.require(permission)?;
        }
        let secret = opaque::make(KEY_PREFIX);
        let new = NewApiKey {
            tenant: request.tenant,
            name: request.name,
            prefix: secret.expose_secret()[..KEY_CHARS_SHOWN].to_owned(),
            hash: opaque::hash(&secret),
            role: request.role,
            permissions: request.permissions,
            created_by: match maker.who {
                Who::User(id) => Some(id),
                Who::Key(_) | Who::CommandLine => None,
            },
            expires_at: request.expires_at,
        };
        Ok(MadeKey { key: self.store.add_api_key(maker.scope(), new).await?, secret })
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("policy", &self.policy).finish_non_exhaustive()
    }
}
