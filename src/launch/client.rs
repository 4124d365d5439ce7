//! A rank's way into its job: whoever started it, by whichever protocol that launcher speaks.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::connection::Connection;
use super::identity::{Dialect, Identity, announced, environment, identity};
use super::pmi1::{Greeting, Pmi1};
use super::pmi2::Pmi2;
use super::{Bootstrap, LaunchError, LauncherKind, local, pmix, sys};

/// Whether [`bootstrap`] has connected to a launcher: a second owner of the descriptor in `PMI_FD`
/// would close it under the first.
static CALLED: AtomicBool = AtomicBool::new(false);

/// Whether a launcher started this process as a rank, even one that [`bootstrap`] refuses to join.
pub fn launched() -> bool {
    !matches!(identity(&|name| std::env::var(name).ok()), Ok(Identity::Alone))
}

/// The rank that the environment promises this process, before it joins: for what is better done
/// while the others wait. [`bootstrap`] has the last word.
pub fn announced_rank() -> Option<u32> {
    announced(&|name| std::env::var(name).ok())
}

/// Finds out who this rank is: PMI-1 or PMI-2 over the descriptor in `PMI_FD` or the address in
/// `PMI_PORT`, PMIx where `PMIX_RANK` is set, otherwise a job of one.
///
/// # Errors
/// [`LaunchError::Environment`] when the launcher's variables are unusable, or when a launcher that
/// speaks none of these started several tasks (which would otherwise be that many jobs of one), or
/// when this process has called it before under a launcher; otherwise what the launcher answers.
pub fn bootstrap() -> Result<Bootstrap, LaunchError> {
    let variable = |name: &str| std::env::var(name).ok();
    let identity = identity(&variable)?;
    if identity != Identity::Alone && CALLED.swap(true, Ordering::SeqCst) {
        let reason = "bootstrap was called before; its connection is in use".to_owned();
        return Err(LaunchError::Environment { reason });
    }
    match identity {
        Identity::Alone => Ok(local::singleton()),
        Identity::Pmix => pmix::join(),
        Identity::Descriptor { fd, rank, size, ours, dialect } => {
            let stream = sys::adopt(fd).map_err(|error| environment(format!(
                "PMI_FD={fd} is no open descriptor ({error}); start this rank with a launcher, or unset \
                 PMI_FD to run it alone"
            )))?;
            // A child of this rank must not speak in its name.
            sys::set_cloexec(stream.as_raw_fd(), true).map_err(LaunchError::system("PMI_FD"))?;
            let mut start = greet(Pmi1::new(Connection::new(stream)), dialect, rank, size)?;
            if ours {
                start.kind = LauncherKind::Cohost;
            }
            Ok(start)
        }
        Identity::Port { address, id, dialect } => {
            let stream = TcpStream::connect(&address)
                .map_err(LaunchError::system(format!("connecting to PMI_PORT={address}")))?;
            let mut client = Pmi1::new(Connection::new(OwnedFd::from(stream)));
            let (rank, size) = client.introduce(id)?;
            greet(client, dialect, rank, size)
        }
    }
}

/// Joins in the dialect that is wanted, or that the service leaves.
fn greet(client: Pmi1, dialect: Dialect, rank: u32, size: u32) -> Result<Bootstrap, LaunchError> {
    let connection = match dialect {
        Dialect::Pmi2 => client.into_connection(),
        Dialect::Pmi1 => match client.greet()? {
            Greeting::Other(connection) => connection,
            Greeting::Welcome(client) => {
                let (job, kind) = (client.job().to_owned(), LauncherKind::Pmi1);
                let kvs = Box::new(client);
                return Ok(Bootstrap { rank, size, job, kind, local_peers: None, kvs });
            }
        },
    };
    greet_pmi2(connection, rank, size)
}

fn greet_pmi2(connection: Connection, rank: u32, size: u32) -> Result<Bootstrap, LaunchError> {
    let (claim, id) = (rank.to_string(), std::env::var("PMI_JOBID").ok());
    let mut claims = vec![("pmirank", claim.as_str())];
    claims.extend(id.as_deref().map(|id| ("pmijobid", id)));
    let joined = Pmi2::greet(connection, &claims)?;
    if (joined.rank, joined.size) != (rank, size) {
        return Err(environment(format!(
            "this is rank {rank} of {size}, but the launcher's service says rank {} of {}",
            joined.rank, joined.size
        )));
    }
    let (job, kind) = (joined.client.job().to_owned(), LauncherKind::Pmi2);
    Ok(Bootstrap { rank, size, job, kind, local_peers: None, kvs: Box::new(joined.client) })
}
