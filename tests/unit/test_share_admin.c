/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The owner of a shared controller: queues and admin commands of guests, their end, its resets and
 * its own end.
 */
#include "share_fixture.h"
#include <linux/pci_regs.h>

TestSuite(share_admin, .init = begin, .fini = end, .timeout = 60);

/* ---- queues ---- */

Test(share_admin, identifiers_are_translated)
{
	struct plx_nvme_qpair *own = make_qpair(c, 16);
	struct plx_nvme_cmd abort_it = { .opc = nvme_admin_abort_cmd, .cdw10 = 5u << 16 | 1 };
	struct guest g;

	bring_up(&g);
	cr_assert_eq(own->qid, 1);
	cr_expect_eq(make_queues(&g, 1), 2);
	cr_expect_eq(fake_last(&fake, nvme_admin_create_cq)->cdw10 & 0xffff, 2);
	cr_expect_eq(fake_last(&fake, nvme_admin_create_sq)->cdw10 & 0xffff, 2);
	cr_expect_eq(fake_last(&fake, nvme_admin_create_sq)->cdw11 >> 16, 2);
	cr_expect_eq(reserve(&g, 1), 2, "the same as before");
	cr_expect_eq(admin(&g, &abort_it), 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_abort_cmd)->cdw10, 5u << 16 | 2);
	hang_up(&g);
	UNTIL(c, NULL, !c->share->guests);
	cr_expect(fake.q[1].sq_live && !fake.q[2].sq_live && !fake.q[2].cq_live);
	plx_nvme_qpair_destroy(own);
}

Test(share_admin, queues_of_others_are_out_of_reach)
{
	struct plx_nvme_qpair *own = make_qpair(c, 16);
	struct plx_nvme_cmd sq = { .opc = nvme_admin_delete_sq, .cdw10 = own->qid }, cmd;
	struct guest g;

	bring_up(&g);
	cr_expect_eq(admin(&g, &sq), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QID_INVALID));
	cmd = create(false, 3, 16, g.iova);
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QID_INVALID),
		     "not reserved");
	cr_expect(fake.q[own->qid].sq_live);
	hang_up(&g);
	plx_nvme_qpair_destroy(own);
}

Test(share_admin, rings_lie_in_memory_of_the_guest)
{
	struct plx_nvme_cmd cmd;
	struct guest g;
	uint16_t outside = 0x13;

	bring_up(&g);
	reserve(&g, 1);
	cmd = create(false, 1, 16, (uint64_t)(uintptr_t)c->page);
	cr_expect_eq(admin(&g, &cmd), outside, "the owner's");
	cmd = create(false, 1, 64, g.iova + MEM_BYTES);
	cr_expect_eq(admin(&g, &cmd), outside, "behind it");
	cmd = create(false, 1, 64, g.iova + MEM_BYTES - PLX_PAGE_SIZE);
	cr_expect_eq(admin(&g, &cmd), 0, "the last page");
	cmd = create(true, 1, 1024, g.iova + PLX_PAGE_SIZE);
	cr_expect_eq(admin(&g, &cmd), outside, "from within to behind it");
	cmd = create(true, 1, 64, g.iova + MEM_BYTES - PLX_PAGE_SIZE);
	cr_expect_eq(admin(&g, &cmd), 0);
	reserve(&g, 2);
	cmd = create(false, 2, 1, g.iova);
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QUEUE_SIZE));
	cmd = create(false, 2, 1025, g.iova);
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_QUEUE_SIZE));
	cmd = create(true, 2, 16, g.iova);
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_CQ_INVALID));
	cmd = create(false, 2, 16, g.iova);
	cmd.cdw11 |= 2;
	cr_expect_eq(admin(&g, &cmd), PLX_NVME_ST(NVME_SCT_CMD_SPECIFIC, NVME_SC_INVALID_VECTOR));
	hang_up(&g);
}

