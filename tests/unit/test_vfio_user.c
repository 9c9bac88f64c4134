/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the vfio-user front end: its socket, life of connections, framing, VERSION
 */
#include "tests/unit/vfio_user_peer.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct peer_server s;
static struct peer p, other;

static void start(void)
{
	struct peer_server_opts o = { 0 };

	cr_assert_eq(peer_server_init(&s, &o), 0);
}

static void stop(void)
{
	peer_server_fini(&s);
}

TestSuite(vfio_user, .init = start, .fini = stop);

static int recv_closed(struct peer *q)
{
	int rc;

	do
		rc = peer_recv(q);
	while (rc != -ECONNRESET && rc != PEER_TIMEOUT);
	return rc;
}

/* ---- the socket ---- */

Test(vfio_user, create_refuses_bad_options)
{
	struct plx_nvmf_vfio_user_opts o = { .dir = s.dir,
					     .subsystem = s.subsystem,
					     .thread = s.thread };
	char path[128];

	cr_assert_null(plx_nvmf_vfio_user_create(&o));
	cr_assert_eq(errno, EADDRINUSE);
	o.dir = "/nonexistent/directory";
	cr_assert_null(plx_nvmf_vfio_user_create(&o));
	cr_assert_eq(errno, ENOENT);
	memset(path, 'a', sizeof path - 1);
	path[sizeof path - 1] = 0;
	path[0] = '/';
	o.dir = path;
	cr_assert_null(plx_nvmf_vfio_user_create(&o));
	cr_assert_eq(errno, ENAMETOOLONG);
	o.dir = NULL;
	cr_assert_null(plx_nvmf_vfio_user_create(&o));
	cr_assert_eq(errno, EINVAL);
	o.dir = s.dir;
	o.max_queue_size = 1;
	cr_assert_null(plx_nvmf_vfio_user_create(&o));
	cr_assert_eq(errno, EINVAL);
}

Test(vfio_user, socket_is_private_stale_one_is_replaced_and_removed_in_the_end)
{
	struct plx_nvmf_vfio_user_opts o = { .subsystem = s.subsystem, .thread = s.thread };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/pollux-stale-XXXXXX";
	struct plx_nvmf_vfio_user *v;
	struct stat st;
	int fd;

	cr_assert(mkdtemp(dir));
	snprintf(a.sun_path, sizeof a.sun_path, "%s/cntrl", dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	close(fd);
	o.dir = dir;
	v = plx_nvmf_vfio_user_create(&o);
	cr_assert(v);
	cr_assert_eq(stat(a.sun_path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	plx_nvmf_vfio_user_destroy(v);
	cr_assert_neq(stat(a.sun_path, &st), 0);
	rmdir(dir);
}

Test(vfio_user, second_client_is_refused_and_a_later_one_served)
{
	cr_assert_eq(peer_start(&p, &s), 0);
	cr_assert_eq(peer_stats(&s).connected, 1);
	cr_assert_eq(peer_connect(&other, &s), 0);
	cr_assert_eq(recv_closed(&other), -ECONNRESET);
	peer_close(&other);
	cr_assert_eq(peer_stats(&s).connected, 1);
	peer_close(&p);
	cr_assert(peer_poll(&s, peer_nobody, &s));
	cr_assert_eq(peer_start(&p, &s), 0);
	cr_assert_eq(peer_stats(&s).connections, 2);
	peer_close(&p);
}

Test(vfio_user, destroy_closes_the_connection)
{
	cr_assert_eq(peer_start(&p, &s), 0);
	plx_nvmf_vfio_user_destroy(s.front);
	s.front = NULL;
	cr_assert_eq(recv_closed(&p), -ECONNRESET);
	peer_close(&p);
}

/* ---- VERSION ---- */

Test(vfio_user, version_replies_with_a_subset_of_what_was_proposed)
{
	const struct vfio_user_version *v = (void *)p.data;
	const char *text = (const char *)(v + 1);

	cr_assert_eq(peer_connect(&p, &s), 0);
	cr_assert_eq(peer_version(&p, "{\"capabilities\":{\"max_msg_fds\":8,\"unknown\":[1],"
				      "\"max_data_xfer_size\":4096,\"max_dma_maps\":65535,"
				      "\"twin_socket\":{\"supported\":true},"
				      "\"migration\":{\"pgsize\":4096},"
				      "\"write_multiple\":true},\"more\":1}"),
		     0);
	cr_assert_eq(v->major, 0);
	cr_assert_eq(v->minor, 1);
	cr_assert_eq(p.data[p.len - 1], 0);
	cr_assert(strstr(text, "\"max_msg_fds\":8"));
	cr_assert(strstr(text, "\"max_data_xfer_size\":4096"));
	cr_assert(strstr(text, "\"max_dma_maps\":16384"));
	cr_assert(strstr(text, "\"twin_socket\":{\"supported\":false}"));
	cr_assert(strstr(text, "\"write_multiple\":true"));
	cr_assert(!strstr(text, "migration") && !strstr(text, "unknown") &&
		  !strstr(text, "pgsizes"));
	cr_assert_eq(peer_version(&p, NULL), -EINVAL, "only once");
	peer_close(&p);
}

Test(vfio_user, version_may_come_without_data)
{
	cr_assert_eq(peer_connect(&p, &s), 0);
	cr_assert_eq(peer_version(&p, NULL), 0);
	peer_close(&p);
}

/* Its end and the next one's begin are there in one turn */
Test(vfio_user, the_next_client_may_come_at_once)
{
	for (int i = 0; i < 5; i++) {
		cr_assert_eq(peer_connect(&p, &s), 0);
		cr_assert_eq(peer_version(&p, NULL), 0, "client %d", i);
		peer_close(&p);
	}
}

Test(vfio_user, version_data_may_lack_its_nul)
{
	static const struct {
		struct vfio_user_version v;
		char text[2];
	} in = { { .minor = 1 }, "{}" };

	cr_assert_eq(peer_connect(&p, &s), 0);
	cr_assert_eq(peer_call(&p, VFIO_USER_VERSION, &in, sizeof in.v + sizeof in.text, NULL, 0),
		     0);
	peer_close(&p);
}

Test(vfio_user, version_that_cannot_be_worked_with_ends_the_connection)
{
	static const char *const bad[] = { "{",
					   "[]",
					   "{\"capabilities\":1}",
					   "{\"capabilities\":{\"max_msg_fds\":-1}}",
					   "{\"capabilities\":{\"max_data_xfer_size\":\"1\"}}",
					   "{\"capabilities\":{\"pgsizes\":512}}" };
	struct vfio_user_version v = { .major = 1 };

	for (size_t i = 0; i < PLX_ARRAY_SIZE(bad); i++) {
		cr_assert_eq(peer_connect(&p, &s), 0);
		cr_assert_eq(peer_version(&p, bad[i]), -EINVAL, "%s", bad[i]);
		cr_assert_eq(recv_closed(&p), -ECONNRESET, "%s", bad[i]);
		peer_close(&p);
		cr_assert(peer_poll(&s, peer_nobody, &s));
	}
	cr_assert_eq(peer_connect(&p, &s), 0);
	cr_assert_eq(peer_call(&p, VFIO_USER_VERSION, &v, sizeof v, NULL, 0), -ECONNRESET);
	peer_close(&p);
}

Test(vfio_user, nothing_before_version)
{
	cr_assert_eq(peer_connect(&p, &s), 0);
	cr_assert_eq(peer_call(&p, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0), -EINVAL);
	cr_assert_eq(recv_closed(&p), -ECONNRESET);
	peer_close(&p);
}
