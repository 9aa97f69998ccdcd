// SPDX-License-Identifier: GPL-2.0
/*
 * type1: two defects of drivers/vfio/vfio_iommu_type1.c.
 *
 * "deadlock": two threads unmap memory that a device has pinned, each its own page. In
 * vfio_notify_dma_unmap() one holds device_list_lock and calls the device, which unpins its page,
 * and vfio_iommu_type1_unpin_pages() waits for iommu->lock. The other one holds iommu->lock and
 * waits for device_list_lock.
 *
 * "bits": update_user_bitmap() shifts the bitmap of a mapping in place, by the mapping's distance
 * from the start of the range in pages modulo 64. Then vfio_iova_dirty_bitmap() clears only as many
 * bits as the mapping has pages. The bits beyond stay, and later calls report them and shift them
 * on.
 *
 * The device must pin pages for as long as it is told to. Mainline has no sample that does, so this
 * uses memory_rs (tools/mig-test/kmod), whose registers are the calls of a driver. Its pin_dma()
 * calls vfio_pin_pages(), and its dma_unmap() vfio_unpin_pages().
 *
 *	cc -O2 -static -pthread -o type1 type1.c
 *	./type1 UUID deadlock
 *	./type1 UUID bits
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE		4096ULL
#define IOVA		0x40000000ULL

/* The registers of memory_rs: see tools/mig-test/kmod/memory_registers.rs. */
#define CHANNEL_SIZE	0x4000
#define REG_IOVA	0x00
#define REG_LENGTH	0x08
#define REG_OFFSET	0x10
#define REG_CALL	0x18
#define CALL_WRITE	2
#define CALL_PIN_DMA	5

/* Bounds of "deadlock", which was seen in the first seconds. */
#define SECONDS_WITHOUT_PROGRESS	10
#define SECONDS				60

static int container, device;
static uint64_t bar0;

static void open_container(int group)
{
	int status = ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);

	if (status)
		err(2, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(2, "VFIO_SET_IOMMU");
}

static void open_device(const char *uuid)
{
	struct vfio_region_info region = { .argsz = sizeof(region) };
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
	container = open("/dev/vfio/vfio", O_RDWR);
	if (group < 0 || container < 0)
		err(2, "open %s and /dev/vfio/vfio", node);
	open_container(group);
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, uuid);
	if (device < 0)
		err(2, "VFIO_GROUP_GET_DEVICE_FD");
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region))
		err(2, "VFIO_DEVICE_GET_REGION_INFO");
	bar0 = region.offset;
}

static void *new_pages(uint64_t pages)
{
	void *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		err(2, "mmap");
	return memory;
}

static void map_dma(void *memory, uint64_t iova, uint64_t pages)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory,
		.iova = iova,
		.size = pages * PAGE,
	};

	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
		err(2, "VFIO_IOMMU_MAP_DMA");
}

static void unmap_dma(uint64_t iova, uint64_t pages)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = iova,
		.size = pages * PAGE,
	};

	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
		err(2, "VFIO_IOMMU_UNMAP_DMA");
}

static void set(unsigned int channel, uint64_t where, const void *value, size_t size)
{
	uint64_t at = bar0 + channel * CHANNEL_SIZE + where;

	if (pwrite(device, value, size, at) != (ssize_t)size)
		err(2, "write to register 0x%llx", (unsigned long long)where);
}

/* Lets the driver make a call. */
static void call(unsigned int channel, uint32_t number, uint64_t iova, uint64_t length,
		 uint64_t offset)
{
	set(channel, REG_IOVA, &iova, sizeof(iova));
	set(channel, REG_LENGTH, &length, sizeof(length));
	set(channel, REG_OFFSET, &offset, sizeof(offset));
	set(channel, REG_CALL, &number, sizeof(number));
}

/* Rounds of each thread of "deadlock"; in memory that two processes share. */
static atomic_long *rounds;
static atomic_bool ends;

static void *unmap_all_the_time(void *number)
{
	unsigned int channel = (uintptr_t)number;
	uint64_t iova = IOVA + channel * PAGE;
	void *memory = new_pages(1);

	while (!atomic_load(&ends)) {
		map_dma(memory, iova, 1);
		/*
		 * The last argument lets dma_unmap() take a millisecond before it unpins, as if
		 * hardware had to stop. Without it the threads meet, too, but after thousands of
		 * rounds if they share a processor.
		 */
		call(channel, CALL_PIN_DMA, iova, PAGE, 1);
		unmap_dma(iova, 1);
		atomic_fetch_add(&rounds[channel], 1);
	}
	return NULL;
}

static void deadlock_child(const char *uuid)
{
	pthread_t threads[2];

	open_device(uuid);
	for (uintptr_t i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, unmap_all_the_time, (void *)i))
			errx(2, "pthread_create failed");
	sleep(SECONDS);
	atomic_store(&ends, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	exit(0);
}

static void print_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		printf("  %s", line);
	if (file)
		fclose(file);
}

