/* SPDX-License-Identifier: MIT
 * Purpose: displays as E2B's results, charts as its charts (docs/doors.md).
 * Process: the engine. Trusts: bundles to be bounded objects of MIME types, as the engine
 *   has checked; nothing of what a chart says, which is the program's.
 * Invariants: a chart has every member that E2B's clients read without asking. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "daemon/doors/e2b.h"

#define CHART "application/vnd.sandbox.chart+json"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_t *copy_of(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);

	return value ? json_incref(value) : json_null();
}

/* ---- series ---- */

/* E2B's names of what there is a name for. */
static const char *kind_of(const json_t *series)
{
	static const struct {
		const char *ours, *theirs;
	} kinds[] = { { "line", "line" },          { "reference", "line" },
		      { "scatter", "scatter" },    { "bar", "bar" },
		      { "histogram", "bar" },      { "pie", "pie" },
		      { "box", "box_and_whisker" } };
	const char *type = text_of(series, "type");

	for (size_t i = 0; type && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(type, kinds[i].ours) == 0)
			return kinds[i].theirs;
	return "unknown";
}

static json_t *label_of(const json_t *series, const char *what, size_t i)
{
	const char *label = text_of(series, "label");

	return label ? json_string(label) : json_sprintf("%s %zu", what, i);
}

/* Of a place or an edge; new. */
static json_t *word_of(const json_t *value)
{
	if (json_is_string(value))
		return json_string(json_string_value(value));
	if (json_is_number(value))
		return json_sprintf("%.15g", json_number_value(value));
	return json_string("");
}

static void add_points(json_t *elements, const json_t *series, size_t nth)
{
	const json_t *xs = json_object_get(series, "x"),
		     *ys = json_object_get(series, "y");
	json_t *points = json_array(), *x;
	size_t i;

	json_array_foreach(xs, i, x)
	{
		json_t *y = json_array_get(ys, i);

		if (y)
			(void)json_array_append_new(points, json_pack("[O,O]", x, y));
	}
	(void)json_array_append_new(elements, json_pack("{s:o,s:o}", "label",
							label_of(series, "Line", nth),
							"points", points));
}

/* Bars that lie have their names in y. */
static bool lies(const json_t *series)
{
	return json_is_string(json_array_get(json_object_get(series, "y"), 0));
}

static void add_bars(json_t *elements, const json_t *series, size_t nth)
{
	const json_t *edges = json_object_get(series, "edges"),
		     *names = edges ? edges
				    : json_object_get(series, lies(series) ? "y" : "x"),
		     *values = json_object_get(series, lies(series) ? "x" : "y");
	json_t *value;
	size_t i;

	json_array_foreach(values, i, value)(void) json_array_append_new(
		elements,
		json_pack("{s:o,s:o,s:O}", "label", word_of(json_array_get(names, i)),
			  "group", label_of(series, "Group", nth), "value", value));
}

static void add_wedges(json_t *elements, const json_t *series)
{
	const json_t *names = json_object_get(series, "x"),
		     *shares = json_object_get(series, "y");
	json_t *share;
	size_t i;

	json_array_foreach(shares, i, share)(void) json_array_append_new(
		elements,
		json_pack("{s:o,s:f,s:f}", "label", word_of(json_array_get(names, i)),
			  "angle", 360 * json_number_value(share), "radius", 1.0));
}

static void add_box(json_t *elements, const json_t *series)
{
	const json_t *outliers = json_object_get(series, "outliers"),
		     *place = json_object_get(series, "x");

	(void)json_array_append_new(
		elements,
		json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "label",
			  word_of(place ? place : json_object_get(series, "y")), "min",
			  copy_of(series, "low"), "first_quartile", copy_of(series, "q1"),
			  "median", copy_of(series, "median"), "third_quartile",
			  copy_of(series, "q3"), "max", copy_of(series, "high"),
			  "outliers",
			  json_is_array(outliers) ? copy_of(series, "outliers")
						  : json_array()));
}

/* ---- axes ---- */

/* What all series are, reference lines apart; "unknown" where they differ. */
static const char *chart_kind(const json_t *list)
{
	const char *kind = NULL;
	json_t *series;
	size_t i;

	json_array_foreach(list, i, series)
	{
		const char *type = text_of(series, "type"), *this = kind_of(series);

		if (type && strcmp(type, "reference") == 0 && json_array_size(list) > 1)
			continue;
		if (kind && strcmp(kind, this) != 0)
			return "unknown";
		kind = this;
	}
	return kind ? kind : "unknown";
}

