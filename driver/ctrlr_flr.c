/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/ctrlr_flr.c - function level reset, the last resort for a controller that does not do what
 * its registers are told
 *
 * The kernel, or a vfio-user server, may take seconds for it, and who reads a register meanwhile
 * waits, too: a thread asks for it, and the controller's step looks whether that is done.
 */
#include "driver/ctrlr_steps.h"
#include <errno.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Once, and again when it has helped for so long */
static bool may_try(const struct plx_nvme_ctrlr *c)
{
	return c->dev->ops->reset &&
	       (!c->flr.tsc || plx_tsc() - c->flr.tsc >= NVME_FATAL_WINDOW_MS * c->tsc_ms);
}

static void give_up(struct plx_nvme_ctrlr *c, int err, const char *what, const char *more)
{
	const char *why = c->flr.why;

	if (*why == ':')
		ctrlr_fail(c, err, ":%s%s%s", why + 1, what, more);
	else
		ctrlr_fail(c, err, "%s%s%s", why, what, more);
}

void ctrlr_stuck(struct plx_nvme_ctrlr *c, int err, const char *fmt, ...)
{
	struct nvme_flr *f = &c->flr;
	va_list ap;

	if (ctrlr_state(c) == PLX_NVME_CTRLR_FAILED)
		return;
	va_start(ap, fmt);
	vsnprintf(f->why, sizeof(f->why), fmt, ap);
	va_end(ap);
	if (!may_try(c)) {
		give_up(c, err, f->tsc ? ", although its function was reset" : "", "");
		return;
	}
	f->err = err;
	f->tsc = plx_tsc();
	nvme_log(WARN, "controller '%s'%s%s: resetting its function", c->name,
		 f->why[0] == ':' ? "" : " ", f->why);
	if (ctrlr_state(c) != PLX_NVME_CTRLR_READY) {
		ctrlr_step_go(c, NVME_STEP_FUNCTION_RESET);
		return;
	}
	f->wanted = true;
	ctrlr_quiesce(c);
}

void ctrlr_absent(struct plx_nvme_ctrlr *c)
{
	unsigned char class[3] = { 0xff, 0xff, 0xff };
	struct plx_pcie_dev *dev = c->dev;

	/* what is unplugged has no configuration space any more. Identifiers would not do: VFIO
	 * answers for those itself */
	if (!dev->ops->reset || atomic_load(&dev->cut_off) ||
	    dev->ops->cfg_read(dev, PCI_CLASS_PROG, class, sizeof(class)) ||
	    (class[0] & class[1] & class[2]) == 0xff)
		ctrlr_gone(c);
	else
		ctrlr_stuck(c, -ENODEV, "has registers that read as all ones");
}

static void *ask_for_reset(void *arg)
{
	struct plx_nvme_ctrlr *c = arg;

	c->flr.rc = c->dev->ops->reset(c->dev);
	atomic_store_explicit(&c->flr.done, true, memory_order_release);
	return NULL;
}

/* Signals are for the program's own threads. Return: 0 or -errno */
static int start_thread(struct plx_nvme_ctrlr *c)
{
	sigset_t all, before;
	int rc;

	atomic_store_explicit(&c->flr.done, false, memory_order_relaxed);
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&c->flr.thread, NULL, ask_for_reset, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	c->flr.running = !rc;
	return -rc;
}

void flr_wait(struct plx_nvme_ctrlr *c)
{
	if (c->flr.running)
		pthread_join(c->flr.thread, NULL);
	c->flr.running = false;
}

enum nvme_step step_function_reset(struct plx_nvme_ctrlr *c, bool entering)
{
	struct nvme_flr *f = &c->flr;
	int rc = 0;

	if (entering) {
		f->wanted = false;
		rc = start_thread(c);
	} else if (!atomic_load_explicit(&f->done, memory_order_acquire)) {
		return NVME_STEP_FUNCTION_RESET;
	} else {
		flr_wait(c);
		rc = f->rc;
	}
	if (rc) {
		give_up(c, f->err, ", and its function cannot be reset: ",
			rc == -ENOTSUP ? "it has no such reset" : strerror(-rc));
		return NVME_STEP_FAILED;
	}
	if (entering)
		return NVME_STEP_FUNCTION_RESET;
	ctrlr_irq_again(c);
	if (resetting(c))
		return NVME_STEP_DISABLE;
	step_rewind_admin(c);
	return NVME_STEP_CAP;
}
