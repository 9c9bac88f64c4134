/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/pmr.c - the persistent memory region (NVMe Base 2.0c §8.14)
 *
 * Enabled and disabled by callers, whatever the controller does meanwhile: its properties outlive
 * resets (§3.7.2). Commands name it by an address chosen here, as in cmb.c.
 */
#include "driver/ctrlr_internal.h"
#include <emmintrin.h>
#include <errno.h>
#include <pollux/nvme_memory.h>
#include <string.h>

/* What "gone" looks like: all ones */
#define PMRSTS_GONE UINT32_MAX

static bool has_pmr(struct plx_nvme_ctrlr *c)
{
	if (!NVME_CAP_PMRS(c->cap) || !c->dev->ops->bar_size)
		return false;
	if (!c->pmr.cap)
		c->pmr.cap = pcie_read32(c->dev, NVME_REG_PMRCAP);
	/* the BAR of the registers is none of them, §3.1.3.22 */
	return NVME_PMRCAP_BIR(c->pmr.cap) >= 2 && NVME_PMRCAP_BIR(c->pmr.cap) < 6;
}

/* PMRTO in units of half a second or a minute; reserved units are taken for the longer one */
static uint32_t timeout_ms(const struct plx_nvme_ctrlr *c)
{
	uint32_t unit = NVME_PMRCAP_PMRTU(c->pmr.cap) == NVME_PMRCAP_PMRTU_500MS ? 500 : 60000;
	uint32_t n = NVME_PMRCAP_PMRTO(c->pmr.cap);

	return (n ? n : 1) * unit;
}

/* ---- registers, under lock ---- */

static uint32_t read_status(struct plx_nvme_ctrlr *c)
{
	return pcie_read32(c->dev, NVME_REG_PMRSTS);
}

/* Its address for commands, where it can have one (PMRCAP.CMSS). Return: false when it does not
 * take it */
static bool set_address(struct plx_nvme_ctrlr *c)
{
	const struct nvme_pmr *p = &c->pmr;

	if (!NVME_PMRCAP_CMSS(p->cap))
		return true;
	/* writing the lower half enables it */
	pcie_write32(c->dev, NVME_REG_PMRMSCU, (uint32_t)(p->iova >> 32));
	pcie_write32(c->dev, NVME_REG_PMRMSCL, (uint32_t)p->iova | 1u << NVME_PMRMSC_CMSE_SHIFT);
	return !NVME_PMRSTS_CBAI(read_status(c));
}

static void clear_address(struct plx_nvme_ctrlr *c)
{
	if (!NVME_PMRCAP_CMSS(c->pmr.cap))
		return;
	pcie_write32(c->dev, NVME_REG_PMRMSCL, 0);
	pcie_write32(c->dev, NVME_REG_PMRMSCU, 0);
}

/* Return: 0; -errno, logged */
static int map(struct plx_nvme_ctrlr *c)
{
	unsigned bir = NVME_PMRCAP_BIR(c->pmr.cap);
	struct plx_pcie_dev *dev = c->dev;
	struct nvme_pmr *p = &c->pmr;
	uint64_t bus = 0;
	int rc;

	p->bytes = dev->ops->bar_size(dev, bir, &bus) & ~((uint64_t)PLX_PAGE_SIZE - 1);
	if (!p->bytes || (c->cmb.sz && NVME_CMBLOC_BIR(c->cmb.loc) == bir)) {
		nvme_log(ERR,
			 "controller '%s': its persistent memory region cannot be used: BAR %u "
			 "(PMRCAP.BIR) is %s",
			 c->name, bir,
			 p->bytes ? "its controller memory buffer as well" : "not there");
		return -ENOTSUP;
	}
	p->mem = NULL;
	rc = dev->ops->bar_map(dev, bir, 0, p->bytes, &p->mem);
	if (rc) {
		p->mem = NULL;
		nvme_log(ERR,
			 "controller '%s': its persistent memory region, %llu bytes of BAR %u, "
			 "cannot be mapped: %s",
			 c->name, (unsigned long long)p->bytes, bir, strerror(-rc));
		return rc;
	}
	p->iova = dev->iova_is_pa ? bus : (uint64_t)(uintptr_t)p->mem;
	return 0;
}

static void unmap(struct plx_nvme_ctrlr *c)
{
	struct nvme_pmr *p = &c->pmr;

	window_close(&c->windows.window[NVME_WINDOW_PMR]);
	if (p->mem)
		c->dev->ops->bar_unmap(c->dev, p->mem);
	p->mem = NULL;
}

/* ---- waiting, not under lock ---- */

