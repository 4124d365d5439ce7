//! Settings as tools see them: all can be read, and some be changed before the job is joined.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Group, Verbosity};
use crate::config::{Config, RegionChoice};
use crate::link::select::PathPolicy;
use crate::mpi::failure::{Class, Outcome, fail};
use crate::progress;

/// Longest text of a setting, with the zero.
pub const TEXT_MAX: usize = 4096;

/// Names of the path policies, by number.
pub const PATHS: &[(&str, PathPolicy)] =
    &[("auto", PathPolicy::Auto), ("ring", PathPolicy::Ring), ("tcp", PathPolicy::Tcp)];

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One of [`PATHS`].
    Path(i32),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

/// Who must agree on a setting; with the values of the standard ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Scope {
    /// It never changes.
    Constant = 1,
    /// It can only be read here.
    ReadOnly = 2,
    /// Each rank may have its own.
    Local = 3,
    /// All ranks must set the same.
    AllEqual = 7,
}

type Change = fn(&mut Config, Value) -> Option<()>;

/// A setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Whom it is for.
    pub verbosity: Verbosity,
    /// What it belongs to.
    pub group: Group,
    /// Who must agree.
    pub scope: Scope,
    read: fn(&Config) -> Value,
    write: Option<Change>,
}

impl Setting {
    /// A value of its kind.
    #[must_use]
    pub fn kind(&self) -> Value {
        (self.read)(&Config::default())
    }
}

fn number(value: usize) -> Value {
    Value::Number(i64::try_from(value).unwrap_or(i64::MAX))
}

fn choice(value: Option<u32>) -> Value {
    Value::Number(value.map_or(-1, i64::from))
}

