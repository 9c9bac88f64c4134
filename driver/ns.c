/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ns.c - namespaces
 *
 * A namespace object, once made, lives as long as its controller: threads that do I/O keep pointers
 * to it. One that goes away becomes inactive, with no blocks, and active again when it comes back.
 *
 * How an object's blocks lie in memory never changes: a buffer that was made for them is what the
 * device transfers, whenever I/O is submitted. A namespace that comes back in another format is
 * another object, with the same identifier; at most one of them is active.
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Fields that threads doing I/O read while a rescan writes them: whole words, in no particular
 * order. */
#define ns_set(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

/* Whether both take the same buffers and the same addresses */
static bool same_shape(const struct plx_nvme_ns *a, const struct plx_nvme_ns *b)
{
	return a->block_size == b->block_size && a->md_size == b->md_size &&
	       a->md_extended == b->md_extended && a->pi_type == b->pi_type &&
	       a->pi_first == b->pi_first && a->pi_format == b->pi_format &&
	       a->tag_bits == b->tag_bits && a->csi == b->csi &&
	       a->zns.zone_blocks == b->zns.zone_blocks;
}

static struct plx_nvme_ns *ns_like(struct plx_nvme_ctrlr *c, const struct plx_nvme_ns *fresh)
{
	uint32_t n = atomic_load_explicit(&c->ns_count, memory_order_relaxed);

	for (uint32_t i = 0; i < n; i++) {
		struct plx_nvme_ns *ns = atomic_load_explicit(&c->ns[i], memory_order_relaxed);

		if (ns->nsid == fresh->nsid && same_shape(ns, fresh))
			return ns;
	}
	return NULL;
}

static struct plx_nvme_ns *ns_make(struct plx_nvme_ctrlr *c, const struct plx_nvme_ns *fresh)
{
	uint32_t nsid = fresh->nsid;
	uint32_t n = atomic_load_explicit(&c->ns_count, memory_order_relaxed);
	struct plx_nvme_ns *ns;

	if (n == NVME_MAX_NS) {
		nvme_log(
			WARN,
			"controller '%s': namespace %u is left out: more than %u are not supported",
			c->name, nsid, NVME_MAX_NS);
		return NULL;
	}
	ns = aligned_alloc(PLX_CACHE_LINE, sizeof(*ns));
	if (!ns) {
		nvme_log(ERR, "controller '%s': no memory for namespace %u", c->name, nsid);
		return NULL;
	}
	*ns = *fresh;
	ns->fast_blocks = 0;
	ns->blocks = 0;
	atomic_store_explicit(&c->ns[n], ns, memory_order_relaxed);
	atomic_store_explicit(&c->ns_count, n + 1, memory_order_release);
	return ns;
}

static void ns_deactivate(struct plx_nvme_ns *ns)
{
	ns_set(ns->fast_blocks, 0);
	ns_set(ns->blocks, 0);
	__atomic_store_n(&ns->active, 0, __ATOMIC_RELEASE);
}

/* Index of the format in use (NVM Command Set 1.0c §4.1.5.1, FLBAS): two more bits where there are
 * over 16. */
unsigned ns_format(const struct nvme_id_ns *id)
{
	unsigned f = id->flbas & NVME_NS_FLBAS_LOWER_MASK;

	if (id->nlbaf + id->nulbaf >= 16)
		f |= (id->flbas & NVME_NS_FLBAS_HIGHER_MASK) >> 1;
	return f;
}

/* A limit in blocks: at least one, at most what NLB holds; 0 stays 0. */
static uint32_t blocks_in(uint32_t bytes, uint32_t block)
{
	uint32_t n = bytes / block;

	if (n > 65536)
		return 65536;
	return n || !bytes ? n : 1;
}

