/* SPDX-License-Identifier: MIT
 * Purpose: a program's output and the signals that stop it (output.h).
 * Process: the command's. Trusts: nothing that the program prints: it is passed on byte for
 *   byte to wherever the user sent it, and what the summary quotes of it is made safe.
 * Invariants: a reader that does not read never keeps a signal waiting; a first signal
 *   stops the program, a second one ends everything. */
#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "lib/internal.h"

#define PIPE_SAFE \
	4096 /* PIPE_BUF: what poll(2) calls writable takes so much without blocking */

/* ---- signals ---- */

int cli_cancel_fd = -1;
static volatile sig_atomic_t caught;

static void stop(void)
{
	uint64_t one = 1;

	/* It can only fail when it has been written to already. */
	if (write(cli_cancel_fd, &one, sizeof(one)) < 0)
		return;
}

static void on_signal(int sig)
{
	int saved = errno;

	if (caught)
		_exit(128 + sig); /* the lifeline closes, and everything ends behind it */
	caught = sig;
	stop();
	errno = saved;
}

int cli_caught(void)
{
	return caught;
}

int cli_catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal }, before;
	size_t i;

	cli_cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cli_cancel_fd < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		/* Ignored by whoever started us (nohup, a shell's background job): it
		 * stays so. */
		if (sigaction(signals[i], NULL, &before) < 0)
			return -errno;
		if (before.sa_handler != SIG_IGN &&
		    sigaction(signals[i], &action, NULL) < 0)
			return -errno;
	}
	return 0;
}

/* ---- output ---- */

void cli_output_write(void *arg, int stream, const void *data, size_t len)
{
	struct cli_output *output = arg;
	const char *at = data;

	if (len > 0)
		output->last = at[len - 1];
	while (len > 0 && !output->closed[stream]) {
		/* A reader that does not read must not keep a signal waiting. */
		struct pollfd fds[2] = {
			{ .fd = stream, .events = POLLOUT },
			{ .fd = cli_cancel_fd, .events = POLLIN },
		};
		ssize_t n;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents && !(fds[0].revents & POLLOUT))
			return;
		if (!fds[0].revents)
			continue;
		n = write(stream, at,
			  output->is_pipe[stream] && len > PIPE_SAFE ? PIPE_SAFE : len);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			output->closed[stream] = true;
			if (errno != EPIPE)
				output->failed = errno;
			/* Without standard output nobody waits for the rest; without
			 * standard error they may. */
			if (stream == 1)
				stop();
			return;
		}
		at += n;
		len -= (size_t)n;
	}
}

void cli_output_begin(struct cli_output *output)
{
	struct stat st;
	int fd;

	for (fd = 1; fd <= 2; fd++)
		output->is_pipe[fd] = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode);
}

void cli_output_summary(const struct cli_output *output, const json_t *result)
{
	_cleanup_free_ char *text = summary_make(result, cli_colour(2));

	/* The program's last line may have no end, and then ours would begin in it. */
	if (output->last && output->last != '\n' && isatty(1) && isatty(2))
		(void)fputc('\n', stderr);
	(void)fputs(text ? text : "sandbox: out of memory\n", stderr);
}
