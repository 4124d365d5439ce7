//! What can be set, with its defaults, and the environment variables that set it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::link::reach::RegionChoice;
use crate::link::select::{PathPolicy, UnknownPath};
use crate::net::NetConfig;
use crate::proto;
use crate::region::Geometry;
use crate::region::device::LeaseTime;
use crate::region::vfio::Registers;

/// Settings of one rank. All ranks of a job should have the same.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Which paths may be used (`COHOST_PATH`).
    pub path: PathPolicy,
    /// Host of the layout this rank is on (`COHOST_HOST`); hosts are kept apart.
    pub host: Option<u32>,
    /// Virtual machine of that host (`COHOST_VM`).
    pub vm: Option<u32>,
    /// Directory for shared files instead of memfd (`COHOST_SHM_DIR`).
    pub shm_dir: Option<PathBuf>,
    /// Memory shared with other machines of the host (`COHOST_REGION`: a file, a device or `none`).
    pub region: RegionChoice,
    /// Tell on standard error what happens to paths while the job runs (`COHOST_LOG`: 1).
    pub log: bool,
    /// Registers of that memory's device, for tests that play one.
    #[doc(hidden)]
    pub registers: Option<Arc<dyn Registers>>,
    /// How long a user of such memory must seem dead before its slot is used again. The same for
    /// all jobs that share it.
    pub lease: LeaseTime,
    /// Identity of the machine, when it cannot be told from the kernel's boot id: containers may
    /// hide it, and tests play several machines.
    pub boot: Option<String>,
    /// Wanted size of a ring in each direction; less where there is no room.
    pub geometry: Geometry,
    /// TCP. How long a machine may be silent is `COHOST_SILENCE`, in seconds; 0 for ever.
    pub net: NetConfig,
    /// The protocol's bounds.
    pub proto: proto::Config,
}

/// An environment variable that says nothing sensible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a path policy.
    #[error("COHOST_PATH: {0}")]
    Path(#[from] UnknownPath),
    /// Not a number.
    #[error("{name} is '{value}', and a number from 0 to 4294967295 is needed")]
    Number {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl Config {
    /// The settings that the environment asks for.
    ///
    /// # Errors
    /// When a variable cannot be understood; it is named.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    fn from_lookup(look: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let text = |name| look(name).map(|value: OsString| value.to_string_lossy().into_owned());
        let number = |name: &'static str| {
            text(name)
                .map(|value| value.parse::<u32>().map_err(|_| ConfigError::Number { name, value }))
                .transpose()
        };
        let path = match text("COHOST_PATH") {
            Some(word) => word.parse()?,
            None => PathPolicy::default(),
        };
        let shm_dir = look("COHOST_SHM_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let region = match look("COHOST_REGION").filter(|named| !named.is_empty()) {
            None => RegionChoice::Auto,
            Some(word) if word == "none" => RegionChoice::Off,
            Some(path) => RegionChoice::Named(path.into()),
        };
        let (host, vm) = (number("COHOST_HOST")?, number("COHOST_VM")?);
        let log = look("COHOST_LOG").is_some_and(|word| word == "1");
        let mut net = NetConfig::default();
        if let Some(seconds) = number("COHOST_SILENCE")? {
            net.silence = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        }
        Ok(Self { path, host, vm, shm_dir, region, log, net, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into()))
    }

    #[test]
    fn the_environment_is_understood() {
        let config =
            config(&[("COHOST_PATH", "tcp"), ("COHOST_HOST", "3"), ("COHOST_SHM_DIR", "/x")]);
        let config = config.unwrap();
        assert_eq!((config.path, config.host, config.vm), (PathPolicy::Tcp, Some(3), None));
        assert_eq!(config.shm_dir, Some(PathBuf::from("/x")));
        assert!(!config.log);
        assert!(self::tests::config(&[("COHOST_LOG", "1")]).unwrap().log);
    }

    #[test]
    fn the_longest_silence_is_set_in_seconds_or_taken_away() {
        let silence = |value| config(&[("COHOST_SILENCE", value)]).unwrap().net.silence;
        assert_eq!(silence("5"), Some(Duration::from_secs(5)));
        assert_eq!(silence("0"), None);
        assert_eq!(config(&[]).unwrap().net.silence, NetConfig::default().silence);
        assert!(config(&[("COHOST_SILENCE", "soon")]).is_err());
    }

    #[test]
    fn a_region_is_named_or_looked_for_or_none() {
        let region = |value| config(&[("COHOST_REGION", value)]).unwrap().region;
        assert_eq!(region(""), RegionChoice::Auto);
        assert_eq!(region("none"), RegionChoice::Off);
        assert_eq!(region("/dev/dax0.0"), RegionChoice::Named("/dev/dax0.0".into()));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let error = config(&[("COHOST_HOST", "-1")]).unwrap_err().to_string();
        assert!(error.starts_with("COHOST_HOST is '-1'"), "{error}");
        assert!(config(&[("COHOST_PATH", "rdma")]).is_err());
    }
}
