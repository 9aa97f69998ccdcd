// SPDX-License-Identifier: GPL-2.0

//! Compares `uapi/mgpu.h`, as a C compiler reads it, with the model.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use mgpu_model::{error::Error, uapi::*};

/// Returns every number of the header, from the model.
fn model() -> BTreeMap<&'static str, u64> {
    let registers = [
        ("MGPU_REG_ID", reg::ID),
        ("MGPU_REG_VERSION", reg::VERSION),
        ("MGPU_REG_FEATURES", reg::FEATURES),
        ("MGPU_REG_VRAM_SIZE", reg::VRAM_SIZE),
        ("MGPU_REG_STATUS", reg::STATUS),
        ("MGPU_REG_CONTROL", reg::CONTROL),
        ("MGPU_REG_INTERRUPT", reg::INTERRUPT),
        ("MGPU_REG_INTERRUPT_ENABLE", reg::INTERRUPT_ENABLE),
        ("MGPU_REG_ERROR", reg::ERROR),
        ("MGPU_REG_ERROR_INDEX", reg::ERROR_INDEX),
        ("MGPU_REG_RING_BASE_LO", reg::RING_BASE_LO),
        ("MGPU_REG_RING_BASE_HI", reg::RING_BASE_HI),
        ("MGPU_REG_RING_SIZE", reg::RING_SIZE),
        ("MGPU_REG_RING_HEAD", reg::RING_HEAD),
        ("MGPU_REG_RING_TAIL", reg::RING_TAIL),
        ("MGPU_REG_FENCE_LO", reg::FENCE_LO),
        ("MGPU_REG_FENCE_HI", reg::FENCE_HI),
        ("MGPU_REG_RINGS", reg::RINGS),
        ("MGPU_REG_DISPLAY_CONTROL", reg::DISPLAY_CONTROL),
        ("MGPU_REG_DISPLAY_WIDTH", reg::DISPLAY_WIDTH),
        ("MGPU_REG_DISPLAY_HEIGHT", reg::DISPLAY_HEIGHT),
        ("MGPU_REG_DISPLAY_STRIDE", reg::DISPLAY_STRIDE),
        ("MGPU_REG_DISPLAY_FORMAT", reg::DISPLAY_FORMAT),
        ("MGPU_RING_STRIDE", RING_STRIDE),
        ("MGPU_BAR_REGISTERS", BAR_REGISTERS as u64),
        ("MGPU_BAR_VRAM", BAR_VRAM as u64),
        ("MGPU_BAR_MSIX", BAR_MSIX as u64),
    ];
    let numbers = [
        ("MGPU_PCI_VENDOR_ID", PCI_VENDOR_ID.into()),
        ("MGPU_PCI_DEVICE_ID", PCI_DEVICE_ID.into()),
        ("MGPU_PCI_CLASS", PCI_CLASS),
        ("MGPU_REGISTERS_SIZE", REGISTERS_SIZE),
        ("MGPU_VRAM_SIZE_MAX", VRAM_SIZE_MAX),
        ("MGPU_MSIX_SIZE", MSIX_SIZE),
        ("MGPU_MSIX_TABLE", MSIX_TABLE),
        ("MGPU_MSIX_PBA", MSIX_PBA),
        ("MGPU_MSIX_VECTORS", MSIX_VECTORS),
        ("MGPU_ID", ID),
        ("MGPU_VERSION", VERSION),
        ("MGPU_FEATURE_DISPLAY", feature::DISPLAY),
        ("MGPU_FEATURE_CRC32C", feature::CRC32C),
        ("MGPU_FEATURE_RINGS", feature::RINGS),
        ("MGPU_STATUS_BUSY", status::BUSY),
        ("MGPU_STATUS_ENABLED", status::ENABLED),
        ("MGPU_STATUS_HALTED", status::HALTED),
        ("MGPU_CONTROL_ENABLE", control::ENABLE),
        ("MGPU_CONTROL_RESET", control::RESET),
        ("MGPU_INTERRUPT_FENCE", interrupt::FENCE),
        ("MGPU_INTERRUPT_ERROR", interrupt::ERROR),
        ("MGPU_ERROR_NONE", 0),
        ("MGPU_ERROR_OPCODE", Error::Opcode.code()),
        ("MGPU_ERROR_RESERVED", Error::Reserved.code()),
        ("MGPU_ERROR_LENGTH", Error::Length.code()),
        ("MGPU_ERROR_ALIGNMENT", Error::Alignment.code()),
        ("MGPU_ERROR_RANGE", Error::Range.code()),
        ("MGPU_ERROR_OVERLAP", Error::Overlap.code()),
        ("MGPU_ERROR_GUEST_READ", Error::GuestRead.code()),
        ("MGPU_ERROR_GUEST_WRITE", Error::GuestWrite.code()),
        ("MGPU_ERROR_RING_GEOMETRY", Error::RingGeometry.code()),
        ("MGPU_ERROR_RING_TAIL", Error::RingTail.code()),
        ("MGPU_ERROR_RING_READ", Error::RingRead.code()),
        ("MGPU_ERROR_DISPLAY", Error::Display.code()),
        ("MGPU_ERROR_NO_INDEX", NO_INDEX),
        ("MGPU_RING_SIZE_MAX", RING_SIZE_MAX),
        ("MGPU_DISPLAY_ENABLE", display::ENABLE),
        ("MGPU_DISPLAY_MAX", DISPLAY_MAX),
        ("MGPU_FORMAT_XRGB8888", FORMAT_XRGB8888),
        ("MGPU_OP_NOP", opcode::NOP),
        ("MGPU_OP_FILL", opcode::FILL),
        ("MGPU_OP_COPY", opcode::COPY),
        ("MGPU_OP_BLIT", opcode::BLIT),
        ("MGPU_OP_CRC32C", opcode::CRC32C),
        ("MGPU_OP_FENCE", opcode::FENCE),
        ("MGPU_DST_VRAM", flag::DST_VRAM),
        ("MGPU_SRC_VRAM", flag::SRC_VRAM),
        ("MGPU_LENGTH_MAX", LENGTH_MAX),
        ("MGPU_BLIT_MAX", BLIT_MAX),
        ("MGPU_STRIDE_MAX", STRIDE_MAX),
    ];
    let numbers = numbers.map(|(name, value)| (name, u64::from(value)));
    registers.into_iter().chain(numbers).collect()
}

