// SPDX-License-Identifier: GPL-2.0
//! The QEMUs that run guests, and all of their differences.

use std::process::Command;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

const PROGRAM: &str = "qemu-system-x86_64";
/// The folder in the lab VM with the root of a QEMU that is not its own.
pub const ROOT: &str = "/qemu";

/// A series of QEMU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub enum Qemu {
    /// Debian 12's. It knows protocol v1 and nothing of v2.
    #[value(name = "7.2")]
    V7_2,
    /// Debian 13's, which is the lab's own.
    #[default]
    #[value(name = "10.0")]
    V10_0,
    /// The one of Debian 13's backports.
    #[value(name = "11.1")]
    V11_1,
}

impl Qemu {
    /// Returns its number, as on the command line.
    pub fn series(self) -> &'static str {
        match self {
            Qemu::V7_2 => "7.2",
            Qemu::V10_0 => "10.0",
            Qemu::V11_1 => "11.1",
        }
    }

    /// Returns the command of the program; add its arguments.
    pub fn command(self) -> Command {
        if self == Qemu::default() {
            return Command::new(PROGRAM);
        }
        let mut command = Command::new("chroot");
        command.args([ROOT, PROGRAM]);
        command
    }

    /// Returns whether it migrates devices by protocol v2, or else by v1.
    pub fn speaks_v2(self) -> bool {
        self != Qemu::V7_2
    }

    /// Returns the property of a vfio-pci device that lets it migrate on a kernel without
    /// CONFIG_IOMMUFD_DRIVER. Behind an IOMMU of the guest, where the device cannot migrate and
    /// QEMU refuses that, it is the opposite.
    pub fn migration_property(self, behind_iommu: bool) -> &'static str {
        match self {
            Qemu::V7_2 => "x-enable-migration=on",
            _ if behind_iommu && !self.migrates_behind_iommu() => "enable-migration=off",
            Qemu::V10_0 | Qemu::V11_1 => "enable-migration=on",
        }
    }

    /// Returns further properties, each after a comma, of a vfio-pci device on a destination whose
    /// guest uses INTx.
    ///
    /// QEMU since some release after 7.2 reads the route of INTx when it resets the device, before
    /// it resets the interrupt router, and not again after it has loaded the router's state. KVM
    /// then delivers the interrupts of a migrated device to GSI 0. QEMU itself delivers them
    /// correctly.
    pub fn destination_properties(self) -> &'static str {
        match self {
            Qemu::V7_2 => "",
            Qemu::V10_0 | Qemu::V11_1 => ",x-no-kvm-intx=on",
        }
    }

    /// Returns whether `query-migrate` reports the bytes of devices. In 7.2 that is compiled out by
    /// mistake.
    pub fn counts_device_bytes(self) -> bool {
        self != Qemu::V7_2
    }

    /// Returns whether it is known to migrate a VFIO device behind an IOMMU of the guest. QEMU 10.0
    /// refuses to.
    pub fn migrates_behind_iommu(self) -> bool {
        self == Qemu::V7_2
    }

    /// Returns whether it has the migration capability `switchover-ack`.
    pub fn acknowledges_switchover(self) -> bool {
        self != Qemu::V7_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_a_qemu_by_its_series() {
        for qemu in Qemu::value_variants() {
            let value = qemu.to_possible_value().unwrap();
            assert_eq!(value.get_name(), qemu.series());
        }
    }

    #[test]
    fn only_the_labs_own_qemu_runs_outside_of_a_root_of_its_own() {
        let program = |qemu: Qemu| qemu.command().get_program().to_owned();
        assert_eq!(program(Qemu::V10_0), PROGRAM);
        assert_eq!(program(Qemu::V7_2), "chroot");
    }
}
