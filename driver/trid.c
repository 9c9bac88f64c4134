/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * driver/trid.c - transport identifiers: "trtype:PCIe traddr:0000:04:00.0 ns:1" and back
 */
#include <pollux/nvme.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const trtypes[PLX_NVME_TR_MAX] = {
	[PLX_NVME_TR_PCIE] = "PCIe",	     [PLX_NVME_TR_VIRTUAL] = "VIRTUAL",
	[PLX_NVME_TR_VFIOUSER] = "VFIOUSER", [PLX_NVME_TR_TCP] = "TCP",
	[PLX_NVME_TR_RDMA] = "RDMA",
};

static const char *const adrfams[] = { "IPv4", "IPv6", "IB" };

const char *plx_nvme_trtype_name(enum plx_nvme_trtype t)
{
	return (unsigned)t < PLX_NVME_TR_MAX ? trtypes[t] : "unknown";
}

/* ---- parse ---- */

enum key {
	KEY_TRTYPE,
	KEY_TRADDR,
	KEY_TRSVCID,
	KEY_SUBNQN,
	KEY_HOSTNQN,
	KEY_ADRFAM,
	KEY_PRIORITY,
	KEY_NS,
	KEY_MAX,
};

static const struct {
	const char *name;
	enum key key;
} keys[] = {
	{ "trtype", KEY_TRTYPE },     { "traddr", KEY_TRADDR },	  { "trsvcid", KEY_TRSVCID },
	{ "subnqn", KEY_SUBNQN },     { "hostnqn", KEY_HOSTNQN }, { "adrfam", KEY_ADRFAM },
	{ "priority", KEY_PRIORITY }, { "ns", KEY_NS },		  { "nsid", KEY_NS },
};

/* One key and its value, not terminated: parts of the caller's text */
struct pair {
	const char *key, *value;
	size_t key_len, value_len;
};

struct parser {
	struct plx_nvme_trid *trid;
	char *err;
	size_t errlen;
	uint32_t seen; /* bit per enum key */
};

#define SHOWN 64
/* Text of a user's in a message: bounded, and in one line on any terminal */
struct shown {
	char text[SHOWN + 4];
};

static struct shown show(const char *s, size_t len)
{
	size_t n = len < SHOWN ? len : SHOWN;
	struct shown out;

	for (size_t i = 0; i < n; i++)
		out.text[i] = isprint((unsigned char)s[i]) ? s[i] : '?';
	strcpy(out.text + n, len > n ? "..." : "");
	return out;
}

#define fail(p, ...) (snprintf((p)->err, (p)->errlen, __VA_ARGS__), -EINVAL)

static bool is_word(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && !strncasecmp(s, word, len);
}

static int parse_trtype(struct parser *p, const struct pair *kv)
{
	for (int t = 0; t < PLX_NVME_TR_MAX; t++) {
		if (is_word(kv->value, kv->value_len, trtypes[t])) {
			p->trid->trtype = t;
			return 0;
		}
	}
	return fail(p, "unknown transport '%s': use one of PCIe, VIRTUAL, VFIOUSER, TCP, RDMA",
		    show(kv->value, kv->value_len).text);
}

static int parse_adrfam(struct parser *p, const struct pair *kv)
{
	for (size_t i = 0; i < PLX_ARRAY_SIZE(adrfams); i++) {
		if (is_word(kv->value, kv->value_len, adrfams[i])) {
			strcpy(p->trid->adrfam, adrfams[i]);
			return 0;
		}
	}
	return fail(p, "unknown address family '%s' (adrfam): use one of IPv4, IPv6, IB",
		    show(kv->value, kv->value_len).text);
}

static int parse_text(struct parser *p, const struct pair *kv, const char *name, char *out,
		      size_t size)
{
	if (kv->value_len >= size)
		return fail(p, "%s '%s' is too long: at most %zu characters", name,
			    show(kv->value, kv->value_len).text, size - 1);
	memcpy(out, kv->value, kv->value_len);
	out[kv->value_len] = '\0';
	return 0;
}

