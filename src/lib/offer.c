/* SPDX-License-Identifier: MIT
 * Purpose: opens for the broker what the command's own user grants (offer.h).
 * Process: the command or a program that uses libsbx, with its rights. It reads its own
 *   user's policy for it, by the engine's own parser, so that both see the same list.
 * Trusts: the policy to be its user's will. Nothing of the file system: what is opened is
 *   the real path of what was named, without a symbolic link in it.
 * Invariants: no descriptor that a program could climb out of goes to the engine. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "daemon/request.h"
#include "engine/grants.h"
#include "lib/offer.h"
#include "zygote/interpreter.h"

static int send_offer(const struct spawned *spawned, enum offer_kind kind,
		      const char *path, uint32_t grant, unsigned flags, int fd,
		      struct sbx_err *err)
{
	struct broker_offer offer = { .kind = kind, .grant = grant, .tree_flags = flags };
	int r = strlen(path) < sizeof(offer.path) ? 0 : -ENAMETOOLONG;

	if (r == 0) {
		memcpy(offer.path, path, strlen(path) + 1);
		r = wire_send(spawned->lifeline, &offer, sizeof(offer), &fd,
			      fd >= 0 ? 1 : 0);
	}
	return r < 0 ? err_set(err, SBX_AT_ENGINE, -r, "telling the broker of %.200s",
			       path)
		     : 0;
}

/* The one thing that the path names now: real is its real path. */
static int open_named(const char *named, bool writable, char real[4096],
		      struct sbx_err *err)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				      .resolve = RESOLVE_NO_SYMLINKS |
						 RESOLVE_NO_MAGICLINKS };
	char *found = realpath(named, NULL);
	struct stat st;
	int fd, r;

	if (!found || strlen(found) >= 4096) {
		r = found ? ENAMETOOLONG : errno;
		free(found);
		return policy_grant_refused(named, r, err);
	}
	strcpy(real, found);
	free(found);
	r = policy_grant_place(real, err);
	if (r == 0)
		r = policy_grant_links(named, real, err);
	if (r < 0)
		return r;
	fd = (int)syscall(SYS_openat2, AT_FDCWD, real, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		r = err_set_field(err, SBX_AT_GRANT, 0, "allowed_directories",
				  "allowed_directories: %.200s is neither directory nor "
				  "file",
				  real);
	else if (syscall(SYS_faccessat2, fd, "",
			 R_OK | (writable ? W_OK : 0) | (S_ISDIR(st.st_mode) ? X_OK : 0),
			 AT_EMPTY_PATH | AT_EACCESS) < 0) /* 5.8 */
		r = -errno;
	if (r == 0)
		return fd;
	fd_close(&fd);
	return r == -EINVAL && err->msg[0] ? r : policy_grant_refused(named, -r, err);
}

static int offer_grants(struct spawned *spawned, const struct request *request,
			struct buf *grants, uint32_t *ret_count, struct sbx_err *err)
{
	const struct policy_list *list = &request->policy.allowed_directories;
	struct policy_grant *parsed = malloc(sizeof(*parsed));
	char named[4096], real[4096];
	int r = parsed ? 0 : err_set(err, SBX_AT_ENGINE, ENOMEM, "grants");

	for (size_t i = 0; r == 0 && i < list->count && i < POLICY_GRANTS_MAX; i++) {
		uint32_t number = spawned->next_offer++ | OFFERED;
		_cleanup_fd_ int fd = -1;

		r = policy_grant_parse(list->items[i], parsed, err);
		if (r == 0)
			r = policy_grant_join(parsed, request->execution.cwd, named, err);
		if (r == 0)
			r = fd = open_named(named, parsed->writable, real, err);
		if (r >= 0)
			r = send_offer(spawned, OFFER_GRANT, real, number,
				       grants_flags(&request->policy, parsed->writable),
				       fd, err);
		if (r == 0)
			*ret_count += 1;
		if (r == 0 && (buf_add(grants, &number, sizeof(number)) < 0 ||
			       buf_add(grants, real, strlen(real) + 1) < 0))
			r = err_set(err, SBX_AT_ENGINE, ENOMEM, "grants");
	}
	free(parsed);
	return r;
}

/* ---- interpreters ---- */

struct telling {
	const struct spawned *spawned;
	struct sbx_err *err;
};

static int tell_of(void *arg, const char *path, bool is_file)
{
	const struct telling *t = arg;

	(void)is_file;
	return send_offer(t->spawned, OFFER_SHOWN, path, 0, 0, -1, t->err);
}