/// Returns the sizes and offsets that the model uses.
const LAYOUT: [(&str, u64); 15] = [
    ("sizeof(struct mgpu_command)", COMMAND_LEN as u64),
    ("offsetof(struct mgpu_command, opcode)", 0),
    ("offsetof(struct mgpu_command, flags)", 4),
    ("offsetof(struct mgpu_command, dst)", 8),
    ("offsetof(struct mgpu_command, src)", 16),
    ("offsetof(struct mgpu_command, length)", 24),
    ("offsetof(struct mgpu_command, height)", 28),
    ("offsetof(struct mgpu_command, dst_stride)", 32),
    ("offsetof(struct mgpu_command, src_stride)", 36),
    ("offsetof(struct mgpu_command, value)", 40),
    ("offsetof(struct mgpu_command, reserved)", 48),
    ("sizeof(struct mgpu_fence)", 16),
    ("offsetof(struct mgpu_fence, value)", 0),
    ("offsetof(struct mgpu_fence, status)", 8),
    ("offsetof(struct mgpu_fence, index)", 12),
];

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../uapi/mgpu.h")
}

/// Returns the names that the header defines, in its order.
fn names() -> Vec<String> {
    let text = fs::read_to_string(header()).unwrap();
    let defines = text
        .lines()
        .filter_map(|line| line.strip_prefix("#define MGPU_"));
    let name = |rest: &str| format!("MGPU_{}", rest.split_whitespace().next().unwrap());
    defines.map(name).collect()
}

/// Runs a C program that includes the header and prints the value of each expression. `cc` or `$CC`
/// compiles it, with every warning an error.
fn evaluate(test: &str, expressions: &[&str]) -> Vec<u64> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).unwrap();
    let (source, program) = (folder.join("header.c"), folder.join("header"));
    let mut text = String::from("#include \"mgpu.h\"\n#include <stddef.h>\n#include <stdio.h>\n");
    text += "int main(void)\n{\n";
    for expression in expressions {
        text += &format!("\tprintf(\"%llu\\n\", (unsigned long long)({expression}));\n");
    }
    text += "\treturn 0;\n}\n";
    fs::write(&source, text).unwrap();

    let compiler = env::var_os("CC").unwrap_or("cc".into());
    let compiled = Command::new(&compiler)
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-I",
        ])
        .arg(header().parent().unwrap())
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .output()
        .unwrap_or_else(|error| {
            panic!("no C compiler {compiler:?} ({error}): install one or set CC")
        });
    let messages = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{messages}");
    let output = Command::new(program).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn the_model_knows_every_name_of_the_header_and_no_other() {
    let mut header = names();
    header.sort();
    let model: Vec<_> = model().into_keys().collect();
    assert_eq!(header, model);
}

#[test]
fn every_number_of_the_header_is_the_models() {
    let model = model();
    let names: Vec<_> = model.keys().copied().collect();
    let header: BTreeMap<_, _> = names
        .iter()
        .copied()
        .zip(evaluate("numbers", &names))
        .collect();
    assert_eq!(header, model);
}

#[test]
fn the_structs_of_the_header_are_laid_out_as_the_model_reads_them() {
    let (expressions, expected): (Vec<_>, Vec<_>) = LAYOUT.into_iter().unzip();
    assert_eq!(evaluate("layout", &expressions), expected);
}

#[test]
fn no_two_registers_errors_or_opcodes_share_a_number() {
    let model = model();
    for prefix in ["MGPU_REG_", "MGPU_OP_"] {
        let of_kind = || model.iter().filter(|(name, _)| name.starts_with(prefix));
        let distinct: std::collections::BTreeSet<_> = of_kind().map(|(_, value)| value).collect();
        assert_eq!(distinct.len(), of_kind().count(), "{prefix}");
    }
    for error in Error::ALL {
        assert_eq!(Error::from_code(error.code()), Some(error));
    }
}

#[test]
fn the_bounds_fit_what_is_computed_with_them() {
    // Bytes of a transfer and of a picture are counted in 32 bits, spans in 64 bits.
    assert!(u64::from(BLIT_MAX) * u64::from(STRIDE_MAX) < 1 << 40);
    assert!(4 * u64::from(DISPLAY_MAX) <= STRIDE_MAX.into());
    assert!(u64::from(LENGTH_MAX) >= VRAM_SIZE_MAX.into());
    const { assert!(MSIX_TABLE + 16 * MSIX_VECTORS <= MSIX_PBA && MSIX_PBA + 8 <= MSIX_SIZE) };
    // Each ring has a vector, and its registers are between those of its neighbours.
    const { assert!(RINGS == MSIX_VECTORS as usize) };
    const { assert!(reg::DISPLAY_FORMAT < RING_STRIDE) };
    const { assert!(RINGS as u64 * RING_STRIDE <= REGISTERS_SIZE as u64) };
}
