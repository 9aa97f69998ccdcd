// SPDX-License-Identifier: GPL-2.0
//! The kernel modules that the guest needs to use its IOMMU: those of VFIO.

/// The modules in the order of loading, each with its path in the kernel's modules and its
/// parameters.
pub const VFIO: [(&str, &str); 5] = [
    ("virt/lib/irqbypass", ""),
    ("drivers/vfio/vfio", ""),
    // The IOMMU does not remap interrupts, and the device sends none.
    ("drivers/vfio/vfio_iommu_type1", "allow_unsafe_interrupts=1"),
    ("drivers/vfio/pci/vfio-pci-core", ""),
    ("drivers/vfio/pci/vfio-pci", ""),
];

/// Returns the file name of a module, which is at the top of the initramfs.
pub fn file(place: &str) -> String {
    let name = place.rsplit('/').next().unwrap_or(place);
    format!("{name}.ko.xz")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_is_named_after_its_module() {
        assert_eq!(super::file("drivers/vfio/pci/vfio-pci"), "vfio-pci.ko.xz");
    }
}
