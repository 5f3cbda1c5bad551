/* SPDX-License-Identifier: MIT
 * Purpose: the broker's memory of granted files, by number (opened.h).
 * Process: the broker, started as root. Trusts: the command, on the lifeline. The engine
 * never holds the descriptors: from one of the host's `..` would lead out of its view.
 * Invariants: whatever asks for it, nothing is opened here through a symbolic link, and
 *   the tables do not grow. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/wire.h"
#include "daemon/opened.h"

#define GRANT_FLAGS (TREE_WRITABLE | TREE_EXEC | TREE_PLAIN)

static bool beneath(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

struct granted *opened_find(const struct opened *opened, uint32_t number)
{
	for (size_t i = 0; opened->grants && number && i < GRANTS_OPEN_MAX; i++)
		if (opened->grants[i].number == number)
			return &opened->grants[i];
	return NULL;
}

void opened_drop(struct granted *granted)
{
	fd_close(&granted->node);
	granted->number = 0;
}

struct granted *opened_add(struct opened *opened, uint32_t number, int node,
			   uint32_t tree_flags)
{
	size_t i;

	if (!opened->grants)
		opened->grants = calloc(GRANTS_OPEN_MAX, sizeof(*opened->grants));
	for (i = 0; opened->grants && i < GRANTS_OPEN_MAX; i++)
		if (opened->grants[i].number == 0)
			break;
	if (!opened->grants || i == GRANTS_OPEN_MAX) {
		(void)close(node);
		return NULL;
	}
	opened->grants[i] = (struct granted){ .number = number ? number : (uint32_t)i + 1,
					      .node = node,
					      .tree_flags = tree_flags };
	return &opened->grants[i];
}

int opened_show(struct opened *opened, const char *path)
{
	size_t at = opened->shown_next % SHOWN_MAX;
	char *copy;

	for (size_t i = 0; i < SHOWN_MAX && opened->shown[i]; i++)
		if (strcmp(opened->shown[i], path) == 0)
			return 0;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	free(opened->shown[at]);
	opened->shown[at] = copy;
	opened->shown_next++;
	return 0;
}

bool opened_shows(const struct opened *opened, const char *path, bool above)
{
	/* Such a path is beneath whatever it begins with by its letters only. */
	for (const char *at = path; (at = strstr(at, "/..")); at++)
		if (at[3] == '/' || at[3] == '\0')
			return false;
	for (size_t i = 0; i < SHOWN_MAX && opened->shown[i]; i++)
		if (beneath(path, opened->shown[i]) ||
		    (above && beneath(opened->shown[i], path)))
			return true;
	return false;
}

int opened_grantable(const struct opened *opened, const char *path, uint32_t tree_flags,
		     int *ret_node)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
						 RESOLVE_NO_MAGICLINKS };
	int result = -EACCES;

	for (size_t i = 0; i < opened->grantable_count; i++) {
		const char *top = opened->grantable[i].path, *rest;
		int fd;

		if (!beneath(path, top) ||
		    (tree_flags & ~opened->grantable[i].tree_flags) != 0)
			continue;
		for (rest = path + strlen(top); *rest == '/'; rest++)
			;
		fd = (int)syscall(SYS_openat2, opened->grantable[i].dir,
				  *rest ? rest : ".", &how, sizeof(how));
		if (fd >= 0) {
			*ret_node = fd;
			return 0;
		}
		result = -errno;
	}
	return result;
}

/* ---- from the command ---- */

static int grantable(struct opened *opened, const struct broker_offer *offer, int *fd)
{
	size_t at = opened->grantable_count;
	char *path;

	if (at == GRANTABLE_MAX)
		return -ENOSPC;
	path = strdup(offer->path);
	if (!path)
		return -ENOMEM;
	opened->grantable[at].path = path;
	opened->grantable[at].dir = fd_take(fd);
	opened->grantable[at].tree_flags = offer->tree_flags;
	opened->grantable_count++;
	return 0;
}

static int take_offer(struct opened *opened, const struct broker_offer *offer, int *fd)
{
	bool given = *fd >= 0;

	switch ((enum offer_kind)offer->kind) {
	case OFFER_GRANT:
		if (!given || !(offer->grant & OFFERED) ||
		    (offer->tree_flags & ~GRANT_FLAGS) ||
		    opened_find(opened, offer->grant))
			return -EBADMSG;
		/* A full table shows when the engine asks for it. */
		(void)opened_add(opened, offer->grant, fd_take(fd), offer->tree_flags);
		return 0;
	case OFFER_WITHDRAW:
		if (given || offer->count > GRANTS_OPEN_MAX)
			return -EBADMSG;
		for (uint32_t i = 0; i < offer->count; i++) {
			struct granted *granted = opened_find(opened, (offer->grant + i) |
									      OFFERED);

			if (granted)
				opened_drop(granted);
		}
		return 0;
	case OFFER_GRANTABLE:
		if (!given || (offer->tree_flags & ~GRANT_FLAGS) || offer->path[0] != '/')
			return -EBADMSG;
		return grantable(opened, offer, fd);
	case OFFER_SHOWN:
		return given || offer->path[0] != '/' ? -EBADMSG
						      : opened_show(opened, offer->path);
	}
	return -EBADMSG;
}

int opened_offers(struct opened *opened, int lifeline)
{
	static struct broker_offer offer;

	for (;;) {
		_cleanup_fd_ int fd = -1;
		size_t count = 0;
		int r = wire_recv(lifeline, &offer, sizeof(offer), &fd, 1, &count);

		if (r == -EAGAIN || r == -EINTR)
			return 0;
		if (r == 0 && memchr(offer.path, '\0', sizeof(offer.path)) == NULL)
			r = -EBADMSG;
		if (r == 0)
			r = take_offer(opened, &offer, &fd);
		if (r < 0)
			return r;
	}
}
