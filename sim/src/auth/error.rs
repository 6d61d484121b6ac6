//! What etcd refuses about users, in etcd's own words.

use tonic::{Code, Status};

/// Why a request was refused that has to do with users and roles. Nothing of it
/// happened.
///
/// The texts and codes are etcd's: `api/v3rpc/rpctypes/error.go`, and
/// `toGRPCErrorMap` in `server/etcdserver/api/v3rpc/util.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Authentication is enabled without a user `root`.
    #[error("etcdserver: root user does not exist")]
    RootUserNotExist,
    /// Authentication is enabled, and the user `root` has not the role `root`.
    #[error("etcdserver: root user does not have root role")]
    RootRoleNotExist,
    /// A user of that name is there already.
    #[error("etcdserver: user name already exists")]
    UserExists,
    /// A name is missing: of a user that is added, or a request came without a token.
    #[error("etcdserver: user name is empty")]
    UserEmpty,
    /// There is no such user.
    #[error("etcdserver: user name not found")]
    UserNotFound,
    /// A role of that name is there already.
    #[error("etcdserver: role name already exists")]
    RoleExists,
    /// There is no such role.
    #[error("etcdserver: role name not found")]
    RoleNotFound,
    /// The name of a role that is added is missing.
    #[error("etcdserver: role name is empty")]
    RoleEmpty,
    /// There is no such user, or it has another password.
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    AuthFailed,
    /// The user has no password, and so cannot log in by one.
    #[error("auth: authentication failed, password was given for no password user")]
    NoPasswordUser,
    /// A password is longer than bcrypt can tell apart.
    #[error("bcrypt: password length exceeds 72 bytes")]
    PasswordTooLong,
    /// The user may not do that.
    #[error("etcdserver: permission denied")]
    PermissionDenied,
    /// The user does not have the role that was to be revoked.
    #[error("etcdserver: role is not granted to the user")]
    RoleNotGranted,
    /// The role does not have the permission that was to be revoked.
    #[error("etcdserver: permission is not granted to the role")]
    PermissionNotGranted,
    /// A role is to be granted a permission, but none was given.
    #[error("etcdserver: permission not given")]
    PermissionNotGiven,
    /// Somebody logs in while nothing is checked.
    #[error("etcdserver: authentication is not enabled")]
    NotEnabled,
    /// The token is unknown to the member, or no longer good.
    #[error("etcdserver: invalid auth token")]
    InvalidToken,
    /// What would leave nobody who may manage users.
    #[error("etcdserver: invalid auth management")]
    InvalidManagement,
    /// Users or roles have changed while the request was on its way.
    #[error("etcdserver: revision of auth store is old")]
    OldRevision,
}

impl AuthError {
    /// The gRPC code that etcd sends with this text.
    pub const fn code(self) -> Code {
        match self {
            AuthError::UserEmpty
            | AuthError::RoleEmpty
            | AuthError::AuthFailed
            | AuthError::PermissionNotGiven
            | AuthError::InvalidManagement
            | AuthError::OldRevision => Code::InvalidArgument,
            AuthError::PermissionDenied => Code::PermissionDenied,
            AuthError::InvalidToken => Code::Unauthenticated,
            // Not in etcd's map of errors.
            AuthError::NoPasswordUser | AuthError::PasswordTooLong => Code::Unknown,
            AuthError::RootUserNotExist
            | AuthError::RootRoleNotExist
            | AuthError::UserExists
            | AuthError::UserNotFound
            | AuthError::RoleExists
            | AuthError::RoleNotFound
            | AuthError::RoleNotGranted
            | AuthError::PermissionNotGranted
            | AuthError::NotEnabled => Code::FailedPrecondition,
        }
    }

    /// The text within etcd, which some answers show as it is
    /// (`server/auth/store.go`).
    pub(crate) fn internal(self) -> &'static str {
        match self {
            AuthError::RootUserNotExist => "auth: root user does not exist",
            AuthError::RootRoleNotExist => "auth: root user does not have root role",
            AuthError::UserExists => "auth: user already exists",
            AuthError::UserEmpty => "auth: user name is empty",
            AuthError::UserNotFound => "auth: user not found",
            AuthError::RoleExists => "auth: role already exists",
            AuthError::RoleNotFound => "auth: role not found",
            AuthError::RoleEmpty => "auth: role name is empty",
            AuthError::AuthFailed => "auth: authentication failed, invalid user ID or password",
            AuthError::NoPasswordUser => {
                "auth: authentication failed, password was given for no password user"
            }
            AuthError::PasswordTooLong => "bcrypt: password length exceeds 72 bytes",
            AuthError::PermissionDenied => "auth: permission denied",
            AuthError::RoleNotGranted => "auth: role is not granted to the user",
            AuthError::PermissionNotGranted => "auth: permission is not granted to the role",
            AuthError::PermissionNotGiven => "auth: permission not given",
            AuthError::NotEnabled => "auth: authentication is not enabled",
            AuthError::InvalidToken => "auth: invalid auth token",
            AuthError::InvalidManagement => "auth: invalid auth management",
            AuthError::OldRevision => "auth: revision in header is old",
        }
    }
}

impl From<AuthError> for Status {
    fn from(error: AuthError) -> Status {
        Status::new(error.code(), error.to_string())
    }
}
