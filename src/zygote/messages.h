/* SPDX-License-Identifier: MIT
 * Every message between our own processes, in one table. Packets are SOCK_SEQPACKET and of fixed size; the
 * worker's channel is a stream of frames (base/wire.h). Serials are the asker's, and come back unchanged.
 *
 *   engine -> broker   struct broker_request	broker answers struct broker_reply	in order, on two sockets:
 *						one for BROKER_CGROUP_ENTER, which can take 100 ms, one for the rest
 *   command -> broker  struct broker_offer	not answered
 *   engine -> jailer   struct jailer_request	jailer answers struct jailer_reply	in order
 *   engine -> init     struct init_request	init sends struct init_report		any time
 *   engine -> zygote   struct zygote_request	zygote sends struct zygote_report	any time
 *   engine -> worker   frames WORKER_RUN,	worker sends WORKER_* frames		hostile from STARTED on
 *			WORKER_CELL, ...
 */
#ifndef SBX_ZYGOTE_MESSAGES_H
#define SBX_ZYGOTE_MESSAGES_H

#include <stdint.h>
#include "jail/cgroup.h"
#include "sbx.h"

/* Ids: every instance has a block of host uids when it was started as root; each template
 * has a span in it, mapped to 0..IDS_PER_TEMPLATE-1 of its user namespace Z. 0 is the
 * zygote and the jailer; a live worker has one of 1.. to itself. Started as an ordinary
 * user Z has the id 0 only, and workers share it. */
#define IDS_PER_TEMPLATE 65536u
#define IDS_PER_INSTANCE 1048576u
#define IDS_BASE 2000000000u
#define WORKER_UID 1000u /* what a program sees as its uid and gid */

/* ---- broker ---- */
enum broker_op {
	BROKER_MAP_IDS =
		1, /* fd: pidfd of a child of the engine in a new user namespace; index: template */
	BROKER_CGROUP_ENTER =
		2, /* fd: pidfd of a process of ours; index: jail whose cgroup it enters */
	/* The others only where the engine was started as root; elsewhere it has the starter's
	 * rights itself. "The caller" is the peer of a connection to one of our listening
	 * unix sockets (fd); from others nothing follows but "anybody". */
	BROKER_RESOLVE =
		3, /* path: answers its realpath(3), as anybody sees it; as the caller if he is the
			* starter's user; as the starter where the starter named it (OFFER_SHOWN) */
	BROKER_OPEN_SHOWN =
		4, /* path, tree_flags (EXEC, FILE): answers a detached read-only mount, never id-mapped;
			* with the rights that BROKER_RESOLVE has. What the starter's user could open is
			* open for later requests without him, too. */
	BROKER_GRANT =
		5, /* path, tree_flags (WRITABLE, EXEC, PLAIN): opens it with the caller's rights; without
			* a caller only beneath what the starter named (OFFER_GRANTABLE). Answers the
			* grant's number and real path. */
	BROKER_OPEN_TREE =
		6, /* grant, index: template, uid_index, tree_flags (not more than were granted): answers
			* a detached mount of it, id-mapped to that worker */
	BROKER_DROP = 7, /* grant: forget it */
};
#define TREE_WRITABLE 1u /* else read-only */
#define TREE_EXEC 2u     /* else noexec; nosuid and nodev always */
#define TREE_FILE 4u     /* path is a file, not a directory */
#define TREE_ANY \
	32u /* JAILER_TREE: a file or a directory, and the starter has to have the rights to it */
#define TREE_PLAIN \
	64u /* without the id map where the file system has none, if it is read-only */
struct broker_request {
	uint32_t op, serial;
	uint32_t index, uid_index;
	uint32_t tree_flags, grant;
	char path[4096]; /* absolute, zeroes behind it */
};
struct broker_reply {
	uint32_t op, serial;
	struct sbx_err err; /* stage NONE: done */
	uint32_t grant;     /* BROKER_GRANT */
	char path[4096];    /* BROKER_RESOLVE, BROKER_GRANT */
};
/* The command -> the broker, over the lifeline; in order, and before the request to the
 * engine that needs it. Not answered. */
enum offer_kind {
	OFFER_GRANT =
		1, /* fd: O_PATH, path: where it is; tree_flags: at most. grant: OFFERED and a
			   * number; BROKER_OPEN_TREE takes it until it is withdrawn. */
	OFFER_WITHDRAW = 2,  /* grant, and the count - 1 behind it */
	OFFER_GRANTABLE = 3, /* fd: a directory, path, tree_flags: for callers over TCP */
	OFFER_SHOWN =
		4, /* path: what interpreters are read from though not everybody may */
};
#define OFFERED 0x80000000u
struct broker_offer {
	uint32_t kind, grant, count, tree_flags;
	char path[4096];
};
/* The broker's first packet to the engine on the first socket, and to whoever started the
 * broker. */
