/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/unit/test_rpc_config.c - loading a configuration, subsystem by subsystem */
#include "rpc_table.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

static char trace[256]; /* names of what was carried out */
static char err[512];

static json_t *config_note(struct plx_rpc_call *call, const json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "name"));

	if (!strcmp(name, "bad"))
		return plx_rpc_fail(call, -ENODEV, "there is no 'bad'");
	strcat(strcat(trace, name), " ");
	return json_true();
}

static struct plx_rpc_method config_methods[] = {
	{ "config_note", "Notes.", config_note, PLX_RPC_RUNTIME, test_name_params, "test" },
	{ "config_early", "Notes.", config_note, PLX_RPC_STARTUP, test_name_params, "test" },
	{ "config_any", "Notes.", config_note, PLX_RPC_ANY_TIME, test_name_params, "test" },
};
PLX_RPC_TABLE(config_methods)

static void no_dump(json_t *config)
{
}

static struct plx_rpc_subsystem alpha = { "alpha", "middle zeta", no_dump },
				middle = { "middle", "zeta absent", no_dump },
				zeta = { "zeta", NULL, no_dump };

static void add_subsystems(void)
{
	plx_rpc_register_subsystem(&middle);
	plx_rpc_register_subsystem(&alpha);
	plx_rpc_register_subsystem(&zeta);
	plx_rpc_set_state(PLX_RPC_RUNTIME);
}

TestSuite(rpc_config, .init = add_subsystems);

static int load(const char *text)
{
	json_t *config = json_loads(text, 0, NULL);
	int rc;

	cr_assert_not_null(config, "%s", text);
	*err = '\0';
	rc = plx_rpc_load_config(config, err, sizeof(err));
	json_decref(config);
	return rc;
}

#define NOTE(method, name) "{\"method\":\"" method "\",\"params\":{\"name\":\"" name "\"}}"

Test(rpc_config, subsystems_come_after_those_they_need)
{
	const struct plx_rpc_subsystem *s = plx_rpc_first_subsystem();

	cr_assert(s == &zeta && s->next == &middle && s->next->next == &alpha && !alpha.next);
	/* again, and with one more: still in order */
	cr_assert(plx_rpc_first_subsystem() == &zeta);
}

Test(rpc_config, subsystems_that_need_each_other_are_all_there)
{
	static struct plx_rpc_subsystem a = { "a", "b", no_dump }, b = { "b", "a", no_dump };
	unsigned n = 0;

	plx_rpc_first_subsystem();
	plx_rpc_register_subsystem(&a);
	plx_rpc_register_subsystem(&b);
	for (const struct plx_rpc_subsystem *s = plx_rpc_first_subsystem(); s; s = s->next)
		n++;
	cr_assert(eq(uint, n, 5));
}

Test(rpc_config, entries_run_in_the_order_of_subsystems_then_of_the_text)
{
	cr_assert(eq(int,
		     load("{\"subsystems\":[{\"subsystem\":\"alpha\",\"config\":[" NOTE(
			     "config_note",
			     "a1") "," NOTE("config_note",
					    "a2") "]},{\"subsystem\":\"zeta\",\"config\":"
						  "[" NOTE("config_note",
							   "z") "]},{\"subsystem\":"
								"\"middle\",\"config\":"
								"null}]}"),
		     0));
	cr_assert_str_eq(trace, "z a1 a2 ");
}

Test(rpc_config, each_entry_runs_once_in_its_state)
{
	const char *text = "{\"subsystems\":[{\"subsystem\":\"zeta\",\"config\":[" NOTE(
		"config_note", "late") "," NOTE("config_early", "early") "," NOTE("config_any",
										  "any") "]}]}";

	plx_rpc_set_state(PLX_RPC_STARTUP);
	cr_assert(eq(int, load(text), 0));
	cr_assert_str_eq(trace, "early ");
	plx_rpc_set_state(PLX_RPC_RUNTIME);
	cr_assert(eq(int, load(text), 0));
	cr_assert_str_eq(trace, "early late any ");
}

Test(rpc_config, the_first_error_ends_it_and_is_named)
{
	cr_assert(eq(
		int,
		load("{\"subsystems\":[{\"subsystem\":\"zeta\",\"config\":[" NOTE(
			"config_note",
			"one") "," NOTE("config_note",
					"bad") "," NOTE("config_note",
							"two") "]},{\"subsystem\":\"alpha\","
							       "\"config\":[" NOTE("config_note",
										   "three") "]}]}"),
		-ENODEV));
	cr_assert_str_eq(trace, "one ");
	cr_assert_str_eq(err, "subsystem 'zeta': entry 1: config_note: there is no 'bad'");
}

Test(rpc_config, a_wrong_parameter_is_named)
{
	cr_assert(eq(int,
		     load("{\"subsystems\":[{\"subsystem\":\"zeta\",\"config\":[{\"method\":"
			  "\"config_note\",\"params\":{\"name\":7}}]}]}"),
		     -EINVAL));
	cr_assert_str_eq(err, "subsystem 'zeta': entry 0: config_note: name: 7 is no string");
}

Test(rpc_config, shapes_are_checked_before_anything_runs)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "{}", "\"subsystems\"" },
		{ "[]", "\"subsystems\"" },
		{ "{\"subsystems\":{}}", "\"subsystems\"" },
		{ "{\"subsystems\":[1]}", "entry 0" },
		{ "{\"subsystems\":[{\"config\":[]}]}", "entry 0" },
		{ "{\"subsystems\":[{\"subsystem\":\"zeta\",\"conf\":[]}]}", "\"conf\"" },
		{ "{\"subsystems\":[{\"subsystem\":\"zeta\",\"config\":{}}]}", "array" },
		{ "{\"subsystems\":[{\"subsystem\":\"zeta\",\"config\":[" NOTE("config_note",
									       "x") ",7]}]}",
		  "entry 1" },
		{ "{\"subsystems\":[{\"subsystem\":\"zeta\",\"config\":[" NOTE(
			  "config_note", "x") "]},{\"subsystem\":\"alpha\",\"config\":[{\"method\":"
					      "\"nosuch\"}]}]}",
		  "nosuch" },
		{ "{\"subsystems\":[{\"subsystem\":\"zeta\",\"config\":[{\"method\":\"config_"
		  "note\","
		  "\"parms\":{}}]}]}",
		  "\"parms\"" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert(eq(int, load(bad[i].text), -EINVAL), "%s", bad[i].text);
		cr_assert(strstr(err, bad[i].says) != NULL, "%s: %s", bad[i].text, err);
		cr_assert_str_eq(trace, "");
	}
}

Test(rpc_config, a_subsystem_of_other_programs_is_left_out)
{
	cr_assert(eq(int,
		     load("{\"subsystems\":[{\"subsystem\":\"sock\",\"config\":[{\"method\":"
			  "\"sock_impl_set_options\",\"params\":{}}]},{\"subsystem\":\"zeta\","
			  "\"config\":[" NOTE("config_note", "z") "]}]}"),
		     0));
	cr_assert_str_eq(trace, "z ");
}
