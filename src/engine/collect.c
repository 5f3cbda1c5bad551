/* SPDX-License-Identifier: MIT
 * Purpose: takes in what the init of a jail tells of the files in /work (collect.h).
 * Process: the engine, on its loop.
 * Trusts: the init, to follow its protocol; checks it all the same, since sizes, names
 *   and contents are the program's. No path is resolved here: contents are read from
 *   descriptors that the init opened.
 * Invariants: at most FILES_LEFT_MAX entries and FILES_LEFT_BYTES of contents are kept;
 *   a descriptor that is no regular file is not read; none is kept. */
#include "engine/collect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "engine/outcome.h"

#define AT_ONCE 64 /* packets to one wake-up */

struct collected {
	char *path;
	uint64_t size, stored_bytes;
	uint64_t inode, changed_ns, modified_ns;
	char *data; /* NULL: not asked for, too much, or not readable */
};

struct collect {
	int fd;
	struct loop_io *io;
	void (*fn)(void *arg);
	void *arg;
	struct collected *files;
	size_t count, room;
	uint64_t bytes, omitted;
	bool ended;
};

static const struct {
	const char *ending, *mime;
} kinds[] = {
	{ "txt", "text/plain" },
	{ "log", "text/plain" },
	{ "py", "text/x-python" },
	{ "md", "text/markdown" },
	{ "csv", "text/csv" },
	{ "tsv", "text/tab-separated-values" },
	{ "html", "text/html" },
	{ "css", "text/css" },
	{ "js", "text/javascript" },
	{ "json", "application/json" },
	{ "xml", "application/xml" },
	{ "yaml", "application/yaml" },
	{ "yml", "application/yaml" },
	{ "pdf", "application/pdf" },
	{ "zip", "application/zip" },
	{ "gz", "application/gzip" },
	{ "tar", "application/x-tar" },
	{ "parquet", "application/vnd.apache.parquet" },
	{ "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
	{ "docx",
	  "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
	{ "db", "application/vnd.sqlite3" },
	{ "sqlite", "application/vnd.sqlite3" },
	{ "png", "image/png" },
	{ "jpg", "image/jpeg" },
	{ "jpeg", "image/jpeg" },
	{ "gif", "image/gif" },
	{ "svg", "image/svg+xml" },
	{ "webp", "image/webp" },
	{ "wav", "audio/wav" },
	{ "mp3", "audio/mpeg" },
	{ "mp4", "video/mp4" },
};

/* By the name alone: a hint for people, what a browser may do with it is not decided by
 * it. */
static const char *mime_of(const char *path)
{
	const char *name = strrchr(path, '/'), *dot = strrchr(name ? name : path, '.');

	for (size_t i = 0; dot && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcasecmp(dot + 1, kinds[i].ending) == 0)
			return kinds[i].mime;
	return "application/octet-stream";
}

/* ---- taking in ---- */

/* NULL: it shrank, it is no file, or there is no memory. */
static char *read_contents(int fd, uint64_t size)
{
	struct stat st;
	char *data;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return NULL;
	data = malloc((size_t)size + 1);
	if (data && fd_read_all(fd, data, (size_t)size) != (ssize_t)size) {
		free(data);
		data = NULL;
	}
	return data;
}

static bool path_ok(const struct init_found *found)
{
	const char *at = found->path;

	if (found->path_len == 0 || found->path_len >= sizeof(found->path) ||
	    strnlen(found->path, sizeof(found->path)) < found->path_len)
		return false;
	while (true) {
		size_t part = strcspn(at, "/");

		if (part == 0 || (part == 1 && at[0] == '.') ||
		    (part == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		if (!at[part])
			return true;
		at += part + 1;
	}
}

static int take_file(struct collect *c, struct init_found *found, int fd)
{
	struct collected *file, *grown;
	size_t room = c->room ? c->room * 2 : 16;

	if (found->path_len < sizeof(found->path))
		found->path[found->path_len] = '\0';
	if (!path_ok(found) || c->count >= FILES_LEFT_MAX)
		return -EBADMSG;
	if (c->count == c->room) {
		grown = realloc(c->files, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		c->files = grown;
		c->room = room;
	}
	file = &c->files[c->count];
	*file = (struct collected){ .path = strdup(found->path),
				    .size = found->size,
				    .stored_bytes = found->stored_bytes,
				    .inode = found->inode,
				    .changed_ns = found->changed_ns,
				    .modified_ns = found->modified_ns };
	if (!file->path)
		return -ENOMEM;
	if (fd >= 0 && found->size <= FILES_LEFT_BYTES - c->bytes) {
		file->data = read_contents(fd, found->size);
		if (file->data)
			c->bytes += found->size;
	}
	c->count++;
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct collected *)a)->path,
		      ((const struct collected *)b)->path);
}

static void end(struct collect *c)
{
	loop_remove(&c->io);
	fd_close(&c->fd);
	if (c->count > 0)
		qsort(c->files, c->count, sizeof(*c->files), by_path);
	c->fn(c->arg);
}

static void on_packet(void *arg, uint32_t events)
{
	struct collect *c = arg;
	struct init_found found;

	(void)events;
	for (int i = 0; i < AT_ONCE; i++) {
		int fd = -1, r;
		size_t count = 0;

		r = wire_recv(c->fd, &found, sizeof(found), &fd, 1, &count);
		if (r == -EAGAIN || r == -EINTR)
			return;
		if (count == 0)
			fd = -1;
		if (r == 0 && found.kind == FOUND_END) {
			c->omitted = found.size;
			c->ended = true;
		} else if (r == 0) {
			r = found.kind == FOUND_FILE ? take_file(c, &found, fd)
						     : -EBADMSG;
		}
		fd_close(&fd);
		if (r < 0 || c->ended) {
			end(c);
			return;
		}
	}
}

int collect_begin(struct loop *loop, struct worker *worker,
		  const struct collect_asked *asked, void (*fn)(void *arg), void *arg,
		  struct collect **ret)
{
	const struct init_request request = { .op = INIT_COLLECT,
					      .flags = (asked->contents ? COLLECT_CONTENTS
									: 0) |
						       (asked->live ? COLLECT_LIVE : 0) |
						       (asked->all ? COLLECT_ALL : 0),
					      .since_ns = asked->since_ns };
	struct collect *c = calloc(1, sizeof(*c));
	_cleanup_fd_ int far = -1;
	int pair[2], r;

	if (!c)
		return -ENOMEM;
	*c = (struct collect){ .fd = -1, .fn = fn, .arg = arg };
	r = wire_pair(SOCK_SEQPACKET, pair);
	if (r == 0) {
		c->fd = pair[0];
		far = pair[1];
		r = fd_nonblock(c->fd, true);
	}
	if (r == 0)
		r = loop_add(loop, c->fd, EPOLLIN, on_packet, c, &c->io);
	if (r == 0)
		r = worker_init_request(worker, &request, far);
	if (r < 0)
		collect_free(&c);
	else
		*ret = c;
	return r;
}

/* ---- handing out ---- */

static json_t *base64(const char *data, size_t len)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[(FILES_NAME_MAX + 2) / 3 * 4 + 1];
	size_t at = 0;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = 0;

		for (size_t j = 0; j < 3; j++)
			bits = bits << 8 |
			       (i + j < len ? (unsigned char)data[i + j] : 0u);
		for (size_t j = 0; j < 4; j++)
			text[at++] = i + j > len ? '='
						 : letters[bits >> (18 - 6 * j) & 63u];
	}
	return json_stringn(text, at);
}

