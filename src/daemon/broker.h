/* SPDX-License-Identifier: MIT
 * The broker: the one process that keeps the starter's rights while programs run. */
#ifndef SBX_DAEMON_BROKER_H
#define SBX_DAEMON_BROKER_H

/* Descriptors that a role is started with; those that are not given are closed. */
#define ROLE_DOOR_FD \
	3 /* broker, engine: the command's end of the inside door (daemon/door.h), a stream */
#define ROLE_LIFELINE_FD \
	4 /* broker: SOCK_SEQPACKET; it sends struct broker_hello, takes struct broker_offer, and
	   * ends at end of file */
#define ROLE_BROKER_FD 6 /* engine: calls to the broker that are quick */
#define ROLE_MOVER_FD 7  /* engine: BROKER_CGROUP_ENTER */
#define ROLE_JOURNAL_FD \
	8 /* broker, engine: directory of the journal, or not open. The engine of root's: as it
	   * is mounted in its view, or /dev/full where its file system does not let it be */
/* What is said of the latter. */
#define JOURNAL_NOT_MOUNTED                                                                 \
	"the directory is on a file system without id-mapped mounts, which root's journal " \
	"needs; name one on ext4, xfs, btrfs or tmpfs with --journal DIR"
#define ROLE_JOURNAL_KEY_FD 9 /* broker, engine: file of the journal's key, or not open */
#define ROLE_LISTENERS_FD \
	10 /* broker, engine: listening sockets, this one and on without a gap, as DOOR_CONFIG
	    * describes them */
#define ROLE_LISTENERS_MAX 32

/* The word after the role: an engine that only answers DOOR_LOG, and runs nothing. */
#define ROLE_READER "--reader"

/* `sandbox --role=broker`. Exit status 0 after an orderly end. */
int broker_main(int argc, char **argv);

#endif
