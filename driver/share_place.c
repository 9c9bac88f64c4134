/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/share_place.c - where the processes of a shared controller meet
 *
 * A directory of the user's own holds three files for each controller: a lock that the owner holds
 * for as long as it has the device, a lock that each guest holds for as long as it has the BAR
 * mapped, and the owner's socket. Whoever gets the first lock is the owner, so of two that start at
 * once, or after an owner was killed, there is one; a socket found then is nobody's.
 */
#include "core/pci.h"
#include "driver/share.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 64

/* ---- the directory ---- */

/* Return: whether there is room for it */
static bool name_folder(char *buf, size_t len)
{
	const char *given = getenv("PLX_SHARE_DIR");
	int n;

	if (given && *given)
		n = snprintf(buf, len, "%s", given);
	else if (!geteuid())
		n = snprintf(buf, len, "/run/pollux");
	else
		n = snprintf(buf, len, "/var/tmp/pollux-%u", (unsigned)geteuid());
	return (size_t)n < len;
}

/* One that others may write to, or that others made in a directory for all, is not ours */
static int open_folder(struct share_place *p)
{
	struct stat st;
	int rc;

	if (!name_folder(p->folder, sizeof(p->folder))) {
		nvme_log(ERR,
			 "controller '%s': the directory to share it by, %s (PLX_SHARE_DIR), has a "
			 "name of more than %zu bytes: use a shorter one",
			 p->name, getenv("PLX_SHARE_DIR"), sizeof(p->folder) - 1);
		return -ENAMETOOLONG;
	}
	if (mkdir(p->folder, 0700) && errno != EEXIST) {
		rc = -errno;
		nvme_log(ERR,
			 "controller '%s': the directory to share it by, %s, cannot be made: %s: "
			 "set PLX_SHARE_DIR to another, the same for all of its processes",
			 p->name, p->folder, strerror(-rc));
		return rc;
	}
	p->dir = open(p->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (p->dir < 0 || fstat(p->dir, &st)) {
		rc = -errno;
		nvme_log(ERR, "controller '%s': the directory to share it by, %s: %s", p->name,
			 p->folder, strerror(-rc));
		return rc;
	}
	if (st.st_uid == geteuid() && !(st.st_mode & 077))
		return 0;
	nvme_log(ERR,
		 "controller '%s': the directory to share it by, %s, belongs to user %u with mode "
		 "%03o: it has to be this user's (%u) alone (700); PLX_SHARE_DIR names another",
		 p->name, p->folder, (unsigned)st.st_uid, (unsigned)st.st_mode & 0777,
		 (unsigned)geteuid());
	return -EPERM;
}

static int open_file(const struct share_place *p, const char *suffix)
{
	char name[sizeof(p->name) + 16];
	int fd, rc;

	snprintf(name, sizeof(name), "%s.%s", p->name, suffix);
	fd = openat(p->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	rc = -errno;
	nvme_log(ERR, "controller '%s': %s/%s: %s", p->name, p->folder, name, strerror(-rc));
	return rc;
}

/* By the descriptor: the directory cannot be exchanged, and its name may be long */
static void socket_address(const struct share_place *p, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%.60s.sock", p->dir,
		 p->name);
}

/* Of several ways to write an address the full one; a name may hold nothing that a path means */
static void take_name(struct share_place *p, const char *traddr)
{
	struct plx_pci_addr addr;
	char text[PLX_PCI_ADDR_TEXT], why[160];

	if (plx_pci_addr_parse(traddr, &addr, why, sizeof(why)))
		snprintf(p->name, sizeof(p->name), "%.40s", traddr);
	else
		snprintf(p->name, sizeof(p->name), "%s", plx_pci_addr_format(&addr, text));
	for (char *s = p->name; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != ':' && *s != '.')
			*s = '_';
}

/* ---- the owner ---- */

static int start_listening(struct share_place *p)
{
	struct sockaddr_un sa;
	char name[sizeof(p->name) + 8];
	int rc;

	snprintf(name, sizeof(name), "%s.sock", p->name);
	/* whose it was has lost the lock, so it is dead */
	if (unlinkat(p->dir, name, 0) && errno != ENOENT)
		goto fail;
	socket_address(p, &sa);
	p->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->listener >= 0 && !bind(p->listener, (struct sockaddr *)&sa, sizeof(sa)) &&
	    !listen(p->listener, BACKLOG))
		return 0;
fail:
	rc = -errno;
	nvme_log(ERR, "controller '%s': cannot be shared by %s/%s: %s", p->name, p->folder, name,
		 strerror(-rc));
	return rc;
}