/* Until PMRSTS.NRDY is @nrdy. Return: 0; -ETIMEDOUT; -ENXIO */
static int wait_status(struct plx_nvme_ctrlr *c, uint32_t nrdy, uint32_t *status)
{
	uint64_t deadline = plx_tsc() + timeout_ms(c) * c->tsc_ms;

	for (;;) {
		bool late = plx_tsc() > deadline;

		pthread_mutex_lock(&c->lock);
		*status = read_status(c);
		pthread_mutex_unlock(&c->lock);
		if (*status == PMRSTS_GONE)
			return -ENXIO;
		if (NVME_PMRSTS_NRDY(*status) == nrdy)
			return 0;
		if (late)
			return -ETIMEDOUT;
		ctrlr_setup_turn(c);
	}
}

static void change(struct plx_nvme_ctrlr *c, bool on)
{
	pthread_mutex_lock(&c->lock);
	pcie_write32(c->dev, NVME_REG_PMRCTL, on);
	pthread_mutex_unlock(&c->lock);
}

static void log_failure(const struct plx_nvme_ctrlr *c, const char *what, int rc, uint32_t status)
{
	if (rc == -ETIMEDOUT)
		nvme_log(ERR,
			 "controller '%s': its persistent memory region was not %s within %u ms "
			 "(PMRCAP.PMRTO; PMRSTS is %xh)",
			 c->name, what, timeout_ms(c), status);
	else if (rc == -EIO)
		nvme_log(ERR,
			 "controller '%s': its persistent memory region reports error %02xh "
			 "(PMRSTS.ERR)",
			 c->name, (unsigned)NVME_PMRSTS_ERR(status));
}

static const char *health_text(uint32_t status)
{
	static const char *const texts[] = {
		"normal", "could not be restored: its content is not what it was", "read-only",
		"unreliable"
	};
	unsigned health = NVME_PMRSTS_HSTS(status);

	return health < PLX_ARRAY_SIZE(texts) ? texts[health] : "in a reserved state";
}

/* ---- on ---- */

/* Under lock. Return: 0; -errno */
static int begin(struct plx_nvme_ctrlr *c)
{
	struct nvme_pmr *p = &c->pmr;
	int rc;

	if (ctrlr_state(c) == PLX_NVME_CTRLR_FAILED)
		return -ENXIO;
	if (!has_pmr(c))
		return -ENOTSUP;
	/* registers may be out of reach, and are given their values again by the reset */
	if (p->state == NVME_PMR_CHANGING || ctrlr_state(c) != PLX_NVME_CTRLR_READY)
		return -EBUSY;
	rc = map(c);
	if (rc)
		return rc;
	if (!set_address(c)) {
		nvme_log(ERR,
			 "controller '%s': its persistent memory region does not take address "
			 "%llxh (PMRSTS.CBAI)",
			 c->name, (unsigned long long)p->iova);
		clear_address(c);
		unmap(c);
		return -EIO;
	}
	p->state = NVME_PMR_CHANGING;
	return 0;
}

/* Under lock */
static void end(struct plx_nvme_ctrlr *c, bool on)
{
	struct nvme_pmr *p = &c->pmr;

	if (on && NVME_PMRCAP_CMSS(p->cap))
		window_open(&c->windows.window[NVME_WINDOW_PMR], p->mem, p->bytes, p->iova);
	if (!on) {
		pcie_write32(c->dev, NVME_REG_PMRCTL, 0);
		clear_address(c);
		unmap(c);
	}
	p->state = on ? NVME_PMR_ON : NVME_PMR_OFF;
}

