//! `basic_auth_users`: RFC 7617, with passwords hashed by bcrypt.
//!
//! A wrong password and an unknown user take the same time: that of one bcrypt. So does the first
//! right one; it is remembered, or a scrape would cost more than the collectors do.

mod hashing;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::SystemRandom;

use super::connections::Peer;
use hashing::Hashing;

/// Who may ask for more than probes.
pub(super) struct Users {
    users: HashMap<Vec<u8>, User>,
    /// What the password of an unknown user is compared with: the most expensive hash.
    decoy: Arc<str>,
    /// Of this process, so that what is remembered is of no use elsewhere.
    key: hmac::Key,
    hashing: Hashing,
}

struct User {
    hash: Arc<str>,
    /// Of the last password that was right: one for each user, so that there is a bound.
    remembered: Mutex<Option<hmac::Tag>>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Refused,
    /// Too many others wait for their passwords to be checked.
    Busy,
}

impl Users {
    /// `None`: there are no users. Names come with bcrypt hashes.
    ///
    /// # Errors
    ///
    /// A hash is none, or there is no thread or no random number.
    pub(super) fn new(users: Vec<(String, String)>) -> anyhow::Result<Option<Self>> {
        let cost = |hash: &str| HashParts::from_str(hash).map(|parts| parts.get_cost());
        let mut decoy = None;
        for (_, hash) in &users {
            let cost = cost(hash).context("a password is not a bcrypt hash")?;
            decoy = decoy.max(Some((cost, hash)));
        }
        let Some((_, decoy)) = decoy else {
            return Ok(None);
        };
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new());
        Ok(Some(Self {
            decoy: decoy.as_str().into(),
            key: key.map_err(|_unspecified| anyhow!("the kernel gives no random numbers"))?,
            hashing: Hashing::start()?,
            users: users.into_iter().map(User::named).collect(),
        }))
    }

    /// Checks the name and password in a request of this peer.
    pub(super) async fn check(&self, headers: &HeaderMap, peer: Peer) -> Verdict {
        let Some((name, password)) = credentials(headers) else {
            return Verdict::Refused;
        };
        let user = self.users.get(&name);
        if user.is_some_and(|user| user.remembers(&self.key, &password)) {
            return Verdict::Allowed;
        }
        let hash = user.map_or(&self.decoy, |user| &user.hash);
        let checked = self.hashing.verify(peer, password, Arc::clone(hash)).await;
        match (checked, user) {
            (Some((true, password)), Some(user)) => {
                user.remember(&self.key, &password);
                Verdict::Allowed
            }
            (Some(_), _) => Verdict::Refused,
            (None, _) => Verdict::Busy,
        }
    }
}

impl User {
    fn named((name, hash): (String, String)) -> (Vec<u8>, Self) {
        let user = Self {
            hash: hash.into(),
            remembered: Mutex::new(None),
        };
        (name.into_bytes(), user)
    }

    fn remembers(&self, key: &hmac::Key, password: &[u8]) -> bool {
        let remembered = self.remembered.lock();
        let remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        // Compares in constant time.
        remembered.is_some_and(|tag| hmac::verify(key, password, tag.as_ref()).is_ok())
    }

    fn remember(&self, key: &hmac::Key, password: &[u8]) {
        let remembered = self.remembered.lock();
        *remembered.unwrap_or_else(PoisonError::into_inner) = Some(hmac::sign(key, password));
    }
}

/// The name and password of the first `Authorization` that is well-formed. Neither need be UTF-8.
fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    Some((decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests;
