//! How a real cluster is reached: endpoints, user, certificates.
//!
//! Takes the options and the environment variables of etcdctl. Passwords are
//! read and handed on, never printed.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};
use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use etcd_recipes::bench::connection::Writes;
use etcd_recipes::bench::requests::Counter;
use etcd_recipes::campaign::live::Cluster;
use etcd_recipes::runtime;
use etcd_recipes::workload::Connect;

use crate::failure::Failure;
use crate::output;

/// A connection whose other end says nothing for so long is dead: pings go out
/// after the first, and wait for an answer for the second.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));

/// How long making a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// Where the cluster is, and as whom to go there.
#[derive(Args)]
pub(crate) struct Connection {
    /// The members of the cluster; https:// in front, or one of the files
    /// below, selects TLS
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        env = "ETCDCTL_ENDPOINTS",
        default_value = "127.0.0.1:2379"
    )]
    endpoints: Vec<Endpoint>,

    /// The user, when the cluster wants one; the password comes from
    /// --password-file, or ETCDCTL_PASSWORD, or NAME:PASSWORD in ETCDCTL_USER
    #[arg(
        long,
        value_name = "NAME",
        env = "ETCDCTL_USER",
        hide_env_values = true
    )]
    user: Option<String>,

    /// Read the user's password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Trust servers that this authority has certified (PEM)
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CACERT")]
    cacert: Option<PathBuf>,

    /// Show this certificate to servers (PEM)
    #[arg(long, value_name = "FILE", env = "ETCDCTL_CERT")]
    cert: Option<PathBuf>,

    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", env = "ETCDCTL_KEY")]
    key: Option<PathBuf>,
}

/// The same, and which of its options stand on the command line: what the environment says
/// is no contradiction to a cluster that is found in another way.
pub(crate) struct Given {
    pub(crate) connection: Connection,
    options: Vec<&'static str>,
}

impl Given {
    /// One of the options, as it is written.
    pub(crate) fn option(&self) -> Option<String> {
        let option = self.options.first()?;
        Some(format!("--{}", option.replace('_', "-")))
    }

    fn among(matches: &ArgMatches) -> Vec<&'static str> {
        let all = [
            "endpoints",
            "user",
            "password_file",
            "cacert",
            "cert",
            "key",
        ];
        let is_given =
            |option: &&str| matches.value_source(option) == Some(ValueSource::CommandLine);
        all.into_iter().filter(is_given).collect()
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        Ok(Given {
            options: Given::among(matches),
            connection: Connection::from_arg_matches_mut(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.options = Given::among(matches);
        self.connection.update_from_arg_matches(matches)
    }
}

impl Args for Given {
    fn augment_args(command: clap::Command) -> clap::Command {
        Connection::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Connection::augment_args_for_update(command)
    }
}

/// What every client connects with.
fn options() -> ConnectOptions {
    let (interval, timeout) = KEEP_ALIVE;
    ConnectOptions::new()
        .with_connect_timeout(CONNECT_DEADLINE)
        .with_keep_alive(interval, timeout)
        .with_keep_alive_while_idle(true)
}

/// One member, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    scheme: Option<Scheme>,
    /// `host:port`.
    address: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// Everything that a client connects with.
#[derive(Clone)]
pub(crate) struct Access {
    addresses: Vec<String>,
    options: ConnectOptions,
    user: Option<String>,
    tls: bool,
}

impl Connection {
    /// Reads the files and checks that everything fits together.
    pub(crate) fn access(self) -> Result<Access, Failure> {
        let tls = self.tls()?;
        let user = self.credentials()?;
        let addresses: Vec<String> = self.endpoints.into_iter().map(|e| e.address).collect();
        let mut options = options();
        let has_tls = tls.is_some();
        if let Some(tls) = tls {
            options = options.with_tls(tls);
        }
        let name = user.as_ref().map(|(name, _)| name.clone());
        if let Some((name, password)) = user {
            // Tokens expire while a command waits, a JSON Web Token even while it works.
            options = options
                .with_user(name, password)
                .with_auto_token_refresh(true);
        }
        Ok(Access {
            addresses,
            options,
            user: name,
            tls: has_tls,
        })
    }

    fn credentials(&self) -> Result<Option<(String, String)>, Failure> {
        let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) else {
            return match &self.password_file {
                Some(_) => Err(Failure::usage("--password-file is given, but no user")
                    .hint("Name the user with --user or ETCDCTL_USER.")),
                None => Ok(None),
            };
        };
        let password = match &self.password_file {
            Some(file) => Some(read_password(file)?),
            None => std::env::var("ETCDCTL_PASSWORD")
                .ok()
                .filter(|text| !text.is_empty()),
        };
        // As etcdctl: a name may have a colon when the password comes apart.
        let (name, password) = match password {
            Some(password) => (user.to_owned(), password),
            None => user
                .split_once(':')
                .map(|(name, password)| (name.to_owned(), password.to_owned()))
                .ok_or_else(|| {
                    Failure::usage(format!("the user {user} has no password")).hint(
                        "Give it with --password-file, or in the environment as ETCDCTL_PASSWORD.",
                    )
                })?,
        };
        Ok(Some((name, password)))
    }

    fn tls(&self) -> Result<Option<TlsOptions>, Failure> {
        let file = |file: &Option<PathBuf>| {
            file.as_deref()
                .filter(|path| !path.as_os_str().is_empty())
                .map(Path::to_owned)
        };
        let (cacert, cert, key) = (file(&self.cacert), file(&self.cert), file(&self.key));
        let has_scheme = |scheme| self.endpoints.iter().find(|e| e.scheme == Some(scheme));
        let has_files = cacert.is_some() || cert.is_some() || key.is_some();
        if !has_files && has_scheme(Scheme::Https).is_none() {
            return Ok(None);
        }
        if let Some(plain) = has_scheme(Scheme::Http) {
            let what = format!(
                "the endpoint http://{} does without TLS, but other options ask for it",
                plain.address
            );
            return Err(Failure::usage(what).hint(
                "Write https://, or leave out https:// elsewhere and --cacert, --cert and --key.",
            ));
        }
        let mut tls = TlsOptions::new();
        tls = match &cacert {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read_pem(file, "CERTIFICATE")?)),
            None => tls.with_enabled_roots(),
        };
        match (&cert, &key) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (
                    read_pem(cert, "CERTIFICATE")?,
                    read_pem(key, "PRIVATE KEY")?,
                );
                tls = tls.identity(Identity::from_pem(cert, key));
            }
            (None, None) => {}
            (Some(_), None) => {
                return Err(Failure::usage("--cert is given without --key")
                    .hint("The certificate and its key belong together."));
            }
            (None, Some(_)) => {
                return Err(Failure::usage("--key is given without --cert")
                    .hint("The certificate and its key belong together."));
            }
        }
        Ok(Some(tls))
    }
}

