//! What changes users and roles.

use super::{AuthError, AuthStore, Caller, Login, Password, Permission, ROOT, Role, User};

/// A request about users and roles. All of them take their place in the history,
/// also those that only look.
#[derive(Clone)]
#[expect(missing_docs, reason = "the fields are those of etcd's requests")]
pub enum AuthCommand {
    /// From now on requests are checked.
    Enable,
    /// From now on nothing is checked.
    Disable,
    /// Whether requests are checked.
    Status,
    /// A user has shown its password: it gets a token that begins with `prefix`.
    Authenticate { name: String, prefix: String },
    /// A user that has no role yet.
    UserAdd {
        name: String,
        /// None: one that cannot log in by a password.
        password: Option<String>,
    },
    /// Which roles a user has.
    UserGet { name: String },
    /// All users, by name.
    UserList,
    /// A user is gone.
    UserDelete { name: String },
    /// A user has another password, and has to log in anew.
    UserChangePassword {
        name: String,
        /// None: no password is right any more.
        password: Option<String>,
    },
    /// A user has one more role.
    UserGrantRole { user: String, role: String },
    /// A user has one role less.
    UserRevokeRole { name: String, role: String },
    /// A role that allows nothing yet.
    RoleAdd { name: String },
    /// What a role allows.
    RoleGet { role: String },
    /// All roles, by name.
    RoleList,
    /// A role is gone, and nobody has it any more.
    RoleDelete { role: String },
    /// A role allows more, or something else about the same keys.
    RoleGrantPermission {
        name: String,
        permission: Option<Permission>,
    },
    /// A role allows nothing about these keys any more.
    RoleRevokePermission {
        role: String,
        key: Vec<u8>,
        range_end: Vec<u8>,
    },
}

/// What has come of such a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthOutcome {
    /// It was done.
    Done,
    /// Whether requests are checked, and the revision of users and roles.
    Status {
        /// Whether they are.
        enabled: bool,
        /// The revision.
        revision: u64,
    },
    /// A user has logged in; whose token it is.
    LoggedIn {
        /// The user.
        user: String,
        /// How the token begins.
        prefix: String,
    },
    /// Everybody has to log in anew, for nothing is checked.
    Disabled,
    /// Requests are checked.
    Enabled,
    /// This user has to log in anew.
    LoggedOut(String),
    /// Names of users or roles.
    Names(Vec<String>),
    /// What a role allows.
    Permissions(Vec<Permission>),
}

// A password is never shown.
impl std::fmt::Debug for AuthCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthCommand(..)")
    }
}

impl AuthCommand {
    /// Whether it grants a permission that covers no key.
    pub(crate) fn grants_nothing(&self) -> bool {
        match self {
            AuthCommand::RoleGrantPermission { permission, .. } => {
                permission.as_ref().is_some_and(Permission::is_empty)
            }
            _ => false,
        }
    }

    /// Whether it gives a user a password of which bcrypt would not see all.
    pub(crate) fn has_long_password(&self) -> bool {
        match self {
            AuthCommand::UserAdd { password, .. }
            | AuthCommand::UserChangePassword { password, .. } => password
                .as_ref()
                .is_some_and(|password| password.len() > Password::BYTES),
            _ => false,
        }
    }

    /// Whether only the root user may do it (`needAdminPermission` in etcd's
    /// `server/etcdserver/apply_auth.go`).
    fn needs_admin(&self) -> bool {
        !matches!(
            self,
            AuthCommand::Status
                | AuthCommand::Authenticate { .. }
                | AuthCommand::UserGet { .. }
                | AuthCommand::RoleGet { .. }
        )
    }
}

impl AuthStore {
    /// Whether a caller may have this done.
    ///
    /// # Errors
    ///
    /// Those of [`AuthStore::permits_admin`].
    pub fn permits_command(
        &self,
        caller: Option<&Caller>,
        command: &AuthCommand,
    ) -> Result<(), AuthError> {
        let is_own = match command {
            AuthCommand::UserGet { name } => {
                // A caller without a name is one whose name is empty.
                caller.map_or("", |caller| &caller.user) == name
            }
            AuthCommand::RoleGet { role } => self.has_role(caller, role),
            command => !command.needs_admin(),
        };
        if is_own {
            return Ok(());
        }
        self.permits_admin(caller)
    }

