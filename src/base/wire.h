/* SPDX-License-Identifier: MIT
 * Messages between our own processes. Two kinds:
 *   packets: SOCK_SEQPACKET, one fixed-size struct each, up to WIRE_FDS_MAX descriptors;
 *   frames:  SOCK_STREAM, struct wire_frame then len bytes; what a worker sends is hostile, so a reader
 *	      gives the largest length that it takes and drops the connection beyond it.
 * A message is consumed to its last byte or the connection is ended. child-safe. */
#ifndef SBX_BASE_WIRE_H
#define SBX_BASE_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define WIRE_FDS_MAX 16

struct wire_frame {
	uint32_t type;
	uint32_t len;
};

/* Makes a pair, both ends close-on-exec. type is SOCK_SEQPACKET or SOCK_STREAM. */
int wire_pair(int type, int ret_fds[2]);

/* Sends one packet (or, on a stream, all of the bytes; the descriptors go with the
 * first). 0 or -errno. MSG_NOSIGNAL. Blocks if the socket does, else -EAGAIN (a stream
 * may then be cut: end it). */
int wire_send(int fd, const void *data, size_t len, const int *fds, size_t fd_count);

/* Receives one packet of exactly len bytes. fds: room for fd_max descriptors, received as
 * close-on-exec;
 * *ret_fd_count how many came. More descriptors than fd_max, a wrong length or a cut
 * message is -EBADMSG, and every received descriptor is closed. End of file is -EPIPE. 0
 * on success. */
int wire_recv(int fd, void *data, size_t len, int *fds, size_t fd_max,
	      size_t *ret_fd_count);

/* The same for a packet of up to max bytes; returns the length. */
ssize_t wire_recv_some(int fd, void *data, size_t max, int *fds, size_t fd_max,
		       size_t *ret_fd_count);

/* One whole frame on a stream: header and payload with as few calls as possible. */
int wire_send_frame(int fd, uint32_t type, const void *data, size_t len, const int *fds,
		    size_t fd_count);

/* Reads exactly len bytes of a blocking stream. 0, -EPIPE at end of file, -errno. */
int wire_read(int fd, void *data, size_t len);

#endif