/* Guests of a former owner may still ring doorbells, and the device is not free before they let
 * go. */
static int wait_for_guests(struct share_place *p)
{
	uint64_t deadline = plx_tsc() + SHARE_GUEST_MS * (plx_tsc_hz() / 1000);
	struct timespec pause = { .tv_nsec = 2000000 };

	p->users = open_file(p, "users");
	if (p->users < 0)
		return p->users;
	while (flock(p->users, LOCK_EX | LOCK_NB)) {
		if (plx_tsc() > deadline) {
			nvme_log(ERR,
				 "controller '%s': its former owner has ended, but processes that "
				 "shared it have not let go of it within %u ms: end them "
				 "(fuser %s/%s.users names them)",
				 p->name, SHARE_GUEST_MS, p->folder, p->name);
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int become_owner(struct share_place *p)
{
	char text[32];
	int rc, n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	/* for people who look */
	if (ftruncate(p->lock, 0) || pwrite(p->lock, text, (size_t)n, 0) != n)
		nvme_log(DEBUG, "controller '%s': its lock stays empty: %s", p->name,
			 strerror(errno));
	rc = wait_for_guests(p);
	return rc ? rc : start_listening(p);
}

void share_leave_place(struct share_place *p)
{
	char name[sizeof(p->name) + 8];

	if (p->listener >= 0) {
		snprintf(name, sizeof(name), "%s.sock", p->name);
		unlinkat(p->dir, name, 0);
		close(p->listener);
	}
	/* last: from then on there may be another owner */
	if (p->users >= 0)
		close(p->users);
	if (p->lock >= 0)
		close(p->lock);
	if (p->dir >= 0)
		close(p->dir);
	p->dir = p->lock = p->users = p->listener = -1;
}

/* ---- guests ---- */

/* Return: 0; -EAGAIN nobody listens (yet); -errno, logged */
static int connect_to_owner(const struct share_place *p, int *fd, int *users)
{
	struct sockaddr_un sa;
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	int rc;

	*users = -1;
	socket_address(p, &sa);
	*fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (*fd < 0 || connect(*fd, (struct sockaddr *)&sa, sizeof(sa))) {
		rc = errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN ? -EAGAIN : -errno;
		goto fail;
	}
	if (!getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &who, &len) && who.pid == getpid()) {
		nvme_log(ERR,
			 "controller '%s': this process has it already: use the controller that is "
			 "connected",
			 p->name);
		rc = -EBUSY;
		goto close;
	}
	*users = open_file(p, "users");
	rc = *users < 0 ? *users : 0;
	/* not to be had: there is a new owner, just about to begin */
	if (!rc && !flock(*users, LOCK_SH | LOCK_NB))
		return 0;
	rc = rc ? rc : -EAGAIN;
	goto close;
fail:
	if (rc != -EAGAIN)
		nvme_log(ERR, "controller '%s': its owner cannot be reached by %s/%s.sock: %s",
			 p->name, p->folder, p->name, strerror(-rc));
close:
	if (*fd >= 0)
		close(*fd);
	if (*users >= 0)
		close(*users);
	*fd = *users = -1;
	return rc;
}

static int no_owner_in_time(struct share_place *p)
{
	char pid[32] = "";
	ssize_t n = pread(p->lock, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? strcspn(pid, "\n") : 0] = 0;
	nvme_log(
		ERR,
		"controller '%s': process %s owns it, but lets nobody share it (waited %u ms): end "
		"it, or see what it waits for",
		p->name, *pid ? pid : "unknown", SHARE_START_MS);
	return -ETIMEDOUT;
}

int share_meet(const char *traddr, uint64_t deadline, struct share_place *p, int *fd, int *users)
{
	struct timespec pause = { .tv_nsec = 5000000 };
	int rc;

	*p = (struct share_place){ .dir = -1, .lock = -1, .users = -1, .listener = -1 };
	*fd = *users = -1;
	take_name(p, traddr);
	rc = open_folder(p);
	if (!rc) {
		p->lock = open_file(p, "lock");
		rc = p->lock < 0 ? p->lock : 0;
	}
	while (!rc) {
		if (!flock(p->lock, LOCK_EX | LOCK_NB)) {
			rc = become_owner(p);
			if (!rc)
				return 1;
			break;
		}
		rc = connect_to_owner(p, fd, users);
		if (!rc)
			break;
		if (rc != -EAGAIN)
			break;
		rc = plx_tsc() > deadline ? no_owner_in_time(p) : 0;
		nanosleep(&pause, NULL);
	}
	share_leave_place(p);
	return rc;
}
