// SPDX-License-Identifier: GPL-2.0
//! The kernel modules that the guest program loads: drivers that pass a device to user space. The
//! initramfs holds those that the guest's image was prepared with.

/// A module: its path in the kernel's modules, and its parameters.
pub type Module = (&'static str, &'static str);

/// VFIO, in the order of loading.
pub const VFIO: &[Module] = &[
    ("virt/lib/irqbypass", ""),
    ("drivers/vfio/vfio", ""),
    // The IOMMU does not remap interrupts, and no device here sends messages.
    ("drivers/vfio/vfio_iommu_type1", "allow_unsafe_interrupts=1"),
    ("drivers/vfio/pci/vfio-pci-core", ""),
    ("drivers/vfio/pci/vfio-pci", ""),
];

/// UIO, in the order of loading.
pub const UIO: &[Module] = &[("drivers/uio/uio", ""), ("drivers/uio/uio_pci_generic", "")];

/// The file of the initramfs that lists the author's own modules, one in each line, in the order of
/// loading.
pub const OWN: &str = "guest-modules";
/// The file of the initramfs that is the author's own program.
pub const PROGRAM: &str = "guest-program";

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
