// SPDX-License-Identifier: GPL-2.0
/*
 * What uapi/mdev_stream.h says, a line each; then the session on the standard input, read
 * with nothing but that header.
 */
#include <endian.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "mdev_stream.h"

#define VALUE(name)		printf(#name " %#llx\n", (unsigned long long)(name))
#define SIZE(type)		printf(#type " %zu\n", sizeof(struct type))
#define FIELD(type, name)	printf(#type "." #name " %zu\n", offsetof(struct type, name))

static void print_header(void)
{
	VALUE(MDEV_STREAM_MATCH);
	VALUE(MDEV_STREAM_END);
	VALUE(MDEV_STREAM_CONFIG);
	VALUE(MDEV_STREAM_INTERRUPT);
	VALUE(MDEV_STREAM_EVENTS);
	VALUE(MDEV_STREAM_FIRST_DRIVER);
	VALUE(MDEV_STREAM_OPTIONAL);
	VALUE(MDEV_STREAM_FRAMING);
	VALUE(MDEV_STREAM_NAME_SIZE);
	VALUE(MDEV_STREAM_CONFIG_SIZE);
	VALUE(MDEV_STREAM_CONFIG_EXPRESS_SIZE);
	VALUE(MDEV_STREAM_INTX_SIGNALLED);
	VALUE(MDEV_STREAM_EVENTS_MAX);

	SIZE(mdev_stream_record);
	FIELD(mdev_stream_record, size);
	FIELD(mdev_stream_record, flags);
	FIELD(mdev_stream_record, tag);

	SIZE(mdev_stream_match);
	FIELD(mdev_stream_match, magic);
	FIELD(mdev_stream_match, framing);
	FIELD(mdev_stream_match, version);
	FIELD(mdev_stream_match, readable_by);
	FIELD(mdev_stream_match, reserved);
	FIELD(mdev_stream_match, format);
	FIELD(mdev_stream_match, type);
	FIELD(mdev_stream_match, geometry);

	SIZE(mdev_stream_interrupt);
	FIELD(mdev_stream_interrupt, flags);

	SIZE(mdev_stream_end);
	FIELD(mdev_stream_end, length);
	FIELD(mdev_stream_end, crc);
}

static int read_exactly(void *to, size_t len)
{
	return fread(to, 1, len, stdin) == len;
}

/* Reads one record and prints it; 0 at the end of the session and where it is broken. */
static int print_record(void)
{
	struct mdev_stream_record record;
	unsigned char payload[4096];
	size_t size;

	if (!read_exactly(&record, sizeof(record)))
		return 0;
	size = le64toh(record.size);
	printf("record %zu %u %#x\n", size, le32toh(record.flags), le32toh(record.tag));
	if (size > sizeof(payload) || !read_exactly(payload, size))
		return 0;

	switch (le32toh(record.tag)) {
	case MDEV_STREAM_MATCH: {
		struct mdev_stream_match match;
		int same;

		if (size != sizeof(match))
			return 0;
		memcpy(&match, payload, sizeof(match));
		same = !memcmp(match.magic, MDEV_STREAM_MAGIC, sizeof(match.magic));
		printf("magic %s\n", same ? "right" : "other");
		printf("versions %u %u %u %u\n", le16toh(match.framing), le16toh(match.version),
		       le16toh(match.readable_by), le16toh(match.reserved));
		printf("format %.16s, type %.16s\n", match.format, match.type);
		printf("geometry %llu %llu\n", (unsigned long long)le64toh(match.geometry[0]),
		       (unsigned long long)le64toh(match.geometry[1]));
		return 1;
	}
	case MDEV_STREAM_INTERRUPT: {
		struct mdev_stream_interrupt interrupt;

		if (size != sizeof(interrupt))
			return 0;
		memcpy(&interrupt, payload, sizeof(interrupt));
		printf("interrupt %#x\n", le32toh(interrupt.flags));
		return 1;
	}
	case MDEV_STREAM_END: {
		struct mdev_stream_end end;

		if (size != sizeof(end))
			return 0;
		memcpy(&end, payload, sizeof(end));
		printf("length %llu, crc %#x\n", (unsigned long long)le64toh(end.length),
		       le32toh(end.crc));
		return 0;
	}
	default:
		return 1;
	}
}

int main(void)
{
	print_header();
	while (print_record())
		;
	printf("left %d\n", getchar() != EOF);
	return 0;
}