struct broker_hello {
	uint32_t
		root; /* 1: the engine has dropped to ids_base + IDS_PER_INSTANCE - 1; 0: it has the starter's uid */
	uint32_t ids_base; /* with root: first host uid of this instance's block */
	uint32_t starter_uid, starter_gid;
	char why_no_cgroup[256];
	struct cgroup_host cgroup;
};

/* ---- jailer: pid 1 of a template's pid namespace, uid 0 of its user namespace Z ---- */
enum jailer_op {
	JAILER_MOUNT =
		1, /* one tree of the skeleton root: path -> target; fd: a detached mount of it, if any */
	JAILER_LINK = 2, /* symlink target -> path (its text) in the skeleton */
	JAILER_FILE = 3, /* a small made-up file: target, text in path */
	JAILER_ZYGOTE =
		4, /* start the interpreter; fds: its control socket, its stderr, its seccomp filter (memfd);
			    * path: NUL-separated: the file, then argv; count: argc. Answers its pidfd. */
	JAILER_JAIL =
		5, /* make a jail; fd: the init's control socket. Answers the init's pidfd; the init then
			    * sends INIT_READY itself. */
	JAILER_EXTENSION =
		6, /* fd: memfd with the extension module; shown to the zygote as EXTENSION_PATH */
	JAILER_TREE =
		7, /* path, tree_flags: answers a detached mount of it. Only where the starter is no root; then
			  * the jailer has the starter's rights to files. */
	JAILER_HIDE =
		8, /* target, which lies in a tree: a directory shows nothing any more but the `count`
			  * names in path (NUL-separated, "a" or "a/b"), a file is not there. For jails made
			  * from now on. With HIDE_MORE in tree_flags further names come by the next request. */
};
#define HIDE_MORE 0x20u
#define EXTENSION_PATH "/.sbx/_sbx.abi3.so"
/* Which walls to put up: all, but for those that cannot stand here and may be missing. */
#define WALL_USER 0x001u
#define WALL_PID 0x002u
#define WALL_MOUNT 0x004u
#define WALL_NET 0x008u
#define WALL_IPC 0x010u
#define WALL_UTS 0x020u
#define WALL_CGROUP 0x040u /* the cgroup namespace */
#define WALL_TIME 0x080u
#define WALL_PROC 0x100u /* a private /proc */
#define WALL_CAPS 0x200u
#define WALL_LANDLOCK 0x400u
#define WALL_SECCOMP 0x800u
#define WALL_RLIMITS 0x1000u
#define WALL_ALL 0x1fffu
#define MOUNT_OPTIONAL \
	0x10u /* in jailer_request.tree_flags: a missing source is skipped */
struct jailer_request {
	uint32_t op, serial;
	uint32_t walls;
	uint32_t uid_index;  /* JAILER_JAIL */
	uint32_t tree_flags; /* JAILER_MOUNT */
	uint32_t count;      /* JAILER_ZYGOTE: argc; JAILER_HIDE: names */
	uint64_t disk_bytes,
		disk_inodes; /* JAILER_JAIL: the private tmpfs as the pool has it */
	char target[1024];
	char path[8192];
};
struct jailer_reply {
	uint32_t op, serial;
	struct sbx_err err;
};

/* ---- init: pid 1 of a jail ---- */
enum init_op {
	INIT_DISK =
		1, /* disk_bytes, disk_inodes: resize the private tmpfs. Answered by INIT_DONE. */
	INIT_GRANT = 2, /* fd: detached mount; path: where. Answered. */
	INIT_SEAL =
		3, /* the program is about to start: drop every capability; supervise if limits are given.
			 * Answered: a program runs only in a sealed jail. */
	INIT_LOOK =
		4, /* where it supervises: look now, and report what is used (INIT_USAGE, or INIT_EXCEEDED). Answered. */
	INIT_FILES =
		5, /* fd: a memfd of files for /work, each struct init_file, its name, its bytes. Answered. */
	INIT_COLLECT =
		6, /* fd: a socket that takes struct init_found; flags: COLLECT_*. Ends every other
			 * process of the jail first. Answered there, by FOUND_END. */
	INIT_NAMES = 7, /* before the seal: loopback up. Answered, with the fd of a socket
			 * on its port 53, UDP. */
	INIT_PACE = 8, /* where it supervises: report usage every sample_ms, 0: never. Not
			 * answered. */
	/* In /work of a session, whatever its programs are doing. Answered by
	 * INIT_FILE_DONE or INIT_FILE_FAILED: */
	INIT_PUT = 9,     /* fd: as with INIT_FILES; in the place of what is there */
	INIT_GET = 10,    /* path: plain and relative. Answered with a descriptor */
	INIT_DELETE = 11, /* path, the same */
};
/* Files that a request gives, and those that a program leaves in /work. */
#define FILES_MAX 256u               /* given */
#define FILES_NAME_MAX 1024u         /* with its NUL */
#define FILES_LEFT_MAX 1000u         /* told of */
#define FILES_LEFT_DEPTH 32u         /* directories below /work */
#define FILES_LEFT_BYTES (64u << 20) /* contents handed out, of one run */
struct init_file {
	uint32_t name_len; /* without a NUL */
	uint32_t reserved;
	uint64_t len;
};
#define COLLECT_CONTENTS 1u /* each file comes with a descriptor to read it by */
#define COLLECT_ALL 4u      /* also those that came with a request and nobody wrote to */
#define COLLECT_LIVE \
	2u /* nothing is ended first: the look is at what may change meanwhile */