static json_t *describe(const struct collected *file)
{
	size_t len = strlen(file->path);
	json_t *object = json_pack(
		"{s:o,s:I,s:I,s:s}", "path", outcome_text(file->path, len), "size",
		(json_int_t)file->size, "stored_bytes", (json_int_t)file->stored_bytes,
		"mime", mime_of(file->path));
	json_t *exact = json_stringn(file->path, len);

	/* Not UTF-8: what is shown is not the name. */
	if (object && !exact)
		(void)json_object_set_new(object, "path_bytes", base64(file->path, len));
	json_decref(exact);
	return object;
}

/* It was there, and nobody has touched it since. */
static bool is_known(const struct collect *known, const struct collected *file)
{
	const struct collected *old = known && known->ended && known->count > 0
					      ? bsearch(file, known->files, known->count,
							sizeof(*file), by_path)
					      : NULL;

	return old && old->inode == file->inode && old->size == file->size &&
	       old->changed_ns == file->changed_ns &&
	       old->modified_ns == file->modified_ns;
}

json_t *collect_list(const struct collect *c, const struct collect *known)
{
	json_t *list = json_array();

	for (size_t i = 0; c && i < c->count; i++)
		if (!is_known(known, &c->files[i]))
			(void)json_array_append_new(list, describe(&c->files[i]));
	return list;
}

uint64_t collect_omitted(const struct collect *c)
{
	return c ? c->omitted + !c->ended : 0;
}

void collect_contents(const struct collect *c, const struct collect *known,
		      void (*fn)(void *arg, const char *path, const char *data,
				 size_t len),
		      void *arg)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (c->files[i].data && !is_known(known, &c->files[i]))
			fn(arg, c->files[i].path, c->files[i].data,
			   (size_t)c->files[i].size);
}

void collect_forget_contents(struct collect *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->files[i].data);
		c->files[i].data = NULL;
	}
}

void collect_free(struct collect **collect)
{
	struct collect *c = *collect;

	*collect = NULL;
	if (!c)
		return;
	loop_remove(&c->io);
	fd_close(&c->fd);
	for (size_t i = 0; i < c->count; i++) {
		free(c->files[i].path);
		free(c->files[i].data);
	}
	free(c->files);
	free(c);
}
