//! The choice of where a rank's identity comes from, by the launchers' variables.

use std::os::fd::RawFd;

use super::{LaunchError, LauncherKind};

/// Where a rank's identity comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Alone,
    Descriptor { fd: RawFd, rank: u32, size: u32, kind: LauncherKind },
    Port { address: String, id: u32 },
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
        let ours = variable("COHOST_LAUNCHER").is_some();
        let kind = if ours { LauncherKind::Cohost } else { LauncherKind::Pmi1 };
        return Ok(Identity::Descriptor { fd, rank, size, kind });
    }
    if let Some(address) = variable("PMI_PORT") {
        return Ok(Identity::Port { address, id: number("PMI_ID")? });
    }
    let tasks = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    if variable("SLURM_PROCID").is_some() && tasks("SLURM_STEP_NUM_TASKS") > 1 {
        return Err(environment(
            "Slurm started several tasks without a PMI-1 service: use `srun --mpi=pmi2`".to_owned(),
        ));
    }
    if variable("PMIX_RANK").is_some() && tasks("OMPI_COMM_WORLD_SIZE") > 1 {
        return Err(environment(
            "this launcher speaks PMIx only: use `cohost run`, MPICH's mpiexec.hydra, or \
             `srun --mpi=pmi2`"
                .to_owned(),
        ));
    }
    Ok(Identity::Alone)
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
        let expected = Identity::Descriptor { fd: 7, rank: 1, size: 4, kind: LauncherKind::Pmi1 };
        assert_eq!(from(&pmi).unwrap(), expected);
        let port = from(&[("PMI_PORT", "h:1"), ("PMI_ID", "3")]).unwrap();
        assert_eq!(port, Identity::Port { address: "h:1".into(), id: 3 });
    }

    #[test]
    fn unusable_variables_are_named() {
        for (pairs, name) in [
            (&[("PMI_FD", "7")][..], "PMI_RANK"),
            (&[("PMI_FD", "7"), ("PMI_RANK", "x"), ("PMI_SIZE", "1")], "PMI_RANK=x"),
            (&[("PMI_FD", "7"), ("PMI_RANK", "4"), ("PMI_SIZE", "4")], "PMI_SIZE=4"),
            (&[("PMI_FD", "4294967295"), ("PMI_RANK", "0"), ("PMI_SIZE", "1")], "PMI_FD"),
            (&[("PMI_PORT", "h:1")], "PMI_ID"),
            (&[("SLURM_PROCID", "0"), ("SLURM_STEP_NUM_TASKS", "2")], "--mpi=pmi2"),
            (&[("PMIX_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "2")], "cohost run"),
        ] {
            let error = from(pairs).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