fn chosen(value: Value) -> Option<Option<u32>> {
    match value {
        Value::Number(-1) => Some(None),
        Value::Number(number) => u32::try_from(number).ok().map(Some),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<usize> {
    match value {
        Value::Number(number) => usize::try_from(number).ok().filter(|number| *number > 0),
        _ => None,
    }
}

fn path(path: Option<&PathBuf>) -> Value {
    Value::Text(path.map_or_else(String::new, |path| path.to_string_lossy().into_owned()))
}

/// A limit of the protocol: read only, unless it can be changed by each rank alone.
macro_rules! limit {
    ($name:literal, $field:ident, $write:expr, $description:literal) => {
        Setting {
            name: $name,
            description: $description,
            verbosity: Verbosity::TunerDetail,
            group: Group::Memory,
            scope: if $write { Scope::Local } else { Scope::ReadOnly },
            read: |config| number(config.proto.$field),
            write: if $write {
                Some(|config, value| bytes(value).map(|limit| config.proto.$field = limit))
            } else {
                None
            },
        }
    };
}

macro_rules! constant {
    ($name:literal, $value:expr, $description:literal) => {
        Setting {
            name: $name,
            description: $description,
            verbosity: Verbosity::TunerDetail,
            group: Group::Paths,
            scope: Scope::Constant,
            read: |_| number($value),
            write: None,
        }
    };
}

/// All settings. The list never changes.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "cohost_path",
        description: "Which paths may be used between two ranks (COHOST_PATH)",
        verbosity: Verbosity::UserBasic,
        group: Group::Paths,
        scope: Scope::AllEqual,
        read: |config| {
            let at = PATHS.iter().position(|(_, policy)| *policy == config.path);
            Value::Path(at.map_or(0, |at| at as i32))
        },
        write: Some(|config, value| {
            let Value::Path(at) = value else { return None };
            config.path = PATHS.get(usize::try_from(at).ok()?)?.1;
            Some(())
        }),
    },
    Setting {
        name: "cohost_region",
        description: "Memory shared with other machines of the host: empty to look for it, 'none', or a file or device (COHOST_REGION)",
        verbosity: Verbosity::UserBasic,
        group: Group::Paths,
        scope: Scope::Local,
        read: |config| match &config.region {
            RegionChoice::Auto => path(None),
            RegionChoice::Off => Value::Text("none".to_owned()),
            RegionChoice::Named(named) => path(Some(named)),
        },
        write: Some(|config, value| {
            let Value::Text(named) = value else { return None };
            config.region = match named.as_str() {
                "" => RegionChoice::Auto,
                "none" => RegionChoice::Off,
                _ => RegionChoice::Named(named.into()),
            };
            Some(())
        }),
    },
    Setting {
        name: "cohost_shm_dir",
        description: "Directory for shared files instead of anonymous memory; empty for none (COHOST_SHM_DIR)",
        verbosity: Verbosity::UserDetail,
        group: Group::Paths,
        scope: Scope::Local,
        read: |config| path(config.shm_dir.as_ref()),
        write: Some(|config, value| {
            let Value::Text(named) = value else { return None };
            config.shm_dir = (!named.is_empty()).then(|| named.into());
            Some(())
        }),
    },
    Setting {
        name: "cohost_host",
        description: "Host of the layout that this rank is on; -1 when there is no layout (COHOST_HOST)",
        verbosity: Verbosity::UserDetail,
        group: Group::Paths,
        scope: Scope::Local,
        read: |config| choice(config.host),
        write: Some(|config, value| chosen(value).map(|host| config.host = host)),
    },
    Setting {
        name: "cohost_vm",
        description: "Virtual machine of that host; -1 when there is no layout (COHOST_VM)",
        verbosity: Verbosity::UserDetail,
        group: Group::Paths,
        scope: Scope::Local,
        read: |config| choice(config.vm),
        write: Some(|config, value| chosen(value).map(|vm| config.vm = vm)),
    },
    constant!(
        "cohost_ring_eager_max",
        progress::eager_max().0,
        "Longest message that is sent through a ring without asking, in bytes"
    ),
    constant!(
        "cohost_tcp_eager_max",
        progress::eager_max().1,
        "Longest message that is sent over TCP without asking, in bytes"
    ),
    Setting {
        name: "cohost_ring_cells",
        description: "Wanted number of 64-byte cells of a ring",
        verbosity: Verbosity::TunerDetail,
        group: Group::Paths,
        scope: Scope::ReadOnly,
        read: |config| Value::Number(config.geometry.cells.into()),
        write: None,
    },
    Setting {
        name: "cohost_ring_bulk",
        description: "Wanted bytes of a ring for long messages",
        verbosity: Verbosity::TunerDetail,
        group: Group::Paths,
        scope: Scope::ReadOnly,
        read: |config| Value::Number(config.geometry.bulk.into()),
        write: None,
    },
    limit!(
        "cohost_unexpected_soft",
        unexpected_soft,
        true,
        "Unexpected bytes of one peer beyond which it is asked to send headers only"
    ),
    limit!(
        "cohost_unexpected_hard",
        unexpected_hard,
        true,
        "Unexpected bytes of one peer beyond which nothing more is taken from it"
    ),
    limit!(
        "cohost_unexpected_count_max",
        unexpected_count_max,
        true,
        "Unexpected messages of one peer beyond which nothing more is taken from it"
    ),
    limit!(
        "cohost_own_copy_max",
        own_copy_max,
        true,
        "Longest message to oneself that is copied at once, in bytes"
    ),
    limit!(
        "cohost_kept_frames_max",
        kept_frames_max,
        false,
        "Frames to one peer that may be unacknowledged"
    ),
    limit!(
        "cohost_kept_bytes_max",
        kept_bytes_max,
        false,
        "Bytes to one peer that may be unacknowledged and had to be copied"
    ),
    limit!(
        "cohost_held_frames_max",
        held_frames_max,
        false,
        "Frames of one peer that may be put aside because they came early"
    ),
    limit!("cohost_held_bytes_max", held_bytes_max, false, "Bytes of such frames of one peer"),
    limit!(
        "cohost_unasked_max",
        unasked_max,
        false,
        "Longest message that a peer may send without asking, in bytes"
    ),
];