/* Decimal digits only, at most @max */
static bool to_number(const char *s, size_t len, uint32_t max, uint32_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		v = v * 10 + (unsigned)(s[i] - '0');
		if (v > max)
			return false;
	}
	*out = (uint32_t)v;
	return len;
}

static int parse_number(struct parser *p, const struct pair *kv, const char *name, uint32_t max,
			uint32_t *out)
{
	if (!to_number(kv->value, kv->value_len, max, out))
		return fail(p, "%s '%s' is not a number: use 0 to %u, in decimal", name,
			    show(kv->value, kv->value_len).text, max);
	return 0;
}

static int parse_value(struct parser *p, enum key key, const struct pair *kv)
{
	struct plx_nvme_trid *t = p->trid;

	switch (key) {
	case KEY_TRTYPE:
		return parse_trtype(p, kv);
	case KEY_TRADDR:
		return parse_text(p, kv, "traddr", t->traddr, sizeof(t->traddr));
	case KEY_TRSVCID:
		return parse_text(p, kv, "trsvcid", t->trsvcid, sizeof(t->trsvcid));
	case KEY_SUBNQN:
		return parse_text(p, kv, "subnqn", t->subnqn, sizeof(t->subnqn));
	case KEY_HOSTNQN:
		return parse_text(p, kv, "hostnqn", t->hostnqn, sizeof(t->hostnqn));
	case KEY_ADRFAM:
		return parse_adrfam(p, kv);
	case KEY_PRIORITY:
		return parse_number(p, kv, "priority", UINT32_MAX, &t->priority);
	case KEY_NS:
		/* FFFFFFFFh is the broadcast value, §3.2.1.5 */
		return parse_number(p, kv, "ns", UINT32_MAX - 1, &t->nsid);
	case KEY_MAX:
		break;
	}
	return -EINVAL;
}

static int parse_pair(struct parser *p, const struct pair *kv)
{
	for (size_t i = 0; i < PLX_ARRAY_SIZE(keys); i++) {
		if (!is_word(kv->key, kv->key_len, keys[i].name))
			continue;
		if (p->seen & 1u << keys[i].key)
			return fail(p, "%s is given twice: leave one of them out", keys[i].name);
		p->seen |= 1u << keys[i].key;
		if (!kv->value_len)
			return fail(p, "%s has no value: write %s:VALUE or leave it out",
				    keys[i].name, keys[i].name);
		return parse_value(p, keys[i].key, kv);
	}
	return fail(p,
		    "unknown key '%s': use trtype, traddr, trsvcid, subnqn, hostnqn, adrfam, "
		    "priority or ns",
		    show(kv->key, kv->key_len).text);
}

/* ---- PCI addresses ---- */

/* A hexadecimal field of *@s, up to @max and ending at @stop, where *@s is moved to */
static bool pci_field(const char **s, char stop, unsigned long max, unsigned *out)
{
	size_t n = strspn(*s, "0123456789abcdefABCDEF");
	unsigned long v = strtoul(*s, NULL, 16);

	if (!n || n > 8 || (*s)[n] != stop || v > max)
		return false;
	*out = (unsigned)v;
	*s += n;
	return true;
}

/* dddd:bb:dd.f, the domain may be absent; dots for colons, as in fio's file names */
static bool pci_normalise(char *addr, size_t size)
{
	unsigned f[4] = { 0, 0, 0, 0 };
	const char *s = addr;
	bool dots = !strchr(addr, ':');
	unsigned separators = 0, first;

	for (const char *c = addr; *c; c++)
		separators += *c == ':' || *c == '.';
	if (separators < 2 || separators > 3)
		return false;
	first = 3 - separators;
	for (unsigned i = first; i < 4; i++) {
		static const unsigned long max[4] = { UINT32_MAX, 0xff, 0x1f, 7 };
		char stop = i == 3 ? '\0' : i == 2 || dots ? '.' : ':';

		if (!pci_field(&s, stop, max[i], &f[i]))
			return false;
		if (i < 3)
			s++;
	}
	snprintf(addr, size, "%04x:%02x:%02x.%x", f[0], f[1], f[2], f[3]);
	return true;
}