Test(share_admin, when_all_queues_are_taken_the_next_is_refused)
{
	struct plx_nvme_qpair *own = make_qpair(c, 16);
	struct guest g, h;

	introduce(&g);
	introduce(&h);
	cr_expect_eq(reserve(&g, 1), 2);
	cr_expect_eq(reserve(&h, 1), 3);
	cr_expect_eq(reserve(&g, 2), 4);
	cr_expect_eq(reserve(&h, 2), 0);
	cr_expect_eq(h.m.h.rc, -ENOSPC);
	hang_up(&g);
	UNTIL(c, NULL, c->share->nguests == 1);
	cr_expect_eq(reserve(&h, 2), 2);
	hang_up(&h);
	UNTIL(c, NULL, !c->share->guests);
	plx_nvme_qpair_destroy(own);
	cr_expect_eq(c->qids[0], 0, "an identifier is lost: %lx", c->qids[0]);
}

/* ---- commands ---- */

Test(share_admin, what_the_owner_has_settled_is_answered)
{
	struct plx_nvme_cmd alive = { .opc = nvme_admin_keep_alive },
			    queues = features(NVME_FEAT_FID_NUM_QUEUES, 0x10001),
			    hmb = features(NVME_FEAT_FID_HOST_MEM_BUF, 1),
			    shadow = { .opc = nvme_admin_dbbuf };
	unsigned before;
	struct guest g;

	bring_up(&g);
	before = fake.admin_cmds;
	cr_expect_eq(admin(&g, &alive), 0);
	cr_expect_eq(admin(&g, &queues), 0);
	cr_expect_eq(g.m.cpl.cpl.dw0, 0x30003);
	cr_expect_eq(admin(&g, &hmb), NVME_SC_INVALID_FIELD);
	cr_expect_neq(admin(&g, &shadow), 0);
	cr_expect_eq(fake.admin_cmds, before, "the controller got one of them");
	hang_up(&g);
}

Test(share_admin, others_go_to_the_controller_with_the_guests_memory)
{
	struct plx_nvme_cmd id = { .opc = nvme_admin_identify, .cdw10 = NVME_IDENTIFY_CNS_CTRL };
	struct nvme_id_ctrl *got;
	struct guest g;

	bring_up(&g);
	got = mmap(NULL, 4096, PROT_READ, MAP_SHARED, g.mem, 4096);
	id.prp1 = g.iova + 4096;
	id.flags = 0xc3;
	id.mptr = 1;
	cr_expect_eq(admin(&g, &id), 0);
	cr_expect_eq(memcmp(got->sn, fake.id.sn, sizeof(got->sn)), 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_identify)->flags, 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_identify)->mptr, 0);
	id.prp1 = (uint64_t)(uintptr_t)c->page;
	cr_expect_eq(admin(&g, &id), 0x13, "into the owner's memory");
	munmap(got, 4096);
	hang_up(&g);
}

/* Whether the owner has the first command of a guest, an Asynchronous Event Request */
static bool holds_event(unsigned i)
{
	const struct share_guest *g = c->share->guests;

	for (; g && i; i--)
		g = g->next;
	return g && g->cmd[0].state == CMD_HELD;
}

Test(share_admin, events_go_to_all)
{
	struct plx_nvme_cmd aer = { .opc = nvme_admin_async_event },
			    config = features(NVME_FEAT_FID_ASYNC_EVENT, 1u << 14);
	struct guest g, h;

	c->id.oaes |= 1u << 14;
	bring_up(&g);
	bring_up(&h);
	config.prp1 = g.iova;
	cr_expect_eq(admin(&g, &config), 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_set_features)->cdw11, 1u << 14 | aer_events(c));
	send_admin(&g, &aer);
	send_admin(&h, &aer);
	UNTIL(c, NULL, holds_event(0) && holds_event(1));
	cr_assert(fake_event(&fake, 0x040002));
	hear(&g);
	cr_expect_eq(g.m.cpl.cpl.dw0, 0x040002);
	hear(&h);
	cr_expect_eq(h.m.cpl.cpl.dw0, 0x040002);
	hang_up(&g);
	hang_up(&h);
}

