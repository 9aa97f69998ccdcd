// SPDX-License-Identifier: GPL-2.0
/*
 * Shows that the kernel's serial core leaves data unsent that is written while it suspends the port:
 * findings.md, 9.
 *
 * It writes a byte, which the kernel takes for the last one, waits for it to come back, and writes
 * another at once. Run it on a port of a PCI card, which it loops back, with two processors:
 *
 *   serial-start /dev/ttyS4 [ROUNDS]
 *
 * As a guest's init (with no arguments) it takes the only such port there is.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCM_LOOP
#define TIOCM_LOOP 0x8000 /* asm/termios.h, which libc's header excludes */
#endif
#define PATIENCE_MS 3000

static char power[256];

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 2;
}

static int set(const char *name, const char *value)
{
	char path[300];
	int fd, ok;

	snprintf(path, sizeof(path), "%s/%s", power, name);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, value, strlen(value)) > 0;
	if (fd >= 0)
		close(fd);
	return ok ? 0 : fail(path);
}

/* Reads what the kernel says of the port: "active" or "suspended". */
static const char *status(void)
{
	static char text[32];
	char path[300];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "%s/runtime_status", power);
	fd = open(path, O_RDONLY);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return text;
}

/* Waits for a byte to come back. */
static int comes_back(int tty)
{
	struct pollfd p = { .fd = tty, .events = POLLIN };
	char byte;

	return poll(&p, 1, PATIENCE_MS) == 1 && read(tty, &byte, 1) == 1;
}

static int unsent(int tty)
{
	int bytes = -1;

	ioctl(tty, TIOCOUTQ, &bytes);
	return bytes;
}

static int run(const char *node, const char *control, long rounds)
{
	int loop = TIOCM_LOOP, tty, lost = 0;
	const char *name = strrchr(node, '/') + 1;
	struct termios t;
	long round;

	tty = open(node, O_RDWR | O_NOCTTY);
	if (tty < 0 || tcgetattr(tty, &t))
		return fail(node);
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	cfsetspeed(&t, B115200);
	if (tcsetattr(tty, TCSANOW, &t) || ioctl(tty, TIOCMBIS, &loop))
		return fail(node);
	snprintf(power, sizeof(power), "/sys/class/tty/%s/device/power", name);
	/* Suspends it after each byte, which otherwise takes half a second. */
	if (set("autosuspend_delay_ms", "0") || set("control", control))
		return 2;
	for (round = 0; round < rounds; round++) {
		usleep(200);
		if (write(tty, "a", 1) != 1 || !comes_back(tty))
			goto lost;
		if (write(tty, "b", 1) != 1 || !comes_back(tty))
			goto lost;
		continue;
lost:
		if (!lost++)
			printf("round %ld: %d byte unsent for %d ms, port %s\n", round,
			       unsent(tty), PATIENCE_MS, status());
		/* A further byte takes the unsent one along. */
		if (write(tty, "c", 1) != 1 || !comes_back(tty) || !comes_back(tty))
			return printf("round %ld: nor does another byte help\n", round), 2;
	}
	printf("control=%s: %d of %ld rounds left a byte unsent\n", control, lost, rounds);
	fflush(stdout);
	return lost > 0;
}

/* Finds the port of a PCI card. */
static int find(char *node, size_t size)
{
	char link[300], path[4096];
	struct dirent *e;
	DIR *d = opendir("/sys/class/tty");

	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, "ttyS", 4))
			continue;
		snprintf(link, sizeof(link), "/sys/class/tty/%s/device", e->d_name);
		if (realpath(link, path) && strstr(path, "/pci0000:00/")) {
			snprintf(node, size, "/dev/%s", e->d_name);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	char node[280];
	/* The kernel hands parameters it does not know to init as its environment. */
	const char *given = argc > 2 ? argv[2] : getenv("rounds");
	long rounds = given ? atol(given) : 20000;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		return run(argv[1], "auto", rounds);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	if (!find(node, sizeof(node)))
		return fail("no port of a PCI card");
	printf("%s\n", node);
	if (run(node, "auto", rounds) < 2)
		run(node, "on", rounds);
	reboot(RB_POWER_OFF);
}
