/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * mgpu: a toy GPU on PCI, as the driver in a guest sees it.
 *
 * This file is all that such a driver needs.
 */
#ifndef _UAPI_MGPU_H
#define _UAPI_MGPU_H

#include <linux/types.h>

/**
 * DOC: The PCI function
 *
 * mgpu is a display controller (class 0x038000, not VGA compatible) of three BARs:
 *
 * - BAR 0: registers, 4 KiB, 32-bit memory. Accesses are 32 bits wide and aligned; others have no
 *   effect and read as 0, and so do offsets that this file does not name.
 * - BAR 2: VRAM, 16, 64 or 256 MiB, 64-bit prefetchable memory, of any access width. It is zero
 *   after power-on and after a reset of the function.
 * - BAR 4: MSI-X, 4 KiB: the table of one vector at 0, the pending bits at 0x800.
 *
 * The ids spell "MGPU" and are not assigned by the PCI-SIG; no driver of Linux 7.2 matches them.
 *
 * All multi-byte values are little endian. VRAM addresses are offsets in BAR 2. Guest addresses are
 * what the bus sees: the dma_addr_t of Linux's DMA API.
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
#define MGPU_MSIX_VECTORS		1

/**
 * DOC: Identification
 *
 * ID reads MGPU_ID. VERSION has the major version in its upper and the minor one in its lower half;
 * a driver refuses a major version that it does not know. FEATURES has the bits MGPU_FEATURE_*.
 * VRAM_SIZE is in bytes.
 */
#define MGPU_REG_ID			0x00
#define MGPU_REG_VERSION		0x04
#define MGPU_REG_FEATURES		0x08
#define MGPU_REG_VRAM_SIZE		0x0c

#define MGPU_ID				0x7570676d
#define MGPU_VERSION			0x00010000
/* The DISPLAY registers are there. */
#define MGPU_FEATURE_DISPLAY		(1 << 0)
/* MGPU_OP_CRC32C is there. */
#define MGPU_FEATURE_CRC32C		(1 << 1)

/**
 * DOC: Control and status
 *
 * Writing ENABLE to CONTROL starts the ring, with HEAD and TAIL at 0; it is refused, and ENABLE
 * stays 0, if the ring's geometry is bad. Writing 0 stops the ring at once: a command that is being
 * executed is abandoned half-way. To stop without loss, wait until BUSY is 0 first.
 *
 * Writing RESET, with or without other bits, is allowed at any moment and sets all registers to
 * their values after power-on, which are 0 but for the identification, ERROR_INDEX and
 * DISPLAY_FORMAT. VRAM stays as it is. A reset of the function (of the bus, or of the machine) does
 * the same, and clears VRAM.
 *
 * After either write, the device may for a moment still access memory on behalf of the abandoned command:
 * BUSY says so. Memory that a command uses must not be freed before BUSY has read as 0. The ring can
 * be started again before.
 *
 * STATUS:
 *
 * - BUSY: there is a command to execute, or memory is being accessed.
 * - ENABLED: the ring was started.
 * - HALTED: the ring was started and has met an error that it cannot go on from. It stays so until
 *   it is stopped and started again.
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
 * INTERRUPT shows what has happened; writing 1 to a bit clears it. A bit interrupts if it is also
 * set in INTERRUPT_ENABLE, which hides nothing in INTERRUPT itself.
 *
 * The MSI-X message is sent when the first such bit comes up, and once more when a write to
 * INTERRUPT leaves one up. A handler that reads INTERRUPT, writes back what it read, and only then
 * looks at FENCE and ERROR loses nothing.
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
 * ERROR shows the first error since ERROR was written (with any value), which clears it to
 * MGPU_ERROR_NONE; ERROR_INDEX, the index in the ring of the offending command, or
 * MGPU_ERROR_NO_INDEX if it is not about a command.
 *
 * Errors 1 to 8 are those of a command. It fails alone: HEAD moves past it and the ring goes on. Of
 * several errors in a command's words the one with the lowest number is shown, and such a command
 * has had no effect. GUEST_READ and GUEST_WRITE are met on the way: what the command wrote before
 * stays.
 *
 * RING_TAIL and RING_READ halt the ring. A command that is being executed is still finished, HEAD
 * stays at the first that is not. RING_GEOMETRY and DISPLAY leave off what was to be enabled.
 */
#define MGPU_REG_ERROR			0x20
#define MGPU_REG_ERROR_INDEX		0x24

#define MGPU_ERROR_NONE			0
/* The opcode is none of MGPU_OP_*. */
#define MGPU_ERROR_OPCODE		1
/* A field or flag that the opcode does not use is not 0. */
#define MGPU_ERROR_RESERVED		2
/* A length, width, height or stride is 0 or beyond its bound, or a stride below the width. */
#define MGPU_ERROR_LENGTH		3
/* The address of a result is not aligned. */
#define MGPU_ERROR_ALIGNMENT		4
/* A range reaches beyond VRAM, or beyond the last guest address. */
#define MGPU_ERROR_RANGE		5
/* Source and destination of a BLIT overlap, and their strides differ. */
#define MGPU_ERROR_OVERLAP		6
/* Guest memory is not there. */
#define MGPU_ERROR_GUEST_READ		7
/* Guest memory is not there or cannot be written. */
#define MGPU_ERROR_GUEST_WRITE		8
/* The ring was to be enabled with a bad base or size. */
#define MGPU_ERROR_RING_GEOMETRY	16
/* TAIL was written with an index beyond the ring. */
#define MGPU_ERROR_RING_TAIL		17
/* The command at HEAD cannot be read from guest memory. */
#define MGPU_ERROR_RING_READ		18
/* The display was to be enabled with a bad geometry. */
#define MGPU_ERROR_DISPLAY		32