int plx_nvme_pmr_enable(struct plx_nvme_ctrlr *c, void **mem, uint64_t *bytes)
{
	struct nvme_pmr *p = &c->pmr;
	uint32_t status = 0;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	if (p->state != NVME_PMR_ON)
		rc = begin(c);
	*mem = p->mem;
	*bytes = p->bytes;
	if (rc || p->state == NVME_PMR_ON) {
		pthread_mutex_unlock(&c->lock);
		return rc;
	}
	pthread_mutex_unlock(&c->lock);
	change(c, true);
	rc = wait_status(c, 0, &status);
	if (!rc && NVME_PMRSTS_ERR(status))
		rc = -EIO;
	log_failure(c, "ready", rc, status);
	if (!rc && NVME_PMRSTS_HSTS(status))
		nvme_log(WARN, "controller '%s': its persistent memory region is %s (PMRSTS.HSTS)",
			 c->name, health_text(status));
	pthread_mutex_lock(&c->lock);
	end(c, !rc);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* Where it was disabled by a reset that should not do so, or by another way than CC.EN */
void pmr_restore(struct plx_nvme_ctrlr *c)
{
	if (c->pmr.state != NVME_PMR_ON)
		return;
	if (!set_address(c))
		nvme_log(ERR,
			 "controller '%s': its persistent memory region does not take its address "
			 "again (PMRSTS.CBAI): commands with data there fail",
			 c->name);
	if (NVME_PMRCTL_EN(pcie_read32(c->dev, NVME_REG_PMRCTL)))
		return;
	nvme_log(
		WARN,
		"controller '%s': its persistent memory region was disabled by the reset: what was "
		"stored there meanwhile is lost; enabled again",
		c->name);
	pcie_write32(c->dev, NVME_REG_PMRCTL, 1);
}

/* ---- off ---- */

static int disable(struct plx_nvme_ctrlr *c)
{
	uint32_t status = 0;
	int persisted = plx_nvme_pmr_persist(c), rc;

	change(c, false);
	rc = wait_status(c, 1, &status);
	log_failure(c, "disabled", rc, status);
	return persisted ? persisted : rc;
}

int plx_nvme_pmr_disable(struct plx_nvme_ctrlr *c)
{
	struct nvme_pmr *p = &c->pmr;
	bool was_on;
	int rc = 0;

	pthread_mutex_lock(&c->lock);
	was_on = p->state == NVME_PMR_ON;
	if (p->state == NVME_PMR_CHANGING)
		rc = -EBUSY;
	if (was_on)
		p->state = NVME_PMR_CHANGING;
	pthread_mutex_unlock(&c->lock);
	if (!was_on)
		return rc;
	rc = disable(c);
	pthread_mutex_lock(&c->lock);
	end(c, false);
	pthread_mutex_unlock(&c->lock);
	return rc;
}

void pmr_fini(struct plx_nvme_ctrlr *c)
{
	if (c->pmr.mem)
		end(c, false);
}

/* ---- status ---- */

int plx_nvme_pmr_info(struct plx_nvme_ctrlr *c, struct plx_nvme_pmr_info *out)
{
	const struct nvme_pmr *p = &c->pmr;
	int rc = -ENOTSUP;
	uint64_t bus;

	pthread_mutex_lock(&c->lock);
	if (has_pmr(c)) {
		*out = (struct plx_nvme_pmr_info){
			.bytes = c->dev->ops->bar_size(c->dev, NVME_PMRCAP_BIR(p->cap), &bus),
			.timeout_ms = timeout_ms(c),
			.barriers = NVME_PMRCAP_PMRWMB(p->cap) & 3,
			.read_data = NVME_PMRCAP_CMSS(p->cap) && NVME_PMRCAP_RDS(p->cap),
			.write_data = NVME_PMRCAP_CMSS(p->cap) && NVME_PMRCAP_WDS(p->cap),
			.enabled = p->state == NVME_PMR_ON,
		};
		rc = out->bytes ? 0 : -ENOTSUP;
	}
	pthread_mutex_unlock(&c->lock);
	return rc;
}

int plx_nvme_pmr_status(struct plx_nvme_ctrlr *c, struct plx_nvme_pmr_status *out)
{
	uint32_t status;
	bool there;

	pthread_mutex_lock(&c->lock);
	there = has_pmr(c);
	status = read_status(c);
	pthread_mutex_unlock(&c->lock);
	if (!there)
		return -ENOTSUP;
	if (status == PMRSTS_GONE)
		return -ENXIO;
	*out = (struct plx_nvme_pmr_status){
		.ready = !NVME_PMRSTS_NRDY(status),
		.err = NVME_PMRSTS_ERR(status),
		.health = NVME_PMRSTS_HSTS(status),
	};
	return 0;
}

/* Reads pass no writes on their way to the device; which of them wait until those are done, the
 * device says. The status tells in any case whether they were. */
int plx_nvme_pmr_persist(struct plx_nvme_ctrlr *c)
{
	struct nvme_pmr *p = &c->pmr;
	uint32_t status;

	if (!p->mem)
		return -EINVAL;
	_mm_sfence();
	if (!(NVME_PMRCAP_PMRWMB(p->cap) & PLX_NVME_PMR_BARRIER_STATUS))
		(void)*(volatile uint32_t *)p->mem;
	status = read_status(c);
	if (status == PMRSTS_GONE)
		return -ENXIO;
	if (NVME_PMRSTS_NRDY(status))
		return -EAGAIN;
	if (NVME_PMRSTS_HSTS(status) == PLX_NVME_PMR_READ_ONLY)
		return -EROFS;
	return NVME_PMRSTS_ERR(status) || NVME_PMRSTS_HSTS(status) > PLX_NVME_PMR_RESTORE_ERROR
		       ? -EIO
		       : 0;
}