/* ---- the whole ---- */

/* What only makes sense once all keys are known */
static int check(struct parser *p)
{
	struct plx_nvme_trid *t = p->trid;
	uint32_t port;

	if (!(p->seen & 1u << KEY_TRTYPE))
		return fail(p, "trtype is missing: begin with trtype:PCIe, trtype:VIRTUAL, "
			       "trtype:VFIOUSER, trtype:TCP or trtype:RDMA");
	switch (t->trtype) {
	case PLX_NVME_TR_PCIE:
		if (*t->traddr && !pci_normalise(t->traddr, sizeof(t->traddr)))
			return fail(p, "traddr '%s' is not a PCI address: write it as 0000:04:00.0",
				    show(t->traddr, strlen(t->traddr)).text);
		return 0;
	case PLX_NVME_TR_TCP:
	case PLX_NVME_TR_RDMA:
		if (*t->trsvcid &&
		    (!to_number(t->trsvcid, strlen(t->trsvcid), 65535, &port) || !port))
			return fail(p, "trsvcid '%s' is not a port: use 1 to 65535, as in 4420",
				    show(t->trsvcid, strlen(t->trsvcid)).text);
		if (!*t->traddr)
			return fail(p, "traddr is missing: trtype:%s needs the target's address",
				    plx_nvme_trtype_name(t->trtype));
		return 0;
	case PLX_NVME_TR_VFIOUSER:
		if (!*t->traddr)
			return fail(p, "traddr is missing: trtype:VFIOUSER needs the directory of "
				       "the target's socket");
		return 0;
	default:
		return 0;
	}
}

int plx_nvme_trid_parse(struct plx_nvme_trid *trid, const char *text, char *err, size_t errlen)
{
	static const char space[] = " \t\r\n\v\f";
	struct parser p = { .trid = trid, .err = err, .errlen = errlen };
	const char *s = text;
	int rc;

	memset(trid, 0, sizeof(*trid));
	if (errlen)
		*err = '\0';
	for (s += strspn(s, space); *s; s += strspn(s, space)) {
		size_t len = strcspn(s, space);
		struct pair kv = { .key = s, .key_len = strcspn(s, ":=") };

		if (kv.key_len >= len)
			return fail(&p, "'%s' is not a key with a value: write it as key:value",
				    show(s, len).text);
		kv.value = s + kv.key_len + 1;
		kv.value_len = len - kv.key_len - 1;
		rc = parse_pair(&p, &kv);
		if (rc)
			return rc;
		s += len;
	}
	return check(&p);
}

/* ---- format ---- */

struct text_out {
	char *buf;
	size_t len, at;
};

static void put(struct text_out *o, const char *key, const char *value)
{
	int n;

	if (!*value || o->at >= o->len)
		return;
	n = snprintf(o->buf + o->at, o->len - o->at, "%s%s:%s", o->at ? " " : "", key, value);
	o->at += n > 0 ? (size_t)n : 0;
}

static void put_number(struct text_out *o, const char *key, uint32_t value)
{
	char digits[12];

	snprintf(digits, sizeof(digits), "%u", value);
	if (value)
		put(o, key, digits);
}

char *plx_nvme_trid_format(const struct plx_nvme_trid *trid, char *buf, size_t len)
{
	struct text_out o = { .buf = buf, .len = len };

	if (len)
		*buf = '\0';
	put(&o, "trtype", plx_nvme_trtype_name(trid->trtype));
	put(&o, "adrfam", trid->adrfam);
	put(&o, "traddr", trid->traddr);
	put(&o, "trsvcid", trid->trsvcid);
	put(&o, "subnqn", trid->subnqn);
	put(&o, "hostnqn", trid->hostnqn);
	put_number(&o, "priority", trid->priority);
	put_number(&o, "ns", trid->nsid);
	return buf;
}
