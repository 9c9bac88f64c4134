/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/arbitration.c - weighted round robin with an urgent class (NVMe Base 2.0c §3.4.4.2)
 *
 * Where CC.AMS asks for it, this is what a turn of the function does in place of the plain round
 * robin: the admin queue first, then urgent ones; what is left goes to the classes high, medium and
 * low by credits, a command each. Before each burst the classes above are looked at again.
 */
#include "targets/nvmf/nvmf_internal.h"
#include <string.h>

#define TURN_COMMANDS 256u /* then the thread's other pollers have their turn */

void nvmf_arb_reset(struct nvmf_fn *fn, bool weighted)
{
	fn->arb = (struct nvmf_arb){ .weighted = weighted };
	nvmf_arb_set(fn, 0);
	fn->attention |= weighted;
}

void nvmf_arb_set(struct nvmf_fn *fn, uint32_t cdw11)
{
	struct nvmf_arb *a = &fn->arb;

	/* weights are 0's based */
	for (unsigned prio = NVMF_PRIO_HIGH; prio <= NVMF_PRIO_LOW; prio++)
		a->credit[prio] = a->weight[prio] =
			(uint16_t)((cdw11 >> 8 * (4 - prio) & 0xff) + 1);
}

/* A burst of the class's next queue with something to do. Return: commands fetched */
static uint32_t class_burst(struct nvmf_fn *fn, unsigned prio, uint32_t max)
{
	uint32_t n = fn->nactive, i = fn->arb.next[prio];

	for (uint32_t tries = 0; tries < n; tries++, i++) {
		struct nvmf_sq *sq;
		int done;

		i = i < n ? i : 0;
		sq = fn->active[i];
		if (!sq->qid || sq->prio != prio)
			continue;
		done = nvmf_sq_turn(sq, max);
		if (done) {
			fn->arb.next[prio] = i + 1;
			return (uint32_t)done;
		}
		if (plx_unlikely(fn->nactive != n))
			break;
	}
	return 0;
}

/* The weighted classes take from their credits; when none that has some has work, all get new
 * ones */
static uint32_t weighted_burst(struct nvmf_fn *fn)
{
	struct nvmf_arb *a = &fn->arb;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned prio = NVMF_PRIO_HIGH; prio <= NVMF_PRIO_LOW; prio++) {
			uint32_t most = a->credit[prio] < fn->burst ? a->credit[prio] : fn->burst;
			uint32_t n = most ? class_burst(fn, prio, most) : 0;

			a->credit[prio] -= (uint16_t)n;
			if (n)
				return n;
		}
		memcpy(a->credit, a->weight, sizeof a->credit);
	}
	return 0;
}

int nvmf_fn_poll_weighted(struct nvmf_fn *fn)
{
	uint32_t done = 0, n;

	do {
		/* the admin queue is the first, when it is there */
		n = fn->nactive && !fn->active[0]->qid
			    ? (uint32_t)nvmf_sq_turn(fn->active[0], fn->burst)
			    : 0;
		n = n ? n : class_burst(fn, NVMF_PRIO_URGENT, fn->burst);
		n = n ? n : weighted_burst(fn);
		done += n;
	} while (n && done < TURN_COMMANDS);
	return (int)done;
}
