/* SPDX-License-Identifier: MIT
 * Purpose: wall: seccomp: compiles the table (filter_table.h) into the programs of
 * workers, zygotes and the engine.
 * Process: the engine, which only compiles; installing is seccomp.h's.
 * Trusts: the table.
 * Invariants: foreign entries (i386 by int 0x80 or compat, x32 by bit 30) end the
 *   program's process; numbers without a row are ENOSYS; an argument is judged by the 32 bits that
 *   the kernel looks at.
 *
 * The shape of a program. A seccomp filter is paid for when it is loaded, on the way of a
 * request: the kernel translates each instruction and then runs the program in thought
 * for every number, to remember which are always allowed. So neighbours with the same
 * verdict are merged and the numbers are searched in a balanced tree, eight comparisons
 * deep; calls whose arguments matter leave the tree by a jump to a list of their own
 * behind it. libseccomp (2.5) can compile neither: its tree has a leaf for every call,
 * and its rules cannot say "if none of these, then this errno, recorded". It is the judge
 * of this compiler in tests/unit/test_filter.c instead.
 *
 * How filters add up. A process keeps the filters of all its ancestors: a worker runs
 * under its own, the zygote's and the engine's, and the kernel takes the strictest
 * answer: kill, errno, notification, trace, allow, in this order. An ancestor's errno
 * would thus hide a worker's denial from the listener. The zygote's and the engine's
 * filters therefore deny by SECCOMP_RET_TRACE, which is weaker than a notification: with
 * no tracer attached, and ptrace(2) is denied to all of us, the call fails with ENOSYS,
 * and where the worker's filter denies the same call its answer counts. (A debugger of
 * the host's root could let such calls through, never what the worker's filter denies.
 * Only one filter of a process may have a listener at all.) For the same reason each of
 * the three allows what the ones below it need: the engine's what jailer, init, zygote
 * and a worker on its way in do, mounts and namespaces among it; it shuts what none of
 * them needs: bpf, perf, io_uring, keyrings, modules, kexec, ptrace, userfaultfd, clocks,
 * swap, quotas, handles, System V IPC, sockets but unix and internet ones. */
#include "jail/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "jail/filter_table.h"
#include "zygote/messages.h"

#define X32_BIT 0x40000000u
#define PIECE_MAX \
	250u /* instructions that jump among themselves: their jumps have eight bits */
#define SUBTREE_MAX 128u

enum {
	OFFSET_NR = offsetof(struct seccomp_data, nr),
	OFFSET_ARCH = offsetof(struct seccomp_data, arch)
};

struct mode {
	unsigned bits; /* FILTER_* */
	bool listener;
};

/* What a call comes to: an answer, or the list of steps of `row`. */
struct outcome {
	uint32_t ret;
	const struct filter_row *row; /* NULL: ret */
};

/* Numbers from `first` to the next interval's. */
struct interval {
	uint32_t first;
	struct outcome outcome;
};

struct code {
	struct sock_filter *at;
	size_t count, max;
};

static int emit(struct code *code, uint16_t op, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (code->count == code->max)
		return -E2BIG;
	code->at[code->count++] = (struct sock_filter){ op, jt, jf, k };
	return 0;
}

static uint32_t answer(const struct mode *mode, enum filter_verdict verdict, int errnum)
{
	if (verdict == FILTER_ALLOW)
		return SECCOMP_RET_ALLOW;
	if (!(mode->bits & FILTER_WORKER))
		return SECCOMP_RET_TRACE;
	if (verdict == FILTER_RECORD && mode->listener)
		return SECCOMP_RET_USER_NOTIF;
	return SECCOMP_RET_ERRNO | ((uint32_t)errnum & SECCOMP_RET_DATA);
}

/* An entry of another architecture ends its process: by the listener's hand where there
 * is one (notify.c), since the death of a child by the filter would be in no record. The
 * zygote's and the engine's filters may not kill either, for of all filters of a process
 * the strictest answer counts, the newest among equals; they have no listener, and the
 * kernel then answers ENOSYS. */
static uint32_t answer_foreign(const struct mode *mode)
{
	return (mode->bits & FILTER_WORKER) && !mode->listener ? SECCOMP_RET_KILL_PROCESS
							       : SECCOMP_RET_USER_NOTIF;
}