enum found_kind { FOUND_FILE = 1, FOUND_END = 2 };
struct init_found {
	uint32_t kind;
	uint32_t path_len; /* FOUND_FILE */
	uint64_t size;     /* FOUND_FILE: as stat(2) says; FOUND_END: what was left out */
	uint64_t stored_bytes; /* FOUND_FILE: what it really takes */
	uint64_t inode, changed_ns,
		modified_ns;       /* FOUND_FILE: by which it is known again */
	char path[FILES_NAME_MAX]; /* FOUND_FILE: below /work, any bytes but NUL */
};
struct init_request {
	uint32_t op, serial;
	uint64_t disk_bytes, disk_inodes;
	/* INIT_SEAL, all 0 where a cgroup keeps the limit: */
	uint64_t memory_bytes; /* above what the worker has now */
	uint32_t cpu_percent;
	uint32_t processes;
	uint32_t sample_ms; /* report usage this often, 0: never */
	uint32_t flags;     /* INIT_COLLECT */
	uint64_t
		since_ns; /* INIT_COLLECT: contents of what was changed since then only */
	char path[4096];
};
enum init_report_kind {
	INIT_READY = 1,
	INIT_DONE = 2,   /* answers a request */
	INIT_FAILED = 3, /* err; the jail is unusable */
	INIT_USAGE = 4,  /* a sample */
	INIT_EXCEEDED =
		5, /* memory: the jail was over memory_bytes and is stopped (SIGSTOP to all) */
	INIT_FILE_DONE = 6,   /* tmpfs_bytes: the file's size; fd: with INIT_GET */
	INIT_FILE_FAILED = 7, /* err; nothing else is wrong */
};
struct init_report {
	uint32_t kind, serial;
	uint64_t memory_bytes, cpu_us, tmpfs_bytes;
	uint64_t tmpfs_inodes; /* in use; the answer to INIT_SEAL, else 0 */
	uint32_t processes, processes_peak;
	struct sbx_err err;
};

/* ---- zygote ---- */
struct zygote_request {
	uint32_t
		serial; /* fork a worker; fds: pidfd of the jail's init, worker's end of its channel */
	uint32_t walls;
};
enum zygote_report_kind {
	ZYGOTE_READY =
		1, /* fd, where a view was asked for: a sealed memfd of records, each with its NUL: "D" and
		    * a directory, then "+" and a name for each of it that is shown; "F" and a hidden file */
	ZYGOTE_FORKED = 2, /* fd: the worker's pidfd */
	ZYGOTE_EXITED = 3, /* wait_status of worker `serial` */
	ZYGOTE_FAILED =
		4, /* err; serial 0: the template itself failed (its last report) */
};
struct zygote_report {
	uint32_t kind, serial;
	int32_t wait_status;
	uint32_t python_version; /* READY: PY_VERSION_HEX */
	uint64_t cpu_us; /* EXITED: user and system, with its waited-for children */
	struct sbx_err err;
};

