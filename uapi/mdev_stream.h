/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The migration stream of a device made with the mdev SDK. User space reads it from and
 * writes it to the data_fd of VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, or, in chunks, the
 * window of protocol v1's region.
 *
 * A session is one MDEV_STREAM_MATCH record, any number of others, and one
 * MDEV_STREAM_END record. Documentation/stream-format.md has the rules for readers
 * and writers.
 */
#ifndef _UAPI_MDEV_STREAM_H
#define _UAPI_MDEV_STREAM_H

#include <linux/types.h>

/* Tags of the SDK. They are below MDEV_STREAM_FIRST_DRIVER; those not listed are unknown. */
#define MDEV_STREAM_MATCH		1
#define MDEV_STREAM_END			2
#define MDEV_STREAM_CONFIG		3
#define MDEV_STREAM_INTERRUPT		4
#define MDEV_STREAM_EVENTS		5
/* The first tag that a driver may use. */
#define MDEV_STREAM_FIRST_DRIVER	0x100

/* A reader that does not know the tag skips the record; without this flag it refuses the stream. */
#define MDEV_STREAM_OPTIONAL		(1 << 0)

/**
 * struct mdev_stream_record - the header before each payload
 * @size: length in bytes of the payload, which follows without padding
 * @flags: MDEV_STREAM_OPTIONAL or 0; a reader refuses other bits
 * @tag: the kind of payload: MDEV_STREAM_* or a driver's tag
 */
struct mdev_stream_record {
	__le64 size;
	__le32 flags;
	__le32 tag;
};

/* Eight bytes, without a terminating NUL. */
#define MDEV_STREAM_MAGIC		"MDEVMIG\n"
#define MDEV_STREAM_FRAMING		1
#define MDEV_STREAM_NAME_SIZE		16

/**
 * struct mdev_stream_match - payload of MDEV_STREAM_MATCH
 * @magic: MDEV_STREAM_MAGIC
 * @framing: MDEV_STREAM_FRAMING, the version of everything in this header
 * @version: version of the driver's format
 * @readable_by: the oldest version of a reader that can load the stream
 * @reserved: 0
 * @format: name of the driver's format, padded with NUL
 * @type: name of the device type, padded with NUL
 * @geometry: two sizes that the driver defines, 0 if not used
 *
 * All fields except the versions must be equal at the source and the destination.
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

/*
 * Length in bytes of the payload of MDEV_STREAM_CONFIG, PCI configuration space: the second that of
 * an express device, the first that of any other.
 */
#define MDEV_STREAM_CONFIG_SIZE		256
#define MDEV_STREAM_CONFIG_EXPRESS_SIZE	4096

/**
 * struct mdev_stream_interrupt - payload of MDEV_STREAM_INTERRUPT
 * @flags: MDEV_STREAM_INTX_SIGNALLED or 0; a reader refuses other bits
 *
 * A writer must set MDEV_STREAM_OPTIONAL. A reader that knows the record must load a session
 * without it as if MDEV_STREAM_INTX_SIGNALLED were set.
 */
struct mdev_stream_interrupt {
	__le32 flags;
};

/* INTx was signalled and not unmasked: the destination signals it once, asserted or not. */
#define MDEV_STREAM_INTX_SIGNALLED	(1 << 0)

/*
 * Greatest length in bytes of the payload of MDEV_STREAM_EVENTS: a bitmap with a bit for each
 * interrupt vector, vector 0 in the lowest bit of the first byte, and bits beyond the last vector 0.
 * A bit is set if the device has sent an event of the vector, for which it keeps no level: the
 * destination sends another. A session in which no bit is set lacks the record.
 */
#define MDEV_STREAM_EVENTS_MAX		256

/**
 * struct mdev_stream_end - payload of MDEV_STREAM_END
 * @length: bytes of the session before the header of this record
 * @crc: CRC-32C (polynomial 0x82f63b78, inverted at both ends) of the session up to
 *	@length inclusive
 */
struct mdev_stream_end {
	__le64 length;
	__le32 crc;
} __attribute__((packed));

#endif /* _UAPI_MDEV_STREAM_H */
