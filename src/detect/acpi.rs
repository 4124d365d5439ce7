//! Who wrote the ACPI tables: bytes 10 to 23 of each table's header (ACPI 6.5, table 5.4).

use super::kinds::Hypervisor;

/// "SIGNATURE MANUFACTURER TABLE" of one table, or none when it is too short to have a header.
pub(super) fn describe(table: &[u8]) -> Option<String> {
    let header = table.get(..36)?;
    let text = |range: std::ops::Range<usize>| -> String {
        header
            .get(range)
            .unwrap_or_default()
            .iter()
            .map(|&byte| match byte {
                b' '..=b'~' => char::from(byte),
                _ => ' ',
            })
            .collect()
    };
    let line = format!("{} {} {}", text(0..4), text(10..16), text(16..24));
    Some(line.trim_end().to_owned())
}

/// Whose firmware it is, by the manufacturer in a line of [`describe`].
pub(super) fn manufacturer(line: &str) -> Option<Hypervisor> {
    const TABLE: &[(&str, Hypervisor)] = &[
        ("FIRECK", Hypervisor::Firecracker),
        ("CLOUDH", Hypervisor::CloudHypervisor),
        ("BOCHS", Hypervisor::Qemu),
        ("VBOX", Hypervisor::VirtualBox),
        ("VRTUAL", Hypervisor::HyperV),
        ("PRLS", Hypervisor::Parallels),
        ("BHYVE", Hypervisor::Bhyve),
        ("ACRN", Hypervisor::Acrn),
        ("Xen", Hypervisor::XenDomU),
        ("APPLE-VZ", Hypervisor::Apple),
        ("Google", Hypervisor::Google),
        ("GOOGLE", Hypervisor::Google),
    ];
    // The signature takes four characters and a space.
    let rest = line.get(5..)?;
    TABLE.iter().find(|(name, _)| rest.starts_with(name)).map(|&(_, whose)| whose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_its_writer() {
        let mut table = vec![0_u8; 36];
        table[..4].copy_from_slice(b"DSDT");
        table[10..24].copy_from_slice(b"BOCHS BXPC    ");
        let line = describe(&table).unwrap();
        assert_eq!(line, "DSDT BOCHS  BXPC");
        assert_eq!(manufacturer(&line), Some(Hypervisor::Qemu));
    }

    #[test]
    fn a_short_table_and_a_foreign_one_say_nothing() {
        assert_eq!(describe(&[1; 35]), None);
        assert_eq!(manufacturer("DSDT DELL   WN09"), None);
        assert_eq!(manufacturer("é"), None);
    }
}