/* Prints where the kernel has each thread, as root and if the kernel tells. */
static void print_stacks(pid_t pid)
{
	char path[300];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && (entry = readdir(tasks))) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == pid)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stack", pid, entry->d_name);
		printf("thread %s:\n", entry->d_name);
		print_file(path);
	}
	if (tasks)
		closedir(tasks);
}

static int report_hang(pid_t child)
{
	int status;

	printf("DEADLOCK: no progress for %d s, after %ld and %ld rounds\n",
	       SECONDS_WITHOUT_PROGRESS, atomic_load(&rounds[0]), atomic_load(&rounds[1]));
	print_stacks(child);
	if (kill(child, SIGKILL))
		err(2, "kill");
	sleep(2);
	if (waitpid(child, &status, WNOHANG) == 0)
		printf("process %d has been killed and does not end; only a reboot ends it\n",
		       child);
	return 1;
}

/* Watches the threads from another process, because theirs cannot end once they hang. */
static int watch(pid_t child)
{
	long before = -1;
	int status, quiet = 0;

	while (waitpid(child, &status, WNOHANG) == 0) {
		long now = atomic_load(&rounds[0]) + atomic_load(&rounds[1]);

		quiet = now == before ? quiet + 1 : 0;
		before = now;
		if (quiet == SECONDS_WITHOUT_PROGRESS)
			return report_hang(child);
		sleep(1);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		errx(2, "the process with the threads has failed");
	printf("no deadlock in %d s and %ld rounds\n", SECONDS, before);
	return 0;
}

static int deadlock(const char *uuid)
{
	pid_t child;

	rounds = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (rounds == MAP_FAILED)
		err(2, "mmap");
	child = fork();
	if (child < 0)
		err(2, "fork");
	if (child == 0)
		deadlock_child(uuid);
	return watch(child);
}

static void track_dirty(uint32_t flag)
{
	struct vfio_iommu_type1_dirty_bitmap dirty = { .argsz = sizeof(dirty), .flags = flag };

	if (ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &dirty))
		err(2, "VFIO_IOMMU_DIRTY_PAGES");
}

/* The range that "bits" asks for: two words of the bitmap. */
#define RANGE_PAGES	128

static void get_bitmap(uint64_t *words)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} request = {
		.head = {
			.argsz = sizeof(request),
			.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
		},
		.get = {
			.iova = IOVA,
			.size = RANGE_PAGES * PAGE,
			.bitmap.pgsize = PAGE,
			.bitmap.size = RANGE_PAGES / 8,
			.bitmap.data = (void *)words,
		},
	};

	memset(words, 0, RANGE_PAGES / 8);
	if (ioctl(container, VFIO_IOMMU_DIRTY_PAGES, &request))
		err(2, "VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP");
}

static int is_set(const uint64_t *words, unsigned int page)
{
	return words[page / 64] >> page % 64 & 1;
}

/* Asks once, prints the answer, and returns how many pages differ from those expected. */
static int ask(unsigned int first, unsigned int second)
{
	uint64_t words[RANGE_PAGES / 64];
	int wrong = 0;

	get_bitmap(words);
	printf(" {");
	for (unsigned int page = 0; page < RANGE_PAGES; page++) {
		if (is_set(words, page))
			printf(" %u", page);
		wrong += is_set(words, page) != (page == first || page == second);
	}
	printf(" }");
	return wrong;
}

/* Writes the first and the last page of a mapping of three, and asks five times. */
static int bits_at(void *memory, unsigned int distance)
{
	uint64_t iova = IOVA + distance * PAGE;
	int wrong;

	map_dma(memory, iova, 3);
	track_dirty(VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
	call(0, CALL_WRITE, iova, 1, 0);
	call(0, CALL_WRITE, iova + 2 * PAGE, 1, 0);
	printf("mapping of pages %u to %u, %u and %u written, found:", distance, distance + 2,
	       distance, distance + 2);
	wrong = ask(distance, distance + 2);
	for (int i = 0; i < 4; i++)
		wrong += ask(RANGE_PAGES, RANGE_PAGES);
	printf("\n");
	track_dirty(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
	unmap_dma(iova, 3);
	return wrong;
}

static int bits(const char *uuid)
{
	void *memory = new_pages(3);
	int wrong;

	open_device(uuid);
	printf("expected: the pages written, then none\n");
	wrong = bits_at(memory, 64) + bits_at(memory, 70);
	printf("%s: %d pages wrong\n", wrong ? "STRAY BITS" : "correct", wrong);
	return wrong != 0;
}

int main(int argc, char **argv)
{
	/* A line that is printed before a hang must not stay in a buffer. */
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc == 3 && !strcmp(argv[2], "deadlock"))
		return deadlock(argv[1]);
	if (argc == 3 && !strcmp(argv[2], "bits"))
		return bits(argv[1]);
	errx(2, "usage: type1 UUID deadlock|bits");
}
