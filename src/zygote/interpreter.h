/* SPDX-License-Identifier: MIT
 * Which files a Python interpreter is made of. Nothing of it is executed here. */
#ifndef SBX_ZYGOTE_INTERPRETER_H
#define SBX_ZYGOTE_INTERPRETER_H

#include "zygote/host.h"

#define INTERPRETER_TREES 24
struct interpreter_tree {
	char path[1024];   /* real, on the host */
	char target[1024]; /* in the jail */
	bool is_file;
};
struct interpreter {
	char file[1024];  /* to execute, in the jail */
	char argv0[1024]; /* what it takes itself for; decides whether it is in a venv */
	size_t tree_count;
	struct interpreter_tree trees[INTERPRETER_TREES]; /* besides /usr */
};

/* python: absolute path. Follows its symlinks, reads pyvenv.cfg (64 KiB at most) for a
 * venv's base. Missing, no file or not executable: stage INTERPRETER. */
int interpreter_find(struct host *host, const char *python, struct interpreter *ret,
		     struct sbx_err *err);
/* Every place that it is read from, by its real path; stops at what fn returns if not 0. */
int interpreter_each(const struct interpreter *in,
		     int (*fn)(void *arg, const char *path, bool is_file), void *arg);
/* Started as root: looks for it with the rights of this caller (the broker's rules for
 * OPEN_SHOWN), and remembers what was found, so that interpreter_find() finds it without
 * him. Not found: nothing happens. */
void interpreter_admit(struct host *host, const char *python, int caller_fd);
void interpreter_forget(struct host *host); /* what was remembered */
/* The default: /usr/bin/python3 if it is 3.10 or newer, else the first such on PATH that
 * a worker's uid can open. */
int interpreter_default(struct host *host, char ret[1024], struct sbx_err *err);

#endif
