//! Which guests must boot: `COHOST_LAB_REQUIRED` names the hypervisors whose tests fail, rather than say
//! SKIPPED, where their guests cannot.

use cohost_lab::Hypervisor;

/// Fails a test of `hypervisor`'s guests where these must boot; `why` is what they lack.
#[track_caller]
pub fn may_be_skipped(name: &str, hypervisor: Hypervisor, why: &str) {
    let value = std::env::var("COHOST_LAB_REQUIRED").unwrap_or_default();
    let required = is_required(&value, hypervisor);
    assert!(!required, "{name}: COHOST_LAB_REQUIRED={value} asks for {hypervisor}, and: {why}");
    eprintln!("SKIPPED {name}: run 'cohost lab setup --hypervisor {hypervisor}' ({})", why.trim());
}

/// Whether a value of the variable asks for these guests: `1` for all, or names with commas.
#[track_caller]
pub fn is_required(value: &str, hypervisor: Hypervisor) -> bool {
    let words = || value.split(',').map(str::trim).filter(|word| !word.is_empty());
    for word in words().filter(|word| !["0", "1"].contains(word)) {
        // A name that means nothing would have tests skipped that somebody counts on.
        assert!(word.parse::<Hypervisor>().is_ok(), "COHOST_LAB_REQUIRED names '{word}'");
    }
    words().any(|word| word == "1" || word == hypervisor.as_str())
}
