// SPDX-License-Identifier: GPL-2.0
/*
 * mtty: what samples/vfio-mdev/mtty.c does otherwise than VFIO's interface or a UART has it.
 *
 * Prints a line for each thing that is not as expected. Checks undo by hand what they change,
 * because the sample's reset does not.
 *
 *	cc -O2 -static -o mtty mtty.c
 *	./mtty UUID
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PORT_SIZE	8

/* VFIO_DEVICE_STATE_PRE_COPY, which <linux/vfio.h> has since 6.2. */
#define STATE_PRE_COPY	6

static int device;
static uint64_t port, config;
static int checks, violations;

static void expect(const char *what, long expected, long found)
{
	checks++;
	if (expected == found)
		return;
	violations++;
	printf("%s: expected %ld, found %ld\n", what, expected, found);
}

static int open_group(const char *uuid)
{
	char path[128], target[256], node[300];
	ssize_t length;
	int group;

	snprintf(path, sizeof(path), "/sys/bus/mdev/devices/%s/iommu_group", uuid);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		err(2, "%s", path);
	target[length] = 0;
	snprintf(node, sizeof(node), "/dev/vfio/%s", strrchr(target, '/') + 1);
	group = open(node, O_RDWR);
	if (group < 0)
		err(2, "%s", node);
	return group;
}

