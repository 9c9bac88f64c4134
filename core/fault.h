/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/fault.h - memory mapped from a file that somebody else may truncate
 *
 * An access behind the new end of the file raises SIGBUS. For guarded memory the whole range then
 * becomes anonymous memory, the access is repeated and succeeds, and a flag says that what is there
 * now means nothing. SIGBUS anywhere else goes where it went before.
 */
#ifndef POLLUX_CORE_FAULT_H
#define POLLUX_CORE_FAULT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/**
 * plx_fault_guard - guard a mapping
 * @addr, @len: of the mmap(); whole pages of it, which for hugetlbfs are large
 * @hit: set to 1 when it happened; must live as long as the guard
 *
 * The thread that touches the memory must not block SIGBUS. Any thread, set-up.
 * Return: what plx_fault_unguard() takes; -ENOSPC, -ENOMEM, or a negative errno of sigaction()
 */
int plx_fault_guard(void *addr, size_t len, _Atomic uint32_t *hit);
/** plx_fault_unguard - before the memory is unmapped; negative @guard: nothing happens */
void plx_fault_unguard(int guard);

#endif
