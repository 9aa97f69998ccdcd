/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * mgpu: a toy GPU on PCI, as a guest's driver sees it.
 *
 * This file is the complete interface for such a driver.
 */
#ifndef _UAPI_MGPU_H
#define _UAPI_MGPU_H

#include <linux/types.h>

/**
 * DOC: The PCI function
 *
 * mgpu is a display controller (class 0x038000, not VGA compatible) with three BARs:
 *
 * - BAR 0: registers, 4 KiB, 32-bit memory. Accesses must be 32 bits wide and aligned. Other
 *   accesses, and offsets that this file does not define, have no effect and read as 0.
 * - BAR 2: VRAM, 16, 64 or 256 MiB, 64-bit prefetchable memory, with any access width. It is zero
 *   after power-on and after a reset of the function.
 * - BAR 4: MSI-X, 4 KiB: the table of four vectors at 0, the pending bits at 0x800.
 *
 * The ids spell "MGPU" and are not assigned by the PCI-SIG; no driver of Linux 7.2 matches them.
 *
 * All multi-byte values are little endian. VRAM addresses are offsets in BAR 2. Guest addresses are
 * bus addresses: the dma_addr_t of Linux's DMA API.
 */
#define MGPU_PCI_VENDOR_ID		0x4d47
#define MGPU_PCI_DEVICE_ID		0x5055
#define MGPU_PCI_CLASS			0x038000

#define MGPU_BAR_REGISTERS		0
#define MGPU_BAR_VRAM			2
#define MGPU_BAR_MSIX			4

#define MGPU_REGISTERS_SIZE		0x1000
#define MGPU_VRAM_SIZE_MAX		0x10000000
#define MGPU_MSIX_SIZE			0x1000
#define MGPU_MSIX_TABLE			0x000
#define MGPU_MSIX_PBA			0x800
#define MGPU_MSIX_VECTORS		4

/**
 * DOC: Identification
 *
 * ID reads as MGPU_ID. VERSION has the major version in its upper half and the minor version in its
 * lower half; a driver must refuse an unknown major version. FEATURES has the bits MGPU_FEATURE_*.
 * VRAM_SIZE is in bytes. RINGS is the number of rings, at most MGPU_MSIX_VECTORS.
 */
#define MGPU_REG_ID			0x00
#define MGPU_REG_VERSION		0x04
#define MGPU_REG_FEATURES		0x08
#define MGPU_REG_VRAM_SIZE		0x0c
#define MGPU_REG_RINGS			0x48

#define MGPU_ID				0x7570676d
#define MGPU_VERSION			0x00010001
/* The DISPLAY registers exist. */
#define MGPU_FEATURE_DISPLAY		(1 << 0)
/* MGPU_OP_CRC32C exists. */
#define MGPU_FEATURE_CRC32C		(1 << 1)
/* RINGS exists. Without this bit there is ring 0 alone. */
#define MGPU_FEATURE_RINGS		(1 << 2)

/**
 * DOC: Rings
 *
 * The device executes commands from several rings in parallel. Each ring has an engine, and the
 * registers STATUS, CONTROL, INTERRUPT, INTERRUPT_ENABLE, ERROR, ERROR_INDEX, RING_* and FENCE_* of
 * its own: those of ring i are at i * MGPU_RING_STRIDE from the offsets below. All other registers
 * are the function's and exist once, at the offsets below. Ring i sends the message of MSI-X vector
 * i. A driver that knows one ring uses ring 0, whose registers are at the offsets below.
 *
 * Commands of one ring are executed in order. Those of two rings are not ordered: if one writes
 * memory that the other accesses, what is read or left there may be a mix, byte by byte. A FENCE
 * orders the commands of its own ring only. To order work of two rings, wait for a FENCE of one
 * before submitting to the other.
 *
 * An error, or a stop, of one ring does not affect the others.
 */
#define MGPU_RING_STRIDE		0x100

