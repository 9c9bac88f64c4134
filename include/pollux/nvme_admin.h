/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pollux/nvme_admin.h - managing a controller: namespaces, format, sanitize, firmware, boot
 * partitions, self-tests, directives, security, capacity, virtualization
 *
 * Set-up calls: they block and poll, in any thread that may call plx_nvme_admin_sync(), and not in
 * callbacks of I/O commands. Buffers are any memory. Sections are of the NVMe Base Specification
 * 2.0c; structures are those of <nvme/types.h>.
 *
 * Return, unless it says more: 0; a positive NVMe status; -ENOTSUP when Identify Controller (OACS)
 * or the Commands Supported and Effects log says that there is no such command (nothing is sent
 * then); -EINVAL for a value that its field does not hold; as plx_nvme_admin_sync().
 */
#ifndef POLLUX_NVME_ADMIN_H
#define POLLUX_NVME_ADMIN_H

#include <pollux/nvme.h>

#ifdef __cplusplus
extern "C" {
#endif

/** plx_nvme_admin_supported - whether the controller has this admin command, as far as it says
 *  (OACS, Commands Supported and Effects). Return: 0; -ENOTSUP; as plx_nvme_admin_sync() */
int plx_nvme_admin_supported(struct plx_nvme_ctrlr *c, uint8_t opc);

/* ---- namespaces: management and attachment (§5.22, §5.23, §8.11) ----
 *
 * What changes namespaces of this controller looks at all of them before it returns. A namespace
 * that has got another format (block or metadata size, protection information) is another object
 * afterwards: the old one stays inactive, so that nobody uses its geometry on the new format.
 */

/** plx_nvme_ctrlr_rescan - look at all namespaces now. Return: 0; -EAGAIN a reset is under way;
 *  -ENXIO */
int plx_nvme_ctrlr_rescan(struct plx_nvme_ctrlr *c);

/**
 * struct plx_nvme_ns_create - a namespace to be made (NVM Command Set 1.0c §5.8, ZNS 1.1c §5.1.3)
 * @nsze, @ncap: size and capacity in logical blocks
 * @csi: command set, NVME_CSI_NVM or NVME_CSI_ZNS
 * @flbas: format index, bits 3:0 and 6:5, and NVME_NS_FLBAS_META_EXT
 * @dps: NVME_NS_DPS_*
 * @nmic: NVME_NS_NMIC_SHARED
 * @anagrpid, @nvmsetid, @endgid: 0: the controller's choice
 * @lbstm: logical block storage tag mask
 * @phndls, @nphndls: FDP: reclaim unit handles of the placement handles, at most 128
 * @rar, @ror, @rnumzrwa: zoned: active, open and ZRWA resources to be allocated
 */
struct plx_nvme_ns_create {
	uint64_t nsze, ncap;
	uint8_t csi, flbas, dps, nmic;
	uint16_t nvmsetid, endgid;
	uint32_t anagrpid;
	uint64_t lbstm;
	const uint16_t *phndls;
	uint16_t nphndls;
	uint8_t znsco;
	uint32_t rar, ror, rnumzrwa;
};

/** plx_nvme_ns_create - make a namespace; it is attached to no controller. @nsid: its identifier */
int plx_nvme_ns_create(struct plx_nvme_ctrlr *c, const struct plx_nvme_ns_create *ns,
		       uint32_t *nsid);
/** plx_nvme_ns_delete - @nsid: NVME_NSID_ALL for all. I/O on it is refused from here on */
int plx_nvme_ns_delete(struct plx_nvme_ctrlr *c, uint32_t nsid);
/** plx_nvme_ns_attach, _detach - to and from controllers. @cntlids: @n identifiers, ascending,
 *  1..2047; with @n 0 this controller */
int plx_nvme_ns_attach(struct plx_nvme_ctrlr *c, uint32_t nsid, const uint16_t *cntlids,
		       uint32_t n);
int plx_nvme_ns_detach(struct plx_nvme_ctrlr *c, uint32_t nsid, const uint16_t *cntlids,
		       uint32_t n);

/** plx_nvme_ns_list - identifiers above @after, ascending: of attached namespaces, or with
 *  @allocated of all in the subsystem. @list: room for 1024, @n: how many were found; call again
 *  with the last one for more (CNS 02h, 10h) */
int plx_nvme_ns_list(struct plx_nvme_ctrlr *c, bool allocated, uint32_t after, uint32_t *list,
		     uint32_t *n);
/** plx_nvme_ctrlr_list - controllers from identifier @from on: of the subsystem, or those that
 *  namespace @nsid is attached to. @list: room for 2047 (CNS 12h, 13h) */
int plx_nvme_ctrlr_list(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t from, uint16_t *list,
			uint32_t *n);

/**
 * struct plx_nvme_format - Format NVM (§5.14)
 * @lbaf: format index, 0..63
 * @mset: metadata extended (true) or separate
 * @pi: 0..3, the type of protection information; @pi_first: in the first bytes of the metadata
 * @ses: NVME_FORMAT_SES_*
 */
struct plx_nvme_format {
	uint8_t lbaf;
	bool mset;
	uint8_t pi;
	bool pi_first;
	uint8_t ses;
};
/**
 * plx_nvme_format - @nsid: NVME_NSID_ALL for all
 *
 * I/O on the namespace is refused (-EINVAL) from here on until the new format is known; what is
 * outstanding comes to its end at the controller. Takes what the medium takes: waits for
 * long_admin_timeout_ms of the options.
 */
int plx_nvme_format(struct plx_nvme_ctrlr *c, uint32_t nsid, const struct plx_nvme_format *f);

/* ---- sanitize (§5.24, §8.21) ---- */

/**
 * struct plx_nvme_sanitize
 * @action: NVME_SANITIZE_SANACT_*
 * @ause: allow unrestricted completion
 * @no_dealloc: keep what was sanitized allocated
 * @passes: overwrite: 1..16; @invert: the pattern between them; @pattern: 32 bits
 */
struct plx_nvme_sanitize {
	uint8_t action;
	bool ause, no_dealloc, invert;
	uint8_t passes;
	uint32_t pattern;
};
/** plx_nvme_sanitize - start it; it goes on by itself, through resets and power cycles. -ENOTSUP
 *  also for an action that SANICAP lacks */
int plx_nvme_sanitize(struct plx_nvme_ctrlr *c, const struct plx_nvme_sanitize *s);

/** struct plx_nvme_sanitize_status - @state: NVME_SANITIZE_SSTAT_STATUS_*; @progress: of 65,536;
 *  @passes: of an overwrite, done; @erased: no user data was written since */
struct plx_nvme_sanitize_status {
	uint8_t state, passes;
	bool erased;
	uint16_t progress;
	uint32_t cdw10; /* of the command that started it */
};
int plx_nvme_sanitize_status(struct plx_nvme_ctrlr *c, struct plx_nvme_sanitize_status *out);
/** plx_nvme_sanitize_wait - until it is over. Return: 0 with *@out (look at its state); -ETIMEDOUT
 *  after @timeout_ms, with *@out filled all the same */
int plx_nvme_sanitize_wait(struct plx_nvme_ctrlr *c, uint32_t timeout_ms,
			   struct plx_nvme_sanitize_status *out);

/* ---- firmware (§5.12, §5.13, §8.10) ---- */

/** plx_nvme_fw_download - @len bytes of an image, a multiple of 4, in pieces by FWUG and MDTS */
int plx_nvme_fw_download(struct plx_nvme_ctrlr *c, const void *image, uint32_t len);

enum plx_nvme_fw_needs { /* for the image to run */
			 PLX_NVME_FW_NOTHING, /* it runs, or nothing was to be activated */
			 PLX_NVME_FW_CTRLR_RESET, /* plx_nvme_ctrlr_reset() */
			 PLX_NVME_FW_SUBSYSTEM_RESET, /* plx_nvme_subsystem_reset() */
			 PLX_NVME_FW_CONVENTIONAL_RESET, /* of the PCIe function, or power */
};
/**
 * plx_nvme_fw_commit - @slot: 1..7, 0: the controller's choice; @action: NVME_FW_COMMIT_CA_*, not
 * those of boot partitions
 * @needs: what has to follow
 *
 * A status that only asks for a reset is success, with it in *@needs. Images that are activated at
 * once make the controller pause commands for at most MTFA, which the timeouts of I/O commands do
 * not count; the new FR is in plx_nvme_ctrlr_data() once the driver has seen the end of it.
 */
int plx_nvme_fw_commit(struct plx_nvme_ctrlr *c, uint8_t slot, uint8_t action,
		       enum plx_nvme_fw_needs *needs);
/** plx_nvme_subsystem_reset - NSSR (§3.7.1); the controller resets afterwards. Return: 0; -ENOTSUP
 *  (CAP.NSSRS); -EBUSY a reset is under way; -ENXIO */
int plx_nvme_subsystem_reset(struct plx_nvme_ctrlr *c);

/* ---- boot partitions (§8.2) ---- */

/** struct plx_nvme_boot_info - @bytes of each of the two partitions; @active: 0 or 1 */
struct plx_nvme_boot_info {
	uint64_t bytes;
	uint8_t active;
};
/** plx_nvme_boot_info - Return: 0; -ENOTSUP (CAP.BPS) */
int plx_nvme_boot_info(struct plx_nvme_ctrlr *c, struct plx_nvme_boot_info *out);
/** plx_nvme_boot_read - through registers, from partition @id. @offset, @len: bytes, multiples of
 *  4096. Return: 0; -ENOTSUP; -EINVAL beyond the partition; -EIO; -ETIMEDOUT; -ENOMEM */
int plx_nvme_boot_read(struct plx_nvme_ctrlr *c, uint8_t id, uint64_t offset, void *buf,
		       uint32_t len);
/** plx_nvme_boot_write - a whole partition: download and commit; @len: at most its size */
int plx_nvme_boot_write(struct plx_nvme_ctrlr *c, uint8_t id, const void *image, uint32_t len);
/** plx_nvme_boot_activate - the one to boot from */
int plx_nvme_boot_activate(struct plx_nvme_ctrlr *c, uint8_t id);

/* ---- device self-test (§5.9, §8.6) ---- */

/** plx_nvme_self_test - start, or abort, one. @nsid: 0 the controller alone, NVME_NSID_ALL with all
 *  namespaces; @stc: NVME_DST_STC_* */
int plx_nvme_self_test(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t stc);
/** plx_nvme_self_test_log - what runs (current_operation, completion in percent) and the results
 *  of the last 20 */
int plx_nvme_self_test_log(struct plx_nvme_ctrlr *c, struct nvme_self_test_log *out);

/* ---- directives and streams (§5.7, §5.8, §8.7) ---- */

int plx_nvme_directive_send(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t dtype, uint8_t doper,
			    uint16_t dspec, uint32_t cdw12, const void *buf, uint32_t len);
int plx_nvme_directive_receive(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t dtype,
			       uint8_t doper, uint16_t dspec, uint32_t cdw12, void *buf,
			       uint32_t len, uint32_t *value);
/** plx_nvme_directive_identify - which directive types there are, and which are on */
int plx_nvme_directive_identify(struct plx_nvme_ctrlr *c, uint32_t nsid,
				struct nvme_id_directives *out);
int plx_nvme_directive_enable(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t dtype, bool on);
int plx_nvme_streams_params(struct plx_nvme_ctrlr *c, uint32_t nsid,
			    struct nvme_streams_directive_params *out);
/** plx_nvme_streams_status - identifiers of open streams. @ids: room for @max; @n: how many are
 *  open, possibly more */
int plx_nvme_streams_status(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t *ids, uint32_t max,
			    uint32_t *n);
/** plx_nvme_streams_allocate - @wanted streams for the namespace; *@got may be fewer */
int plx_nvme_streams_allocate(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t wanted,
			      uint16_t *got);
int plx_nvme_streams_release_id(struct plx_nvme_ctrlr *c, uint32_t nsid, uint16_t id);
int plx_nvme_streams_release_all(struct plx_nvme_ctrlr *c, uint32_t nsid);

/* ---- security (§5.25, §5.26), capacity (§5.3), virtualization (§5.28), lockdown (§5.19) ---- */

/** plx_nvme_security_send, _receive - @secp: security protocol; @spsp: specific to it; @nssf: NVMe
 *  security specific field, for the RPMB */
int plx_nvme_security_send(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t secp, uint16_t spsp,
			   uint8_t nssf, const void *buf, uint32_t len);
int plx_nvme_security_receive(struct plx_nvme_ctrlr *c, uint32_t nsid, uint8_t secp, uint16_t spsp,
			      uint8_t nssf, void *buf, uint32_t len);

/** plx_nvme_capacity - @oper: 0 select a configuration, 1 create and 2 delete an endurance group, 3
 *  and 4 an NVM set; @elid: configuration or element; @bytes: of what is created; @created: its
 *  identifier, may be NULL */
int plx_nvme_capacity(struct plx_nvme_ctrlr *c, uint8_t oper, uint16_t elid, uint64_t bytes,
		      uint16_t *created);
int plx_nvme_nvmset_list(struct plx_nvme_ctrlr *c, uint16_t from, struct nvme_id_nvmset_list *out);
int plx_nvme_endgrp_list(struct plx_nvme_ctrlr *c, uint16_t from,
			 struct nvme_id_endurance_group_list *out);

/** plx_nvme_virt_mgmt - @act: NVME_VIRT_MGMT_ACT_*; @rt: NVME_VIRT_MGMT_RT_*; @cntlid: the
 *  (secondary) controller; @nr: resources; @granted: may be NULL */
int plx_nvme_virt_mgmt(struct plx_nvme_ctrlr *c, uint8_t act, uint8_t rt, uint16_t cntlid,
		       uint16_t nr, uint16_t *granted);
int plx_nvme_primary_caps(struct plx_nvme_ctrlr *c, struct nvme_primary_ctrl_cap *out);
int plx_nvme_secondary_list(struct plx_nvme_ctrlr *c, uint16_t from,
			    struct nvme_secondary_ctrl_list *out);

/** plx_nvme_lockdown - prohibit or allow a command, or a feature to be set. @scope: 0 admin opcode,
 *  2 feature, 3 and 4 management commands; @interface: 0 admin queue, 1 that and the management
 *  interface, 2 the latter */
int plx_nvme_lockdown(struct plx_nvme_ctrlr *c, uint8_t scope, uint8_t id, bool prohibit,
		      uint8_t interface);

/** plx_nvme_lba_status - Get LBA Status (NVM Command Set 1.0c §5.4). @atype:
 *  NVME_LBA_STATUS_ATYPE_*; @range: blocks from @slba, 0 all; @buf: struct nvme_lba_status, @len
 *  bytes, a multiple of 4 */
int plx_nvme_lba_status(struct plx_nvme_ctrlr *c, uint32_t nsid, uint64_t slba, uint16_t range,
			uint8_t atype, void *buf, uint32_t len);

#ifdef __cplusplus
}
#endif
#endif
