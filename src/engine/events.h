/* SPDX-License-Identifier: MIT
 * The events of one run: what was denied or hit a limit, who saw it, and what would allow
 * it, for people (`remedy`) and for programs (`change`). Repeats are counted. */
#ifndef SBX_ENGINE_EVENTS_H
#define SBX_ENGINE_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENTS_MAX 400u /* different ones kept; further ones are counted only */
#define EVENTS_CLAIMS_MAX \
	100u /* of these what the program says: it shall not crowd out what was seen */
#define EVENTS_KIND_MAX \
	20u /* of one kind that we saw: nor shall one of its deeds another */
#define EVENTS_TEXT_MAX 512u /* of a subject or remedy, bytes */

struct events {
	json_t *list;
	uint64_t dropped;    /* different ones that found no place, with their repeats */
	size_t denials;      /* all, with repeats */
	json_t *last_kernel; /* borrowed of list: the kernel's latest denial, or NULL */
};

struct event {
	const char *source;  /* "kernel", "supervisor", "python" */
	const char *kind;    /* "import", "socket", ... */
	const char *subject; /* text of anyone; made valid UTF-8 and cut here */
	const char *rule;    /* policy field, or "always" */
	const char *remedy;  /* NULL: none */
	const char *item; /* what the rule's list lacks, where that is not the subject */
	long line;        /* 0: not known */
	uint64_t count;
	/* kind "connection", which is no denial: */
	bool has_traffic;
	uint64_t sent_bytes, received_bytes;
};

/* Returns the event if it is a new one (borrowed), else NULL. */
const json_t *events_add(struct events *events, uint64_t at_ms,
			 const struct event *event);
/* One that the program's interpreter sent (a claim, hostile): labelled "python". The
 * same. */
const json_t *events_add_claim(struct events *events, uint64_t at_ms, const char *text,
			       size_t len);
/* What the policy would have to say for this to be allowed: {"field", "add"} for a list,
 * {"field", "set"} for another field; NULL where no field decides, or the subject is
 * nothing that the field could hold. item may be anyone's text: an item that comes out
 * of here is one that the policy's parser takes. New reference. */
json_t *events_change(const char *kind, const char *rule, const char *item);
/* The program ended with the exception of a denial, at this line by its own account: the
 * kernel's latest denial gets it, labelled as the interpreter's claim. */
void events_claim_line(struct events *events, long line);
json_t *events_list(
	struct events *events); /* new reference; an empty array where nothing was seen */
void events_free(struct events *events);

#endif