/* Return: whether the driver can use this format. */
static bool ns_geometry(struct plx_nvme_ns *ns, const struct nvme_ns_found *found)
{
	const struct nvme_id_ns *id = &found->id;
	struct plx_nvme_ctrlr *c = ns->ctrlr;
	unsigned f = ns_format(id);
	unsigned ds = id->lbaf[f].ds;
	uint32_t fast, xfer;

	if (ds < 9 || ds > 16) {
		nvme_log(WARN,
			 "controller '%s': namespace %u is left out: its block size of 2^%u bytes "
			 "is not one of 512 to 65536",
			 c->name, ns->nsid, ds);
		return false;
	}
	if ((id->dps & NVME_NS_DPS_PI_MASK) > NVME_NS_DPS_PI_TYPE3) {
		nvme_log(WARN,
			 "controller '%s': namespace %u is left out: protection information of "
			 "unknown type %u",
			 c->name, ns->nsid, id->dps & NVME_NS_DPS_PI_MASK);
		return false;
	}
	if (found->csi != NVME_CSI_NVM && found->csi != NVME_CSI_ZNS) {
		nvme_log(NOTICE,
			 "controller '%s': namespace %u is left out: it has no blocks (command set "
			 "%u)",
			 c->name, ns->nsid, found->csi);
		return false;
	}
	ns->csi = found->csi;
	ns->zns = found->zns;
	ns->block_size = 1u << ds;
	ns->md_size = (uint32_t)id->lbaf[f].ms;
	ns->md_extended = (uint8_t)(ns->md_size && (id->flbas & NVME_NS_FLBAS_META_EXT));
	ns->pi_type = (uint8_t)(id->dps & NVME_NS_DPS_PI_MASK);
	ns->pi_first = (uint8_t) !!(id->dps & NVME_NS_DPS_PI_FIRST);
	ns->pi_format = (uint8_t)((found->elbaf & NVME_NVM_ELBAF_PIF_MASK) >> 7);
	ns->tag_bits = (uint8_t)(found->elbaf & NVME_NVM_ELBAF_STS_MASK);
	xfer = ns->block_size + (ns->md_extended ? ns->md_size : 0);
	if (xfer > c->max_io_bytes) {
		nvme_log(WARN,
			 "controller '%s': namespace %u is left out: a block of %u bytes exceeds "
			 "the transfer limit of %u",
			 c->name, ns->nsid, xfer, c->max_io_bytes);
		return false;
	}
	ns->xfer_block = xfer;
	ns->max_io_blocks = blocks_in(c->max_io_bytes, xfer);
	ns->boundary = (uint32_t)id->noiob;
	if (c->quirks & NVME_QUIRK_STRIPE && !ns->boundary && c->id.vs[3] && c->id.vs[3] < 12)
		ns->boundary = (PLX_PAGE_SIZE << c->id.vs[3]) / ns->block_size;
	ns->max_verify_blocks = blocks_in(c->max_verify_bytes, xfer);
	ns->max_wz_blocks = blocks_in(c->max_wz_bytes, ns->block_size);

	/* A page's worth of blocks never needs more than two PRPs, one block never crosses a
	 * boundary. Separate metadata needs a pointer of its own. */
	fast = PLX_PAGE_SIZE / xfer;
	if (ns->boundary && fast > 1)
		fast = 1;
	if ((ns->md_size && !ns->md_extended) ||
	    (dptr_sgl_modes(c->id.sgls, c->opts.use_sgl, false) & NVME_SGL_ALWAYS))
		fast = 0;
	ns->blocks = (uint64_t)id->nsze;
	ns->fast_blocks = fast < ns->max_io_blocks ? fast : ns->max_io_blocks;
	ns->zns.zones = ns->zns.zone_blocks ? ns->blocks / ns->zns.zone_blocks : 0;
	return true;
}

/* What may change while I/O goes on: each word by itself, and only where it has changed. */
static void ns_publish(struct plx_nvme_ns *ns, const struct plx_nvme_ns *fresh)
{
	if (ns->active && ns->blocks == fresh->blocks && ns->fast_blocks == fresh->fast_blocks &&
	    ns->max_io_blocks == fresh->max_io_blocks && ns->boundary == fresh->boundary &&
	    ns->max_verify_blocks == fresh->max_verify_blocks &&
	    ns->max_wz_blocks == fresh->max_wz_blocks)
		return;
	ns_set(ns->fast_blocks, 0);
	ns_set(ns->max_io_blocks, fresh->max_io_blocks);
	ns_set(ns->boundary, fresh->boundary);
	ns_set(ns->max_verify_blocks, fresh->max_verify_blocks);
	ns_set(ns->max_wz_blocks, fresh->max_wz_blocks);
	ns_set(ns->blocks, fresh->blocks);
	__atomic_store_n(&ns->fast_blocks, fresh->fast_blocks, __ATOMIC_RELEASE);
}

