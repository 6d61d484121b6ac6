//! Users, roles, permissions, logging in.

use std::sync::Arc;

use etcd_client::proto::{
    PbAuthDisableRequest, PbAuthDisableResponse, PbAuthEnableRequest, PbAuthEnableResponse,
    PbAuthRoleAddRequest, PbAuthRoleAddResponse, PbAuthRoleDeleteRequest, PbAuthRoleDeleteResponse,
    PbAuthRoleGetRequest, PbAuthRoleGetResponse, PbAuthRoleGrantPermissionRequest,
    PbAuthRoleGrantPermissionResponse, PbAuthRoleListRequest, PbAuthRoleListResponse,
    PbAuthRoleRevokePermissionRequest, PbAuthRoleRevokePermissionResponse, PbAuthUserAddRequest,
    PbAuthUserAddResponse, PbAuthUserChangePasswordRequest, PbAuthUserChangePasswordResponse,
    PbAuthUserDeleteRequest, PbAuthUserDeleteResponse, PbAuthUserGetRequest, PbAuthUserGetResponse,
    PbAuthUserGrantRoleRequest, PbAuthUserGrantRoleResponse, PbAuthUserListRequest,
    PbAuthUserListResponse, PbAuthUserRevokeRoleRequest, PbAuthUserRevokeRoleResponse,
    PbAuthenticateRequest, PbAuthenticateResponse, PbResponseHeader,
};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::answer;
use super::method::{Answered, unary, unknown};
use crate::auth::{AuthCommand, AuthError, Permission};
use crate::cluster::{Command, Done, Executed, Member, Outcome};

/// The service `etcdserverpb.Auth`. Its trait has a method of which `etcd-client`
/// does not export the messages; so calls are sorted out by hand.
#[derive(Clone, Debug)]
pub(super) struct AuthService {
    member: Member,
}

/// The request `AuthStatusRequest` of etcd's `rpc.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct AuthStatusRequest {}

/// The answer `AuthStatusResponse` of etcd's `rpc.proto`.
#[derive(Clone, PartialEq, prost::Message)]
struct AuthStatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<PbResponseHeader>,
    #[prost(bool, tag = "2")]
    enabled: bool,
    #[prost(uint64, tag = "3")]
    auth_revision: u64,
}

/// What a request asks for, and how the answer to it looks.
trait Ask: prost::Message + Default + Send + 'static {
    type Answer: prost::Message + Default + Send + 'static;

    fn command(self) -> AuthCommand;

    fn answer(header: PbResponseHeader, done: Done) -> Self::Answer;
}

impl AuthService {
    pub(super) fn new(member: Member) -> Self {
        AuthService { member }
    }

    /// Answers a call by its path.
    pub(super) fn call(self: Arc<Self>, request: http::Request<Body>) -> Answered {
        match request.uri().path().rsplit('/').next().unwrap_or_default() {
            "AuthEnable" => self.ask::<PbAuthEnableRequest>(request),
            "AuthDisable" => self.ask::<PbAuthDisableRequest>(request),
            "AuthStatus" if self.member.options().is_at_least(3, 5) => {
                self.ask::<AuthStatusRequest>(request)
            }
            "Authenticate" => unary(request, move |request| {
                let service = Arc::clone(&self);
                async move { service.authenticate(request).await }
            }),
            "UserAdd" => self.ask::<PbAuthUserAddRequest>(request),
            "UserGet" => self.ask::<PbAuthUserGetRequest>(request),
            "UserList" => self.ask::<PbAuthUserListRequest>(request),
            "UserDelete" => self.ask::<PbAuthUserDeleteRequest>(request),
            "UserChangePassword" => self.ask::<PbAuthUserChangePasswordRequest>(request),
            "UserGrantRole" => self.ask::<PbAuthUserGrantRoleRequest>(request),
            "UserRevokeRole" => self.ask::<PbAuthUserRevokeRoleRequest>(request),
            "RoleAdd" => self.ask::<PbAuthRoleAddRequest>(request),
            "RoleGet" => self.ask::<PbAuthRoleGetRequest>(request),
            "RoleList" => self.ask::<PbAuthRoleListRequest>(request),
            "RoleDelete" => self.ask::<PbAuthRoleDeleteRequest>(request),
            "RoleGrantPermission" => self.ask::<PbAuthRoleGrantPermissionRequest>(request),
            "RoleRevokePermission" => self.ask::<PbAuthRoleRevokePermissionRequest>(request),
            _ => unknown(&request),
        }
    }

