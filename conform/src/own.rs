//! A cluster of our own: several real etcds that find each other on loopback.

use std::path::Path;

use crate::real::{ConformError, Process, Start, free_url};

/// A running cluster of real etcds, with their data in folders of their own. Dropping it
/// kills them.
#[derive(Debug)]
pub struct OwnCluster {
    pub(crate) processes: Vec<Process>,
}

impl OwnCluster {
    /// Starts so many members, and waits until they answer.
    ///
    /// # Errors
    ///
    /// [`ConformError::CannotStart`], [`ConformError::NotStarted`] and
    /// [`ConformError::NotReady`].
    pub async fn start(program: &Path, members: usize) -> Result<OwnCluster, ConformError> {
        let url = || {
            free_url().map_err(|error| ConformError::CannotStart {
                program: program.display().to_string(),
                reason: format!("there is no free port: {error}"),
            })
        };
        let mut urls = Vec::new();
        for number in 0..members {
            urls.push((format!("m{number}"), url()?, url()?));
        }
        let cluster = urls.iter().map(|(name, _, peer)| format!("{name}={peer}"));
        let cluster = cluster.collect::<Vec<_>>().join(",");
        let mut processes = Vec::new();
        for (name, client, peer) in &urls {
            let start = Start {
                name,
                client,
                peer,
                cluster: &cluster,
            };
            processes.push(Process::start_member(program, &start)?);
        }
        for process in &mut processes {
            process.ready().await?;
        }
        Ok(OwnCluster { processes })
    }

    /// How members have ended, if so many have that the others can decide nothing.
    pub fn lost(&mut self) -> Option<String> {
        let all = self.processes.len();
        let ended = self.processes.iter_mut().filter_map(Process::ended);
        let ended: Vec<String> = ended.collect();
        if 2 * (all - ended.len()) > all {
            return None;
        }
        Some(format!("{} of {all}: {}", ended.len(), ended.join("\n")))
    }

    /// Kills all that are left.
    pub fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
    }

    /// Where the members are: `host:port` of each.
    pub fn addresses(&self) -> Vec<String> {
        let urls = self.processes.iter().map(|process| &process.endpoint);
        let address = |url: &String| url.strip_prefix("http://").unwrap_or(url).to_owned();
        urls.map(address).collect()
    }
}