Test(share_admin, a_change_of_namespaces_is_not_missed)
{
	struct plx_nvme_cmd aer = { .opc = nvme_admin_async_event };
	struct guest g;

	bring_up(&g);
	UNTIL(c, NULL, fake.n_aers);
	cr_assert(fake_event(&fake, SHARE_NS_CHANGED));
	UNTIL(c, NULL, c->stats.aers == 1);
	cr_expect_eq(admin(&g, &aer), 0);
	cr_expect_eq(g.m.cpl.cpl.dw0, SHARE_NS_CHANGED);
	send_admin(&g, &aer);
	UNTIL(c, NULL, holds_event(0));
	cr_expect_not(came(&g), "told twice");
	/* with the next enable it looks at them anyway */
	bare(&g, SHARE_DISABLE);
	bare(&g, SHARE_ENABLE);
	share_event(c, SHARE_NS_CHANGED);
	cr_expect(c->share->guests->missed_ns);
	bare(&g, SHARE_DISABLE);
	share_event(c, SHARE_NS_CHANGED);
	bare(&g, SHARE_ENABLE);
	send_admin(&g, &aer);
	UNTIL(c, NULL, holds_event(0));
	hang_up(&g);
}

Test(share_admin, events_that_there_are_not_are_not_asked_for)
{
	struct plx_nvme_cmd config = features(NVME_FEAT_FID_ASYNC_EVENT, 1u << 14 | 1u << 11 | 1);
	struct guest g;

	c->id.oaes |= 1u << 11;
	bring_up(&g);
	fake.refuse = FAKE_ADMIN(nvme_admin_set_features, NVME_FEAT_FID_ASYNC_EVENT);
	cr_expect_neq(admin(&g, &config), 0);
	cr_expect_eq(c->aer_events, 0, "kept although the controller refused");
	fake.refuse = -1;
	cr_expect_eq(admin(&g, &config), 0);
	cr_expect_eq(fake_last(&fake, nvme_admin_set_features)->cdw11 & (1u << 14 | 1u << 11),
		     1u << 11);
	cr_expect_eq(c->aer_events & (1u << 14 | 1u << 11), 1u << 11);
	hang_up(&g);
}

/* Each Set Features replaces what the one before has set */
Test(share_admin, events_that_another_guest_is_just_asking_for_stay)
{
	struct plx_nvme_cmd first = features(NVME_FEAT_FID_ASYNC_EVENT, 1u << 11),
			    second = features(NVME_FEAT_FID_ASYNC_EVENT, 1u << 14);
	struct guest g, h;

	c->id.oaes |= 1u << 11 | 1u << 14;
	bring_up(&g);
	bring_up(&h);
	fake.silent = FAKE_ADMIN(nvme_admin_set_features, NVME_FEAT_FID_ASYNC_EVENT);
	send_admin(&g, &first);
	UNTIL(c, NULL, fake_last(&fake, nvme_admin_set_features)->cdw11 & 1u << 11);
	send_admin(&h, &second);
	UNTIL(c, NULL, fake_last(&fake, nvme_admin_set_features)->cdw11 & 1u << 14);
	cr_expect(fake_last(&fake, nvme_admin_set_features)->cdw11 & 1u << 11);
	hang_up(&g);
	hang_up(&h);
}

Test(share_admin, a_small_admin_queue_is_enough)
{
	struct plx_nvme_cmd id = { .opc = nvme_admin_identify, .cdw10 = NVME_IDENTIFY_CNS_CTRL };
	struct guest g;

	plx_nvme_disconnect(c);
	opts.admin_queue_size = 4;
	c = connect_fake();
	bring_up(&g);
	UNTIL(c, NULL, fake.n_aers);
	id.prp1 = g.iova;
	cr_expect_eq(admin(&g, &id), 0);
	hang_up(&g);
}