static void open_device(const char *uuid)
{
	int group = open_group(uuid), container = open("/dev/vfio/vfio", O_RDWR);

	if (container < 0)
		err(2, "/dev/vfio/vfio");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		err(2, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(2, "VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, uuid);
	if (device < 0)
		err(2, "VFIO_GROUP_GET_DEVICE_FD");
}

static struct vfio_region_info region(uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		err(2, "VFIO_DEVICE_GET_REGION_INFO");
	return info;
}

static uint8_t get(unsigned int reg)
{
	uint8_t value;

	if (pread(device, &value, 1, port + reg) != 1)
		err(2, "read register %u", reg);
	return value;
}

static void put(unsigned int reg, uint8_t value)
{
	if (pwrite(device, &value, 1, port + reg) != 1)
		err(2, "write register %u", reg);
}

static void check_info(void)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	if (ioctl(device, VFIO_DEVICE_GET_INFO, &info))
		err(2, "VFIO_DEVICE_GET_INFO");
	expect("VFIO_DEVICE_RESET", 0, ioctl(device, VFIO_DEVICE_RESET));
	expect("VFIO_DEVICE_FLAGS_RESET in VFIO_DEVICE_GET_INFO", 1,
	       !!(info.flags & VFIO_DEVICE_FLAGS_RESET));
	/* A function of conventional PCI has as much. */
	expect("bytes of configuration space", 256, region(VFIO_PCI_CONFIG_REGION_INDEX).size);
}

/* Returns the bytes transferred, or the error as a negative number. */
static long transfer(int write, uint64_t at)
{
	uint32_t value = 0;
	ssize_t done = write ? pwrite(device, &value, 4, at) : pread(device, &value, 4, at);

	return done < 0 ? -errno : done;
}

/*
 * The errors are those of vfio-pci. What the sample returns behind configuration space is memory of
 * the kernel's, of which this reads four bytes.
 */
static void check_ends(void)
{
	uint64_t end = config + region(VFIO_PCI_CONFIG_REGION_INDEX).size;

	expect("pread() of 4 bytes at the end of BAR 0", -EINVAL,
	       transfer(0, port + PORT_SIZE));
	expect("pwrite() of 4 bytes at the end of BAR 0", -EINVAL,
	       transfer(1, port + PORT_SIZE));
	expect("pread() of 4 bytes at the end of configuration space", -EFAULT, transfer(0, end));
}

/* Calls VFIO_DEVICE_SET_IRQS for INTx, with an eventfd if it is not -1. */
static void set_intx(uint32_t action, int event)
{
	struct {
		struct vfio_irq_set head;
		int32_t event;
	} set = {
		.head = {
			.argsz = sizeof(set.head) + (event < 0 ? 0 : sizeof(set.event)),
			.flags = action | (event < 0 ? VFIO_IRQ_SET_DATA_NONE :
						       VFIO_IRQ_SET_DATA_EVENTFD),
			.index = VFIO_PCI_INTX_IRQ_INDEX,
			.count = 1,
		},
		.event = event,
	};

	if (ioctl(device, VFIO_DEVICE_SET_IRQS, &set))
		err(2, "VFIO_DEVICE_SET_IRQS");
}

static long signals(int event)
{
	uint64_t count;

	return read(event, &count, sizeof(count)) == sizeof(count) ? (long)count : 0;
}

/*
 * The port loops what it transmits back, and IER = 1 asserts INTx while a byte waits to be read.
 * A signal masks INTx, as VFIO_IRQ_INFO_AUTOMASKED says.
 */
static void check_intx(void)
{
	int event = eventfd(0, EFD_NONBLOCK);
	long seen;

	if (event < 0)
		err(2, "eventfd");
	set_intx(VFIO_IRQ_SET_ACTION_TRIGGER, event);
	put(UART_FCR, UART_FCR_ENABLE_FIFO);
	put(UART_IER, UART_IER_RDI);
	put(UART_TX, 'a');
	expect("signals of a first byte", 1, signals(event));
	get(UART_RX);
	put(UART_TX, 'b');
	expect("signals of a second byte, while INTx is masked", 0, signals(event));
	set_intx(VFIO_IRQ_SET_ACTION_UNMASK, -1);
	seen = signals(event);
	expect("signals of the second byte, once INTx is unmasked", 1, seen);
	put(UART_TX, 'c');
	seen += signals(event);
	expect("signals of the second and a third byte together", 1, seen);
	put(UART_IER, 0);
	put(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
	close(event);
}

/* Sets the state of migration; returns the data file, or -1 if there is none. */
static int set_state(uint32_t state)
{
	struct {
		struct vfio_device_feature head;
		struct vfio_device_feature_mig_state state;
	} feature = {
		.head = {
			.argsz = sizeof(feature),
			.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
		},
		.state = { .device_state = state },
	};

	if (ioctl(device, VFIO_DEVICE_FEATURE, &feature))
		err(2, "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE");
	return feature.state.data_fd;
}

static void check_pre_copy(void)
{
	int file = set_state(STATE_PRE_COPY);
	char buffer[4096];
	ssize_t done;

	do
		done = read(file, buffer, sizeof(buffer));
	while (done > 0);
	expect("read() at the end of what PRE_COPY has", -ENOMSG, done < 0 ? -errno : 0);
	close(file);
	set_state(VFIO_DEVICE_STATE_RUNNING);
}

static void check_reset(void)
{
	put(UART_SCR, 0x5a);
	ioctl(device, VFIO_DEVICE_RESET);
	expect("SCR after 0x5a was written and VFIO_DEVICE_RESET", 0, get(UART_SCR));
	put(UART_SCR, 0);
	/* While it is set, the divisor hides RBR, THR and IER. */
	put(UART_LCR, UART_LCR_DLAB);
	ioctl(device, VFIO_DEVICE_RESET);
	expect("DLAB after it was set and VFIO_DEVICE_RESET", 0, !!(get(UART_LCR) & UART_LCR_DLAB));
	put(UART_LCR, 0);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: mtty UUID");
	open_device(argv[1]);
	port = region(VFIO_PCI_BAR0_REGION_INDEX).offset;
	config = region(VFIO_PCI_CONFIG_REGION_INDEX).offset;
	check_info();
	check_ends();
	check_intx();
	check_pre_copy();
	check_reset();
	printf("%d of %d checks are violated\n", violations, checks);
	return violations != 0;
}
