//! User-Mode Linux: a Linux kernel that is a program. Its shared memory is a file that it maps as
//! I/O memory, which must be named `mmapper`; guests see it as `/dev/mmapper`.

use crate::LabError;
use crate::agent::frame::Token;
use crate::guest::{Machine, Spec};
use crate::network::Network;
use crate::run::{Run, spawn_on};
use crate::setup::Uml;

/// Modules a guest loads. Network and region are built into Debian's package.
pub(crate) const MODULES: &[&str] = &[];

/// Starts a guest.
pub(crate) fn start(
    run: &Run,
    network: &Network,
    kernel: &Uml,
    spec: &Spec,
    token: &Token,
) -> Result<Machine, LabError> {
    let tap = format!("tap{}", spec.vm);
    network.make_tap(spec.host, &tap)?;
    let mut args = vec![
        format!("mem={}M", spec.memory_mib),
        format!("initrd={}", spec.initramfs),
        "root=/dev/ram0".into(),
        "con=null".into(),
        "con0=null,fd:1".into(),
        "ssl=null".into(),
        format!("umid={}", spec.name),
        "uml_dir=uml/".into(),
        // With gro, buffers hold the large packets that the other guest's segmentation offload
        // makes; without, these are cut off and dropped, and TCP crawls from timeout to timeout.
        format!("vec0:transport=tap,ifname={tap},mac={},gro=1", spec.mac),
        // No panic=: with it the kernel would start itself anew; without, it ends.
        "quiet".into(),
    ];
    if let Some(region) = &spec.region {
        args.push(format!("iomem=mmapper,{}", region.file.display()));
    }
    args.extend(spec.identity(token));
    let log = run.path(&format!("uml-{}.log", spec.name));
    let namespace = Some(network.namespace(spec.host));
    let process = spawn_on(run, spec.core, namespace, &kernel.program, &args, &log)?;
    Ok(Machine::new(process, log, spec.host))
}