/* ---- the end of a guest ---- */

Test(share_admin, what_a_dead_guest_had_is_taken_back_in_order)
{
	struct guest g;
	unsigned sqs, cqs;
	uint16_t real;

	bring_up(&g);
	real = make_queues(&g, 1);
	sqs = fake_count(&fake, nvme_admin_delete_sq);
	cqs = fake_count(&fake, nvme_admin_delete_cq);
	/* the controller takes its time: memory stays until the queue is gone */
	fake.silent = FAKE_ADMIN(nvme_admin_delete_sq, real);
	hang_up(&g);
	UNTIL(c, NULL, fake_count(&fake, nvme_admin_delete_sq) == sqs + 1);
	turns(c, NULL, 1000);
	cr_assert_not_null(c->share->guests);
	cr_expect_eq(c->share->guests->nmems, 1);
	cr_expect_eq(fake_count(&fake, nvme_admin_delete_cq), cqs);
	fake.silent = -1;
	fake.q[real].sq_live = false;
	fake_post(&fake, 0, fake_last(&fake, nvme_admin_delete_sq)->cid, 0, 0, false);
	UNTIL(c, NULL, !c->share->guests);
	cr_expect_eq(fake_count(&fake, nvme_admin_delete_cq), cqs + 1);
	cr_expect_not(fake.q[real].cq_live);
	cr_expect_eq(c->qids[0], 0);
}

Test(share_admin, a_queue_that_is_not_deleted_is_ended_by_a_reset)
{
	struct guest g;

	bring_up(&g);
	make_queues(&g, 1);
	fake.refuse = FAKE_ADMIN(nvme_admin_delete_sq, 1);
	hang_up(&g);
	UNTIL(c, NULL, resets(c) == 1);
	cr_assert_not_null(c->share->guests);
	cr_expect_eq(c->share->guests->nmems, 1, "its memory is gone, its queue is not");
	UNTIL(c, NULL, ready(c) && !c->share->guests);
	cr_expect_eq(resets(c), 1);
}

Test(share_admin, a_queue_that_is_not_there_needs_no_reset)
{
	struct guest g;

	bring_up(&g);
	fake.q[make_queues(&g, 1)].sq_live = false;
	hang_up(&g);
	UNTIL(c, NULL, !c->share->guests);
	cr_expect_eq(resets(c), 0);
}

Test(share_admin, a_disabled_guest_keeps_its_identifiers)
{
	struct guest g;

	bring_up(&g);
	cr_assert_eq(make_queues(&g, 1), 1);
	bare(&g, SHARE_DISABLE);
	cr_expect_not(fake.q[1].sq_live);
	cr_expect_not(fake.q[1].cq_live);
	bare(&g, SHARE_ENABLE);
	cr_expect_eq(make_queues(&g, 1), 1);
	hang_up(&g);
}

/* ---- the owner's resets and its end ---- */

Test(share_admin, a_reset_waits_for_guests_and_they_for_it)
{
	struct share_hdr disable = HDR(SHARE_DISABLE), enable = HDR(SHARE_ENABLE);
	unsigned enables = fake.enables;
	struct guest g;

	bring_up(&g);
	make_queues(&g, 1);
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_RESET);
	turns(c, NULL, 1000);
	cr_expect_eq(fake.csts & 1, 1, "disabled while the guest's queues are in use");
	fake.stuck_ready = true;
	say(&g, &disable, sizeof(disable), -1);
	UNTIL(c, NULL, c->share->guests->state == GUEST_DISABLING);
	turns(c, NULL, 1000);
	cr_expect_not(came(&g), "told before the controller is disabled");
	fake.stuck_ready = false;
	fake.csts = fake.cc = 0;
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_DISABLE);
	say(&g, &enable, sizeof(enable), -1);
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_ENABLE);
	cr_expect(ready(c));
	cr_expect_eq(fake.enables, enables + 1);
	make_queues(&g, 1);
	hang_up(&g);
}