/**
 * DOC: Control and status
 *
 * Writing ENABLE to CONTROL starts the ring, with HEAD and TAIL at 0. If the ring's geometry is
 * invalid, the write is refused and ENABLE stays 0. Writing 0 stops the ring at once: a command
 * that is being executed is abandoned half-way. To stop without loss, wait until BUSY is 0 first.
 *
 * Writing RESET, with or without other bits, is allowed at any time. At ring 0 it sets all
 * registers of the function and of all rings to their values after power-on, which are 0 except for
 * the identification, ERROR_INDEX and DISPLAY_FORMAT; at another ring, those of this ring alone.
 * VRAM is unchanged. A reset of the function (of the bus, or of the machine) does the same as RESET
 * at ring 0, and clears VRAM.
 *
 * After either write, the device may still access memory for the abandoned command for a moment,
 * while BUSY is set. Memory that a command uses must not be freed before BUSY has read as 0. The
 * ring may be started again before that.
 *
 * STATUS:
 *
 * - BUSY: there is a command to execute, or memory is being accessed.
 * - ENABLED: the ring was started.
 * - HALTED: the ring was started and stopped at an error that it cannot continue from, until it is
 *   stopped and started again.
 */
#define MGPU_REG_STATUS			0x10
#define MGPU_REG_CONTROL		0x14

#define MGPU_STATUS_BUSY		(1 << 0)
#define MGPU_STATUS_ENABLED		(1 << 1)
#define MGPU_STATUS_HALTED		(1 << 2)

#define MGPU_CONTROL_ENABLE		(1 << 0)
#define MGPU_CONTROL_RESET		(1 << 1)

/**
 * DOC: Interrupts
 *
 * INTERRUPT has a bit for each event; writing 1 to a bit clears it. A bit interrupts if it is also
 * set in INTERRUPT_ENABLE, which does not mask bits in INTERRUPT itself.
 *
 * The message of the ring's vector is sent when the first such bit is set, and again when a write
 * to INTERRUPT leaves one set. A handler that reads INTERRUPT, writes back the value, and only then
 * reads FENCE and ERROR misses nothing.
 */
#define MGPU_REG_INTERRUPT		0x18
#define MGPU_REG_INTERRUPT_ENABLE	0x1c

/* A FENCE was executed. */
#define MGPU_INTERRUPT_FENCE		(1 << 0)
/* An error occurred, whether or not ERROR shows it. */
#define MGPU_INTERRUPT_ERROR		(1 << 1)

/**
 * DOC: Errors
 *
 * ERROR shows the first error since the last write to ERROR, which (with any value) clears it to
 * MGPU_ERROR_NONE. ERROR_INDEX is the index in the ring of the failed command, or
 * MGPU_ERROR_NO_INDEX if the error belongs to no command.
 *
 * Errors 1 to 8 are those of a command. Only that command fails: HEAD moves past it and the ring
 * continues. If a command's words have several errors, the one with the lowest number is shown, and
 * the command has no effect. GUEST_READ and GUEST_WRITE occur during execution: what the command
 * wrote before stays.
 *
 * RING_TAIL and RING_READ halt the ring. A command that is being executed is still finished; HEAD
 * stays at the first that is not. After RING_GEOMETRY and DISPLAY, the ring or the display stays
 * disabled. DISPLAY is shown by ring 0.
 */
#define MGPU_REG_ERROR			0x20
#define MGPU_REG_ERROR_INDEX		0x24