int offer_python(const struct spawned *spawned, const char *python, struct sbx_err *err)
{
	struct telling telling = { spawned, err };
	struct host here = { .caller_fd = -1 };
	struct interpreter *found;
	int r = 0;

	if (!spawned->hello.root)
		return 0;
	found = malloc(sizeof(*found));
	if (!found)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "python");
	r = interpreter_find(&here, python, found, err);
	if (r == 0)
		r = interpreter_each(found, tell_of, &telling);
	/* The engine follows the names as well as the real paths. */
	if (r == 0)
		r = tell_of(&telling, python, true);
	for (size_t i = 0; r == 0 && i < found->tree_count; i++)
		r = tell_of(&telling, found->trees[i].target, false);
	free(found);
	return r;
}

/* Once for each interpreter that requests name, until another one is. */
static int offer_interpreter(struct spawned *spawned, const char *python,
			     struct sbx_err *err)
{
	int r;

	if (!python || !python[0] || strlen(python) >= sizeof(spawned->python) ||
	    strcmp(spawned->python, python) == 0)
		return 0;
	r = offer_python(spawned, python, err);
	if (r == 0)
		strcpy(spawned->python, python);
	/* What cannot be found the engine does not find either, and says so. */
	return err->stage == SBX_AT_ENGINE ? r : 0;
}

/* ---- for one request ---- */

/* Without what is long and says nothing about files. */
static json_t *only_policy(const json_t *request)
{
	json_t *copy = json_object();
	const char *key;
	json_t *value;
	int r = copy ? 0 : -1;

	json_object_foreach((json_t *)request, key,
			    value) if (r == 0 && strcmp(key, "files") != 0)
		r = json_object_set(copy, key, value);
	if (r == 0)
		r = json_object_set_new(copy, "code", json_string(""));
	if (r == 0)
		return copy;
	json_decref(copy);
	return NULL;
}

/* Which interpreter a template names is the configuration's to say, not the request's. */
static int any_template(void *arg, const char *name, struct sbx_policy *policy)
{
	(void)arg;
	(void)name;
	(void)policy;
	return 0;
}

int offer_request(struct spawned *spawned, const json_t *request, struct buf *grants,
		  uint32_t *ret_first, uint32_t *ret_count, struct sbx_err *err)
{
	const struct request_rules rules = { .template = any_template };
	struct request parsed = { 0 };
	struct sbx_err own = { 0 };
	json_t *object;
	int r;

	*ret_first = spawned->next_offer;
	*ret_count = 0;
	if (!spawned->hello.root)
		return 0;
	object = only_policy(request);
	if (!object)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "the request");
	if (request_parse(object, &rules, &parsed, NULL) < 0) {
		json_decref(object);
		return 0;
	}
	r = offer_interpreter(spawned, parsed.policy.python, &own);
	if (r == 0)
		r = offer_grants(spawned, &parsed, grants, ret_count, &own);
	if (r < 0)
		offer_withdraw(spawned, *ret_first, *ret_count);
	if (r < 0 && err)
		*err = own;
	request_clear(&parsed);
	json_decref(object);
	return r;
}

void offer_withdraw(const struct spawned *spawned, uint32_t first, uint32_t count)
{
	const struct broker_offer offer = { .kind = OFFER_WITHDRAW,
					    .grant = first | OFFERED,
					    .count = count };

	/* A broker that is gone has forgotten. */
	if (count > 0)
		(void)wire_send(spawned->lifeline, &offer, sizeof(offer), NULL, 0);
}

int offer_grantable(const struct spawned *spawned, const char *item, struct sbx_err *err)
{
	struct policy_grant *parsed;
	char real[4096];
	int fd = -1, r;

	if (!spawned->hello.root)
		return 0;
	parsed = malloc(sizeof(*parsed));
	if (!parsed)
		return err_set(err, SBX_AT_ENGINE, ENOMEM, "grantable");
	r = policy_grant_parse(item, parsed, err);
	if (r == 0 && parsed->path[0] != '/')
		r = err_set(err, SBX_AT_USAGE, 0, "%.200s is not an absolute path", item);
	if (r == 0)
		r = fd = open_named(parsed->path, parsed->writable, real, err);
	if (r >= 0) {
		r = send_offer(spawned, OFFER_GRANTABLE, real, 0,
			       (parsed->writable ? TREE_WRITABLE : 0) | TREE_EXEC |
				       TREE_PLAIN,
			       fd, err);
		(void)close(fd);
	}
	free(parsed);
	return r;
}
