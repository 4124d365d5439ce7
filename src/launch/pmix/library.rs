//! The library of PMIx, loaded when it is needed: finding it, its calls, and all that is unsafe.

use std::ffi::{CStr, CString};

use libc::{c_char, c_int};

use super::structs::{
    Abort, Commit, ErrorString, Fence, Finalize, GLOBAL, Get, GetVersion, Info, Init, Proc, Put,
    STRING, Status, Symbol, UINT32, Value, WILDCARD,
};

/// The name that versions 2 and later of the library carry.
const NAME: &str = "libpmix.so.2";

/// Major versions whose structures are those of `structs.rs`.
const VERSIONS: std::ops::RangeInclusive<u32> = 3..=6;

/// A call that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) status: Status,
}

/// A rank of the job, or the job itself.
pub(super) struct Member(Proc);

impl Member {
    pub(super) fn rank(&self) -> u32 {
        self.0.rank
    }

    /// The name of the job.
    pub(super) fn namespace(&self) -> String {
        let bytes: Vec<u8> =
            self.0.namespace.iter().map(|c| *c as u8).take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Another rank of the same job.
    pub(super) fn peer(&self, rank: u32) -> Self {
        Self(Proc { rank, ..self.0 })
    }
}

/// The library and its functions. It is never unloaded: its threads may live on.
pub(super) struct Library {
    path: String,
    version: String,
    init: Init,
    get: Get,
    put: Put,
    commit: Commit,
    fence: Fence,
    abort: Abort,
    finalize: Finalize,
    error_string: ErrorString,
}

impl Library {
    /// Loads the library in `COHOST_PMIX_LIB`, otherwise the one that the launcher itself uses,
    /// otherwise that of the system. The text of an error names the remedy.
    pub(super) fn load() -> Result<Self, String> {
        let given = std::env::var("COHOST_PMIX_LIB").ok().filter(|path| !path.is_empty());
        let mut reasons = Vec::new();
        let candidates = match &given {
            Some(path) => vec![path.clone()],
            None => launchers_own().into_iter().chain([NAME.to_owned()]).collect(),
        };
        for path in candidates {
            match open(&path) {
                Ok(handle) => return Self::bind(path, handle),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(format!(
            "this rank was started by a launcher that speaks PMIx, but its library cannot be loaded \
             ({}): install it (Debian: apt-get install libpmix2), or set COHOST_PMIX_LIB to the \
             {NAME} of the launcher's installation",
            reasons.join("; ")
        ))
    }

    fn bind(path: String, handle: Symbol) -> Result<Self, String> {
        let find = |name: &CStr| {
            find(handle, name).ok_or_else(|| {
                format!(
                    "{path} has no function {}: it is no library of PMIx",
                    name.to_string_lossy()
                )
            })
        };
        let version = find(c"PMIx_Get_version")?;
        // SAFETY: the function of this name has this type in every version of PMIx.
        let version = unsafe { std::mem::transmute::<Symbol, GetVersion>(version) };
        // SAFETY: it takes nothing and may be called before anything else.
        let version = text(unsafe { version() });
        supported(&path, &version)?;
        let (init, get, put) = (find(c"PMIx_Init")?, find(c"PMIx_Get")?, find(c"PMIx_Put")?);
        let (commit, fence) = (find(c"PMIx_Commit")?, find(c"PMIx_Fence")?);
        let (abort, finalize) = (find(c"PMIx_Abort")?, find(c"PMIx_Finalize")?);
        let explain = find(c"PMIx_Error_string")?;
        Ok(Self {
            // SAFETY: the functions of these names have these types in the versions checked above;
            // `structs.rs` has them from the standard's header.
            init: unsafe { std::mem::transmute::<Symbol, Init>(init) },
            // SAFETY: see above.
            get: unsafe { std::mem::transmute::<Symbol, Get>(get) },
            // SAFETY: see above.
            put: unsafe { std::mem::transmute::<Symbol, Put>(put) },
            // SAFETY: see above.
            commit: unsafe { std::mem::transmute::<Symbol, Commit>(commit) },
            // SAFETY: see above.
            fence: unsafe { std::mem::transmute::<Symbol, Fence>(fence) },
            // SAFETY: see above.
            abort: unsafe { std::mem::transmute::<Symbol, Abort>(abort) },
            // SAFETY: see above.
            finalize: unsafe { std::mem::transmute::<Symbol, Finalize>(finalize) },
            // SAFETY: see above.
            error_string: unsafe { std::mem::transmute::<Symbol, ErrorString>(explain) },
            path,
            version,
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The library's words for a status.
    pub(super) fn explain(&self, status: Status) -> String {
        // SAFETY: any number is allowed; the answer is a string of the library's own.
        text(unsafe { (self.error_string)(status) })
    }

    /// Connects to the launcher's server; who this rank is.
    pub(super) fn init(&self) -> Result<Member, Call> {
        let mut me = Proc::empty();
        // SAFETY: `me` is a live `pmix_proc_t`; no further information is passed.
        let status = unsafe { (self.init)(&raw mut me, std::ptr::null_mut(), 0) };
        check("PMIx_Init", status).map(|()| Member(me))
    }

    /// Ranks in the job.
    pub(super) fn job_size(&self, me: &Member) -> Result<u32, Call> {
        let value = self.value(&me.peer(WILDCARD), c"pmix.job.size")?;
        let size = value.uint32();
        size.ok_or(Call { name: "PMIx_Get of pmix.job.size (of another type)", status: 0 })
    }

    /// Ranks on this machine, with commas between.
    pub(super) fn local_peers(&self, me: &Member) -> Result<String, Call> {
        let value = self.value(&me.peer(WILDCARD), c"pmix.lpeers")?;
        value.string().ok_or(Call { name: "PMIx_Get of pmix.lpeers (of another type)", status: 0 })
    }

    /// The text that a rank has put under a key.
    pub(super) fn get_string(&self, from: &Member, key: &str) -> Result<String, Call> {
        let value = self.value(from, &c_string(key))?;
        value.string().ok_or(Call { name: "PMIx_Get (of another type)", status: 0 })
    }

    fn value(&self, of: &Member, key: &CStr) -> Result<Received, Call> {
        let mut value = std::ptr::null_mut();
        // SAFETY: the member and the key are live, no further information is passed, and `value` is
        // where the library may put a pointer.
        let status = unsafe {
            (self.get)(&raw const of.0, key.as_ptr(), std::ptr::null(), 0, &raw mut value)
        };
        check("PMIx_Get", status)?;
        match value.is_null() {
            true => Err(Call { name: "PMIx_Get (without a value)", status }),
            false => Ok(Received(value)),
        }
    }

    /// Puts text under a key for all ranks; they see it after commit and fence.
    pub(super) fn put_string(&self, key: &str, text: &str) -> Result<(), Call> {
        let (key, text) = (c_string(key), c_string(text));
        let mut value = Value::string(&text);
        // SAFETY: key and value are live, the value's type is that of its content, and the library
        // copies both before it returns.
        check("PMIx_Put", unsafe { (self.put)(GLOBAL, key.as_ptr(), &raw mut value) })
    }

    /// Hands what was put to the server.
    pub(super) fn commit(&self) -> Result<(), Call> {
        // SAFETY: takes nothing.
        check("PMIx_Commit", unsafe { (self.commit)() })
    }

    /// Waits for all ranks, and brings what they committed to this machine.
    pub(super) fn fence(&self) -> Result<(), Call> {
        let collect = Info::yes(c"pmix.collect");
        // SAFETY: no ranks means all of the job; `collect` is one live `pmix_info_t`, only read.
        check("PMIx_Fence", unsafe { (self.fence)(std::ptr::null(), 0, &raw const collect, 1) })
    }

    /// Asks for the end of the job.
    pub(super) fn abort(&self, code: i32, message: &str) -> Result<(), Call> {
        let message = c_string(message);
        // SAFETY: no ranks means all of the job; the message is live and copied.
        let status = unsafe { (self.abort)(code, message.as_ptr(), std::ptr::null_mut(), 0) };
        check("PMIx_Abort", status)
    }

    /// Says goodbye to the server.
    pub(super) fn finalize(&self) -> Result<(), Call> {
        // SAFETY: no further information is passed.
        check("PMIx_Finalize", unsafe { (self.finalize)(std::ptr::null(), 0) })
    }
}

/// A value that the library made for us, freed when dropped.
struct Received(*mut Value);

impl Received {
    /// Its type. Only the fields that every version has are read, where they are.
    fn kind(&self) -> u16 {
        // SAFETY: the library returned this value, which begins with its type.
        unsafe { (*self.0).kind }
    }

    /// Where a member of its union is.
    fn data<T>(&self) -> *const T {
        self.0.cast::<u8>().wrapping_add(std::mem::offset_of!(Value, data)).cast()
    }

    fn uint32(&self) -> Option<u32> {
        // SAFETY: `kind` says that this member of the union is the one that is set.
        (self.kind() == UINT32).then(|| unsafe { self.data::<u32>().read() })
    }

    /// The string's own pointer; null when it is no string.
    fn pointer(&self) -> *const c_char {
        if self.kind() != STRING {
            return std::ptr::null();
        }
        // SAFETY: `kind` says that this member of the union is the one that is set.
        unsafe { self.data::<*const c_char>().read() }
    }

    fn string(&self) -> Option<String> {
        let pointer = self.pointer();
        (!pointer.is_null()).then(|| text(pointer))
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // SAFETY: PMIx allocates values and their strings by malloc, for the caller to free; null
        // is allowed.
        unsafe { libc::free(self.pointer().cast_mut().cast()) };
        // SAFETY: see above; nothing uses the value after this.
        unsafe { libc::free(self.0.cast()) };
    }
}

fn check(name: &'static str, status: Status) -> Result<(), Call> {
    if status == 0 { Ok(()) } else { Err(Call { name, status }) }
}

/// Refuses versions whose structures are not known to be those of `structs.rs`.
fn supported(path: &str, version: &str) -> Result<(), String> {
    match major(version) {
        Some(major) if VERSIONS.contains(&major) => Ok(()),
        _ => Err(format!(
            "{path} says it is `{version}`, but versions {} to {} are supported: set COHOST_PMIX_LIB \
             to another {NAME} (clients and servers of different versions understand each other)",
            VERSIONS.start(),
            VERSIONS.end()
        )),
    }
}

/// The major version in words such as `OpenPMIx 4.2.2, repo rev: ...`.
fn major(version: &str) -> Option<u32> {
    let mut words = version.split([' ', ',']).filter_map(|word| word.split_once('.'));
    words.find_map(|(major, _)| major.trim_start_matches('v').parse().ok())
}

/// The library as the launcher, our parent, has it mapped; none when that cannot be seen.
fn launchers_own() -> Option<String> {
    let maps = format!("/proc/{}/maps", super::super::sys::parent_id());
    mapped(&std::fs::read_to_string(maps).ok()?)
}

/// The first file of the library's name in a list of mappings.
fn mapped(maps: &str) -> Option<String> {
    let paths = maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    let name = |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with(NAME));
    paths.into_iter().find(name).map(str::to_owned)
}

fn open(path: &str) -> Result<Symbol, String> {
    let name = c_string(path);
    // Its plugins, loaded later, look for its symbols.
    let flags: c_int = libc::RTLD_NOW | libc::RTLD_GLOBAL;
    // SAFETY: loading runs the library's initializers; it is the one that the launcher's
    // installation or the user has chosen to serve this process.
    let handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if !handle.is_null() {
        return Ok(handle);
    }
    // SAFETY: answers a string of the loader's own, or null.
    let reason = unsafe { libc::dlerror() };
    Err(text(reason))
}

fn find(handle: Symbol, name: &CStr) -> Option<Symbol> {
    // SAFETY: `handle` comes from `dlopen` and was never closed.
    let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
    (!symbol.is_null()).then_some(symbol)
}

/// A copy of a C string; empty for null.
fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the callers pass pointers to strings that end with NUL and outlive this call.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// As a C string, without any NUL that stands inside.
fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_other_structures_are_refused_by_name() {
        for good in [
            "OpenPMIx 5.0.11rc1 (PMIx Standard: 5.1, Stable ABI: 5.0)",
            "OpenPMIx 4.2.2, repo rev: gita1b2c3d (PMIx Standard: 4.1)",
            "OpenPMIx 3.2.3, repo rev: v3.2.3",
        ] {
            assert_eq!(supported("lib", good), Ok(()), "{good}");
        }
        for bad in ["PMIx 2.2.5, repo rev: x", "OpenPMIx 7.0.0", "", "something"] {
            let error = supported("/x/lib", bad).unwrap_err();
            assert!(error.contains("/x/lib") && error.contains("COHOST_PMIX_LIB"), "{error}");
        }
    }

    #[test]
    fn the_launchers_own_library_is_found_among_its_mappings() {
        let maps = "7f00-7f01 r--p 0 00:00 0\n\
                    7f02-7f03 r--p 0 08:01 7  /opt/a b/lib/libpmix.so.2.13.11\n\
                    7f04-7f05 r--p 0 08:01 8  /opt/lib/libpmix.so.9\n";
        assert_eq!(mapped(maps).as_deref(), Some("/opt/a b/lib/libpmix.so.2.13.11"));
        assert_eq!(mapped("7f00-7f01 r--p 0 00:00 0 [heap]\n"), None);
    }

    #[test]
    fn a_library_that_is_not_there_or_not_pmix_is_an_error() {
        assert!(open("/no/such/libpmix.so.2").unwrap_err().contains("/no/such"));
        let libc = open("libc.so.6").unwrap();
        let error = Library::bind("libc.so.6".into(), libc).err().unwrap();
        assert!(error.contains("PMIx_Get_version") && error.contains("libc.so.6"), "{error}");
    }
}
