/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * perf/report_bars.c - distributions for people: percentiles, buckets, bars
 */
#include "perf/report.h"
#include "core/text.h"
#include <string.h>

#define MAX_BARS  24
#define BAR_WIDTH 60 /* columns of the longest */

static const double percentiles[] = { 1,  10, 25,   50,	  75,	 90,	 95,
				      98, 99, 99.5, 99.9, 99.99, 99.999, 99.9999 };

static void print_us(FILE *f, double ns)
{
	char text[PLX_TEXT_MAX];

	fprintf(f, " %10s", perf_format_us(ns, text, sizeof(text)));
}

/* ---- percentiles ---- */

/* One line: a figure of all I/Os, and of reads and writes where both were done */
static void print_line(FILE *f, const struct perf_results *r, const struct perf_figures *figures,
		       const char *name, double (*get)(const struct plx_hist *h, double p),
		       double p)
{
	fprintf(f, "%14s", name);
	print_us(f, get(figures->hist[PERF_BOTH], p));
	for (int d = PERF_READS; r->mixed && d >= PERF_WRITES; d--)
		print_us(f, get(figures->hist[d], p));
	fputc('\n', f);
}

static double get_min(const struct plx_hist *h, double p)
{
	return h->total ? (double)h->min : 0;
}

static double get_percentile(const struct plx_hist *h, double p)
{
	return (double)plx_hist_percentile(h, p);
}

static double get_max(const struct plx_hist *h, double p)
{
	return (double)h->max;
}

static double get_mean(const struct plx_hist *h, double p)
{
	return plx_hist_mean(h);
}

static double get_stddev(const struct plx_hist *h, double p)
{
	return plx_hist_stddev(h);
}

static void print_percentiles(FILE *f, const struct perf_results *r,
			      const struct perf_figures *figures)
{
	char name[PLX_TEXT_MAX];

	fprintf(f, "%14s %10s", "", "all");
	if (r->mixed)
		fprintf(f, " %10s %10s", "reads", "writes");
	fputc('\n', f);
	print_line(f, r, figures, "minimum", get_min, 0);
	for (size_t i = 0; i < PLX_ARRAY_SIZE(percentiles); i++) {
		snprintf(name, sizeof(name), "%.4f %%", percentiles[i]);
		print_line(f, r, figures, name, get_percentile, percentiles[i]);
	}
	print_line(f, r, figures, "maximum", get_max, 0);
	print_line(f, r, figures, "average", get_mean, 0);
	print_line(f, r, figures, "deviation", get_stddev, 0);
}

/* ---- bars ---- */

/* Borders within a decade: of the finest series that needs few enough bars */
static const struct series {
	unsigned n;
	double borders[10];
} series[] = {
	{ 10, { 1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8 } },
	{ 5, { 1, 1.6, 2.5, 4, 6.3 } },
	{ 3, { 1, 2, 5 } },
	{ 1, { 1 } },
};

/* Borders from the last at or below @min to the first above @max, in ns. Return: how many; 0: more
 * than @room */
static unsigned make_borders(const struct series *s, uint64_t min, uint64_t max, uint64_t *out,
			     unsigned room)
{
	unsigned n = 0;

	if (!min)
		out[n++] = 0;
	for (double decade = 1;; decade *= 10) {
		for (unsigned i = 0; i < s->n; i++) {
			double b = decade * s->borders[i] + 0.5;
			uint64_t border = b < 1e19 ? (uint64_t)b : UINT64_MAX;

			/* 1.25 ns is none */
			if (n && border == out[n - 1])
				continue;
			if (border <= min)
				n = 0;
			if (n == room)
				return 0;
			out[n++] = border;
			if (border > max || border == UINT64_MAX)
				return n;
		}
	}
}