/* The object of the format that a namespace had until now */
static void ns_leave_format(struct plx_nvme_ctrlr *c, const struct plx_nvme_ns *now)
{
	for (uint32_t i = 0; i < c->ns_count; i++) {
		struct plx_nvme_ns *ns = c->ns[i];

		if (ns->nsid != now->nsid || ns == now || !ns->active)
			continue;
		nvme_log(NOTICE,
			 "controller '%s': namespace %u has another format: blocks of %u and %u "
			 "bytes",
			 c->name, ns->nsid, now->block_size, now->md_size);
		ns_deactivate(ns);
	}
}

void ns_hold(struct plx_nvme_ctrlr *c, uint32_t nsid, bool on)
{
	if (!nsid)
		return;
	pthread_mutex_lock(&c->lock);
	for (uint32_t i = 0; i < c->ns_count; i++) {
		struct plx_nvme_ns *ns = c->ns[i];

		if (ns->nsid != nsid && nsid != NVME_NSID_ALL)
			continue;
		ns->held = on;
		if (on)
			ns_deactivate(ns);
	}
	pthread_mutex_unlock(&c->lock);
}

static bool ns_is_held(const struct plx_nvme_ctrlr *c, uint32_t nsid)
{
	for (uint32_t i = 0; i < c->ns_count; i++)
		if (c->ns[i]->nsid == nsid && c->ns[i]->held)
			return true;
	return false;
}

void ns_scan_begin(struct plx_nvme_ctrlr *c)
{
	c->ns_scan++;
	c->ns_last = 0;
	c->ns_at = 0;
	c->ns_looked = 0;
	memset(c->ns_list, 0, sizeof(c->ns_list));
}

/* Whether @ns, with what is found now, is not what has been there under its identifier before */
static bool ns_replaces(const struct plx_nvme_ctrlr *c, const struct plx_nvme_ns *ns,
			const struct nvme_id_ns *id)
{
	if (ns->active)
		return memcmp(ns->id.nguid, id->nguid, sizeof(id->nguid)) ||
		       memcmp(ns->id.eui64, id->eui64, sizeof(id->eui64));
	for (uint32_t i = 0; i < c->ns_count; i++)
		if (c->ns[i]->nsid == ns->nsid && c->ns[i]->seen)
			return true;
	return false;
}

void ns_found(struct plx_nvme_ctrlr *c, uint32_t nsid, const struct nvme_ns_found *found)
{
	struct plx_nvme_ns fresh = { .nsid = nsid, .ctrlr = c, .id = found->id };
	struct plx_nvme_ns *ns;

	/* all zeroes: not active (§5.17.2, CNS 00h) */
	if (!found->id.nsze || !ns_geometry(&fresh, found))
		return;
	ns = ns_like(c, &fresh);
	if (!ns)
		ns = ns_make(c, &fresh);
	if (!ns || ns_is_held(c, nsid))
		return;
	if (ns_replaces(c, ns, &found->id))
		ns_set(ns->since, c->ns_scan);
	ns_leave_format(c, ns);
	ns_publish(ns, &fresh);
	if (memcmp(&ns->zns, &fresh.zns, sizeof(ns->zns)))
		ns->zns = fresh.zns;
	memcpy(&ns->id, &found->id, sizeof(ns->id));
	ns->seen = c->ns_scan;
	__atomic_store_n(&ns->active, 1, __ATOMIC_RELEASE);
}

/* What reads and writes blocks of a range (NVM Command Set 1.0c §3.2) */
static bool has_range(uint8_t opc)
{
	return opc == nvme_cmd_read || opc == nvme_cmd_write || opc == nvme_cmd_compare ||
	       opc == nvme_cmd_verify || opc == nvme_cmd_write_zeroes ||
	       opc == nvme_cmd_write_uncor;
}