    fn ask<Q: Ask>(self: Arc<Self>, request: http::Request<Body>) -> Answered {
        unary(request, move |request: Request<Q>| {
            let service = Arc::clone(&self);
            async move {
                let (metadata, _, request) = request.into_parts();
                let (done, applied) = service.propose(&metadata, request.command()).await?;
                let header = service.member.lock().header();
                Ok(answer(Q::answer(header, done), applied))
            }
        })
    }

    async fn propose(
        &self,
        metadata: &MetadataMap,
        command: AuthCommand,
    ) -> Result<(Done, Option<i64>), Status> {
        let command = Command::Auth(self.with_hashed_password(command)?);
        let Executed {
            outcome, applied, ..
        } = self.member.propose_for(metadata, command).await?;
        match outcome? {
            Outcome::Auth(done) => Ok((done, applied)),
            _ => Err(Status::internal("another kind of outcome")),
        }
    }

    /// Since 3.5.0 passwords are hashed before a request is passed on, and so those that are
    /// too long are refused whoever asks; an empty one that a user is to have is not hashed.
    fn with_hashed_password(&self, mut command: AuthCommand) -> Result<AuthCommand, AuthError> {
        if self.member.options().is_at_least(3, 5) {
            if command.has_long_password() && self.member.checks().refuses_long_passwords {
                return Err(AuthError::PasswordTooLong);
            }
            if let AuthCommand::UserChangePassword { password, .. } = &mut command {
                password.take_if(|password| password.is_empty());
            }
        }
        Ok(command)
    }

    /// Checks the password here, and has all members remember the token. The password
    /// is checked anew if users have changed meanwhile (`Authenticate` in etcd's
    /// `server/etcdserver/v3_server.go`).
    async fn authenticate(
        &self,
        request: Request<PbAuthenticateRequest>,
    ) -> Result<Response<PbAuthenticateResponse>, Status> {
        let (metadata, _, PbAuthenticateRequest { name, password }) = request.into_parts();
        self.member.confirm_read().await?;
        loop {
            let (revision, prefix) = {
                let mut guard = self.member.lock();
                guard.auth().check_password(&name, &password)?;
                (guard.auth().revision(), guard.token_prefix())
            };
            let name = name.clone();
            let command = AuthCommand::Authenticate { name, prefix };
            let (done, applied) = self.propose(&metadata, command).await?;
            let guard = self.member.lock();
            if let Done::Token(token) = done
                && guard.auth().revision() == revision
            {
                let header = Some(guard.header());
                return Ok(answer(PbAuthenticateResponse { header, token }, applied));
            }
        }
    }
}

/// A request of which the answer is a header.
macro_rules! done {
    ($request:ident -> $answer:ident, $message:pat => $command:expr) => {
        impl Ask for $request {
            type Answer = $answer;

            fn command(self) -> AuthCommand {
                let $message = self;
                $command
            }

            fn answer(header: PbResponseHeader, _: Done) -> $answer {
                let header = Some(header);
                $answer { header }
            }
        }
    };
}

done!(PbAuthEnableRequest -> PbAuthEnableResponse, _ => AuthCommand::Enable);
done!(PbAuthDisableRequest -> PbAuthDisableResponse, _ => AuthCommand::Disable);
done!(PbAuthUserAddRequest -> PbAuthUserAddResponse, request => {
    let without = request.options.is_some_and(|options| options.no_password);
    let password = (!without).then_some(request.password);
    AuthCommand::UserAdd { name: request.name, password }
});
done!(PbAuthUserDeleteRequest -> PbAuthUserDeleteResponse, PbAuthUserDeleteRequest { name } =>
    AuthCommand::UserDelete { name });