    /// Does what is asked for. Who may ask for it was checked before.
    ///
    /// # Errors
    ///
    /// [`AuthError`]: what etcd refuses. Nothing has changed then.
    pub fn execute(&mut self, command: AuthCommand) -> Result<AuthOutcome, AuthError> {
        match command {
            AuthCommand::Enable => self.enable(),
            AuthCommand::Disable => Ok(self.disable()),
            AuthCommand::Status => Ok(AuthOutcome::Status {
                enabled: self.enabled,
                revision: self.revision,
            }),
            AuthCommand::Authenticate { name, prefix } => self.authenticate(name, prefix),
            AuthCommand::UserAdd { name, password } => self.user_add(name, password),
            AuthCommand::UserGet { name } => {
                Ok(AuthOutcome::Names(self.user(&name)?.roles.clone()))
            }
            AuthCommand::UserList => Ok(AuthOutcome::Names(self.users.keys().cloned().collect())),
            AuthCommand::UserDelete { name } => self.user_delete(name),
            AuthCommand::UserChangePassword { name, password } => {
                self.change_password(name, password.as_deref())
            }
            AuthCommand::UserGrantRole { user, role } => self.user_grant_role(&user, role),
            AuthCommand::UserRevokeRole { name, role } => self.user_revoke_role(&name, &role),
            AuthCommand::RoleAdd { name } => self.role_add(name),
            AuthCommand::RoleGet { role } => {
                let role = self.roles.get(&role).ok_or(AuthError::RoleNotFound)?;
                Ok(AuthOutcome::Permissions(role.permissions.clone()))
            }
            AuthCommand::RoleList => Ok(AuthOutcome::Names(self.roles.keys().cloned().collect())),
            AuthCommand::RoleDelete { role } => self.role_delete(&role),
            AuthCommand::RoleGrantPermission { name, permission } => {
                self.role_grant_permission(&name, permission)
            }
            AuthCommand::RoleRevokePermission {
                role,
                key,
                range_end,
            } => self.role_revoke_permission(&role, &key, &range_end),
        }
    }

    fn enable(&mut self) -> Result<AuthOutcome, AuthError> {
        if self.enabled {
            return Ok(AuthOutcome::Done);
        }
        let root = self.users.get(ROOT).ok_or(AuthError::RootUserNotExist)?;
        if !root.has(ROOT) {
            return Err(AuthError::RootRoleNotExist);
        }
        self.enabled = true;
        Ok(AuthOutcome::Enabled)
    }

    fn disable(&mut self) -> AuthOutcome {
        if !self.enabled {
            return AuthOutcome::Done;
        }
        self.enabled = false;
        self.commit();
        AuthOutcome::Disabled
    }

    fn authenticate(&self, name: String, prefix: String) -> Result<AuthOutcome, AuthError> {
        if !self.enabled {
            return Err(AuthError::NotEnabled);
        }
        let user = self.users.get(&name).ok_or(AuthError::AuthFailed)?;
        if matches!(user.login, Login::Otherwise) {
            return Err(AuthError::AuthFailed);
        }
        Ok(AuthOutcome::LoggedIn { user: name, prefix })
    }

    fn user_add(
        &mut self,
        name: String,
        password: Option<String>,
    ) -> Result<AuthOutcome, AuthError> {
        if name.is_empty() {
            return Err(AuthError::UserEmpty);
        }
        if self.users.contains_key(&name) {
            return Err(AuthError::UserExists);
        }
        let by = |password: String| Login::Password(Password::of(&name, &password));
        let user = User {
            login: password.map_or(Login::Otherwise, by),
            roles: Vec::new(),
        };
        self.users.insert(name, user);
        self.commit();
        Ok(AuthOutcome::Done)
    }

