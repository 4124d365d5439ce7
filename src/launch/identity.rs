//! The choice of where a rank's identity comes from, by the launchers' variables.

use std::os::fd::RawFd;

use super::LaunchError;

/// Where a rank's identity comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Alone,
    Descriptor { fd: RawFd, rank: u32, size: u32, ours: bool, dialect: Dialect },
    Port { address: String, id: u32, dialect: Dialect },
    Pmix,
}

/// What to greet a PMI service with. Both are greeted by a line, and a service may answer that it
/// only speaks the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Pmi1,
    Pmi2,
}

pub(super) fn environment(reason: String) -> LaunchError {
    LaunchError::Environment { reason }
}

/// Reads the launcher's variables.
pub(super) fn identity(variable: &dyn Fn(&str) -> Option<String>) -> Result<Identity, LaunchError> {
    let number = |name: &str| -> Result<u32, LaunchError> {
        let text = variable(name).ok_or_else(|| {
            environment(format!("the launcher set PMI_FD or PMI_PORT but not {name}"))
        })?;
        text.trim().parse().map_err(|_| environment(format!("{name}={text} is no number")))
    };
    if variable("PMI_FD").is_some() {
        let (fd, rank, size) = (number("PMI_FD")?, number("PMI_RANK")?, number("PMI_SIZE")?);
        if rank >= size {
            return Err(environment(format!("PMI_RANK={rank} is not below PMI_SIZE={size}")));
        }
        let fd =
            RawFd::try_from(fd).map_err(|_| environment(format!("PMI_FD={fd} is too large")))?;
        let (ours, dialect) = (variable("COHOST_LAUNCHER").is_some(), dialect(variable)?);
        return Ok(Identity::Descriptor { fd, rank, size, ours, dialect });
    }
    if let Some(address) = variable("PMI_PORT") {
        return Ok(Identity::Port { address, id: number("PMI_ID")?, dialect: dialect(variable)? });
    }
    if variable("PMIX_NAMESPACE").is_some() && variable("PMIX_RANK").is_some() {
        return Ok(Identity::Pmix);
    }
    let tasks = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    if variable("SLURM_PROCID").is_some() && tasks("SLURM_STEP_NUM_TASKS") > 1 {
        return Err(environment(
            "Slurm started several tasks without a service for them to meet at: use \
             `srun --mpi=pmi2` or `srun --mpi=pmix` (`srun --mpi=list` says which there are), or \
             set MpiDefault in slurm.conf"
                .to_owned(),
        ));
    }
    if tasks("OMPI_COMM_WORLD_SIZE") > 1 {
        return Err(environment(
            "a launcher of Open MPI older than 5 started several ranks without PMIx: use \
             `cohost run`, `prterun`, MPICH's mpiexec.hydra, or `srun --mpi=pmi2`"
                .to_owned(),
        ));
    }
    Ok(Identity::Alone)
}

/// The rank that the launcher's variables promise this process; its service has the last word.
pub(super) fn announced(variable: &dyn Fn(&str) -> Option<String>) -> Option<u32> {
    let rank = match identity(variable).ok()? {
        Identity::Alone => return Some(0),
        Identity::Descriptor { rank, .. } => return Some(rank),
        Identity::Port { id, .. } => return Some(id),
        Identity::Pmix => variable("PMIX_RANK")?,
    };
    rank.trim().parse().ok()
}

/// `COHOST_PMI` decides; Slurm says what it was started with; everything else speaks PMI-1.
fn dialect(variable: &dyn Fn(&str) -> Option<String>) -> Result<Dialect, LaunchError> {
    match variable("COHOST_PMI").as_deref() {
        Some("1") => Ok(Dialect::Pmi1),
        Some("2") => Ok(Dialect::Pmi2),
        Some(other) if !other.is_empty() => Err(environment(format!(
            "COHOST_PMI={other} is no version of PMI: set it to 1 or 2, or leave it out"
        ))),
        _ if variable("SLURM_MPI_TYPE").as_deref() == Some("pmi2") => Ok(Dialect::Pmi2),
        _ => Ok(Dialect::Pmi1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Identity, LaunchError> {
        identity(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn variables_decide_who_a_rank_is() {
        assert_eq!(from(&[]).unwrap(), Identity::Alone);
        let pmi = [("PMI_FD", "7"), ("PMI_RANK", "1"), ("PMI_SIZE", "4")];
        let descriptor =
            |dialect| Identity::Descriptor { fd: 7, rank: 1, size: 4, ours: false, dialect };
        assert_eq!(from(&pmi).unwrap(), descriptor(Dialect::Pmi1));
        for (name, value) in [("COHOST_PMI", "2"), ("SLURM_MPI_TYPE", "pmi2")] {
            let with = [&pmi[..], &[(name, value)]].concat();
            assert_eq!(from(&with).unwrap(), descriptor(Dialect::Pmi2));
        }
        let both = [&pmi[..], &[("COHOST_PMI", "1"), ("SLURM_MPI_TYPE", "pmi2")]].concat();
        assert_eq!(from(&both).unwrap(), descriptor(Dialect::Pmi1));
        let port = from(&[("PMI_PORT", "h:1"), ("PMI_ID", "3")]).unwrap();
        let dialect = Dialect::Pmi1;
        assert_eq!(port, Identity::Port { address: "h:1".into(), id: 3, dialect });
        let pmix = [("PMIX_NAMESPACE", "prterun-h-7@1"), ("PMIX_RANK", "1")];
        assert_eq!(from(&pmix).unwrap(), Identity::Pmix);
        // The nearer service wins: it was set for this very process.
        assert_eq!(from(&[&pmi[..], &pmix].concat()).unwrap(), descriptor(Dialect::Pmi1));
    }

    #[test]
    fn every_launcher_announces_the_rank_in_its_own_variable() {
        let announced = |pairs: &[(&str, &str)]| {
            let look = |name: &str| {
                pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            };
            super::announced(&look)
        };
        assert_eq!(announced(&[]), Some(0));
        assert_eq!(announced(&[("PMI_FD", "7"), ("PMI_RANK", "1"), ("PMI_SIZE", "4")]), Some(1));
        assert_eq!(announced(&[("PMI_PORT", "h:1"), ("PMI_ID", "2")]), Some(2));
        assert_eq!(announced(&[("PMIX_NAMESPACE", "j"), ("PMIX_RANK", "3")]), Some(3));
        assert_eq!(announced(&[("PMI_FD", "7")]), None);
    }

    #[test]
    fn unusable_variables_are_named() {
        for (pairs, name) in [
            (&[("PMI_FD", "7")][..], "PMI_RANK"),
            (&[("PMI_FD", "7"), ("PMI_RANK", "x"), ("PMI_SIZE", "1")], "PMI_RANK=x"),
            (&[("PMI_FD", "7"), ("PMI_RANK", "4"), ("PMI_SIZE", "4")], "PMI_SIZE=4"),
            (&[("PMI_FD", "4294967295"), ("PMI_RANK", "0"), ("PMI_SIZE", "1")], "PMI_FD"),
            (&[("PMI_PORT", "h:1")], "PMI_ID"),
            (
                &[("PMI_FD", "7"), ("PMI_RANK", "0"), ("PMI_SIZE", "1"), ("COHOST_PMI", "3")],
                "COHOST_PMI=3",
            ),
            (&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "2")], "--mpi=pmi2"),
            (&[("OMPI_COMM_WORLD_SIZE", "2")], "cohost run"),
        ] {
            let error = from(pairs).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
