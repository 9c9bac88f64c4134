/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * core/hlog.c - histograms as text: HdrHistogram's V2 encoding and its interval log
 *
 * Text is base64 of a compressed frame (cookie, length, zlib stream) around a V2 frame: a header of
 * 40 bytes, all fields big endian, then the counters up to the last used one as ZigZag LEB128,
 * where a negative number is a run of that many zeros. Whatever is read here may come from
 * anywhere, so nothing is allocated on the word of a length field alone, and a histogram is only
 * built once its counters have been walked.
 */
#include <pollux/histogram.h>

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define COOKIE_V2	     0x1c849303u
#define COOKIE_V2_COMPRESSED 0x1c849304u
#define COOKIE_WORD_BITS                                                                           \
	0xf0u /* word size of the counters in older encodings; says nothing in V2 */
#define COOKIE_LEB128 0x10u

#define MAX_PAYLOAD (64u << 20)
/* base64 of a payload that does not compress, and room to spare */
#define MAX_LINE      (128u << 20)
#define DEFLATE_RATIO 1032u /* no zlib stream unpacks to more times its size */
#define LEB128_MAX    9

/* V2 header; the counters follow */
struct v2_header {
	uint32_t cookie;
	uint32_t payload_len;
	uint32_t normalizing_index_offset;
	uint32_t digits;
	uint64_t lowest;
	uint64_t highest;
	uint64_t ratio; /* a double: integer to double conversion, 1.0 for us */
} __attribute__((packed));
_Static_assert(sizeof(struct v2_header) == 40, "as the format has it");

struct compressed_header {
	uint32_t cookie;
	uint32_t len;
};

/* ---- base64 ---- */

static const char base64_chars[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *base64_encode(const uint8_t *in, size_t len)
{
	char *text = malloc((len + 2) / 3 * 4 + 1), *p = text;

	if (text == NULL)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)in[i] << 16;

		if (n > 1)
			v |= (uint32_t)in[i + 1] << 8;
		if (n > 2)
			v |= in[i + 2];
		*p++ = base64_chars[v >> 18];
		*p++ = base64_chars[v >> 12 & 63];
		*p++ = n > 1 ? base64_chars[v >> 6 & 63] : '=';
		*p++ = n > 2 ? base64_chars[v & 63] : '=';
	}
	*p = '\0';
	return text;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Return: malloc'ed bytes; NULL with errno EINVAL or ENOMEM */
static uint8_t *base64_decode(const char *text, size_t len, size_t *out_len)
{
	size_t pad = 0, n = 0;
	uint8_t *out;

	if (len == 0 || len % 4 != 0) {
		errno = EINVAL;
		return NULL;
	}
	while (pad < 2 && text[len - 1 - pad] == '=')
		pad++;
	out = malloc(len / 4 * 3);
	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t v = 0;

		for (size_t j = i; j < i + 4; j++) {
			int d = j >= len - pad ? 0 : base64_value(text[j]);

			if (d < 0) {
				free(out);
				errno = EINVAL;
				return NULL;
			}
			v = v << 6 | (uint32_t)d;
		}
		out[n++] = (uint8_t)(v >> 16);
		out[n++] = (uint8_t)(v >> 8);
		out[n++] = (uint8_t)v;
	}
	*out_len = n - pad;
	return out;
}

/* ---- counters: ZigZag LEB128, at most 9 bytes, the ninth with all of its 8 bits ---- */