impl Access {
    /// To members that want neither TLS nor a user.
    pub(crate) fn plain(addresses: Vec<String>) -> Access {
        Access {
            addresses,
            options: options(),
            user: None,
            tls: false,
        }
    }

    /// The cluster as a run uses it: each client with its own connection, to the
    /// members that answer now. A client that knows of one that is down would
    /// send it every second request.
    pub(crate) async fn cluster(&self, prefix: &str, seed: u64) -> Result<Cluster, Failure> {
        let answering = self.find_listeners().await?;
        let urls = self.urls(&answering);
        let options = self.options.clone();
        Ok(Cluster {
            connect: Arc::new(move || {
                let (urls, options) = (urls.clone(), options.clone());
                Box::pin(async move { Client::connect(urls, Some(options)).await })
            }),
            endpoints: answering,
            prefix: prefix.to_owned(),
            seed,
            is_own: false,
        })
    }

    /// One client, connected to the members that answer now.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let urls = self.urls(&self.find_listeners().await?);
        let connect = Client::connect(urls, Some(self.options.clone()));
        connect.await.map_err(|error| {
            let what = format!("cannot use the cluster at {self}: {error}");
            match hint(&error.to_string()) {
                Some(hint) => Failure::cluster(what).hint(hint),
                None => Failure::cluster(what),
            }
        })
    }

    /// Makes connections to the members that answer now, each with `counter` on
    /// it.
    pub(crate) async fn counted(
        &self,
        counter: &Counter,
        writes: Writes,
    ) -> Result<Connect, Failure> {
        let urls = self.urls(&self.find_listeners().await?);
        let (options, counter) = (self.options.clone(), counter.clone());
        Ok(Arc::new(move || {
            let (urls, options, builder) = (urls.clone(), options.clone(), counter.builder(writes));
            Box::pin(Client::connect_with_balanced_channel(
                urls,
                Some(options),
                builder,
            ))
        }))
    }

    fn urls(&self, addresses: &[String]) -> Vec<String> {
        let scheme = if self.tls { "https" } else { "http" };
        let url = |address: &String| format!("{scheme}://{address}");
        addresses.iter().map(url).collect()
    }

    /// The endpoints where someone listens. Warns of the others.
    async fn find_listeners(&self) -> Result<Vec<String>, Failure> {
        let (mut answering, mut silent) = (Vec::new(), Vec::new());
        for address in &self.addresses {
            let connect = tokio::net::TcpStream::connect(address);
            match runtime::timeout(CONNECT_DEADLINE, connect).await {
                Ok(Ok(_)) => answering.push(address.clone()),
                Ok(Err(error)) => silent.push(format!("{address}: {error}")),
                Err(runtime::Elapsed) => silent.push(format!(
                    "{address}: no connection within {} s",
                    CONNECT_DEADLINE.as_secs()
                )),
            }
        }
        if answering.is_empty() {
            let what = format!("the cluster cannot be reached: {}", silent.join("; "));
            return Err(Failure::cluster(what).hint(
                "Is etcd running there? Other places are given with --endpoints or ETCDCTL_ENDPOINTS.",
            ));
        }
        for why in silent {
            output::warning(format_args!("{why}; going on without"));
        }
        Ok(answering)
    }

    /// `host:port` of each member.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }
}

