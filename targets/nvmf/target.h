/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * targets/nvmf/target.h - the target of this process, as the RPC methods make it
 *
 *   target.c         threads, transport, listeners
 *   rpc_target.c     methods: transports, statistics, configuration
 *   rpc_subsystem.c  methods: subsystems and namespaces
 *   rpc_host.c       methods: who may connect, who is connected
 *   rpc_listener.c   methods: listeners
 *
 * All of it belongs to the thread that carries out the methods.
 */
#ifndef POLLUX_NVMF_TARGET_H
#define POLLUX_NVMF_TARGET_H

#include "core/rpc_util.h"
#include "targets/nvmf/nvmf_admin.h"

#define NVMF_TARGET_NAME   "nvmf_tgt"
#define NVMF_DISCOVERY_NQN "nqn.2014-08.org.nvmexpress.discovery"

/*
 * Where hosts find a subsystem. Lives from add_listener to remove_listener. The front end is there
 * while the subsystem admits hosts that do not tell their name, as vfio-user hosts do not.
 */
struct nvmf_listener {
	TAILQ_ENTRY(nvmf_listener) link;
	struct plx_nvmf_subsystem *subsystem;
	char traddr[257], adrfam[16], trsvcid[33];
	struct nvmf_group *group;
	struct plx_nvmf_vfio_user *front; /* NULL: closed */
};

struct nvmf_target {
	bool started;
	struct nvmf_group *groups; /* [n_groups] */
	uint32_t n_groups;
	uint32_t next_group; /* of the next listener */
	uint32_t max_subsystems;
	bool max_subsystems_set;
	struct plx_cpuset mask; /* of threads that get controllers, when @mask_set */
	bool mask_set;
	json_t *config; /* what nvmf_set_config was given; NULL: nothing */
	json_t *vfio_user; /* what nvmf_create_transport was given, and defaults; NULL: not made */
	TAILQ_HEAD(, nvmf_listener) listeners;
};
extern struct nvmf_target nvmf_target;

/** nvmf_target_ready - it is started, and @params' tgt_name, if any, is its name. Return: else
 *  false, with the error of @call */
bool nvmf_target_ready(struct plx_rpc_call *call, const json_t *params);

struct plx_nvmf_subsystem *nvmf_subsystem_find(const char *nqn);
/** nvmf_subsystem_of - that of @params' nqn. Return: NULL with the error of @call */
struct plx_nvmf_subsystem *nvmf_subsystem_of(struct plx_rpc_call *call, const json_t *params);

/** nvmf_listener_find - by address; @trsvcid NULL: whatever it is */
struct nvmf_listener *nvmf_listener_find(const struct plx_nvmf_subsystem *s, const char *traddr,
					 const char *trsvcid);
/** nvmf_listener_open - Return: 0; negative errno, with a sentence in @err */
int nvmf_listener_open(struct nvmf_listener *l, char *err, size_t errlen);
void nvmf_listener_close(struct nvmf_listener *l);
void nvmf_listener_remove(struct nvmf_listener *l);
/** nvmf_listener_address - {"trtype", "adrfam", "traddr", "trsvcid"} */
json_t *nvmf_listener_address(const struct nvmf_listener *l);
/** nvmf_address_json - of the listener at @traddr; of the in-process front end where it is NULL */
json_t *nvmf_address_json(const struct plx_nvmf_subsystem *s, const char *traddr);

/* Parameters that several methods have */
#define NVMF_TGT_NAME_PARAM                                                                        \
	{                                                                                          \
		"tgt_name", PLX_RPC_STRING,                                                        \
			.help = "the target, of which there is one, " NVMF_TARGET_NAME             \
	}
#define NVMF_NQN_PARAM                                                                             \
	{                                                                                          \
		"nqn", PLX_RPC_STRING, .required = true, .help = "name of the subsystem"           \
	}

#endif