static uint8_t *leb128_write(uint8_t *p, int64_t value)
{
	uint64_t v = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);

	for (int i = 0; i < LEB128_MAX - 1 && v >= 0x80; i++, v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

/* Return: after the number; NULL where the bytes end within it */
static const uint8_t *leb128_read(const uint8_t *p, const uint8_t *end, int64_t *value)
{
	uint64_t v = 0;

	for (int i = 0; p < end; i++) {
		uint8_t byte = *p++;

		if (i == LEB128_MAX - 1)
			v |= (uint64_t)byte << 56;
		else
			v |= (uint64_t)(byte & 0x7f) << 7 * i;
		if (!(byte & 0x80) || i == LEB128_MAX - 1) {
			*value = (int64_t)(v >> 1 ^ -(v & 1));
			return p;
		}
	}
	return NULL;
}

/* ---- encode ---- */

/* Return: bytes at @out; 0 when a counter is too large for the format */
static size_t encode_counts(const struct plx_hist *h, uint32_t used, uint8_t *out)
{
	uint8_t *p = out;

	for (uint32_t i = 0; i < used;) {
		uint64_t n = h->counts[i];
		uint32_t zeros = 0;

		if (n > INT64_MAX)
			return 0;
		while (i + zeros < used && h->counts[i + zeros] == 0)
			zeros++;
		if (zeros > 1)
			p = leb128_write(p, -(int64_t)zeros);
		else
			p = leb128_write(p, (int64_t)n);
		i += zeros > 1 ? zeros : 1;
	}
	return (size_t)(p - out);
}

static uint8_t *encode_v2(const struct plx_hist *h, size_t *len)
{
	struct v2_header hdr = { .cookie = htobe32(COOKIE_V2 | COOKIE_LEB128) };
	const double ratio = 1.0;
	uint32_t last = plx_hist_index(h, h->max), used;
	size_t payload_len;
	uint8_t *v2;

	used = (last < h->max_index ? last : h->max_index) + 1;
	v2 = malloc(sizeof(hdr) + (size_t)used * LEB128_MAX);
	if (v2 == NULL)
		return NULL;
	payload_len = encode_counts(h, used, v2 + sizeof(hdr));
	if (payload_len == 0) {
		free(v2);
		errno = EOVERFLOW;
		return NULL;
	}
	memcpy(&hdr.ratio, &ratio, sizeof(ratio));
	hdr.ratio = htobe64(hdr.ratio);
	hdr.payload_len = htobe32((uint32_t)payload_len);
	hdr.digits = htobe32((uint32_t)h->digits);
	hdr.lowest = htobe64(1);
	hdr.highest = htobe64(h->highest);
	memcpy(v2, &hdr, sizeof(hdr));
	*len = sizeof(hdr) + payload_len;
	return v2;
}

char *plx_hist_encode(const struct plx_hist *h)
{
	struct compressed_header hdr = { .cookie = htobe32(COOKIE_V2_COMPRESSED | COOKIE_LEB128) };
	size_t v2_len;
	uint8_t *frame = NULL, *v2 = encode_v2(h, &v2_len);
	char *text = NULL;
	uLongf zlen;

	if (v2 == NULL)
		return NULL;
	zlen = compressBound(v2_len);
	frame = malloc(sizeof(hdr) + zlen);
	if (frame != NULL && compress(frame + sizeof(hdr), &zlen, v2, v2_len) == Z_OK) {
		hdr.len = htobe32((uint32_t)zlen);
		memcpy(frame, &hdr, sizeof(hdr));
		text = base64_encode(frame, sizeof(hdr) + zlen);
	}
	free(frame);
	free(v2);
	if (text == NULL)
		errno = ENOMEM;
	return text;
}

/* ---- decode ---- */

/* The layout of the histogram that was encoded, which may be one that plx_hist_create() does not
 * make */
struct foreign {
	struct plx_hist layout; /* only sub_bits counts: for the index arithmetic */
	uint32_t unit; /* log2 of the lowest discernible value */
	uint32_t len; /* counters whose values fit 63 bits */
	const uint8_t *payload, *end;
};

/* One nonzero counter and the values it stands for */
struct foreign_count {
	const uint8_t *next;
	uint32_t index;
	uint64_t n, low, high;
};

/* Return: 1 with the next counter that is not zero, 0 at the end, -EINVAL */
static int foreign_next(const struct foreign *f, struct foreign_count *c)
{
	while (c->next < f->end) {
		int64_t v;

		c->next = leb128_read(c->next, f->end, &v);
		if (c->next == NULL || c->index >= f->len)
			return -EINVAL;
		if (v < 0) {
			if (v < -(int64_t)(f->len - c->index))
				return -EINVAL;
			c->index += (uint32_t)-v;
		} else if (v == 0) {
			c->index++;
		} else {
			c->n = (uint64_t)v;
			c->low = plx_hist_value_at(&f->layout, c->index) << f->unit;
			c->high = ((plx_hist_highest_at(&f->layout, c->index) + 1) << f->unit) - 1;
			c->index++;
			return 1;
		}
	}
	return 0;
}

/*
 * Takes the header apart. The normalizing index offset and the conversion ratio say how the writer
 * keeps its counters in memory; those of the payload come in order of their values, so neither
 * matters (HdrHistogramJS has 1 for both).
 * Return: NULL, or what is wrong with it
 */
static const char *foreign_init(struct foreign *f, const struct v2_header *hdr)
{
	/* log2 of the sub-buckets, 2 * 10^digits rounded up */
	static const uint8_t sub_bits[] = { 1, 5, 8, 11, 15, 18 };
	uint32_t digits = be32toh(hdr->digits);
	uint64_t lowest = be64toh(hdr->lowest), highest = be64toh(hdr->highest);

	if (digits >= sizeof(sub_bits))
		return "number of significant digits is not 0 to 5";
	if (lowest < 1 || highest > INT64_MAX || lowest > highest / 2)
		return "range of values is impossible";
	f->unit = 63 - (uint32_t)__builtin_clzll(lowest);
	f->layout.sub_bits = sub_bits[digits];
	if (f->unit + f->layout.sub_bits > 62)
		return "range of values is impossible";
	f->len = (63 - f->unit - f->layout.sub_bits + 2) << (f->layout.sub_bits - 1);
	return NULL;
}

/* Return: NULL with the largest counted value in *@highest (0 for none), or what is wrong */
static const char *foreign_check(const struct foreign *f, uint64_t *highest)
{
	struct foreign_count c = { .next = f->payload };
	uint64_t total = 0;
	int rc;

	*highest = 0;
	while ((rc = foreign_next(f, &c)) > 0) {
		*highest = c.high;
		if (__builtin_add_overflow(total, c.n, &total) || total > INT64_MAX)
			return "sum of the counts is impossible";
	}
	return rc < 0 ? "counters are malformed" : NULL;
}

/*
 * Counts go to where their highest value belongs, so that percentiles are what the writer's library
 * reports; sum and minimum are its as well: the middle and the lowest value. For our own layout all
 * of that is the same counter.
 */
static void foreign_record(const struct foreign *f, struct plx_hist *h)
{
	struct foreign_count c = { .next = f->payload };

	while (foreign_next(f, &c) > 0) {
		h->counts[plx_hist_index(h, c.high)] += c.n;
		if (h->total == 0)
			h->min = c.low;
		h->max = c.high;
		h->total += c.n;
		h->sum += (unsigned __int128)(c.low + (c.high - c.low + 1) / 2) * c.n;
	}
}

static struct plx_hist *decode_v2(const uint8_t *v2, size_t len, const char **why)
{
	struct foreign f = { 0 };
	struct v2_header hdr;
	struct plx_hist *h;
	uint64_t counted, highest;
	uint32_t digits;

	memcpy(&hdr, v2, sizeof(hdr));
	if (be32toh(hdr.payload_len) != len - sizeof(hdr))
		*why = "payload length does not match";
	else
		*why = foreign_init(&f, &hdr);
	f.payload = v2 + sizeof(hdr);
	f.end = v2 + len;
	if (*why == NULL)
		*why = foreign_check(&f, &counted);
	if (*why != NULL) {
		errno = EINVAL;
		return NULL;
	}
	/* counters may reach beyond the nominal range, to the end of its last bucket */
	highest = be64toh(hdr.highest);
	digits = be32toh(hdr.digits);
	h = plx_hist_create(counted > highest ? counted : highest, digits == 0 ? 1 : (int)digits);
	if (h == NULL)
		*why = "out of memory";
	else
		foreign_record(&f, h);
	return h;
}

static bool has_cookie(const uint8_t *p, uint32_t cookie)
{
	uint32_t be;

	memcpy(&be, p, sizeof(be));
	return (be32toh(be) & ~COOKIE_WORD_BITS) == cookie;
}

/*
 * Inflates the header first, to learn the length from it.
 * Return: malloc'ed V2 frame; NULL with errno and *@why
 */
static uint8_t *inflate_v2(const uint8_t *in, size_t in_len, size_t *out_len, const char **why)
{
	z_stream z = { .next_in = (uint8_t *)(uintptr_t)in, .avail_in = (uInt)in_len };
	struct v2_header hdr;
	size_t len;
	uint8_t *v2 = NULL;

	if (inflateInit(&z) != Z_OK) {
		*why = "out of memory";
		errno = ENOMEM;
		return NULL;
	}
	errno = EINVAL;
	z.next_out = (uint8_t *)&hdr;
	z.avail_out = sizeof(hdr);
	inflate(&z, Z_SYNC_FLUSH);
	*why = "zlib stream is malformed or too short";
	if (z.avail_out != 0)
		goto out;
	*why = "not a V2 histogram";
	if (!has_cookie((const uint8_t *)&hdr, COOKIE_V2))
		goto out;
	len = be32toh(hdr.payload_len);
	*why = "histogram is larger than 64 MiB";
	errno = E2BIG;
	if (len > MAX_PAYLOAD)
		goto out;
	*why = "zlib stream is malformed or too short";
	errno = EINVAL;
	if (len + sizeof(hdr) > (uint64_t)in_len * DEFLATE_RATIO)
		goto out;
	/* one byte more than announced: the stream has to end before it */
	v2 = malloc(sizeof(hdr) + len + 1);
	if (v2 == NULL) {
		*why = "out of memory";
		goto out;
	}
	memcpy(v2, &hdr, sizeof(hdr));
	z.next_out = v2 + sizeof(hdr);
	z.avail_out = (uInt)len + 1;
	if (inflate(&z, Z_FINISH) != Z_STREAM_END || z.avail_out != 1) {
		free(v2);
		v2 = NULL;
		errno = EINVAL;
		goto out;
	}
	*out_len = sizeof(hdr) + len;
	*why = NULL;
out:
	inflateEnd(&z);
	return v2;
}

static struct plx_hist *decode_compressed(const uint8_t *frame, size_t len, const char **why)
{
	struct compressed_header hdr;
	struct plx_hist *h;
	size_t v2_len;
	uint8_t *v2;

	memcpy(&hdr, frame, sizeof(hdr));
	if (be32toh(hdr.len) > len - sizeof(hdr)) {
		*why = "histogram is cut short";
		errno = EINVAL;
		return NULL;
	}
	v2 = inflate_v2(frame + sizeof(hdr), be32toh(hdr.len), &v2_len, why);
	if (v2 == NULL)
		return NULL;
	h = decode_v2(v2, v2_len, why);
	free(v2);
	return h;
}

/* Return: a histogram; NULL with errno and *@why */
static struct plx_hist *decode_text(const char *text, size_t len, const char **why)
{
	struct plx_hist *h = NULL;
	size_t frame_len;
	uint8_t *frame;

	if (len > MAX_LINE) {
		*why = "histogram is larger than 64 MiB";
		errno = E2BIG;
		return NULL;
	}
	frame = base64_decode(text, len, &frame_len);
	if (frame == NULL) {
		*why = errno == EINVAL ? "histogram is not base64" : "out of memory";
		return NULL;
	}
	if (frame_len > sizeof(struct compressed_header) &&
	    has_cookie(frame, COOKIE_V2_COMPRESSED)) {
		h = decode_compressed(frame, frame_len, why);
	} else if (frame_len >= sizeof(struct v2_header) && has_cookie(frame, COOKIE_V2)) {
		h = decode_v2(frame, frame_len, why);
	} else {
		*why = "not a V2 histogram";
		errno = EINVAL;
	}
	free(frame);
	return h;
}

struct plx_hist *plx_hist_decode(const char *text, size_t len)
{
	const char *why;

	return decode_text(text, len, &why);
}

/* ---- interval log ---- */

static int write_result(FILE *f, int rc)
{
	if (rc >= 0 && !ferror(f))
		return 0;
	return errno > 0 ? -errno : -EIO;
}

int plx_hlog_write_header(FILE *f, double start_s, const char *comment)
{
	char date[64] = "";
	struct tm tm;
	time_t t;

	/* to the end of the year 9999 */
	if (!(start_s >= 0 && start_s < 253402300800.0))
		return -EINVAL;
	t = (time_t)start_s;
	if (gmtime_r(&t, &tm) != NULL)
		strftime(date, sizeof(date), "%a %b %d %H:%M:%S UTC %Y", &tm);
	errno = 0;
	while (comment != NULL && *comment != '\0') {
		size_t n = strcspn(comment, "\r\n");

		fprintf(f, "#[%.*s]\n", (int)(n < 1000 ? n : 1000), comment);
		comment += n;
		comment += strspn(comment, "\r\n");
	}
	/* the base time makes clear that the time stamps of the lines are relative to it */
	return write_result(f, fprintf(f,
				       "#[Histogram log format version 1.3]\n"
				       "#[BaseTime: %.3f (seconds since epoch)]\n"
				       "#[StartTime: %.3f (seconds since epoch), %s]\n"
				       "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\","
				       "\"Interval_Compressed_Histogram\"\n",
				       start_s, start_s, date));
}

static bool tag_is_valid(const char *tag, size_t len)
{
	if (len >= sizeof(((struct plx_hlog_entry *)NULL)->tag))
		return false;
	for (size_t i = 0; i < len; i++)
		if (tag[i] == ',' || isspace((unsigned char)tag[i]) ||
		    iscntrl((unsigned char)tag[i]))
			return false;
	return true;
}

int plx_hlog_write(FILE *f, const char *tag, double start_s, double length_s,
		   const struct plx_hist *h)
{
	bool tagged = tag != NULL && *tag != '\0';
	char *text;
	int rc;

	if (!isfinite(start_s) || !isfinite(length_s) ||
	    (tagged && !tag_is_valid(tag, strlen(tag))))
		return -EINVAL;
	text = plx_hist_encode(h);
	if (text == NULL)
		return -errno;
	errno = 0;
	rc = write_result(f, fprintf(f, "%s%s%s%.3f,%.3f,%.3f,%s\n", tagged ? "Tag=" : "",
				     tagged ? tag : "", tagged ? "," : "", start_s, length_s,
				     (double)h->max / 1e6, text));
	free(text);
	return rc;
}

static int malformed(unsigned line, char *err, size_t errlen, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int malformed(unsigned line, char *err, size_t errlen, const char *fmt, ...)
{
	char text[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (errlen > 0)
		snprintf(err, errlen, "line %u: %s", line, text);
	return -EINVAL;
}

/* Next line without its end, NUL terminated. Return: 1, 0 at the end of the file, negative errno */
static int read_line(FILE *f, char **line, size_t *len)
{
	size_t cap = 0, n = 0;
	char *buf = NULL;
	int c, rc = 1;

	while ((c = getc_unlocked(f)) != EOF && c != '\n') {
		if (rc < 0)
			continue;
		if (n >= MAX_LINE) {
			rc = -E2BIG;
			continue;
		}
		if (n + 1 >= cap) {
			char *grown = realloc(buf, cap == 0 ? 4096 : cap * 2);

			if (grown == NULL) {
				rc = -ENOMEM;
				continue;
			}
			buf = grown;
			cap = cap == 0 ? 4096 : cap * 2;
		}
		buf[n++] = (char)c;
	}
	if (ferror(f))
		rc = -EIO;
	else if (c == EOF && n == 0)
		rc = 0;
	if (rc <= 0 || n == 0) {
		free(buf);
		*line = rc > 0 ? strdup("") : NULL;
		*len = 0;
		return rc > 0 && *line == NULL ? -ENOMEM : rc;
	}
	buf[n] = '\0';
	*line = buf;
	*len = n;
	return rc;
}

/* "Tag=name," if there is one. Return: after it; NULL malformed */
static const char *parse_tag(const char *p, struct plx_hlog_entry *e)
{
	size_t len;

	e->tag[0] = '\0';
	if (strncmp(p, "Tag=", 4) != 0)
		return p;
	p += 4;
	len = strcspn(p, ",");
	if (p[len] != ',' || !tag_is_valid(p, len))
		return NULL;
	memcpy(e->tag, p, len);
	e->tag[len] = '\0';
	return p + len + 1;
}

/* "number," or "number ,". Return: after it; NULL malformed */
static const char *parse_field(const char *p, double *value)
{
	char *end;

	*value = strtod(p, &end);
	if (end == p || !isfinite(*value))
		return NULL;
	end += strspn(end, " \t");
	return *end == ',' ? end + 1 : NULL;
}

static int parse_line(const char *text, size_t len, unsigned line, struct plx_hlog_entry *e,
		      char *err, size_t errlen)
{
	static const char *const names[] = { "start timestamp", "interval length",
					     "interval maximum" };
	double *const fields[] = { &e->start_s, &e->length_s, &e->max };
	const char *p, *why = NULL;

	if (memchr(text, '\0', len) != NULL)
		return malformed(line, err, errlen, "has a NUL byte: not a histogram log");
	p = parse_tag(text, e);
	if (p == NULL)
		return malformed(line, err, errlen,
				 "tag is too long or has blanks: at most %zu characters",
				 sizeof(e->tag) - 1);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		p = parse_field(p, fields[i]);
		if (p == NULL)
			return malformed(line, err, errlen,
					 "%s is not a number followed by a comma", names[i]);
	}
	p += strspn(p, " \t\"");
	len = strcspn(p, " \t\r\"");
	if (p[len + strspn(p + len, " \t\r\"")] != '\0')
		return malformed(line, err, errlen,
				 "has more than a histogram after its last comma");
	e->hist = decode_text(p, len, &why);
	if (e->hist != NULL)
		return 1;
	if (errno == ENOMEM) {
		malformed(line, err, errlen, "out of memory");
		return -ENOMEM;
	}
	return malformed(line, err, errlen, "%s", why);
}

int plx_hlog_read(FILE *f, unsigned *line, struct plx_hlog_entry *e, char *err, size_t errlen)
{
	memset(e, 0, sizeof(*e));
	for (;;) {
		char *buf;
		size_t len;
		int rc = read_line(f, &buf, &len);
		const char *p;

		if (rc == 0)
			return 0;
		(*line)++;
		if (rc == -E2BIG)
			return malformed(*line, err, errlen, "is longer than %u MiB",
					 MAX_LINE >> 20);
		if (rc < 0) {
			malformed(*line, err, errlen, "%s",
				  rc == -ENOMEM ? "out of memory" : "cannot be read");
			return rc;
		}
		p = buf + strspn(buf, " \t\r");
		/* comments, the legend, blank lines */
		if (*p == '#' || *p == '"' || p == buf + len) {
			free(buf);
			continue;
		}
		rc = parse_line(p, len - (size_t)(p - buf), *line, e, err, errlen);
		free(buf);
		return rc;
	}
}