uint16_t ns_resubmit_status(struct plx_nvme_ctrlr *c, uint32_t scan, const struct plx_nvme_cmd *cmd)
{
	uint64_t last = cmd->cdw12 & 0xffff, blocks;
	struct plx_nvme_ns *ns;

	if (!cmd->nsid || cmd->nsid == NVME_NSID_ALL)
		return 0;
	ns = plx_nvme_ctrlr_ns(c, cmd->nsid);
	if (!ns || (int32_t)(__atomic_load_n(&ns->since, __ATOMIC_RELAXED) - scan) > 0)
		return NVME_SC_INVALID_NS | PLX_NVME_DNR;
	blocks = __atomic_load_n(&ns->blocks, __ATOMIC_RELAXED);
	if (has_range(cmd->opc) && (last >= blocks || cmd->slba >= blocks - last))
		return NVME_SC_LBA_RANGE | PLX_NVME_DNR;
	return 0;
}

void ns_scan_end(struct plx_nvme_ctrlr *c)
{
	uint32_t n = atomic_load_explicit(&c->ns_count, memory_order_relaxed);

	for (uint32_t i = 0; i < n; i++) {
		struct plx_nvme_ns *ns = c->ns[i];

		if (ns->seen != c->ns_scan && ns->active) {
			nvme_log(NOTICE, "controller '%s': namespace %u is gone", c->name,
				 ns->nsid);
			ns_deactivate(ns);
		}
	}
}

void ns_free_all(struct plx_nvme_ctrlr *c)
{
	for (uint32_t i = 0; i < c->ns_count; i++)
		free(c->ns[i]);
	c->ns_count = 0;
}

struct plx_nvme_ns *plx_nvme_ctrlr_ns(struct plx_nvme_ctrlr *c, uint32_t nsid)
{
	uint32_t n = atomic_load_explicit(&c->ns_count, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++) {
		struct plx_nvme_ns *ns = atomic_load_explicit(&c->ns[i], memory_order_relaxed);

		if (ns->nsid == nsid && __atomic_load_n(&ns->active, __ATOMIC_ACQUIRE))
			return ns;
	}
	return NULL;
}

uint32_t plx_nvme_ctrlr_next_ns(struct plx_nvme_ctrlr *c, uint32_t nsid)
{
	uint32_t n = atomic_load_explicit(&c->ns_count, memory_order_acquire), best = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct plx_nvme_ns *ns = atomic_load_explicit(&c->ns[i], memory_order_relaxed);

		if (ns->nsid > nsid && (!best || ns->nsid < best) &&
		    __atomic_load_n(&ns->active, __ATOMIC_ACQUIRE))
			best = ns->nsid;
	}
	return best;
}

uint32_t plx_nvme_ctrlr_ns_scans(const struct plx_nvme_ctrlr *c)
{
	return atomic_load_explicit(&c->ns_scanned, memory_order_acquire);
}

uint32_t plx_nvme_ns_id(const struct plx_nvme_ns *ns)
{
	return ns->nsid;
}

struct plx_nvme_ctrlr *plx_nvme_ns_ctrlr(const struct plx_nvme_ns *ns)
{
	return ns->ctrlr;
}

uint64_t plx_nvme_ns_blocks(const struct plx_nvme_ns *ns)
{
	return ns->blocks;
}

uint32_t plx_nvme_ns_block_size(const struct plx_nvme_ns *ns)
{
	return ns->block_size;
}

uint32_t plx_nvme_ns_md_size(const struct plx_nvme_ns *ns)
{
	return ns->md_size;
}

bool plx_nvme_ns_md_extended(const struct plx_nvme_ns *ns)
{
	return ns->md_extended;
}

uint32_t plx_nvme_ns_xfer_block_size(const struct plx_nvme_ns *ns)
{
	return ns->xfer_block;
}

unsigned plx_nvme_ns_pi_type(const struct plx_nvme_ns *ns)
{
	return ns->pi_type;
}

bool plx_nvme_ns_pi_first(const struct plx_nvme_ns *ns)
{
	return ns->pi_first;
}

unsigned plx_nvme_ns_pi_guard(const struct plx_nvme_ns *ns)
{
	return 16u << ns->pi_format;
}

unsigned plx_nvme_ns_storage_tag_bits(const struct plx_nvme_ns *ns)
{
	return ns->tag_bits;
}

uint32_t plx_nvme_ns_max_io_blocks(const struct plx_nvme_ns *ns)
{
	return ns->max_io_blocks;
}

const struct nvme_id_ns *plx_nvme_ns_data(const struct plx_nvme_ns *ns)
{
	return &ns->id;
}
