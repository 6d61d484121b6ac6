//! Users, roles, what they may do, and who is logged in.
//!
//! Pure, like the [`store`](crate::store): no clock, no randomness; time is an
//! argument. All as in etcd's `server/auth`; what releases check beyond that says
//! [`Checks`](crate::version::Checks). `tests/services/live.rs`
//! compares both.
//!
//! - `error`: what etcd refuses.
//! - `interval`: ranges of keys, and a tree of them.
//! - `permission`: what roles allow, and which keys that covers.
//! - `command`: what changes users and roles.
//! - `token`: the simple tokens of one member.
//!
//! Left out: JSON web tokens and the common names of TLS certificates. Passwords are
//! kept as salted SHA-256, not as bcrypt: nothing of them outlives the process.

mod command;
mod error;
mod interval;
mod permission;
mod token;

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

pub use command::{AuthCommand, AuthOutcome};
pub use error::AuthError;
pub use permission::{Access, Permission};
pub(crate) use token::Tokens;

use permission::Permissions;

/// The user, and the role, that may do everything.
const ROOT: &str = "root";

/// Who sends a request: what a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the user.
    pub user: String,
    /// The revision of users and roles at which it was looked up. A request that
    /// is carried out at a later one is refused.
    pub revision: u64,
}

/// Users and roles.
///
/// # Invariants
/// - `permissions` holds, for each user, what its roles allow together.
/// - The roles of a user are sorted, and none is there twice.
#[derive(Debug)]
pub struct AuthStore {
    enabled: bool,
    revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    permissions: BTreeMap<String, Permissions>,
}

#[derive(Debug)]
struct User {
    login: Login,
    roles: Vec<String>,
}

impl User {
    fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|has| has == role)
    }
}

/// How a user logs in.
#[derive(Debug)]
enum Login {
    /// By a password.
    Password(Password),
    /// By a password that was changed to none: no other one is that.
    NoneIsRight,
    /// Not by a password; also not when it is given one later.
    Otherwise,
}

#[derive(Debug, Default)]
struct Role {
    /// In the order of their keys; of one key in the order in which they came.
    permissions: Vec<Permission>,
}

/// A password, not to be read.
struct Password([u8; 32]);

impl Password {
    /// How many bytes of a password bcrypt looks at.
    const BYTES: usize = 72;

    /// Two passwords are the same where they are for bcrypt: it reads a password and a
    /// zero byte behind it over and over, until it has had enough.
    fn of(user: &str, password: &str) -> Password {
        let over_and_over = password.bytes().chain([0]).cycle();
        let read: Vec<u8> = over_and_over.take(Self::BYTES).collect();
        let mut hash = Sha256::new();
        hash.update(user.len().to_le_bytes());
        hash.update(user);
        hash.update(read);
        Password(hash.finalize().into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Default for AuthStore {
    fn default() -> Self {
        AuthStore {
            enabled: false,
            revision: 1,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            permissions: BTreeMap::new(),
        }
    }
}

impl AuthStore {
    /// Whether anything is checked.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Counts the changes of users and roles; 1 when there was none.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The root user, as a caller.
    pub fn root(&self) -> Caller {
        Caller {
            user: ROOT.to_owned(),
            revision: self.revision,
        }
    }

    /// Whether a caller may read or write keys: one, or those up to `range_end`.
    ///
    /// # Errors
    ///
    /// [`AuthError::UserEmpty`] without a caller, [`AuthError::OldRevision`],
    /// [`AuthError::PermissionDenied`].
    pub fn permits(
        &self,
        caller: Option<&Caller>,
        access: Access,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), AuthError> {
        if !self.enabled {
            return Ok(());
        }
        let caller = caller.ok_or(AuthError::UserEmpty)?;
        if caller.revision < self.revision {
            return Err(AuthError::OldRevision);
        }
        let user = self.users.get(&caller.user);
        if user.ok_or(AuthError::PermissionDenied)?.has(ROOT) {
            return Ok(());
        }
        let permissions = &self.permissions[&caller.user];
        if permissions.cover(access, key, range_end) {
            Ok(())
        } else {
            Err(AuthError::PermissionDenied)
        }
    }

    /// Whether a caller may manage users, roles and members.
    ///
    /// # Errors
    ///
    /// [`AuthError::UserEmpty`] without a caller, [`AuthError::UserNotFound`],
    /// [`AuthError::PermissionDenied`].
    pub fn permits_admin(&self, caller: Option<&Caller>) -> Result<(), AuthError> {
        if !self.enabled {
            return Ok(());
        }
        let caller = caller.ok_or(AuthError::UserEmpty)?;
        let user = self.users.get(&caller.user);
        if user.ok_or(AuthError::UserNotFound)?.has(ROOT) {
            Ok(())
        } else {
            Err(AuthError::PermissionDenied)
        }
    }

    /// Whether a caller has logged in.
    ///
    /// # Errors
    ///
    /// [`AuthError::UserEmpty`] without a caller.
    pub fn permits_user(&self, caller: Option<&Caller>) -> Result<(), AuthError> {
        if self.enabled && caller.is_none() {
            return Err(AuthError::UserEmpty);
        }
        Ok(())
    }

    /// Whether a user has this password.
    ///
    /// # Errors
    ///
    /// [`AuthError::NotEnabled`], [`AuthError::AuthFailed`],
    /// [`AuthError::NoPasswordUser`].
    pub fn check_password(&self, name: &str, password: &str) -> Result<(), AuthError> {
        if !self.enabled {
            return Err(AuthError::NotEnabled);
        }
        let user = self.users.get(name).ok_or(AuthError::AuthFailed)?;
        match &user.login {
            Login::Otherwise => Err(AuthError::NoPasswordUser),
            Login::Password(known) if known.0 == Password::of(name, password).0 => Ok(()),
            Login::Password(_) | Login::NoneIsRight => Err(AuthError::AuthFailed),
        }
    }

    /// Whether a user has a role.
    fn has_role(&self, caller: Option<&Caller>, role: &str) -> bool {
        let user = caller.and_then(|caller| self.users.get(&caller.user));
        user.is_some_and(|user| user.has(role))
    }

    /// Users or roles have changed.
    fn commit(&mut self) {
        self.revision += 1;
        let of = |user: &User| {
            let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
            let all: Vec<_> = roles.flat_map(|role| &role.permissions).collect();
            Permissions::of(&all)
        };
        let users = self.users.iter();
        self.permissions = users.map(|(name, user)| (name.clone(), of(user))).collect();
    }
}
