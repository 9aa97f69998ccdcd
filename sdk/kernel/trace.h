/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events: what the migration of a device does, step by step. base/trace.rs triggers them, and
 * Documentation/tracing.md describes them.
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM mdev_sdk

#if !defined(MDEV_SDK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define MDEV_SDK_TRACE_H

#include <linux/device.h>
#include <linux/tracepoint.h>
#include <uapi/linux/vfio.h>

TRACE_DEFINE_ENUM(VFIO_DEVICE_STATE_ERROR);
TRACE_DEFINE_ENUM(VFIO_DEVICE_STATE_STOP);
TRACE_DEFINE_ENUM(VFIO_DEVICE_STATE_RUNNING);
TRACE_DEFINE_ENUM(VFIO_DEVICE_STATE_STOP_COPY);
TRACE_DEFINE_ENUM(VFIO_DEVICE_STATE_RESUMING);
TRACE_DEFINE_ENUM(VFIO_DEVICE_STATE_RUNNING_P2P);
TRACE_DEFINE_ENUM(VFIO_DEVICE_STATE_PRE_COPY);
TRACE_DEFINE_ENUM(VFIO_DEVICE_STATE_PRE_COPY_P2P);

#define show_mdev_state(state)						\
	__print_symbolic(state,						\
		{ VFIO_DEVICE_STATE_ERROR,		"ERROR" },	\
		{ VFIO_DEVICE_STATE_STOP,		"STOP" },	\
		{ VFIO_DEVICE_STATE_RUNNING,		"RUNNING" },	\
		{ VFIO_DEVICE_STATE_STOP_COPY,		"STOP_COPY" },	\
		{ VFIO_DEVICE_STATE_RESUMING,		"RESUMING" },	\
		{ VFIO_DEVICE_STATE_RUNNING_P2P,	"RUNNING_P2P" },\
		{ VFIO_DEVICE_STATE_PRE_COPY,		"PRE_COPY" },	\
		{ VFIO_DEVICE_STATE_PRE_COPY_P2P,	"PRE_COPY_P2P" })

TRACE_EVENT(mdev_sdk_arc,
	TP_PROTO(struct device *dev, unsigned int from, unsigned int to, int error),
	TP_ARGS(dev, from, to, error),
	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(unsigned int, from)
		__field(unsigned int, to)
		__field(int, error)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->from = from;
		__entry->to = to;
		__entry->error = error;
	),
	TP_printk("%s: %s -> %s: %d", __get_str(device), show_mdev_state(__entry->from),
		  show_mdev_state(__entry->to), __entry->error)
);

TRACE_EVENT(mdev_sdk_session,
	TP_PROTO(struct device *dev, u64 number, bool loads),
	TP_ARGS(dev, number, loads),
	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(u64, number)
		__field(bool, loads)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->number = number;
		__entry->loads = loads;
	),
	TP_printk("%s: session %llu begins, %s", __get_str(device), __entry->number,
		  __entry->loads ? "loading" : "saving")
);

DECLARE_EVENT_CLASS(mdev_sdk_record,
	TP_PROTO(struct device *dev, u32 tag, u64 size),
	TP_ARGS(dev, tag, size),
	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(u32, tag)
		__field(u64, size)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->tag = tag;
		__entry->size = size;
	),
	TP_printk("%s: tag %#x, %llu bytes", __get_str(device), __entry->tag, __entry->size)
);

DEFINE_EVENT(mdev_sdk_record, mdev_sdk_save_record,
	TP_PROTO(struct device *dev, u32 tag, u64 size),
	TP_ARGS(dev, tag, size)
);

DEFINE_EVENT(mdev_sdk_record, mdev_sdk_load_record,
	TP_PROTO(struct device *dev, u32 tag, u64 size),
	TP_ARGS(dev, tag, size)
);

DECLARE_EVENT_CLASS(mdev_sdk_pages,
	TP_PROTO(struct device *dev, u64 iova, u64 pages, int error),
	TP_ARGS(dev, iova, pages, error),
	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(u64, iova)
		__field(u64, pages)
		__field(int, error)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->iova = iova;
		__entry->pages = pages;
		__entry->error = error;
	),
	TP_printk("%s: IOVA %#llx, %llu pages: %d", __get_str(device), __entry->iova,
		  __entry->pages, __entry->error)
);

DEFINE_EVENT(mdev_sdk_pages, mdev_sdk_pin,
	TP_PROTO(struct device *dev, u64 iova, u64 pages, int error),
	TP_ARGS(dev, iova, pages, error)
);

DEFINE_EVENT(mdev_sdk_pages, mdev_sdk_unpin,
	TP_PROTO(struct device *dev, u64 iova, u64 pages, int error),
	TP_ARGS(dev, iova, pages, error)
);

TRACE_EVENT(mdev_sdk_unmap,
	TP_PROTO(struct device *dev, u64 iova, u64 last),
	TP_ARGS(dev, iova, last),
	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(u64, iova)
		__field(u64, last)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->iova = iova;
		__entry->last = last;
	),
	TP_printk("%s: IOVA %#llx to %#llx", __get_str(device), __entry->iova, __entry->last)
);

TRACE_EVENT(mdev_sdk_report,
	TP_PROTO(struct device *dev, u64 iova, u64 last, u64 dirty),
	TP_ARGS(dev, iova, last, dirty),
	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(u64, iova)
		__field(u64, last)
		__field(u64, dirty)
	),
	TP_fast_assign(
		__assign_str(device);
		__entry->iova = iova;
		__entry->last = last;
		__entry->dirty = dirty;
	),
	TP_printk("%s: IOVA %#llx to %#llx: %llu pages dirty", __get_str(device), __entry->iova,
		  __entry->last, __entry->dirty)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
