// SPDX-License-Identifier: GPL-2.0
//! The modules that the guest program loads: drivers that hand a device to user space. The
//! initramfs holds those that the guest's image was prepared with.

/// A module: its place among the kernel's modules, and its parameters.
pub type Module = (&'static str, &'static str);

/// VFIO, in the order in which they are loaded.
pub const VFIO: &[Module] = &[
    ("virt/lib/irqbypass", ""),
    ("drivers/vfio/vfio", ""),
    // The IOMMU does not remap interrupts, and no device here sends messages.
    ("drivers/vfio/vfio_iommu_type1", "allow_unsafe_interrupts=1"),
    ("drivers/vfio/pci/vfio-pci-core", ""),
    ("drivers/vfio/pci/vfio-pci", ""),
];

/// UIO, in the order in which they are loaded.
pub const UIO: &[Module] = &[("drivers/uio/uio", ""), ("drivers/uio/uio_pci_generic", "")];

/// The file of a module, which in the initramfs is in no folder.
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
