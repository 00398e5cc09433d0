/* show.h: jobs and other records, as people and as programs read them. One thread. */
#ifndef RAINCHECK_CLI_SHOW_H
#define RAINCHECK_CLI_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli.h"
#include "client/raincheck.h"
#include "table.h"

/* The record with every field of the wire, nil where it does not apply. NULL: out of memory. */
json_t *show_job_json(const struct raincheck_job *job);
/* {"low": …, "high": …}, or null. */
json_t *show_eta_json(bool has, const struct raincheck_eta *eta);
/* {"mean": …, "spread": …}, or null where nothing is known. */
json_t *show_run_json(const struct raincheck_run_time *run);
json_t *show_counts_json(const struct raincheck_counts *counts);

/* {"error": {"code": …, "message": …}} */
json_t *show_error_json(const struct raincheck_error *e);
/* "field: message (code); …", without an end of line. */
void show_error(FILE *out, const struct raincheck_error *e);

/* Prints t as wide as the terminal is; whole: as in table_fit(). CLI_FAILED and said so where memory did not last. */
int show_table(struct cli *c, struct table *t, uint32_t whole);

/* Prints and releases o; CLI_FAILED and said so where o is NULL. */
int show_json(struct cli *c, json_t *o);

/* A line a field, those that do not apply left out. */
void show_job(struct cli *c, const struct raincheck_job *job);
/* "name:      text", the text made safe; nothing where it is NULL. */
void show_line(struct cli *c, const char *name, const char *text);
void show_line_number(struct cli *c, const char *name, int64_t number);

/* "name:      one, two, three", going on in the next line before it is wider than 80 columns. Start with { c, name },
 * show each item, then end it; nothing is printed where there is none. */
struct show_items {
	struct cli *c;
	const char *name;
	size_t used; /* columns of the present line */
};

void show_item(struct show_items *s, const char *text);
void show_items_end(struct show_items *s);

/* "attempts take: …"; nothing where that is not known. */
void show_run_time(struct cli *c, const struct raincheck_run_time *run);
/* A line a state. */
void show_counts(struct cli *c, const struct raincheck_counts *counts);

/* What a state is coloured with on a terminal; NULL: nothing. */
const char *show_state_colour(enum raincheck_job_state state);

#endif
