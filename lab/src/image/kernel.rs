//! The kernel proper (an ELF file) taken out of a bzImage.
//!
//! QEMU boots the ELF file several times faster under emulation, since no guest code has to
//! unpack it; Xen wants it as well. The bzImage's header says where its payload lies
//! (Linux, Documentation/arch/x86/boot.rst: `setup_sects`, `payload_offset`, `payload_length`).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{LabError, tools};

/// Takes the ELF kernel out of `bzimage` and writes it to `elf`, with the tool for its packing.
pub fn extract(bzimage: &Path, elf: &Path) -> Result<(), LabError> {
    let image = tools::read(bzimage)?;
    let wrong = |what: String| LabError::Format { file: bzimage.display().to_string(), what };
    let payload = payload(&image).ok_or_else(|| {
        wrong("not a bzImage of boot protocol 2.08 or later; use a distribution's kernel".into())
    })?;
    let kernel = if payload.starts_with(ELF) {
        payload.to_vec()
    } else {
        let tool = packing(payload).ok_or_else(|| {
            let start = payload.get(..6).unwrap_or_default();
            wrong(format!("its payload has an unknown packing ({start:02x?})"))
        })?;
        unpack(tool, payload)?
    };
    if !kernel.starts_with(ELF) {
        return Err(wrong("its payload does not unpack to an ELF file".into()));
    }
    // Written under another name first: a half-written kernel is never taken for a whole one.
    let half = elf.with_extension("partial");
    tools::write(&half, &kernel)?;
    std::fs::rename(&half, elf).map_err(|source| LabError::at("naming", elf, source))
}

const ELF: &[u8] = b"\x7fELF";

/// The packed kernel inside a bzImage; nothing when the header does not add up.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| -> Option<usize> {
        let bytes: [u8; 4] = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let version: [u8; 2] = image.get(0x206..0x208)?.try_into().ok()?;
    if image.get(0x202..0x206)? != b"HdrS" || u16::from_le_bytes(version) < 0x208 {
        return None;
    }
    // Zero means four, for reasons of 1993.
    let sectors = match *image.get(0x1f1)? {
        0 => 4,
        n => usize::from(n),
    };
    let start = ((sectors + 1) * 512).checked_add(word(0x248)?)?;
    image.get(start..start.checked_add(word(0x24c)?)?)
}

/// The tool that unpacks what starts like this.
fn packing(payload: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 5] = [
        (b"\xfd7zXZ\0", "xz"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),
    ];
    let known = known.iter().find(|(magic, _)| payload.starts_with(magic));
    known.map(|(_, tool)| *tool)
}

/// Unpacks through the tool. The payload ends with four bytes (the unpacked size) that are no
/// part of the packed stream, and tools complain of them: the caller judges what came out.
fn unpack(tool: &str, payload: &[u8]) -> Result<Vec<u8>, LabError> {
    let mut child = Command::new(tools::need(tool)?)
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| LabError::io(format!("starting '{tool}'"), source))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // The tool stops reading at the end of its stream: a broken pipe is no fault.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(payload)));
        child.wait_with_output()
    });
    Ok(output.map_err(|source| LabError::io(format!("reading from '{tool}'"), source))?.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bzImage with one setup sector and this payload, 16 bytes into its protected-mode part.
    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn a_kernel_packed_with_gzip_and_trailed_by_its_size_comes_out_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, from, to) = ("plain", "bzImage", "vmlinux");
        let [plain, from, to] = [plain, from, to].map(|name| dir.path().join(name));
        let kernel = [ELF, &[7; 100_000]].concat();
        std::fs::write(&plain, &kernel).unwrap();
        let mut packed = tools::run(Command::new("gzip").arg("-c").arg(&plain)).unwrap().stdout;
        packed.extend_from_slice(&100_004_u32.to_le_bytes());
        std::fs::write(&from, bzimage(&packed)).unwrap();
        extract(&from, &to).unwrap();
        assert!(std::fs::read(&to).unwrap() == kernel);
    }

    #[test]
    fn what_is_no_kernel_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("vmlinuz-odd");
        for contents in [&b"short"[..], &bzimage(b"PACKED?"), &[0; 4096]] {
            std::fs::write(&from, contents).unwrap();
            let error = extract(&from, &dir.path().join("x")).unwrap_err();
            assert!(error.to_string().contains("vmlinuz-odd"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_header_reads_past_the_image(mut image in prop::collection::vec(any::<u8>(), 0..2048)) {
            if let Some(magic) = image.get_mut(0x202..0x208) {
                magic.copy_from_slice(b"HdrS\x0f\x02");
            }
            if let Some(found) = payload(&image) {
                prop_assert!(found.len() <= image.len());
            }
        }
    }
}