done!(PbAuthUserChangePasswordRequest -> PbAuthUserChangePasswordResponse, request =>
    AuthCommand::UserChangePassword { name: request.name, password: Some(request.password) });
done!(PbAuthUserGrantRoleRequest -> PbAuthUserGrantRoleResponse,
    PbAuthUserGrantRoleRequest { user, role } => AuthCommand::UserGrantRole { user, role });
done!(PbAuthUserRevokeRoleRequest -> PbAuthUserRevokeRoleResponse,
    PbAuthUserRevokeRoleRequest { name, role } => AuthCommand::UserRevokeRole { name, role });
done!(PbAuthRoleAddRequest -> PbAuthRoleAddResponse, PbAuthRoleAddRequest { name } =>
    AuthCommand::RoleAdd { name });
done!(PbAuthRoleDeleteRequest -> PbAuthRoleDeleteResponse, PbAuthRoleDeleteRequest { role } =>
    AuthCommand::RoleDelete { role });
done!(PbAuthRoleGrantPermissionRequest -> PbAuthRoleGrantPermissionResponse, request => {
    let permission = request.perm.map(|permission| Permission {
        kind: permission.perm_type,
        key: permission.key,
        range_end: permission.range_end,
    });
    AuthCommand::RoleGrantPermission { name: request.name, permission }
});
done!(PbAuthRoleRevokePermissionRequest -> PbAuthRoleRevokePermissionResponse,
    PbAuthRoleRevokePermissionRequest { role, key, range_end } =>
    AuthCommand::RoleRevokePermission { role, key, range_end });

fn names(done: Done) -> Vec<String> {
    match done {
        Done::Names(names) => names,
        _ => Vec::new(),
    }
}

impl Ask for PbAuthUserGetRequest {
    type Answer = PbAuthUserGetResponse;

    fn command(self) -> AuthCommand {
        AuthCommand::UserGet { name: self.name }
    }

    fn answer(header: PbResponseHeader, done: Done) -> PbAuthUserGetResponse {
        PbAuthUserGetResponse {
            header: Some(header),
            roles: names(done),
        }
    }
}

impl Ask for PbAuthUserListRequest {
    type Answer = PbAuthUserListResponse;

    fn command(self) -> AuthCommand {
        AuthCommand::UserList
    }

    fn answer(header: PbResponseHeader, done: Done) -> PbAuthUserListResponse {
        PbAuthUserListResponse {
            header: Some(header),
            users: names(done),
        }
    }
}

impl Ask for PbAuthRoleListRequest {
    type Answer = PbAuthRoleListResponse;

    fn command(self) -> AuthCommand {
        AuthCommand::RoleList
    }

    fn answer(header: PbResponseHeader, done: Done) -> PbAuthRoleListResponse {
        PbAuthRoleListResponse {
            header: Some(header),
            roles: names(done),
        }
    }
}

impl Ask for PbAuthRoleGetRequest {
    type Answer = PbAuthRoleGetResponse;

    fn command(self) -> AuthCommand {
        AuthCommand::RoleGet { role: self.role }
    }

    fn answer(header: PbResponseHeader, done: Done) -> PbAuthRoleGetResponse {
        let mut answer = PbAuthRoleGetResponse {
            header: Some(header),
            ..Default::default()
        };
        if let Done::Permissions(permissions) = done {
            // The type of a permission is not exported; its default value is.
            answer.perm.resize_with(permissions.len(), Default::default);
            for (message, permission) in answer.perm.iter_mut().zip(permissions) {
                message.perm_type = permission.kind;
                message.key = permission.key;
                message.range_end = permission.range_end;
            }
        }
        answer
    }
}

impl Ask for AuthStatusRequest {
    type Answer = AuthStatusResponse;

    fn command(self) -> AuthCommand {
        AuthCommand::Status
    }

    fn answer(header: PbResponseHeader, done: Done) -> AuthStatusResponse {
        let (enabled, auth_revision) = match done {
            Done::Status { enabled, revision } => (enabled, revision),
            _ => (false, 0),
        };
        AuthStatusResponse {
            header: Some(header),
            enabled,
            auth_revision,
        }
    }
}
