//! The names of everything that can be told apart. The strings are part of result files: they
//! never change, new ones are added.

use std::fmt;

use serde::{Serialize, Serializer};

/// Declares an enum together with its stable ids and its readable names.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $id:literal, $title:literal;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* #[doc = $title] $variant,)* }

        impl $name {
            /// Every one there is, in order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The stable id, as in result files.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $id,)* }
            }

            /// The name a person would use.
            pub fn title(self) -> &'static str {
                match self { $($name::$variant => $title,)* }
            }

            /// The one with that stable id.
            pub fn from_id(id: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|one| one.as_str() == id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.title())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
    };
}

named! {
    /// What runs below this kernel.
    Hypervisor {
        BareMetal = "bare-metal", "no hypervisor (bare metal)";
        Kvm = "kvm", "KVM";
        /// QEMU, but the evidence does not say whether it emulates or uses KVM.
        Qemu = "qemu", "QEMU (accelerator not shown)";
        QemuTcg = "qemu-tcg", "QEMU, software emulation (TCG)";
        Bochs = "bochs", "Bochs";
        XenDom0 = "xen-dom0", "Xen, control domain (dom0)";
        XenDomU = "xen-domu", "Xen, guest (DomU)";
        Vmware = "vmware", "VMware";
        VirtualBox = "virtualbox", "VirtualBox";
        HyperV = "hyper-v", "Hyper-V";
        VirtualPc = "virtual-pc", "Microsoft Virtual PC";
        Parallels = "parallels", "Parallels";
        UserModeLinux = "uml", "User-Mode Linux";
        Bhyve = "bhyve", "bhyve";
        Acrn = "acrn", "ACRN";
        Jailhouse = "jailhouse", "Jailhouse";
        Lguest = "lguest", "lguest";
        ZVm = "z-vm", "z/VM";
        PowerVm = "powervm", "PowerVM";
        Apple = "apple", "Apple Virtualization";
        Firecracker = "firecracker", "Firecracker";
        CloudHypervisor = "cloud-hypervisor", "cloud-hypervisor";
        Nitro = "nitro", "AWS Nitro";
        Google = "google", "Google Compute Engine";
        Qnx = "qnx", "QNX hypervisor";
        Sre = "sre", "LMHS SRE";
        /// There is one, and it is none of those above; or nothing could be read at all.
        Unknown = "unknown", "unknown";
    }
}

impl Hypervisor {
    /// Whether this kernel runs on something else than the machine itself, as far as is known.
    pub fn is_virtual(self) -> bool {
        !matches!(self, Hypervisor::BareMetal | Hypervisor::Unknown)
    }
}

named! {
    /// What separates this process from the others of its kernel.
    Container {
        Docker = "docker", "Docker";
        Podman = "podman", "Podman";
        Lxc = "lxc", "LXC";
        LxcLibvirt = "lxc-libvirt", "LXC by libvirt";
        SystemdNspawn = "systemd-nspawn", "systemd-nspawn";
        OpenVz = "openvz", "OpenVZ/Virtuozzo";
        LinuxVserver = "linux-vserver", "Linux-VServer";
        Wsl = "wsl", "Windows Subsystem for Linux";
        Proot = "proot", "PRoot";
        Rkt = "rkt", "rkt";
        Pouch = "pouch", "Pouch";
        Kubernetes = "kubernetes", "a Kubernetes pod, runtime not shown";
        /// A container, and none of those above.
        Other = "container-other", "a container of another kind";
    }
}

named! {
    /// How a Xen guest is virtualised.
    XenGuest {
        Pv = "pv", "paravirtual (PV)";
        Hvm = "hvm", "hardware-assisted (HVM)";
        Pvh = "pvh", "PVH";
    }
}

named! {
    /// Which of VMware's products.
    VmwareProduct {
        Esx = "esx", "ESX";
        /// Workstation, Player, GSX or Server: the hosted products for PCs.
        Workstation = "workstation", "Workstation/Server";
        Fusion = "fusion", "Fusion";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_lead_back() {
        for &one in Hypervisor::ALL {
            assert_eq!(Hypervisor::from_id(one.as_str()), Some(one));
        }
        for &one in Container::ALL {
            assert_eq!(Container::from_id(one.as_str()), Some(one));
        }
        assert_eq!(Hypervisor::from_id("KVM"), None);
    }
}