#define MGPU_ERROR_NONE			0
/* The opcode is none of MGPU_OP_*. */
#define MGPU_ERROR_OPCODE		1
/* A field or flag that the opcode does not use is not 0. */
#define MGPU_ERROR_RESERVED		2
/* A length, width, height or stride is 0 or beyond its bound, or a stride is below the width. */
#define MGPU_ERROR_LENGTH		3
/* The address of a result is not aligned. */
#define MGPU_ERROR_ALIGNMENT		4
/* A range reaches beyond VRAM, or beyond the last guest address. */
#define MGPU_ERROR_RANGE		5
/* Source and destination of a BLIT overlap, and their strides differ. */
#define MGPU_ERROR_OVERLAP		6
/* Guest memory is not mapped. */
#define MGPU_ERROR_GUEST_READ		7
/* Guest memory is not mapped or cannot be written. */
#define MGPU_ERROR_GUEST_WRITE		8
/* Enabling the ring failed: the base or size is invalid. */
#define MGPU_ERROR_RING_GEOMETRY	16
/* TAIL was written with an index beyond the ring. */
#define MGPU_ERROR_RING_TAIL		17
/* The command at HEAD cannot be read from guest memory. */
#define MGPU_ERROR_RING_READ		18
/* Enabling the display failed: the geometry is invalid. */
#define MGPU_ERROR_DISPLAY		32

#define MGPU_ERROR_NO_INDEX		0xffffffff

/**
 * DOC: The commands of a ring
 *
 * RING_SIZE commands of 64 bytes each (struct mgpu_command) are in guest memory from RING_BASE on.
 * The base must be a multiple of 64, the size a power of two from 2 to MGPU_RING_SIZE_MAX. While
 * the ring is enabled, writes to these registers have no effect.
 *
 * HEAD and TAIL are indices, below the size. The driver puts commands at TAIL, ensures that they
 * are in memory (dma_wmb() in Linux) and writes the index after the last of them to TAIL, which is
 * the doorbell. The device executes one command after the other and moves HEAD past each when it is
 * done; HEAD == TAIL is an empty ring, so the ring holds at most size - 1 commands. The words of a
 * command must not change before HEAD has passed it. The device executes whatever it finds up to
 * TAIL. While the ring is halted or not enabled, writes to TAIL have no effect; while it is not
 * enabled, HEAD and TAIL read as 0.
 *
 * Commands take effect in the order of the ring: a command begins when all writes of the previous
 * one of the same ring are done. Only FENCE and HEAD order the guest's other accesses to the same
 * memory.
 */
#define MGPU_REG_RING_BASE_LO		0x28
#define MGPU_REG_RING_BASE_HI		0x2c
#define MGPU_REG_RING_SIZE		0x30
#define MGPU_REG_RING_HEAD		0x34
#define MGPU_REG_RING_TAIL		0x38

#define MGPU_RING_SIZE_MAX		4096

/**
 * DOC: The fence
 *
 * FENCE is the value of the ring's last FENCE that was executed. To read both halves consistently,
 * read FENCE_HI, FENCE_LO and FENCE_HI until both reads of FENCE_HI agree. Only a reset clears it.
 */
#define MGPU_REG_FENCE_LO		0x40
#define MGPU_REG_FENCE_HI		0x44

/**
 * DOC: The display
 *
 * While DISPLAY_CONTROL is ENABLE, the picture is at offset 0 of VRAM: DISPLAY_HEIGHT rows of
 * DISPLAY_WIDTH pixels, row y at y * DISPLAY_STRIDE bytes. DISPLAY_FORMAT, which is read-only, is
 * the DRM format code of the pixels: XR24, 32 bits with blue in the lowest byte and the highest
 * byte unused.
 *
 * Width and height must be from 1 to MGPU_DISPLAY_MAX. The stride must be a multiple of 4, at least
 * 4 * width and at most MGPU_STRIDE_MAX, and height * stride bytes must be inside VRAM; otherwise
 * the display is not enabled. While it is enabled, writes to the geometry have no effect.
 */
#define MGPU_REG_DISPLAY_CONTROL	0x50
#define MGPU_REG_DISPLAY_WIDTH		0x54
#define MGPU_REG_DISPLAY_HEIGHT		0x58
#define MGPU_REG_DISPLAY_STRIDE		0x5c
#define MGPU_REG_DISPLAY_FORMAT		0x60

#define MGPU_DISPLAY_ENABLE		(1 << 0)
#define MGPU_DISPLAY_MAX		16384
#define MGPU_FORMAT_XRGB8888		0x34325258