/* ---- worker ---- */
enum worker_frame {
	/* engine -> worker */
	WORKER_RUN =
		1, /* struct worker_run and its sections: the walls; fds: stdin, stdout,
		    * stderr */
	WORKER_LOOKED = 2, /* answers WORKER_LOOK; no payload */
	WORKER_CELL = 3,   /* struct worker_cell and its sections: a program. One, or with
		    * RUN_SESSION each after the other's WORKER_DONE; then fd: its stdin */
	WORKER_ASK = 4, /* with RUN_SESSION, between programs: struct worker_ask, text */
	WORKER_DISPLAYED =
		5, /* answers WORKER_DISPLAY, so that later output is behind it; no payload */
	/* worker -> engine, before the program */
	WORKER_WAITING = 16, /* in its jail, ready for WORKER_RUN; no payload */
	WORKER_FAILED =
		17, /* struct sbx_err: a step before the program's first instruction failed */
	WORKER_STARTED = 18, /* all walls up; fd: the seccomp listener if any */
	/* worker -> engine, from the program's side of the wall: claims */
	WORKER_EVENT = 32, /* JSON, docs below; at most 16 KiB */
	WORKER_DONE = 33,  /* JSON, docs below; at most WORKER_DONE_MAX */
	WORKER_LOOK =
		34, /* with RUN_LOOK, once, when the program has ended and still holds what it made; no payload */
	WORKER_ANSWER =
		35, /* to WORKER_ASK: JSON, docs below; at most WORKER_ANSWER_MAX */
	WORKER_DISPLAY = 36, /* JSON, one bundle {mime: data}; at most DISPLAY_MAX */
};
#define WORKER_EVENT_MAX (16u << 10)
#define WORKER_DONE_MAX (32u << 20)
#define WORKER_ANSWER_MAX (1u << 20)
/* Of one bundle, and of all that one program shows: kept by the runtime, held to by the
 * engine. */
#define DISPLAY_MAX (8u << 20)
#define DISPLAYS_BYTES_MAX (24u << 20)
#define DISPLAYS_MAX 256u
#define RUN_FILE_OPERATIONS 0x01u
#define RUN_IMPORTS 0x02u
#define RUN_NETWORK 0x04u
#define RUN_SUBPROCESS 0x08u
#define RUN_LISTENER 0x10u /* make a seccomp listener */
#define RUN_LOOK \
	0x20u /* limits are kept by looking: ask for a last look before anything is let go */
#define RUN_SESSION 0x40u /* programs come one after the other, state is kept */
struct worker_run {
	uint32_t walls;       /* WALL_LANDLOCK, WALL_SECCOMP, WALL_RLIMITS, ... */
	uint32_t flags;       /* RUN_* */
	uint32_t cpu_threads; /* for OPENBLAS_NUM_THREADS and its kin */
	uint32_t open_files;
	uint32_t processes;
	uint32_t reserved;
	uint64_t data_bytes; /* RLIMIT_DATA above what the worker has now; 0: none */
	uint64_t file_bytes; /* RLIMIT_FSIZE */
	uint64_t
		memory_bytes; /* the policy's limit, for the interpreter's own judgement of MemoryError */
	/* sections, in this order, right behind the struct: */
	uint32_t filter_len;      /* struct sock_filter[] in bytes */
	uint32_t modules_len;     /* allowed_modules, each with its NUL */
	uint32_t environment_len; /* KEY=VALUE, each with its NUL */
	uint32_t grants_len;      /* "r" or "w" and an absolute path, each with its NUL */
	uint32_t cwd_len;         /* absolute path, no NUL; 0: stay in /work */
};
struct worker_cell {
	uint32_t count; /* its number in the session, from 1; 0: no session */
	/* sections: */
	uint32_t code_len;     /* UTF-8 */
	uint32_t filename_len; /* UTF-8, for tracebacks */
	uint32_t files_len;    /* names below /work that were given, each with its NUL */
};
enum worker_asks { ASK_VARIABLES = 1, ASK_COMPLETE = 2 };
struct worker_ask {
	uint32_t what;
	uint32_t text_len; /* ASK_COMPLETE: the code up to the cursor, UTF-8 */
};
#define ASK_TEXT_MAX (64u << 10)
#define WORKER_RUN_MAX (24u << 20)
/*
 * WORKER_EVENT: {"kind": "import" | "open" | "connect" | "exec" | ..., "subject": "numpy",
 *		  "rule": "allowed_modules", "line": 3 or null, "remedy": "add \"numpy\" to allowed_modules"}
 * WORKER_DONE:  {"outcome": "ok" | "error" | "exit",
 *		  "exit_code": int,			  with "exit" (SystemExit)
 *		  "result": tagged value,		  docs/results.md
 *		  "result_source": "__result__" | "expression" | null,
 *		  "result_repr": str or null,
 *		  "error": {"name", "value", "traceback", "line"} or null,
 *		  "cause": "denied" | "disk" | "processes" | "memory" | null,  the interpreter's view of an uncaught
 *		  exception; the engine believes it only next to evidence of its own
 *		  "result_display": int or null,  which of the WORKER_DISPLAYs is the last expression's value
 *		  }
 * WORKER_DISPLAY: {"text/plain": str, "image/png": base64, "application/...+json": JSON, ...}, docs/displays.md
 * WORKER_ANSWER: {"variables": [{"name", "type", "size": int or null, "preview": str or null}]}
 *		  {"matches": [str], "start": int}	start: characters before what a match replaces
 */

#endif
