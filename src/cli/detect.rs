//! `cohost detect`: what this process runs on, with the evidence for it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::detect::{Evidence, Surroundings, Verdict, verdict};

/// Options of `cohost detect`.
#[derive(Debug, Clone, Args)]
pub struct DetectArgs {
    /// Print everything as JSON, the raw evidence included
    #[arg(long)]
    pub json: bool,
}

/// The JSON document; its schema is part of the contract with scripts.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    verdict: &'a Verdict,
    surroundings: &'a Surroundings,
    evidence: &'a Evidence,
}

/// Gathers, judges and prints. Unreadable evidence is no failure: it fails only when standard
/// output cannot be written to.
pub fn run(args: &DetectArgs) -> ExitCode {
    let evidence = Evidence::gather();
    let verdict = verdict(&evidence);
    let surroundings = Surroundings::look();
    let text = if args.json {
        let document = Document {
            schema: "cohost-detect/1",
            verdict: &verdict,
            surroundings: &surroundings,
            evidence: &evidence,
        };
        match serde_json::to_string_pretty(&document) {
            Ok(text) => text + "\n",
            Err(error) => {
                eprintln!("cohost detect: the evidence cannot be written as JSON: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        readable(&verdict, &surroundings)
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, such as `head`, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cohost detect: standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

fn readable(verdict: &Verdict, around: &Surroundings) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_verdict(&mut out, verdict);
    let _ = write_machine(&mut out, around);
    let _ = write_regions(&mut out, around);
    let _ = write_interfaces(&mut out, around);
    out
}

/// The hypervisor in one line, such as `Xen, guest (DomU), paravirtual (PV), inside KVM`.
fn headline(verdict: &Verdict) -> String {
    let mut line = verdict.hypervisor.title().to_owned();
    if let Some(guest) = verdict.xen {
        let _ = write!(line, ", {guest}");
    }
    if let Some(product) = verdict.vmware {
        let _ = write!(line, " {product}");
    }
    if let Some(vendor) = &verdict.unknown_vendor {
        let _ = write!(line, " hypervisor, vendor {vendor:?}");
    }
    if let Some(outer) = verdict.outer {
        let _ = write!(line, ", inside {outer}");
    }
    line
}

fn write_verdict(out: &mut String, verdict: &Verdict) -> std::fmt::Result {
    let id = verdict.hypervisor.as_str();
    writeln!(out, "hypervisor    {} [{id}]", headline(verdict))?;
    match verdict.container {
        Some(container) => writeln!(out, "container     {container} [{}]", container.as_str())?,
        None => writeln!(out, "container     none")?,
    }
    for line in &verdict.because {
        writeln!(out, "  because     {line}")?;
    }
    for line in &verdict.against {
        writeln!(out, "  against     {line}")?;
    }
    Ok(())
}

fn write_machine(out: &mut String, around: &Surroundings) -> std::fmt::Result {
    let machine = &around.machine;
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "not readable".into());
    writeln!(
        out,
        "machine       {}, kernel {}, boot {}",
        machine.arch,
        or_unknown(&machine.kernel),
        or_unknown(&machine.boot_id)
    )?;
    write!(
        out,
        "processor     {}, {} online",
        or_unknown(&machine.cpu_model),
        machine.cores_online
    )?;
    match machine.cores_allowed {
        Some(allowed) => writeln!(out, ", {allowed} for this process")?,
        None => writeln!(out)?,
    }
    writeln!(
        out,
        "clock source  {} (of {})",
        or_unknown(&around.clock.current),
        around.clock.available.join(", ")
    )?;
    match around.steal {
        Some(steal) => {
            let percent = 100.0 * steal.fraction_since(&Default::default());
            writeln!(out, "steal time    {percent:.2} % since boot")
        }
        None => writeln!(out, "steal time    not readable"),
    }
}

fn write_regions(out: &mut String, around: &Surroundings) -> std::fmt::Result {
    writeln!(out, "regions within reach")?;
    for region in &around.regions {
        write!(out, "  {}: {}", region.kind, region.place)?;
        if let Some(bytes) = region.bytes {
            write!(out, ", {} MiB", bytes >> 20)?;
        }
        if let Some(free) = region.bytes_free {
            write!(out, ", {} MiB free", free >> 20)?;
        }
        match &region.obstacle {
            Some(obstacle) => writeln!(out, "; not usable: {obstacle}")?,
            None => writeln!(out)?,
        }
    }
    if around.regions.is_empty() {
        writeln!(out, "  none")?;
    }
    Ok(())
}

fn write_interfaces(out: &mut String, around: &Surroundings) -> std::fmt::Result {
    writeln!(out, "interfaces")?;
    for interface in &around.interfaces {
        let state = if interface.up { "up" } else { "down" };
        write!(out, "  {} {state}", interface.name)?;
        if let Some(driver) = &interface.driver {
            write!(out, ", {driver}")?;
        }
        if let Some(mtu) = interface.mtu {
            write!(out, ", mtu {mtu}")?;
        }
        for address in &interface.addresses {
            write!(out, ", {}/{}", address.ip, address.prefix)?;
        }
        writeln!(out)?;
    }
    if around.interfaces.is_empty() {
        writeln!(out, "  none")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Cpuid, HypervisorLeaf};

    #[test]
    fn an_unknown_hypervisor_is_said_as_unknown_with_its_vendor() {
        let evidence = Evidence {
            cpuid: Some(Cpuid {
                hypervisor_bit: true,
                leaves: vec![HypervisorLeaf {
                    vendor: "EVMMEVMMEVMM".into(),
                    ..HypervisorLeaf::default()
                }],
            }),
            ..Evidence::default()
        };
        let text = readable(&verdict(&evidence), &Surroundings::default());
        let first = text.lines().next().unwrap();
        assert!(first.contains("unknown hypervisor, vendor \"EVMMEVMMEVMM\" [unknown]"));
        assert!(text.contains("not readable"));
    }

    #[test]
    fn what_contradicts_is_printed_beside_what_led_there() {
        let mut evidence = Evidence::default();
        evidence.dmi.sys_vendor = crate::detect::Reading::Text("VMware, Inc.".into());
        evidence.proc.cpuinfo = crate::detect::Reading::Text("flags\t: fpu".into());
        let text = readable(&verdict(&evidence), &Surroundings::default());
        assert!(text.contains("  because     DMI sys_vendor: \"VMware, Inc.\""));
        assert!(text.contains("  against     CPUID: the hypervisor bit is not set"));
    }
}
