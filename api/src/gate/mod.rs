//! The gate that every request passes: who asks, and whether a browser was made to ask by another site.
//!
//! | brought | believed when |
//! |---|---|
//! | token | it is known and has not ended |
//! | name and password | right, and not tried too often from that address or for that name |
//! | signed URL | sealed here for that path, not ended, reading only, and its user is still the same |
//! | session cookie | sealed here, not ended, its user still the same; no other site's page asks; a change brings the page's token |
//! | nothing | there are no accounts, the server listens on loopback only, and is asked under a name of loopback, by no other site's page and through no proxy |
//!
//! What somebody may then do is asked where it is done ([`crate::auth::Grant`]).

mod credentials;
mod extract;
mod guesses;
mod layer;
mod origin;
mod remembered;
mod right;

pub(crate) use credentials::{COOKIE, SEALED, session_of};
pub(crate) use extract::{Administrator, Asking};
pub(crate) use layer::{Refused, pass};
pub(crate) use origin::is_foreign;
pub(crate) use right::Right;

use crate::auth::{Accounts, Buckets, Cameras, Grant, Identity, Role, Sealed, Sealer, Wait};
use crate::error::Result;
use guesses::Guesses;
use jiff::Timestamp;
use remembered::Remembered;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How many passwords are verified at once: each takes 19 MiB.
const VERIFIED_AT_ONCE: usize = 2;
/// And how many more may wait for that.
const WAITING_MAX: usize = 64;
/// When to come again, where too many wait.
const CROWDED: Duration = Duration::from_secs(5);
/// Wrong passwords from an address: so many at once, then one in this time.
const BY_ADDRESS: (u32, Duration) = (10, Duration::from_secs(30));
/// Wrong passwords for a name, from wherever: more, so that nobody is easily locked out by others.
const BY_NAME: (u32, Duration) = (50, Duration::from_secs(10));
/// The longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// Of how many addresses and names failures are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// What is needed to tell who asks.
pub(crate) struct Gate {
    directory: PathBuf,
    accounts: Mutex<Accounts>,
    sealer: Sealer,
    by_address: Mutex<Buckets>,
    by_name: Mutex<Buckets>,
    remembered: Mutex<Remembered>,
    guesses: Guesses,
    /// Who is in here waits or is being verified.
    room: Semaphore,
    verifying: Arc<Semaphore>,
    /// Reachable from this machine alone.
    loopback: bool,
    /// Below which path this server answers; empty for none.
    base: String,
    started: Instant,
}

impl Gate {
    /// The gate of a server with this state directory, which listens on loopback only or (`loopback` false) elsewhere too.
    ///
    /// # Errors
    /// Where accounts or key cannot be read.
    pub(crate) fn open(directory: &Path, loopback: bool) -> Result<Gate> {
        let buckets = |(burst, leak)| Mutex::new(Buckets::new(burst, leak, REMEMBERED_MAX));
        Ok(Gate {
            directory: directory.to_owned(),
            accounts: Mutex::new(Accounts::open(directory)?),
            sealer: Sealer::open(directory)?,
            by_address: buckets(BY_ADDRESS),
            by_name: buckets(BY_NAME),
            remembered: Mutex::new(Remembered::default()),
            guesses: Guesses::default(),
            room: Semaphore::new(VERIFIED_AT_ONCE + WAITING_MAX),
            verifying: Arc::new(Semaphore::new(VERIFIED_AT_ONCE)),
            loopback,
            base: String::new(),
            started: Instant::now(),
        })
    }

    /// The same for a server that answers below this path.
    pub(crate) fn below(self, base: &str) -> Gate {
        Gate { base: base.to_owned(), ..self }
    }

    /// All accounts, as another process may have changed them just now.
    pub(crate) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        let mut accounts = lock(&self.accounts);
        if let Err(error) = accounts.refresh() {
            tracing::error!(%error, "the accounts cannot be read anew: those known before count");
        }
        accounts
    }

    /// Changes the accounts in their file. Hashing and flushing keep nobody waiting who only asks: the next who does sees the change.
    pub(crate) fn change_accounts<T>(&self, change: impl FnOnce(&mut Accounts) -> Result<T>) -> Result<T> {
        change(&mut Accounts::open(&self.directory)?)
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Whoever can reach the server is let in: it is this machine's own user, and nobody else was ever named.
    fn is_open(&self) -> bool {
        self.loopback && self.accounts().is_empty()
    }

    fn local() -> Identity {
        Identity {
            name: "local".to_owned(),
            grant: Grant { role: Role::Admin, cameras: Cameras::All },
            generation: 0,
        }
    }

    fn by_seal(&self, sealed: &Sealed) -> Option<Identity> {
        self.accounts().with_generation(&sealed.user, sealed.generation)
    }

    fn by_token(&self, text: &str, now: Timestamp) -> Option<Identity> {
        self.accounts().with_token(text, now)
    }

    /// Who it is by name and password. The same asked many times at once, as players do that begin several streams, is verified once.
    ///
    /// # Errors
    /// How long to wait, where too many were wrong or are being verified.
    pub(crate) async fn by_password(
        &self,
        address: IpAddr,
        name: &str,
        password: &str,
    ) -> std::result::Result<Option<Identity>, Wait> {
        // Nobody has such a name, and nothing so long is remembered.
        let name = if name.len() > NAME_BYTES_MAX { "" } else { name };
        // A player sends its password with every request: what was right is not verified again for a while.
        let known = lock(&self.remembered).get(name, password, self.started.elapsed());
        if let Some(identity) = known.and_then(|generation| self.accounts().with_generation(name, generation))
        {
            return Ok(Some(identity));
        }
        let address = address_key(address);
        let guess = self.guesses.of(&address, name, password);
        guess.get_or_try_init(|| self.verified(&address, name, password)).await.cloned()
    }

    /// Verifies a password: a guess, which counts from here on, also for whoever goes away meanwhile, until it turns out to be right.
    async fn verified(
        &self,
        address: &str,
        name: &str,
        password: &str,
    ) -> std::result::Result<Option<Identity>, Wait> {
        let _place = self.room.try_acquire().map_err(|_| Wait(CROWDED))?;
        self.take(address, name)?;
        let owned = password.to_owned();
        let permit = Arc::clone(&self.verifying).acquire_owned().await;
        let verifier = self.accounts().verifier(name);
        let verified = tokio::task::spawn_blocking(move || {
            let verified = verifier.verify(&owned);
            // Not before: whoever goes away does not stop this thread.
            drop(permit);
            verified
        });
        let identity = verified.await.ok().flatten();
        match &identity {
            Some(identity) => {
                // Whoever has a password of his own may still try those of others: the address is not forgotten.
                lock(&self.by_address).give_back(address);
                lock(&self.by_name).empty(name);
                lock(&self.remembered).put(name, password, identity.generation, self.started.elapsed());
            }
            None => tracing::warn!(%address, "a wrong name or password"),
        }
        Ok(identity)
    }

    /// Counts a guess of an address, for a name.
    fn take(&self, address: &str, name: &str) -> std::result::Result<(), Wait> {
        let now = self.started.elapsed();
        lock(&self.by_address).take(address, now)?;
        let taken = lock(&self.by_name).take(name, now);
        if taken.is_err() {
            lock(&self.by_address).give_back(address);
        }
        taken
    }
}

/// Who tries: of IPv6 the network of a subscriber (/64), who has all of its addresses.
pub(crate) fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