/**
 * DOC: Commands
 *
 * Fields that are not listed for an opcode must be 0. Addresses may have any alignment unless
 * stated otherwise. An address whose flag is set in @flags (MGPU_DST_VRAM, MGPU_SRC_VRAM) is a VRAM
 * address; without the flag, or if none is listed, it is a guest address.
 *
 * MGPU_OP_NOP:
 *   does nothing.
 *
 * MGPU_OP_FILL: @flags (DST_VRAM), @dst, @length, @value
 *   writes the lower 32 bits of @value repeatedly from @dst on, truncated after @length bytes. The
 *   upper 32 bits must be 0.
 *
 * MGPU_OP_COPY: @flags (DST_VRAM, SRC_VRAM), @dst, @src, @length
 *   copies @length bytes. The ranges may overlap: the destination then holds what the source held
 *   before. Overlap is detected by address only, not if two guest addresses are the same memory.
 *
 * MGPU_OP_BLIT: as COPY, and @height, @dst_stride, @src_stride
 *   copies @height rows of @length bytes, which begin @dst_stride and @src_stride bytes after each
 *   other. If the spans from the first to the last byte of both sides overlap, the strides must be
 *   equal; the destination then holds what the source held before.
 *
 * MGPU_OP_CRC32C: @flags (SRC_VRAM), @src, @length, @dst
 *   writes the CRC32C of @length bytes (polynomial 0x1edc6f41, reflected, initially all ones and
 *   inverted at the end, as in iSCSI) as a __le32 to guest address @dst, a multiple of 4.
 *
 * MGPU_OP_FENCE: @dst, @value
 *   writes a struct mgpu_fence to guest address @dst, a multiple of 16, then sets the registers
 *   FENCE to @value and the bit MGPU_INTERRUPT_FENCE. The writes of all previous commands of the
 *   same ring are done before. If guest memory cannot be written, the registers are unchanged.
 *
 * @length must be from 1 to MGPU_LENGTH_MAX; for a BLIT, @length and @height must be from 1 to
 * MGPU_BLIT_MAX, their product at most MGPU_LENGTH_MAX, and the strides from @length to
 * MGPU_STRIDE_MAX.
 */
#define MGPU_OP_NOP			0
#define MGPU_OP_FILL			1
#define MGPU_OP_COPY			2
#define MGPU_OP_BLIT			3
#define MGPU_OP_CRC32C			4
#define MGPU_OP_FENCE			5

#define MGPU_DST_VRAM			(1 << 0)
#define MGPU_SRC_VRAM			(1 << 1)

#define MGPU_LENGTH_MAX			0x10000000
#define MGPU_BLIT_MAX			0x10000
#define MGPU_STRIDE_MAX			0x100000

/**
 * struct mgpu_command - one entry of the ring
 * @opcode: one of MGPU_OP_*
 * @flags: MGPU_DST_VRAM, MGPU_SRC_VRAM
 * @dst: address to write
 * @src: address to read
 * @length: bytes; for a BLIT, bytes in a row
 * @height: rows of a BLIT
 * @dst_stride: bytes from one row to the next at @dst
 * @src_stride: bytes from one row to the next at @src
 * @value: pattern of a FILL, value of a FENCE
 * @reserved: 0
 */
struct mgpu_command {
	__le32 opcode;
	__le32 flags;
	__le64 dst;
	__le64 src;
	__le32 length;
	__le32 height;
	__le32 dst_stride;
	__le32 src_stride;
	__le64 value;
	__le32 reserved[4];
};

/**
 * struct mgpu_fence - the report that a FENCE writes
 * @value: the command's value; written last, so a driver that polls it finds the rest valid
 * @status: error of the ring's first command that failed since its last FENCE was executed or, if
 *          there is none, since the ring was started; MGPU_ERROR_NONE if none failed
 * @index: index in the ring of that command, MGPU_ERROR_NO_INDEX if none
 */
struct mgpu_fence {
	__le64 value;
	__le32 status;
	__le32 index;
};

#endif /* _UAPI_MGPU_H */