    fn change_password(
        &mut self,
        name: String,
        password: Option<&str>,
    ) -> Result<AuthOutcome, AuthError> {
        let login = match (&self.user(&name)?.login, password) {
            (Login::Otherwise, _) => Login::Otherwise,
            (_, Some(password)) => Login::Password(Password::of(&name, password)),
            (_, None) => Login::NoneIsRight,
        };
        self.change_user(&name, |user| user.login = login);
        Ok(AuthOutcome::LoggedOut(name))
    }

    fn user_delete(&mut self, name: String) -> Result<AuthOutcome, AuthError> {
        if self.enabled && name == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        self.users.remove(&name).ok_or(AuthError::UserNotFound)?;
        self.commit();
        Ok(AuthOutcome::LoggedOut(name))
    }

    fn user_grant_role(&mut self, name: &str, role: String) -> Result<AuthOutcome, AuthError> {
        self.user(name)?;
        if role != ROOT && !self.roles.contains_key(&role) {
            return Err(AuthError::RoleNotFound);
        }
        if self.user(name)?.has(&role) {
            return Ok(AuthOutcome::Done);
        }
        self.change_user(name, |user| {
            user.roles.push(role);
            user.roles.sort_unstable();
        });
        Ok(AuthOutcome::Done)
    }

    fn user_revoke_role(&mut self, name: &str, role: &str) -> Result<AuthOutcome, AuthError> {
        if self.enabled && name == ROOT && role == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        if !self.user(name)?.has(role) {
            return Err(AuthError::RoleNotGranted);
        }
        self.change_user(name, |user| user.roles.retain(|has| has != role));
        Ok(AuthOutcome::Done)
    }

    fn role_add(&mut self, name: String) -> Result<AuthOutcome, AuthError> {
        if name.is_empty() {
            return Err(AuthError::RoleEmpty);
        }
        if self.roles.contains_key(&name) {
            return Err(AuthError::RoleExists);
        }
        self.roles.insert(name, Role::default());
        self.commit();
        Ok(AuthOutcome::Done)
    }

    fn role_delete(&mut self, role: &str) -> Result<AuthOutcome, AuthError> {
        if self.enabled && role == ROOT {
            return Err(AuthError::InvalidManagement);
        }
        self.roles.remove(role).ok_or(AuthError::RoleNotFound)?;
        for user in self.users.values_mut() {
            user.roles.retain(|has| has != role);
        }
        self.commit();
        Ok(AuthOutcome::Done)
    }

    fn role_grant_permission(
        &mut self,
        name: &str,
        permission: Option<Permission>,
    ) -> Result<AuthOutcome, AuthError> {
        let permission = permission.ok_or(AuthError::PermissionNotGiven)?;
        let role = self.roles.get_mut(name).ok_or(AuthError::RoleNotFound)?;
        let all = &mut role.permissions;
        // etcd looks only at the first permission of that key, and so may have the
        // same keys twice. Those keep their order here; Go's sorting keeps it as long as
        // there are no more than twelve permissions.
        let first = all.partition_point(|other| other.key < permission.key);
        match all.get_mut(first) {
            Some(other)
                if other.key == permission.key && other.range_end == permission.range_end =>
            {
                other.kind = permission.kind;
            }
            _ => {
                all.push(permission);
                all.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        self.commit();
        Ok(AuthOutcome::Done)
    }

    fn role_revoke_permission(
        &mut self,
        role: &str,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<AuthOutcome, AuthError> {
        let role = self.roles.get_mut(role).ok_or(AuthError::RoleNotFound)?;
        let before = role.permissions.len();
        role.permissions
            .retain(|permission| permission.key != key || permission.range_end != range_end);
        if role.permissions.len() == before {
            return Err(AuthError::PermissionNotGranted);
        }
        self.commit();
        Ok(AuthOutcome::Done)
    }

    fn user(&self, name: &str) -> Result<&User, AuthError> {
        self.users.get(name).ok_or(AuthError::UserNotFound)
    }

    fn change_user(&mut self, name: &str, change: impl FnOnce(&mut User)) {
        if let Some(user) = self.users.get_mut(name) {
            change(user);
            self.commit();
        }
    }
}
