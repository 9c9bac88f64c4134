/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * identify/out.c - pages by their description, as JSON or for people
 *
 * JSON is written by hand: fields of 64 bits are numbers, and jansson's integers have 63. 128 bits
 * are strings, as nvme-cli has them.
 */
#include "identify/out.h"
#include <string.h>

/* the longest field in a table, SUBNQN, has 256 bytes; twice that in hexadecimal */
#define CELL 257

/* ---- JSON ---- */

static void put_string(struct id_out *o, const char *s)
{
	fputc('"', o->f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', o->f);
		fputc(*s, o->f); /* id_ascii() has left nothing else that needs it */
	}
	fputc('"', o->f);
}

/* Before each value; @key NULL: an element of an array, or the whole */
static void begin(struct id_out *o, const char *key)
{
	if (o->depth)
		fprintf(o->f, "%s\n%*s", o->first ? "" : ",", (int)(2 * o->depth), "");
	o->first = false;
	if (key) {
		put_string(o, key);
		fputc(':', o->f);
	}
}

void out_key(struct id_out *o, const char *key)
{
	if (o->json)
		begin(o, key);
}

void out_open(struct id_out *o, const char *key, char bracket)
{
	if (!o->json)
		return;
	begin(o, key);
	fputc(bracket, o->f);
	o->depth++;
	o->first = true;
}

void out_close(struct id_out *o, char bracket)
{
	if (!o->json)
		return;
	o->depth--;
	if (!o->first)
		fprintf(o->f, "\n%*s", (int)(2 * o->depth), "");
	fputc(bracket, o->f);
	o->first = false;
	if (!o->depth)
		fputc('\n', o->f);
}

void out_text(struct id_out *o, const char *key, const char *s)
{
	if (!o->json)
		return;
	begin(o, key);
	put_string(o, s);
}

void out_number(struct id_out *o, const char *key, uint64_t v)
{
	if (!o->json)
		return;
	begin(o, key);
	fprintf(o->f, "%lu", v);
}

void out_boolean(struct id_out *o, const char *key, bool v)
{
	if (!o->json)
		return;
	begin(o, key);
	fputs(v ? "true" : "false", o->f);
}

void out_null(struct id_out *o, const char *key)
{
	if (!o->json)
		return;
	begin(o, key);
	fputs("null", o->f);
	if (!o->depth)
		fputc('\n', o->f);
}

/* ---- text ---- */

void out_title(struct id_out *o, const char *text)
{
	if (!o->json && text)
		fprintf(o->f, "\n  %s\n", text);
}

static void say_bit_field(const struct id_context *x, const struct id_bits *b, uint64_t v,
			  char *out)
{
	uint32_t known = 0;

	while (b->words && b->words[known])
		known++;
	if (b->say)
		b->say(x, v, out);
	else if (b->words)
		snprintf(out, ID_WORDS, "%s", v < known ? b->words[v] : "reserved");
	else if (b->width == 1)
		snprintf(out, ID_WORDS, "%s", v ? "yes" : "no");
	else
		snprintf(out, ID_WORDS, "%lu", v);
}

void out_bits(struct id_out *o, const struct id_bits *b, uint64_t v)
{
	for (; !o->json && b && b->width; b++) {
		char words[ID_WORDS];

		say_bit_field(o->x, b, v >> b->lo & ((1ull << b->width) - 1), words);
		id_line(o->f, "", b->label, words);
	}
}

/* ---- fields ---- */

static uint64_t value(const struct id_field *fd, const uint8_t *page)
{
	uint64_t v = id_uint(page + fd->off, fd->len);

	return fd->width ? v >> fd->lo & ((1ull << fd->width) - 1) : v;
}

static const char *name_of(const struct id_field *fd, uint64_t v)
{
	uint32_t n = 0;

	while (fd->names[n])
		n++;
	return v < n ? fd->names[v] : "reserved";
}

/* Is it there, in a page of @len bytes? */
static bool present(const struct id_field *fd, const uint8_t *page, uint32_t len)
{
	if (fd->kind == ID_GROUP)
		return true;
	if ((uint32_t)fd->off + fd->len > len)
		return false;
	if (fd->only_mask && (page[fd->only_off] & fd->only_mask) != fd->only_value)
		return false;
	return !(fd->hide_zero && !id_uint(page + fd->off, fd->len));
}

static void json_field(struct id_out *o, const struct id_field *fd, const uint8_t *page)
{
	const uint8_t *at = page + fd->off;
	char buf[2 * CELL];

	switch (fd->kind) {
	case ID_UINT:
		if (fd->names)
			out_text(o, fd->json, name_of(fd, value(fd, page)));
		else
			out_number(o, fd->json, value(fd, page));
		break;
	case ID_UINT128:
		out_text(o, fd->json, id_text128(at, buf));
		break;
	case ID_ASCII:
		out_text(o, fd->json, id_ascii(at, fd->len, buf));
		break;
	case ID_HEX:
		out_text(o, fd->json, id_hex(at, fd->len, buf));
		break;
	case ID_UUID:
		out_text(o, fd->json, id_uuid(at, buf));
		break;
	case ID_REVISION:
		out_text(o, fd->json, id_revision(at, buf));
		break;
	case ID_GROUP:
		break;
	}
}

