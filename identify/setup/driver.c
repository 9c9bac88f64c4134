/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/driver.c - which driver, whether it is there, and the switch from one to another
 */
#include "core/text.h"
#include "identify/setup/setup.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SWITCH_NS (20 * PLX_NS_PER_S) /* a controller that is slow to stop or start */

/* ---- other programs ---- */

bool setup_find_program(const char *name, char out[256])
{
	const char *path = getenv("PATH");
	char dirs[4096], *at = dirs, *dir;

	/* an ordinary user's PATH has no sbin */
	snprintf(dirs, sizeof(dirs), "%s:/usr/sbin:/sbin", path ? path : "/usr/bin:/bin");
	while ((dir = strsep(&at, ":"))) {
		if (*dir == '/' && snprintf(out, 256, "%s/%s", dir, name) < 256 &&
		    !access(out, X_OK))
			return true;
	}
	return false;
}

static void read_last_line(int fd, char *out, size_t len)
{
	char *line = NULL;
	size_t cap = 0;
	FILE *f = fdopen(fd, "r");

	while (f && getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (*line)
			snprintf(out, len, "%s", line);
	}
	free(line);
	if (f)
		fclose(f);
	else
		close(fd);
}

/* Return: 0; an error number */
static int spawn(pid_t *pid, const char *path, const char *const argv[], int output)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t defaults;
	int rc;

	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	sigaddset(&defaults, SIGXFSZ);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &defaults);
	/* a Ctrl-C at the terminal is for this program, which ends when the other is done */
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
	rc = posix_spawn(pid, path, &actions, &attr, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return rc;
}

int setup_run(const char *const argv[], char *out, size_t len)
{
	char path[256];
	int fds[2], rc, status;
	pid_t pid;

	*out = '\0';
	if (!setup_find_program(argv[0], path))
		return -ENOENT;
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	rc = spawn(&pid, path, argv, fds[1]);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		return -rc;
	}
	read_last_line(fds[0], out, len);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- which driver ---- */

const char *setup_choose_driver(const struct plx_pci_func *f)
{
	if (f->iommu_group >= 0)
		return SETUP_VFIO;
	if (f->is_vf) {
		setup_complain(
			"%s has no IOMMU group, and a virtual function needs vfio-pci: enable the "
			"IOMMU in the firmware and boot with intel_iommu=on or amd_iommu=on",
			f->name);
		return NULL;
	}
	fprintf(stderr,
		"%s: %s has no IOMMU group: %s it is, which lets the device reach all of memory "
		"and "
		"has no MSI-X interrupts; for vfio-pci enable the IOMMU in the firmware and boot "
		"with "
		"intel_iommu=on or amd_iommu=on\n",
		SETUP_NAME, f->name, SETUP_UIO);
	return SETUP_UIO;
}

int setup_load_driver(const char *driver, bool dry_run)
{
	const char *argv[] = { "modprobe", driver, NULL, NULL, NULL };
	char said[300];
	int rc;

	if (plx_pci_driver_there(driver) || dry_run)
		return PLX_EXIT_OK;
	if (*plx_pci_root()) { /* the modules of the kernel that runs are those of that root */
		argv[1] = "-d";
		argv[2] = plx_pci_root();
		argv[3] = driver;
	}
	rc = setup_run(argv, said, sizeof(said));
	if (!rc && plx_pci_driver_there(driver))
		return PLX_EXIT_OK;
	if (rc == -ENOENT)
		return setup_complain(
			"the driver '%s' is not in the kernel, and there is no modprobe to "
			"load it: install kmod",
			driver);
	if (rc < 0)
		return setup_complain(
			"the driver '%s' is not in the kernel, and modprobe cannot be run: "
			"%s",
			driver, strerror(-rc));
	return setup_complain(
		"the driver '%s' is not in the kernel, and modprobe could not load it%s%s: "
		"install the modules of this kernel, or use a kernel that has it",
		driver, *said ? ": " : "", said);
}

/* ---- the switch ---- */

static int take_and_give(const struct plx_pci_func *f, const char *driver, const char *override,
			 const char **step)
{
	int rc;

	*step = "its driver_override cannot be set";
	rc = plx_pci_override(&f->addr, override);
	if (rc)
		return rc;
	*step = "its driver does not let go of it";
	rc = plx_pci_unbind(&f->addr);
	if (!rc)
		rc = plx_pci_wait_driver(&f->addr, "", SWITCH_NS);
	if (rc || !*driver)
		return rc;
	*step = "the driver does not take it";
	rc = plx_pci_bind(&f->addr, driver);
	if (!rc)
		rc = plx_pci_wait_driver(&f->addr, driver, SWITCH_NS);
	return rc;
}

int setup_switch(const struct plx_pci_func *f, const char *driver, const char *override)
{
	const char *step, *what;
	struct plx_pci_func now;
	int rc;

	rc = take_and_give(f, driver, override, &step);
	if (!rc)
		return PLX_EXIT_OK;
	setup_complain("%s: %s -> %s: %s: %s; 'dmesg' may say why", f->name,
		       *f->driver ? f->driver : "no driver", *driver ? driver : "no driver", step,
		       strerror(-rc));
	rc = plx_pci_read(&f->addr, &now);
	if (!rc && strcmp(now.driver, f->driver))
		rc = take_and_give(f, f->driver, f->driver_override, &what);
	else if (!rc)
		rc = plx_pci_override(&f->addr, f->driver_override);
	if (rc)
		return setup_complain(
			"%s: no driver has it now, and '%s' does not take it back: %s: "
			"'plx-setup restore %s' tries again",
			f->name, f->driver, strerror(-rc), f->name);
	return PLX_EXIT_FAILED;
}

/* driverctl takes the device from its driver and lets the kernel probe anew, whatever it is
 * asked */
int setup_persist(const struct plx_pci_func *f, const char *driver, bool dry_run)
{
	const char *set[] = { "driverctl", "set-override", f->name, driver, NULL };
	const char *unset[] = { "driverctl", "unset-override", f->name, NULL };
	char said[300];
	int rc;

	if (dry_run)
		return PLX_EXIT_OK;
	rc = setup_run(*driver ? set : unset, said, sizeof(said));
	if (rc)
		return setup_complain("%s: driverctl could not %s its driver%s%s", f->name,
				      *driver ? "remember" : "forget", *said || rc < 0 ? ": " : "",
				      rc < 0 ? strerror(-rc) : said);
	rc = *driver ? plx_pci_wait_driver(&f->addr, driver, SWITCH_NS) : 0;
	return rc ? setup_complain("%s: '%s' has not taken it from driverctl: %s", f->name, driver,
				   strerror(-rc))
		  : PLX_EXIT_OK;
}
