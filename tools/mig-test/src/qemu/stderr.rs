// SPDX-License-Identifier: GPL-2.0
//! The messages of QEMU about a device: known warnings and complaints.

/// Unavoidable warnings: about dirty tracking on a kernel without a tracking IOMMU, and about
/// memory that a mediated device cannot export for PCI's peer-to-peer DMA, because it has no
/// address on the bus.
const KNOWN: [&str; 2] = [
    "device and IOMMU dirty tracking",
    "VFIO dma-buf not supported in kernel",
];

/// Words of a complaint.
const COMPLAINTS: [&str; 5] = ["vfio", "warning", "error", "cannot", "failed"];

/// Returns the complaints on QEMU's standard error except the known ones: each once, without the
/// name of the program and the option that caused it.
pub fn complaints(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in text.lines() {
        let lower = line.to_lowercase();
        let complains = COMPLAINTS.iter().any(|word| lower.contains(word));
        if !complains || KNOWN.iter().any(|known| line.contains(known)) {
            continue;
        }
        let line = line.split_once(": ").map_or(line, |(_program, rest)| rest);
        let line = line.find("warning: ").map_or(line, |at| &line[at..]);
        if !found.iter().any(|known| known == line) {
            found.push(line.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::complaints;

    #[test]
    fn the_known_warnings_are_no_complaints() {
        let line = "qemu-system-x86_64: -device vfio-pci: warning: 0000: VFIO device doesn't \
                    support device and IOMMU dirty tracking";
        assert!(complaints(line).is_empty());
        let line = "qemu-system-x86_64: warning: VFIO dma-buf not supported in kernel, using mmap \
                    fallback, P2P DMA will not work";
        assert!(complaints(line).is_empty());
    }

    #[test]
    fn what_mainline_mtty_makes_qemu_say_is_a_complaint_each_once() {
        let text = "qemu: vfio: Cannot reset device X, no available reset mechanism.\n\
                    qemu: -device vfio-pci: warning: Failed to set up UNMASK eventfd\n\
                    qemu: warning: Failed to set up UNMASK eventfd\n\
                    char device redirected\n";
        let wanted = [
            "vfio: Cannot reset device X, no available reset mechanism.",
            "warning: Failed to set up UNMASK eventfd",
        ];
        assert_eq!(complaints(text), wanted);
    }
}