/// The settings of a process: from the environment, then as tools changed them, then fixed.
#[derive(Debug)]
pub struct Settings(Mutex<State>);

#[derive(Debug)]
struct State {
    config: Option<Config>,
    fixed: bool,
}

impl Settings {
    /// Those of the environment, which is not read yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State { config: None, fixed: false }))
    }

    fn state(&self) -> Outcome<MutexGuard<'_, State>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.config.is_none() {
            match Config::from_env() {
                Ok(config) => state.config = Some(config),
                Err(error) => return fail(Class::Other, error.to_string()),
            }
        }
        Ok(state)
    }

    /// Reads the environment, unless that was done before.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn load(&self) -> Outcome<()> {
        self.state().map(|_| ())
    }

    /// The settings to join the job with, which cannot be changed from then on.
    ///
    /// # Errors
    /// When the environment makes no sense.
    pub fn fix(&self) -> Outcome<Config> {
        let mut state = self.state()?;
        state.fixed = true;
        Ok(state.config.clone().unwrap_or_default())
    }

    /// What a setting is set to.
    ///
    /// # Errors
    /// When the environment makes no sense.
    pub fn read(&self, setting: &Setting) -> Outcome<Value> {
        let state = self.state()?;
        Ok(state.config.as_ref().map_or_else(|| setting.kind(), setting.read))
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// When it cannot be changed, or not any more, or not to this value.
    pub fn write(&self, setting: &Setting, value: Value) -> Outcome<()> {
        let Some(write) = setting.write else {
            return fail(Class::TCvarSetNever, format!("{} can only be read", setting.name));
        };
        let mut state = self.state()?;
        if state.fixed {
            let why = format!("{} can be set before MPI is initialized only", setting.name);
            return fail(Class::TCvarSetNotNow, why);
        }
        let config = state.config.get_or_insert_default();
        match write(config, value) {
            Some(()) => Ok(()),
            None => fail(Class::TInvalid, format!("{} cannot have this value", setting.name)),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static Setting {
        SETTINGS.iter().find(|it| it.name == name).unwrap()
    }

    #[test]
    fn what_is_written_is_what_the_job_is_joined_with() {
        let settings = Settings::new();
        settings.write(named("cohost_path"), Value::Path(2)).unwrap();
        settings.write(named("cohost_host"), Value::Number(7)).unwrap();
        settings.write(named("cohost_region"), Value::Text("none".to_owned())).unwrap();
        settings.write(named("cohost_own_copy_max"), Value::Number(9)).unwrap();
        let config = settings.fix().unwrap();
        assert_eq!((config.path, config.host), (PathPolicy::Tcp, Some(7)));
        assert_eq!((config.region, config.proto.own_copy_max), (RegionChoice::Off, 9));
    }

    #[test]
    fn a_setting_is_refused_when_it_is_late_or_constant_or_senseless() {
        let settings = Settings::new();
        let class = |outcome: Outcome<()>| outcome.unwrap_err().class;
        let write = |name, value| class(settings.write(named(name), value));
        assert_eq!(write("cohost_path", Value::Path(3)), Class::TInvalid);
        assert_eq!(write("cohost_host", Value::Number(-2)), Class::TInvalid);
        assert_eq!(write("cohost_unexpected_hard", Value::Number(0)), Class::TInvalid);
        assert_eq!(write("cohost_unasked_max", Value::Number(1)), Class::TCvarSetNever);
        settings.fix().unwrap();
        assert_eq!(write("cohost_path", Value::Path(1)), Class::TCvarSetNotNow);
    }

    #[test]
    fn every_setting_that_can_be_written_takes_what_it_reads() {
        let settings = Settings::new();
        for setting in SETTINGS.iter().filter(|it| it.write.is_some()) {
            let value = settings.read(setting).unwrap();
            settings.write(setting, value.clone()).unwrap();
            assert_eq!(settings.read(setting).unwrap(), value, "{}", setting.name);
        }
    }
}