static bool applies(const struct mode *mode, const struct filter_step *step)
{
	return step->modes == 0 || (step->modes & mode->bits);
}

/* ---- pieces: a list of steps, or a part of the tree ---- */

/* A piece under construction. A comparison's two targets are indices of instructions of
 * the piece, or, from EXIT on, outcomes, which stand behind it; -1 is what follows. */
struct piece {
	struct sock_filter code[PIECE_MAX];
	int yes[PIECE_MAX], no[PIECE_MAX];
	size_t count;
	struct outcome exits[48];
	size_t exit_count;
};
#define EXIT 1000
/* In the code of a jump: k is a row until its list has a place. BPF_JA itself has no use
 * for jt. */
#define TO_LIST 1u

static int piece_emit(struct piece *piece, uint16_t op, uint32_t k, int yes, int no)
{
	if (piece->count == PIECE_MAX)
		return -E2BIG;
	piece->yes[piece->count] = yes;
	piece->no[piece->count] = no;
	piece->code[piece->count++] = (struct sock_filter){ op, 0, 0, k };
	return 0;
}

static bool outcome_same(const struct outcome *a, const struct outcome *b)
{
	return a->row && b->row ? a->row->steps == b->row->steps
				: !a->row && !b->row && a->ret == b->ret;
}

static int piece_exit(struct piece *piece, struct outcome outcome)
{
	size_t i;

	for (i = 0; i < piece->exit_count; i++)
		if (outcome_same(&piece->exits[i], &outcome))
			return EXIT + (int)i;
	if (i == sizeof(piece->exits) / sizeof(piece->exits[0]))
		return -E2BIG;
	piece->exits[piece->exit_count++] = outcome;
	return EXIT + (int)i;
}

