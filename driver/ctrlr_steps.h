/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr_steps.h - what the steps of the controller's state machine share
 *
 *   ctrlr_steps.c  the machine and its table, enabling, resets, queues, the steps at the end
 *   ctrlr_setup.c  what the controller can do and is to be set to
 *   ctrlr_scan.c   its namespaces
 *   ctrlr_flr.c    a reset of its function
 *
 * All of it under the controller's lock.
 */
#ifndef POLLUX_DRIVER_CTRLR_STEPS_H
#define POLLUX_DRIVER_CTRLR_STEPS_H

#include "driver/ctrlr_internal.h"

/* ---- the one command of a step ---- */

/** step_cmd - send @cmd, with the steps' page as its data unless it says otherwise; the deadline
 *  begins anew. Return: the step there is */
enum nvme_step step_cmd(struct plx_nvme_ctrlr *c, const struct plx_nvme_cmd *cmd);
enum nvme_step step_identify_csi(struct plx_nvme_ctrlr *c, uint8_t cns, uint32_t nsid, uint8_t csi);
enum nvme_step step_identify(struct plx_nvme_ctrlr *c, uint8_t cns, uint32_t nsid);
enum nvme_step step_set_feature(struct plx_nvme_ctrlr *c, uint8_t fid, uint32_t cdw11);
/** step_cmd_failed - the controller fails for it. @what: the command's name */
enum nvme_step step_cmd_failed(struct plx_nvme_ctrlr *c, const char *what);
void step_cmd_warn(const struct plx_nvme_ctrlr *c, const char *what);
static inline bool step_cmd_ok(const struct plx_nvme_ctrlr *c)
{
	return plx_nvme_ok(&c->cmd_cpl);
}

/* ---- what steps ask ---- */

/* CC.CSS is 110b: namespaces may be of any command set */
static inline bool all_command_sets(const struct plx_nvme_ctrlr *c)
{
	return NVME_CAP_CSS(c->cap) & NVME_CAP_CSS_CSI;
}

static inline bool resetting(const struct plx_nvme_ctrlr *c)
{
	return ctrlr_state(c) == PLX_NVME_CTRLR_RESETTING;
}

/* A limit as a power of two of pages; 0: none. */
static inline uint32_t step_limit_bytes(uint8_t exp)
{
	return exp && exp < 20 ? PLX_PAGE_SIZE << exp : 0;
}
/** step_max_io_bytes - of one command, by MDTS and by the caller's wish */
uint32_t step_max_io_bytes(const struct plx_nvme_ctrlr *c, const struct nvme_id_ctrl *id);

/* ---- what steps do ---- */

/** step_rewind_admin - the admin queue, empty; what was in it is called back */
void step_rewind_admin(struct plx_nvme_ctrlr *c);

/* ---- steps ---- */

/* ctrlr_setup.c */
enum nvme_step step_id_ctrl(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_id_ctrl_nvm(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_host_behavior(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_hmb(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_num_queues(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_dbbuf(struct plx_nvme_ctrlr *c, bool entering);

/* ctrlr_scan.c */
enum nvme_step step_id_again(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_ns_changed(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_ns_list(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_ns_id(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_ns_desc(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_ns_id_nvm(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_id_ctrl_zns(struct plx_nvme_ctrlr *c, bool entering);
enum nvme_step step_ns_id_zns(struct plx_nvme_ctrlr *c, bool entering);

/* ctrlr_flr.c */
enum nvme_step step_function_reset(struct plx_nvme_ctrlr *c, bool entering);

#endif
