/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The migration stream of a device made with the mdev SDK, as it is read from and
 * written to the data_fd of VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, or in chunks the
 * window of protocol v1's region.
 *
 * A session is one MDEV_STREAM_MATCH record, any number of others, and one
 * MDEV_STREAM_END record. Documentation/stream-format.md has the rules for readers
 * and writers.
 */
#ifndef _UAPI_MDEV_STREAM_H
#define _UAPI_MDEV_STREAM_H

#include <linux/types.h>

/* Tags of the SDK: below MDEV_STREAM_FIRST_DRIVER, and unknown if not named here. */
#define MDEV_STREAM_MATCH		1
#define MDEV_STREAM_END			2
#define MDEV_STREAM_CONFIG		3
#define MDEV_STREAM_INTERRUPT		4
/* The first tag that a driver may use. */
#define MDEV_STREAM_FIRST_DRIVER	0x100

/* A reader that does not know the tag skips the record; without it, it refuses the stream. */
#define MDEV_STREAM_OPTIONAL		(1 << 0)

/**
 * struct mdev_stream_record - what stands before each payload
 * @size: length in bytes of the payload, which follows without padding
 * @flags: MDEV_STREAM_OPTIONAL or 0; a reader refuses other bits
 * @tag: what the payload is
 */
struct mdev_stream_record {
	__le64 size;
	__le32 flags;
	__le32 tag;
};

/* Eight bytes, without a NUL at their end. */
#define MDEV_STREAM_MAGIC		"MDEVMIG\n"
#define MDEV_STREAM_FRAMING		1
#define MDEV_STREAM_NAME_SIZE		16

/**
 * struct mdev_stream_match - payload of MDEV_STREAM_MATCH
 * @magic: MDEV_STREAM_MAGIC
 * @framing: MDEV_STREAM_FRAMING, the version of everything in this header
 * @version: version of the driver's format that the stream is of
 * @readable_by: the oldest version of a reader that can load the stream
 * @reserved: 0
 * @format: name of the driver's format, padded with NUL
 * @type: name of the device type, padded with NUL
 * @geometry: sizes that the device must have, 0 if not used; the driver defines them
 *
 * All but the versions must be equal at the source and the destination.
 */
struct mdev_stream_match {
	__u8 magic[8];
	__le16 framing;
	__le16 version;
	__le16 readable_by;
	__le16 reserved;
	__u8 format[MDEV_STREAM_NAME_SIZE];
	__u8 type[MDEV_STREAM_NAME_SIZE];
	__le64 geometry[2];
};

/* Length in bytes of the payload of MDEV_STREAM_CONFIG: PCI configuration space. */
#define MDEV_STREAM_CONFIG_SIZE		256

/**
 * struct mdev_stream_interrupt - payload of MDEV_STREAM_INTERRUPT
 * @flags: MDEV_STREAM_INTX_SIGNALLED or 0; a reader refuses other bits
 *
 * A writer sets MDEV_STREAM_OPTIONAL. To a reader that knows the record, a session without
 * one is a session with MDEV_STREAM_INTX_SIGNALLED.
 */
struct mdev_stream_interrupt {
	__le32 flags;
};

/* INTx was signalled and not unmasked: the next host signals it once, asserted or not. */
#define MDEV_STREAM_INTX_SIGNALLED	(1 << 0)

/**
 * struct mdev_stream_end - payload of MDEV_STREAM_END
 * @length: bytes of the session before the header of this record
 * @crc: CRC-32C (polynomial 0x82f63b78, inverted at both ends) of the session up to and
 *	with @length
 */
struct mdev_stream_end {
	__le64 length;
	__le32 crc;
} __attribute__((packed));

#endif /* _UAPI_MDEV_STREAM_H */