#define MGPU_ERROR_NO_INDEX		0xffffffff

/**
 * DOC: The ring
 *
 * RING_SIZE commands of 64 bytes each (struct mgpu_command) lie in guest memory from RING_BASE on.
 * The base is a multiple of 64, the size a power of two from 2 to MGPU_RING_SIZE_MAX. While the ring
 * is enabled, writes to these registers have no effect.
 *
 * HEAD and TAIL are indices, below the size. The driver puts commands at TAIL, makes sure that they
 * are in memory (dma_wmb() in Linux) and writes the index after the last of them to TAIL: that is
 * the doorbell. The device executes one command after the other and moves HEAD past each when it is
 * done; HEAD == TAIL is an empty ring, which therefore holds at most size - 1 commands. The words of
 * a command must not change before HEAD has passed it. A TAIL behind the last one makes the device
 * execute what it finds up to there. While the ring is halted or not enabled, writes to TAIL have no
 * effect; while it is not enabled, HEAD and TAIL read as 0.
 *
 * Commands take effect in the order of the ring: one begins when all writes of the one before are
 * done. Other accesses of the guest to the same memory are ordered by FENCE or by HEAD alone.
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
 * The value of the last FENCE that was executed. The halves are two reads: read FENCE_HI, FENCE_LO
 * and FENCE_HI until both reads of FENCE_HI agree. Only a reset clears it.
 */
#define MGPU_REG_FENCE_LO		0x40
#define MGPU_REG_FENCE_HI		0x44

/**
 * DOC: The display
 *
 * While DISPLAY_CONTROL is ENABLE the picture is that at offset 0 of VRAM: DISPLAY_HEIGHT rows of
 * DISPLAY_WIDTH pixels, row y at y * DISPLAY_STRIDE bytes. DISPLAY_FORMAT, which cannot be written,
 * is the DRM format code of the pixels: XR24, 32 bits with blue in the lowest byte and the highest
 * unused.
 *
 * Width and height are from 1 to MGPU_DISPLAY_MAX. The stride is a multiple of 4, at least 4 * width
 * and at most MGPU_STRIDE_MAX, and height * stride bytes are inside of VRAM; otherwise the display
 * is not enabled. While it is, writes to the geometry have no effect.
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
 * Fields that are not named for an opcode are 0. Addresses have any alignment unless said otherwise.
 * An address with its flag in @flags (MGPU_DST_VRAM, MGPU_SRC_VRAM) is a VRAM address, without it a
 * guest address; where no flag is named it is a guest address.
 *
 * MGPU_OP_NOP:
 *   does nothing.
 *
 * MGPU_OP_FILL: @flags (DST_VRAM), @dst, @length, @value
 *   writes the lower 32 bits of @value again and again from @dst on, cut off after @length bytes.
 *   The upper 32 bits are 0.
 *
 * MGPU_OP_COPY: @flags (DST_VRAM, SRC_VRAM), @dst, @src, @length
 *   copies @length bytes. The ranges may overlap: the destination then holds what the source held
 *   before. Overlap is judged by address, so not seen where two guest addresses are the same memory.
 *
 * MGPU_OP_BLIT: as COPY, and @height, @dst_stride, @src_stride
 *   copies @height rows of @length bytes, which begin @dst_stride and @src_stride bytes after each
 *   other. If the spans from the first to the last byte of both sides overlap, the strides must be
 *   equal; the destination then holds what the source held before.
 *
 * MGPU_OP_CRC32C: @flags (SRC_VRAM), @src, @length, @dst
 *   writes the CRC32C of @length bytes (polynomial 0x1edc6f41, reflected, initially all ones and
 *   inverted at the end, as iSCSI has it) as a __le32 to guest address @dst, a multiple of 4.
 *
 * MGPU_OP_FENCE: @dst, @value
 *   writes a struct mgpu_fence to guest address @dst, a multiple of 16, then sets the registers
 *   FENCE to @value and MGPU_INTERRUPT_FENCE. The writes of all commands before are done by then.
 *   If guest memory cannot be written the registers stay as they are.
 *
 * @length is from 1 to MGPU_LENGTH_MAX; for a BLIT, @length and @height are from 1 to
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
 * @dst: address that is written
 * @src: address that is read
 * @length: bytes, of a BLIT bytes in a row
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
 * struct mgpu_fence - what a FENCE writes
 * @value: the command's value; written last, so a driver that polls it finds the rest valid
 * @status: error of the first command that failed since the last FENCE was executed or, without
 *          one, since the ring was started; MGPU_ERROR_NONE if none has
 * @index: index in the ring of that command, MGPU_ERROR_NO_INDEX if none
 */
struct mgpu_fence {
	__le64 value;
	__le32 status;
	__le32 index;
};

#endif /* _UAPI_MGPU_H */