/* ... nor does each of its polls say that it does not */
Test(share_admin, a_reset_does_not_wait_for_ever)
{
	struct plx_nvme_qpair *own = make_qpair(c, 16);
	struct guest g;

	cr_redirect_stderr();
	bring_up(&g);
	make_queues(&g, 1);
	cr_assert_eq(plx_nvme_ctrlr_reset(c), 0);
	/* its own queue pair comes to rest last */
	UNTIL(c, NULL, c->share->quiet_tsc);
	UNTIL(c, NULL, (int64_t)(plx_tsc() - c->share->quiet_tsc) >= 0);
	turns(c, NULL, 100);
	UNTIL(c, own, ready(c));
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_RESET);
	bare(&g, SHARE_DISABLE);
	bare(&g, SHARE_ENABLE);
	make_queues(&g, 1);
	hang_up(&g);
	UNTIL(c, NULL, !c->share->guests);
	plx_nvme_qpair_destroy(own);
	cr_expect_eq(logged("does not come to rest"), 1);
}

Test(share_admin, an_owner_that_ends_says_so)
{
	struct guest g;

	bring_up(&g);
	make_queues(&g, 1);
	plx_nvme_disconnect(c);
	cr_assert(came(&g));
	cr_expect_eq(g.m.h.type, SHARE_GONE);
	cr_expect_str_eq(g.m.text.text, "has ended");
	cr_assert(came(&g));
	cr_expect_eq(g.m.h.type, SHARE_QUIET);
	cr_assert(came(&g));
	cr_expect_eq(g.len, 0);
	cr_expect_not(fake.q[1].sq_live);
	hang_up(&g);
	c = connect_fake();
}

static uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
static unsigned unmaps, unmaps_in_reach;

static int command_read(struct plx_pcie_dev *dev, uint32_t offset, void *out, unsigned len)
{
	cr_assert(offset == PCI_COMMAND && len == sizeof(command));
	memcpy(out, &command, len);
	return 0;
}

static int command_write(struct plx_pcie_dev *dev, uint32_t offset, const void *in, unsigned len)
{
	cr_assert(offset == PCI_COMMAND && len == sizeof(command));
	memcpy(&command, in, len);
	return 0;
}

static void note_unmap(struct plx_pcie_dev *dev, const struct plx_mem_region *r)
{
	unmaps++;
	unmaps_in_reach += r->len == MEM_BYTES && command & PCI_COMMAND_MASTER;
}

/* ... so that it cannot write there: it may not have become disabled */
Test(share_admin, memory_of_guests_is_given_up_when_the_device_reaches_none)
{
	struct guest g;

	shared_fake.cfg_read = command_read;
	shared_fake.cfg_write = command_write;
	shared_fake.dma_unmap = note_unmap;
	bring_up(&g);
	make_queues(&g, 1);
	fake.silent = FAKE_ADMIN(nvme_admin_delete_sq, 1);
	fake.stuck_ready = true;
	plx_nvme_disconnect(c);
	cr_expect_gt(unmaps, 0);
	cr_expect_eq(unmaps_in_reach, 0);
	cr_expect_eq(command, PCI_COMMAND_MEMORY);
	hang_up(&g);
	shared_fake.cfg_read = NULL;
	fake.stuck_ready = false;
	fake.silent = -1;
	fake.cc = fake.csts = 0;
	c = connect_fake();
}

Test(share_admin, an_owner_that_fails_says_why)
{
	struct guest g;

	bring_up(&g);
	fake.gone = true;
	hear(&g);
	cr_expect_eq(g.m.h.type, SHARE_GONE);
	cr_expect(strstr(g.m.text.text, "registers read as all ones"), "%s", g.m.text.text);
	expect_end(&g);
	hang_up(&g);
	fake.gone = false;
}