static void say_128(const struct id_context *x, const struct id_field *fd, const uint8_t *at,
		    char *out)
{
	char digits[40];

	/* more than 64 bits: the number alone */
	if (fd->say && !id_uint(at + 8, 8))
		fd->say(x, id_uint(at, 8), out);
	else
		snprintf(out, ID_WORDS, "%s", id_text128(at, digits));
}

/* @out of 2 * CELL bytes. Return: @out */
static char *say_field(const struct id_context *x, const struct id_field *fd, const uint8_t *page,
		       char *out)
{
	const uint8_t *at = page + fd->off;

	switch (fd->kind) {
	case ID_UINT:
		if (fd->names)
			snprintf(out, ID_WORDS, "%s", name_of(fd, value(fd, page)));
		else if (fd->say)
			fd->say(x, value(fd, page), out);
		else
			snprintf(out, ID_WORDS, fd->bits ? "0x%lx" : "%lu", value(fd, page));
		break;
	case ID_UINT128:
		say_128(x, fd, at, out);
		break;
	case ID_REVISION:
	case ID_ASCII:
		id_ascii(at, fd->len, out);
		break;
	case ID_HEX:
		id_hex(at, fd->len, out);
		break;
	case ID_UUID:
		id_uuid(at, out);
		break;
	case ID_GROUP:
		*out = '\0';
		break;
	}
	return out;
}

static void text_field(struct id_out *o, const struct id_field *fd, const uint8_t *page)
{
	char words[2 * CELL];

	if (fd->kind == ID_GROUP) {
		out_title(o, fd->label);
		return;
	}
	id_line(o->f, o->x->names ? fd->json : NULL, fd->label, say_field(o->x, fd, page, words));
	if (fd->bits && !(fd->plain_zero && !value(fd, page)))
		out_bits(o, fd->bits, value(fd, page));
}

void out_table(struct id_out *o, const struct id_table *t, const void *data, uint32_t len)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct id_field *fd = &t->fields[i];

		if (!present(fd, data, len))
			continue;
		if (!o->json && fd->label)
			text_field(o, fd, data);
		if (o->json && fd->json)
			json_field(o, fd, data);
	}
}

/* ---- lists ---- */

static uint32_t least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

static uint32_t fitting(const struct id_list *l, const uint8_t *data, uint32_t len, uint64_t n)
{
	uint32_t room = len / l->stride, i = 0;

	if (l->count_len)
		return least(n, room);
	while (i < room && id_uint(data + i * l->stride + l->fields->off, l->fields->len))
		i++;
	return i;
}

/* Columns are as wide as their widest cell; the last one has no blanks behind it */
static void text_list(struct id_out *o, const struct id_list *l, const uint8_t *data, uint32_t n)
{
	char cell[2 * CELL];
	int width[16] = { 0 };

	out_title(o, l->title);
	for (uint32_t c = 0; c < l->n; c++) {
		width[c] = (int)strlen(l->fields[c].label);
		for (uint32_t i = 0; i < n; i++) {
			int w = (int)strlen(
				say_field(o->x, &l->fields[c], data + i * l->stride, cell));

			width[c] = w > width[c] ? w : width[c];
		}
	}
	for (uint32_t c = 0; n && c < l->n; c++)
		fprintf(o->f, "  %-*s%s", c + 1 < l->n ? width[c] : 0, l->fields[c].label,
			c + 1 < l->n ? "" : "\n");
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t c = 0; c < l->n; c++)
			fprintf(o->f, "  %-*s%s", c + 1 < l->n ? width[c] : 0,
				say_field(o->x, &l->fields[c], data + i * l->stride, cell),
				c + 1 < l->n ? "" : "\n");
	if (!n)
		fputs("  none\n", o->f);
}

void out_list(struct id_out *o, const struct id_list *l, const void *data, uint32_t len, uint64_t n)
{
	const struct id_table fields = { l->fields, l->n };
	uint32_t count = fitting(l, data, len, n);

	if (!o->json) {
		text_list(o, l, data, count);
		return;
	}
	out_open(o, l->json, '[');
	for (uint32_t i = 0; i < count; i++) {
		out_open(o, NULL, '{');
		out_table(o, &fields, (const uint8_t *)data + i * l->stride, l->stride);
		out_close(o, '}');
	}
	out_close(o, ']');
}

/* ---- pages ---- */

static void layout_lists(struct id_out *o, const struct id_layout *l, const struct id_item *item)
{
	const uint8_t *page = item->data;

	for (const struct id_list *list = l->lists; list && list->stride; list++) {
		uint64_t n = 0;

		if (list->off > item->len)
			continue;
		if (list->count_len && list->count_off + list->count_len <= item->len)
			n = id_uint(page + list->count_off, list->count_len) + list->bias;
		out_list(o, list, page + list->off, item->len - list->off, n);
	}
}

void out_layout(struct id_out *o, const char *key, const struct id_layout *l,
		const struct id_item *item, const char *id_key)
{
	if (l->head.n && !o->json && l->head.fields->kind != ID_GROUP)
		fputc('\n', o->f);
	out_open(o, key, '{');
	if (id_key)
		out_number(o, id_key, item->nsid);
	out_table(o, &l->head, item->data, item->len);
	layout_lists(o, l, item);
	if (l->show)
		l->show(o, item);
	out_close(o, '}');
}