/* "Time (s)", "Size [MB]": what is in the brackets; new. */
static json_t *unit_of(const char *label)
{
	const char *open = label ? strstr(label, " (") : NULL, *close;

	if (open)
		open += 2;
	else if (label && (open = strchr(label, '[')) != NULL)
		open++;
	close = open ? strpbrk(open, ")]") : NULL;
	return close ? json_stringn(open, (size_t)(close - open)) : json_null();
}

static void add_labels(json_t *chart, const json_t *axes, bool turned)
{
	const char *x = turned ? "y_label" : "x_label",
		   *y = turned ? "x_label" : "y_label";

	(void)json_object_set_new(chart, "x_label", copy_of(axes, x));
	(void)json_object_set_new(chart, "y_label", copy_of(axes, y));
	(void)json_object_set_new(chart, "x_unit", unit_of(text_of(axes, x)));
	(void)json_object_set_new(chart, "y_unit", unit_of(text_of(axes, y)));
}

static void add_scales(json_t *chart, const json_t *axes)
{
	static const char *const lists[] = { "x_ticks", "x_tick_labels", "y_ticks",
					     "y_tick_labels" };

	/* Ticks are the picture's, not the data's: they are not known here. */
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		(void)json_object_set_new(chart, lists[i], json_array());
	(void)json_object_set_new(chart, "x_scale", copy_of(axes, "x_scale"));
	(void)json_object_set_new(chart, "y_scale", copy_of(axes, "y_scale"));
}

static json_t *chart_of(const json_t *axes)
{
	const json_t *list = json_object_get(axes, "series");
	const char *kind = chart_kind(list);
	json_t *elements = json_array(), *series,
	       *chart = json_pack("{s:s,s:o}", "type", kind, "title",
				  copy_of(axes, "title"));
	bool points = strcmp(kind, "line") == 0 || strcmp(kind, "scatter") == 0;
	bool turned = false;
	size_t i;

	json_array_foreach(list, i, series)
	{
		if (strcmp(kind, "unknown") == 0)
			break;
		if (points)
			add_points(elements, series, i);
		else if (strcmp(kind, "bar") == 0)
			add_bars(elements, series, i);
		else if (strcmp(kind, "pie") == 0)
			add_wedges(elements, series);
		else
			add_box(elements, series);
		turned = turned || (strcmp(kind, "bar") == 0 && lies(series));
	}
	add_labels(chart, axes, turned);
	if (points)
		add_scales(chart, axes);
	(void)json_object_set_new(chart, "elements", elements);
	return chart;
}

/* NULL: there is nothing in it. */
static json_t *figure_of(const json_t *figure)
{
	const json_t *list = json_object_get(figure, "axes");
	json_t *elements, *axes;
	size_t i;

	if (json_array_size(list) == 0)
		return NULL;
	if (json_array_size(list) == 1)
		return chart_of(json_array_get(list, 0));
	elements = json_array();
	json_array_foreach(list, i, axes)(void)
		json_array_append_new(elements, chart_of(axes));
	return json_pack("{s:s,s:o,s:o}", "type", "superchart", "title",
			 copy_of(figure, "title"), "elements", elements);
}

/* ---- the line ---- */

/* Texts that are reprs of text are shown without their quotes, as there. */
static json_t *plain_of(const json_t *value)
{
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);

	if (len >= 2 && (text[0] == '\'' || text[0] == '"') && text[len - 1] == text[0])
		return json_stringn(text + 1, len - 2);
	return json_stringn(text, len);
}

json_t *e2b_result(const json_t *bundle, bool is_main)
{
	static const struct {
		const char *mime, *name;
	} known[] = {
		{ "text/html", "html" },
		{ "text/markdown", "markdown" },
		{ "image/svg+xml", "svg" },
		{ "image/png", "png" },
		{ "image/jpeg", "jpeg" },
		{ "application/pdf", "pdf" },
		{ "text/latex", "latex" },
		{ "application/json", "json" },
		{ "application/javascript", "javascript" },
	};
	json_t *extra = json_copy((json_t *)(uintptr_t)bundle), *value, *chart,
	       *line = json_pack("{s:s,s:b}", "type", "result", "is_main_result",
				 is_main);

	value = json_object_get(bundle, "text/plain");
	if (json_is_string(value))
		(void)json_object_set_new(line, "text", plain_of(value));
	(void)json_object_del(extra, "text/plain");
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		value = json_object_get(bundle, known[i].mime);
		if (value)
			(void)json_object_set(line, known[i].name, value);
		(void)json_object_del(extra, known[i].mime);
	}
	chart = figure_of(json_object_get(bundle, CHART));
	if (chart)
		(void)json_object_set_new(line, "chart", chart);
	(void)json_object_del(extra, CHART);
	(void)json_object_set_new(line, "extra", extra ? extra : json_object());
	return line;
}
