/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/setup/change.h - changes of drivers that can be undone: change.c
 */
#ifndef IDENTIFY_SETUP_CHANGE_H
#define IDENTIFY_SETUP_CHANGE_H

#include "identify/setup/setup.h"

struct change {
	struct setup_device dev; /* as it is before */
	const char *driver; /* that shall have it; "": none */
	const char *override;
	bool skip, done;
	bool recorded; /* its entry in the state is of this run */
};

struct changes {
	struct change *c;
	size_t n;
};

/** change_run - opens the state, loads the devices of the options, calls @what, reports */
int change_run(const struct setup_options *o,
	       int (*what)(const struct setup_options *, struct setup_state *, struct changes *));
/** change_check - whether the device may be taken from its driver. Return: false after a message */
bool change_check(const struct setup_options *o, const struct change *c);
/** change_record - what there is now, to the state, unless that has the device already */
int change_record(struct setup_state *s, struct change *c);
/** change_do - to the state first, then to the device. Return: an enum plx_exit; the old driver has
 *  it where that is not PLX_EXIT_OK, or a message says that none has */
int change_do(const struct setup_options *o, struct setup_state *s, struct change *c);
/** change_take_back - what change_do() did, if it did */
void change_take_back(const struct setup_options *o, struct setup_state *s, struct change *c);

#endif