static int piece_link(const struct piece *piece, struct code *code)
{
	size_t i;
	int r;

	for (i = 0; i < piece->count; i++) {
		struct sock_filter in = piece->code[i];
		const int targets[2] = { piece->yes[i], piece->no[i] };
		size_t jumps[2] = { 0, 0 }, j;

		for (j = 0; j < 2; j++) {
			if (targets[j] < 0)
				continue;
			jumps[j] = (targets[j] >= EXIT
					    ? piece->count + (size_t)(targets[j] - EXIT)
					    : (size_t)targets[j]) -
				   i - 1;
			if (jumps[j] > UINT8_MAX)
				return -E2BIG;
		}
		if (in.code == (BPF_JMP | BPF_JA))
			in.k = (uint32_t)jumps[0];
		else
			in.jt = (uint8_t)jumps[0], in.jf = (uint8_t)jumps[1];
		r = emit(code, in.code, in.jt, in.jf, in.k);
		if (r < 0)
			return r;
	}
	for (i = 0; i < piece->exit_count; i++) {
		const struct outcome *out = &piece->exits[i];

		r = out->row ? emit(code, BPF_JMP | BPF_JA, TO_LIST, 0,
				    (uint32_t)(out->row - filter_rows))
			     : emit(code, BPF_RET | BPF_K, 0, 0, out->ret);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- lists of steps ---- */

#define STEPS_MAX 63
#define STEP 2000 /* in a target, until the piece is complete: the number of a step */

/* *loaded: which half, under which mask, the accumulator holds; 0: unknown. */
static int step_compile(struct piece *piece, const struct filter_step *step, int target,
			uint64_t *loaded)
{
	uint32_t mask = step->op == OP_ANY ? ~0u : step->mask;
	uint32_t offset = (uint32_t)offsetof(struct seccomp_data, args) +
			  8u * (step->arg & 7u) + (step->arg & FILTER_HIGH ? 4u : 0u);
	uint64_t wanted = (uint64_t)offset << 32 | mask;
	uint16_t test = (uint16_t)(BPF_JMP | BPF_K |
				   (step->op == OP_ANY ? BPF_JSET : BPF_JEQ));
	int r = 0;

	if (step->op == OP_ELSE)
		return piece_emit(piece, BPF_JMP | BPF_JA, 0, target, -1);
	if (*loaded != wanted) {
		r = piece_emit(piece, BPF_LD | BPF_W | BPF_ABS, offset, -1, -1);
		if (r == 0 && mask != ~0u)
			r = piece_emit(piece, BPF_ALU | BPF_AND | BPF_K, mask, -1, -1);
		*loaded = wanted;
	}
	if (r < 0)
		return r;
	return step->op == OP_NOT ? piece_emit(piece, test, step->value, -1, target)
				  : piece_emit(piece, test, step->value, target, -1);
}

static void steps_resolve(int *targets, size_t count, const int *step_at)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (targets[i] >= STEP)
			targets[i] = step_at[targets[i] - STEP];
}

static int list_compile(const struct mode *mode, const struct filter_row *row,
			struct code *code)
{
	_cleanup_free_ struct piece *piece = calloc(1, sizeof(*piece));
	int step_at[STEPS_MAX + 1] = { 0 }, target, r;
	bool jumped_to[STEPS_MAX + 1] = { false };
	uint64_t loaded = 0;
	size_t i;

	if (!piece)
		return -ENOMEM;
	if (row->step_count > STEPS_MAX)
		return -E2BIG;
	for (i = 0; i < row->step_count; i++) {
		const struct filter_step *step = &row->steps[i];

		step_at[i] = (int)piece->count;
		if (jumped_to[i])
			loaded = 0;
		if (!applies(mode, step))
			continue;
		if (step->verdict == FILTER_SKIP) {
			size_t to = i + 1 + step->skip;

			if (to >= row->step_count)
				return -EINVAL;
			jumped_to[to] = true;
			target = STEP + (int)to;
		} else {
			target = piece_exit(
				piece,
				(struct outcome){
					.ret = answer(mode,
						      (enum filter_verdict)step->verdict,
						      step->errnum) });
		}
		r = target < 0 ? target : step_compile(piece, step, target, &loaded);
		if (r < 0)
			return r;
	}
	steps_resolve(piece->yes, piece->count, step_at);
	steps_resolve(piece->no, piece->count, step_at);
	return piece_link(piece, code);
}

/* ---- the tree of numbers ---- */

/* Returns the target to jump to for these intervals. */
static int subtree_compile(struct piece *piece, const struct interval *from, size_t count)
{
	size_t half = count / 2, at = piece->count;
	int r;

	if (count == 1)
		return piece_exit(piece, from->outcome);
	r = piece_emit(piece, BPF_JMP | BPF_JGE | BPF_K, from[half].first, -1, -1);
	if (r < 0)
		return r;
	r = subtree_compile(piece, from, half);
	if (r < 0)
		return r;
	piece->no[at] = r;
	r = subtree_compile(piece, from + half, count - half);
	if (r < 0)
		return r;
	piece->yes[at] = r;
	return (int)at;
}

static int tree_compile(const struct interval *from, size_t count, struct code *code)
{
	size_t half = count / 2, at = code->count;
	_cleanup_free_ struct piece *piece = NULL;
	int r;

	if (count <= SUBTREE_MAX) {
		piece = calloc(1, sizeof(*piece));
		r = piece ? subtree_compile(piece, from, count) : -ENOMEM;
		return r < 0 ? r : piece_link(piece, code);
	}
	r = emit(code, BPF_JMP | BPF_JGE | BPF_K, 0, 1, from[half].first);
	if (r == 0)
		r = emit(code, BPF_JMP | BPF_JA, 0, 0, 0);
	if (r == 0)
		r = tree_compile(from, half, code);
	if (r < 0)
		return r;
	code->at[at + 1].k = (uint32_t)(code->count - at - 2);
	return tree_compile(from + half, count - half, code);
}

/* A list may come down to one answer, whatever the arguments, in this mode. */
static struct outcome outcome_of(const struct mode *mode, const struct filter_row *row)
{
	struct outcome out = { 0 };
	size_t i;

	if (row->also & mode->bits) {
		out.ret = SECCOMP_RET_ALLOW;
	} else if (!row->steps) {
		out.ret = answer(mode, row->verdict, row->call.errnum);
	} else {
		for (i = 0; i < row->step_count && !applies(mode, &row->steps[i]); i++)
			;
		if (row->steps[i].op == OP_ELSE)
			out.ret = answer(mode, (enum filter_verdict)row->steps[i].verdict,
					 row->steps[i].errnum);
		else
			out.row = row;
	}
	return out;
}

static void intervals_add(struct interval *all, size_t *count, uint32_t first,
			  struct outcome outcome)
{
	if (*count > 0 && outcome_same(&all[*count - 1].outcome, &outcome))
		return;
	all[(*count)++] = (struct interval){ first, outcome };
}

/* all: room for two for each row and three more. */
static size_t intervals_make(const struct mode *mode, struct interval *all)
{
	const struct outcome unknown = { .ret = answer(mode, FILTER_RECORD,
						       filter_unknown.errnum) };
	const struct outcome foreign = { .ret = answer_foreign(mode) };
	uint32_t next = 0;
	size_t count = 0, i;

	for (i = 0; i < filter_row_count; i++) {
		uint32_t nr = (uint32_t)filter_rows[i].call.nr;

		if (nr != next)
			intervals_add(all, &count, next, unknown);
		intervals_add(all, &count, nr, outcome_of(mode, &filter_rows[i]));
		next = nr + 1;
	}
	intervals_add(all, &count, next, unknown);
	intervals_add(all, &count, X32_BIT, foreign);
	/* -1 is what a tracer writes to skip a call, and what some programs try: no call
	 * of any table. */
	intervals_add(all, &count, ~0u, unknown);
	return count;
}

/* Puts the lists behind the tree; rows with the same steps share one. */
static int lists_compile(const struct mode *mode, struct code *code)
{
	_cleanup_free_ size_t *list_at = calloc(filter_row_count, sizeof(*list_at));
	size_t tree_end = code->count, i, j;
	int r;

	if (!list_at)
		return -ENOMEM;
	for (i = 0; i < tree_end; i++) {
		struct sock_filter *in = &code->at[i];
		const struct filter_row *row;

		if (in->code != (BPF_JMP | BPF_JA) || in->jt != TO_LIST)
			continue;
		row = &filter_rows[in->k];
		for (j = 0; j < filter_row_count; j++)
			if (list_at[j] && filter_rows[j].steps == row->steps)
				break;
		if (j == filter_row_count) {
			j = in->k;
			list_at[j] = code->count;
			r = list_compile(mode, row, code);
			if (r < 0)
				return r;
		}
		in->jt = 0;
		in->k = (uint32_t)(list_at[j] - i - 1);
	}
	return 0;
}

static int program_compile(const struct mode *mode, struct code *code)
{
	_cleanup_free_ struct interval *all = calloc(2 * filter_row_count + 3,
						     sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	r = emit(code, BPF_LD | BPF_W | BPF_ABS, 0, 0, OFFSET_ARCH);
	if (r == 0)
		r = emit(code, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	if (r == 0)
		r = emit(code, BPF_RET | BPF_K, 0, 0, answer_foreign(mode));
	if (r == 0)
		r = emit(code, BPF_LD | BPF_W | BPF_ABS, 0, 0, OFFSET_NR);
	if (r == 0)
		r = tree_compile(all, intervals_make(mode, all), code);
	return r == 0 ? lists_compile(mode, code) : r;
}

static int compile(unsigned bits, bool listener, struct buf *ret, struct sbx_err *err)
{
	const struct mode mode = { .bits = bits, .listener = listener };
	_cleanup_free_ struct sock_filter *room = calloc(BPF_MAXINSNS, sizeof(*room));
	struct code code = { .at = room, .max = BPF_MAXINSNS };
	int r = room ? program_compile(&mode, &code) : -ENOMEM;

	if (r == 0)
		r = buf_add(ret, code.at, code.count * sizeof(*code.at));
	return r < 0 ? err_set(err, SBX_AT_WALL, -r, "compiling a seccomp filter") : 0;
}

int filter_worker(unsigned run_flags, bool supervised, struct buf *ret,
		  struct sbx_err *err)
{
	unsigned bits = FILTER_WORKER;

	if (run_flags & RUN_SUBPROCESS)
		bits |= FILTER_SUBPROCESS;
	if (supervised)
		bits |= FILTER_SUPERVISED;
	if (run_flags & RUN_NETWORK)
		bits |= FILTER_NETWORK;
	return compile(bits, run_flags & RUN_LISTENER, ret, err);
}

int filter_zygote(struct buf *ret, struct sbx_err *err)
{
	return compile(FILTER_ZYGOTE | FILTER_SUBPROCESS | FILTER_NETWORK, false, ret,
		       err);
}

int filter_engine(struct buf *ret, struct sbx_err *err)
{
	return compile(FILTER_ENGINE | FILTER_SUBPROCESS, false, ret, err);
}