/* A bar of @eighths eighths of a column */
static void print_bar(FILE *f, unsigned eighths, bool utf8)
{
	static const char *const parts[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };

	for (unsigned i = 0; i < eighths / 8; i++)
		fputs(utf8 ? "█" : "#", f);
	if (utf8)
		fputs(parts[eighths % 8], f);
	else if (eighths % 8)
		fputc(eighths % 8 >= 4 ? ':' : '.', f);
}

static void print_bars(FILE *f, const struct plx_hist *h)
{
	uint64_t borders[MAX_BARS + 1], counts[MAX_BARS] = { 0 }, longest = 0;
	char from[PLX_TEXT_MAX], to[PLX_TEXT_MAX];
	unsigned n = 0, bar = 0;
	bool utf8 = perf_utf8();

	for (size_t i = 0; i < PLX_ARRAY_SIZE(series) && !n; i++)
		n = make_borders(&series[i], h->min, h->max, borders, MAX_BARS + 1);
	for (uint32_t i = 0; i <= h->max_index; i++) {
		if (!h->counts[i])
			continue;
		while (bar + 2 < n && plx_hist_value_at(h, i) >= borders[bar + 1])
			bar++;
		counts[bar] += h->counts[i];
		longest = counts[bar] > longest ? counts[bar] : longest;
	}
	fputc('\n', f);
	for (unsigned i = 0; i + 1 < n; i++) {
		double share = (double)counts[i] / (double)h->total;
		unsigned eighths =
			(unsigned)((double)counts[i] / (double)longest * BAR_WIDTH * 8 + 0.5);

		fprintf(f, "%10s - %10s %9.4f %%%s",
			perf_format_us((double)borders[i], from, sizeof(from)),
			perf_format_us((double)borders[i + 1], to, sizeof(to)), 100 * share,
			counts[i] ? "  " : "");
		/* what is there is seen */
		print_bar(f, counts[i] && !eighths ? 1 : eighths, utf8);
		fputc('\n', f);
	}
}

/* ---- buckets ---- */

static void print_bucket(FILE *f, const struct perf_results *r, const struct perf_figures *figures,
			 uint32_t i, uint64_t seen)
{
	const struct plx_hist *h = figures->hist[PERF_BOTH];
	char from[PLX_TEXT_MAX], to[PLX_TEXT_MAX];
	uint64_t last = plx_hist_highest_at(h, i);

	/* the last one has all that is above, too */
	if (i == h->max_index && last < h->max)
		last = h->max;
	fprintf(f, "%10s - %10s %9.4f %% %12lu",
		perf_format_us((double)plx_hist_value_at(h, i), from, sizeof(from)),
		perf_format_us((double)last, to, sizeof(to)), 100 * (double)seen / (double)h->total,
		h->counts[i]);
	for (int d = PERF_READS; r->mixed && d >= PERF_WRITES; d--)
		fprintf(f, " %12lu", figures->hist[d]->counts[i]);
	fputc('\n', f);
}

static void print_buckets(FILE *f, const struct perf_results *r, const struct perf_figures *figures)
{
	const struct plx_hist *h = figures->hist[PERF_BOTH];
	uint64_t seen = 0;

	fprintf(f, "\n%10s   %10s %11s %12s", "from", "to", "cumulative", "I/Os");
	if (r->mixed)
		fprintf(f, " %12s %12s", "reads", "writes");
	fputc('\n', f);
	for (uint32_t i = 0; i <= h->max_index; i++) {
		if (!h->counts[i])
			continue;
		seen += h->counts[i];
		print_bucket(f, r, figures, i, seen);
	}
}

void perf_report_bars(FILE *f, const struct perf_results *r, const struct perf_figures *figures,
		      const char *title)
{
	fprintf(f, "\nLatency in %s, %s\n", perf_us(), title);
	if (!figures->hist[PERF_BOTH]->total) {
		fprintf(f, "  none: no I/O was completed\n");
		return;
	}
	print_percentiles(f, r, figures);
	print_bars(f, figures->hist[PERF_BOTH]);
	if (r->cfg->latency > 1)
		print_buckets(f, r, figures);
}