/// `10.0.0.1:2379, 10.0.0.2:2379 (TLS, user root)`.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.addresses.join(", "))?;
        // Whatever follows a colon may be a password given twice.
        let user = self.user.as_deref().and_then(|user| user.split(':').next());
        match (self.tls, user) {
            (true, Some(user)) => write!(f, " (TLS, user {user})"),
            (true, None) => write!(f, " (TLS)"),
            (false, Some(user)) => write!(f, " (user {user})"),
            (false, None) => Ok(()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Some(Scheme::Https), rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Some(Scheme::Http), rest)
        } else {
            (None, text)
        };
        let address = rest.strip_suffix('/').unwrap_or(rest);
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#".contains(c);
        let (host, port) = address
            .rsplit_once(':')
            .ok_or("it has no port; etcd's is usually 2379: HOST:2379")?;
        if host.is_empty() || address.contains(is_odd) {
            return Err("give it as HOST:PORT, such as 10.0.0.1:2379".to_owned());
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err("an IPv6 address goes in brackets: [::1]:2379".to_owned());
        }
        if port.parse::<u16>().is_err() {
            return Err(format!("`{port}` is not a port"));
        }
        Ok(Endpoint {
            scheme,
            address: address.to_owned(),
        })
    }
}

/// What to do about a refusal, by what etcd, gRPC or TLS says.
pub(crate) fn hint(reason: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 5] = [
        (
            "permission denied",
            "The user's role must allow to read and write all keys below the prefix; see --prefix.",
        ),
        (
            "user name is empty",
            "The cluster wants a user: --user NAME --password-file FILE",
        ),
        ("authentication failed", "Check --user and the password."),
        ("ertificate", "Check --cacert, --cert and --key."),
        (
            "transport error",
            "If the cluster speaks TLS, write https:// in front of the endpoints or give --cacert.",
        ),
    ];
    let known = HINTS.iter().find(|(text, _)| reason.contains(text));
    known.map(|(_, hint)| *hint)
}

fn read_password(file: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, "password", &error))?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        let what = format!("the password file {} is empty", file.display());
        return Err(Failure::usage(what).hint("Its first line is the password."));
    }
    Ok(password.to_owned())
}

fn read_pem(file: &Path, section: &str) -> Result<Vec<u8>, Failure> {
    let text = fs::read(file).map_err(|error| unreadable(file, "PEM", &error))?;
    let end_of_begin = format!("{section}-----");
    let is_section = |line: &[u8]| {
        line.starts_with(b"-----BEGIN ") && line.trim_ascii_end().ends_with(end_of_begin.as_bytes())
    };
    if text.split(|byte| *byte == b'\n').any(is_section) {
        return Ok(text);
    }
    let what = format!("{} is not a PEM file with a {section}", file.display());
    Err(Failure::usage(what).hint(format!("Such a file has a line -----BEGIN {section}-----.")))
}

fn unreadable(file: &Path, kind: &str, error: &std::io::Error) -> Failure {
    Failure::usage(format!(
        "cannot read the {kind} file {}: {error}",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_ports() {
        let parse = |text: &str| text.parse::<Endpoint>().map(|e| (e.scheme, e.address));
        assert_eq!(parse("a:1"), Ok((None, "a:1".to_owned())));
        assert_eq!(
            parse("http://a:1/"),
            Ok((Some(Scheme::Http), "a:1".to_owned()))
        );
        assert_eq!(
            parse("https://[::1]:2379"),
            Ok((Some(Scheme::Https), "[::1]:2379".to_owned()))
        );
        for text in [
            "", "a", ":1", "a:", "a:x", "a:70000", "::1", "u:p@a:1", "a:1/x", "a b:1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
