// SPDX-License-Identifier: GPL-2.0
/*
 * stale-code: a processor that goes on executing an instruction that was replaced.
 *
 * A page of code is mapped twice, once to execute and once to write. One thread calls the code all
 * the time. The other one replaces its first byte, a NOP, by INT3, and then puts the NOP back. Each
 * time it lets all processors of the process serialize, by membarrier(). After that no call may
 * trap: Linux relies on this where it changes its own code (smp_text_poke_batch_finish() in
 * arch/x86/kernel/alternative.c).
 *
 * QEMU's TCG with a thread for each processor breaks it. notdirty_write() in accel/tcg/cputlb.c
 * invalidates the translations of a page before the store, not after it. A processor that
 * translates in between reads the old byte, and nothing invalidates that translation.
 *
 * For any x86-64 guest with two or more virtual processors.
 *
 *	cc -O2 -static -pthread -o stale-code stale-code.c
 *	./stale-code [REPLACEMENTS]
 */
#define _GNU_SOURCE
#include <err.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOP	0x90
#define INT3	0xcc
#define RET	0xc3
#define SIZE	4096

/* The same page, to write and to execute. */
static volatile unsigned char *writable;
static void (*code)(void);

static int processors[2];
static atomic_long calls, traps;
static atomic_bool ends;

/* The instruction after INT3 is the next NOP, so a call returns even if it has trapped. */
static void trap(int signal)
{
	(void)signal;
	atomic_fetch_add(&traps, 1);
}

static void find_processors(void)
{
	cpu_set_t set;
	int found = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		err(2, "sched_getaffinity");
	for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
		if (CPU_ISSET(i, &set))
			processors[found++] = i;
	if (found < 2)
		errx(2, "this needs two processors");
}

static void stay_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(2, "sched_setaffinity");
}

static void barrier(int command)
{
	if (syscall(SYS_membarrier, command, 0, 0))
		err(2, "membarrier");
}

static void map_code(void)
{
	int fd = memfd_create("code", 0);
	unsigned char *bytes;
	void *executable;

	if (fd < 0)
		err(2, "memfd_create");
	if (ftruncate(fd, SIZE))
		err(2, "ftruncate");
	bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	executable = mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED || executable == MAP_FAILED)
		err(2, "mmap");
	memset(bytes, NOP, 16);
	bytes[16] = RET;
	writable = bytes;
	code = (void (*)(void))executable;
}

static void *call_all_the_time(void *unused)
{
	stay_on(processors[1]);
	while (!atomic_load(&ends)) {
		code();
		atomic_fetch_add(&calls, 1);
	}
	return unused;
}

/* Returns once so many calls more have returned. */
static void await_calls(long count)
{
	long until = atomic_load(&calls) + count;

	while (atomic_load(&calls) < until)
		__builtin_ia32_pause();
}

static void replace(unsigned char byte)
{
	*writable = byte;
	barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
}

/* Returns whether INT3 stays in force after the NOP is back. */
static int stays(void)
{
	long before;

	replace(INT3);
	replace(NOP);
	/* The call during the replacement may have trapped; the next one has begun since. */
	await_calls(2);
	before = atomic_load(&traps);
	await_calls(3);
	return atomic_load(&traps) != before;
}

static long count_stays(long replacements)
{
	long stayed = 0;

	for (long i = 0; i < replacements; i++)
		stayed += stays();
	return stayed;
}

int main(int argc, char **argv)
{
	long replacements = argc > 1 ? atol(argv[1]) : 100000;
	struct sigaction action = { .sa_handler = trap };
	pthread_t caller;
	long stayed;

	if (argc > 2 || replacements < 1)
		errx(2, "usage: stale-code [REPLACEMENTS]");
	find_processors();
	map_code();
	if (sigaction(SIGTRAP, &action, NULL))
		err(2, "sigaction");
	barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
	stay_on(processors[0]);
	if (pthread_create(&caller, NULL, call_all_the_time, NULL))
		errx(2, "pthread_create failed");
	stayed = count_stays(replacements);
	atomic_store(&ends, 1);
	if (pthread_join(caller, NULL))
		errx(2, "pthread_join failed");
	printf("%ld of %ld replacements left the old byte in force (%ld calls, %ld traps)\n",
	       stayed, replacements, atomic_load(&calls), atomic_load(&traps));
	return stayed != 0;
}
