/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ns.c - namespaces
 *
 * A namespace object, once made, lives as long as its controller: threads that do I/O keep pointers
 * to it. One that goes away becomes inactive, with no blocks, and active again when it comes back.
 */
#include "driver/ctrlr_internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Fields that threads doing I/O read while a rescan writes them: whole words, in no particular
 * order. */
#define ns_set(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

static struct plx_nvme_ns *ns_by_id(struct plx_nvme_ctrlr *c, uint32_t nsid)
{
	uint32_t n = atomic_load_explicit(&c->ns_count, memory_order_acquire);

	for (uint32_t i = 0; i < n; i++) {
		struct plx_nvme_ns *ns = atomic_load_explicit(&c->ns[i], memory_order_relaxed);

		if (ns->nsid == nsid)
			return ns;
	}
	return NULL;
}

static struct plx_nvme_ns *ns_make(struct plx_nvme_ctrlr *c, uint32_t nsid)
{
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
	memset(ns, 0, sizeof(*ns));
	ns->nsid = nsid;
	ns->ctrlr = c;
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
static unsigned ns_format(const struct nvme_id_ns *id)
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
static bool ns_geometry(struct plx_nvme_ns *ns, const struct nvme_id_ns *id,
			const struct nvme_nvm_id_ns *nvm)
{
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
	ns->block_size = 1u << ds;
	ns->md_size = (uint32_t)id->lbaf[f].ms;
	ns->md_extended = (uint8_t)(ns->md_size && (id->flbas & NVME_NS_FLBAS_META_EXT));
	ns->pi_type = (uint8_t)(id->dps & NVME_NS_DPS_PI_MASK);
	ns->pi_first = (uint8_t) !!(id->dps & NVME_NS_DPS_PI_FIRST);
	ns->pi_format = (uint8_t)(nvm ? (nvm->elbaf[f] & NVME_NVM_ELBAF_PIF_MASK) >> 7 : 0);
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
	ns->max_verify_blocks = blocks_in(c->max_verify_bytes, xfer);
	ns->max_wz_blocks = blocks_in(c->max_wz_bytes, ns->block_size);

	/* A page's worth of blocks never needs more than two PRPs, one block never crosses a
	 * boundary. Separate metadata needs a pointer of its own. */
	fast = PLX_PAGE_SIZE / xfer;
	if (ns->boundary && fast > 1)
		fast = 1;
	if ((ns->md_size && !ns->md_extended) ||
	    (dptr_sgl_modes(c->id.sgls, c->opts.use_sgl) & NVME_SGL_ALWAYS))
		fast = 0;
	ns->blocks = (uint64_t)id->nsze;
	ns->fast_blocks = fast < ns->max_io_blocks ? fast : ns->max_io_blocks;
	return true;
}

/* A rescan finds most namespaces as they were: their words are not written then. */
static void ns_publish(struct plx_nvme_ns *ns, const struct plx_nvme_ns *fresh)
{
	if (ns->active && ns->pi_format == fresh->pi_format &&
	    !memcmp(ns, fresh, offsetof(struct plx_nvme_ns, active)))
		return;
	ns_set(ns->fast_blocks, 0);
	ns_set(ns->xfer_block, fresh->xfer_block);
	ns_set(ns->max_io_blocks, fresh->max_io_blocks);
	ns_set(ns->boundary, fresh->boundary);
	ns_set(ns->max_verify_blocks, fresh->max_verify_blocks);
	ns_set(ns->max_wz_blocks, fresh->max_wz_blocks);
	ns_set(ns->block_size, fresh->block_size);
	ns_set(ns->md_size, fresh->md_size);
	ns_set(ns->md_extended, fresh->md_extended);
	ns_set(ns->pi_type, fresh->pi_type);
	ns_set(ns->pi_first, fresh->pi_first);
	ns_set(ns->pi_format, fresh->pi_format);
	ns_set(ns->blocks, fresh->blocks);
	__atomic_store_n(&ns->fast_blocks, fresh->fast_blocks, __ATOMIC_RELEASE);
}

void ns_scan_begin(struct plx_nvme_ctrlr *c)
{
	c->ns_scan++;
	c->ns_last = 0;
	c->ns_at = 0;
	c->ns_looked = 0;
	memset(c->ns_list, 0, sizeof(c->ns_list));
}

void ns_found(struct plx_nvme_ctrlr *c, uint32_t nsid, const struct nvme_id_ns *id,
	      const struct nvme_nvm_id_ns *nvm)
{
	struct plx_nvme_ns fresh = { .nsid = nsid, .ctrlr = c };
	struct plx_nvme_ns *ns;

	/* all zeroes: not active (§5.17.2, CNS 00h) */
	if (!id->nsze || !ns_geometry(&fresh, id, nvm))
		return;
	ns = ns_by_id(c, nsid);
	if (!ns)
		ns = ns_make(c, nsid);
	if (!ns)
		return;
	ns_publish(ns, &fresh);
	memcpy(&ns->id, id, sizeof(ns->id));
	ns->seen = c->ns_scan;
	__atomic_store_n(&ns->active, 1, __ATOMIC_RELEASE);
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
	struct plx_nvme_ns *ns = ns_by_id(c, nsid);

	return ns && __atomic_load_n(&ns->active, __ATOMIC_ACQUIRE) ? ns : NULL;
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

uint32_t plx_nvme_ns_max_io_blocks(const struct plx_nvme_ns *ns)
{
	return ns->max_io_blocks;
}

const struct nvme_id_ns *plx_nvme_ns_data(const struct plx_nvme_ns *ns)
{
	return &ns->id;
}
