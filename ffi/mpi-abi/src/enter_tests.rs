use super::*;

static ALWAYS: Entry = Entry { name: "MPI_T_always", allowed: Allowed::Always };
static RUNNING: Entry = Entry { name: "MPI_T_running", allowed: Allowed::Running };

/// Runs a call whose errors are only returned.
fn code(entry: &'static Entry, call: impl FnOnce() -> Outcome<()>) -> c_int {
    enter(entry, Scope::Tool, call)
}

#[test]
fn a_call_gives_success_or_the_code_of_its_failure() {
    assert_eq!(code(&ALWAYS, || Ok(())), MPI_SUCCESS);
    assert_eq!(code(&ALWAYS, || fail(Class::Rank, "")), Class::Rank as c_int);
    assert_eq!(code(&ALWAYS, || Err(Failure::of_callback(4711))), 4711);
    assert_eq!(code(&ALWAYS, unsupported), Class::UnsupportedOperation as c_int);
}

#[test]
fn a_panic_becomes_an_error() {
    assert_eq!(code(&ALWAYS, || panic!("in a call")), Class::Intern as c_int);
    assert!(of_panic(&"a word").why.contains("a word"));
    assert!(of_panic(&"a word".to_owned()).why.contains("a word"));
    assert_eq!(of_panic(&7).class, Class::Intern);
}

#[test]
fn before_the_start_nothing_runs_that_is_not_allowed_then() {
    let mut ran = false;
    let call = || {
        ran = true;
        Ok(())
    };
    assert_eq!(code(&RUNNING, call), Class::Other as c_int);
    assert!(!ran);
}

#[test]
fn a_handle_is_read_from_its_address_unless_that_is_null() {
    let handle = Handle(0x101);
    // SAFETY: a handle to read.
    let scope = unsafe { Scope::at(Scope::Comm, &raw const handle) };
    assert!(matches!(scope, Scope::Comm(Handle(0x101))));
    // SAFETY: null is allowed.
    let scope = unsafe { Scope::at(Scope::Comm, std::ptr::null()) };
    assert!(matches!(scope, Scope::Nothing));
}
