/* SPDX-License-Identifier: MIT
 * Purpose: bpf_sim.h. Test only. Trusts nothing: what it does not know is invalid. */
#include "bpf_sim.h"

#include <string.h>

#define DATA_WORDS (sizeof(struct seccomp_data) / 4)

static bool jump_ok(size_t at, size_t count, uint64_t by)
{
	return at + 1 + by < count;
}

bool bpf_sim_valid(const struct sock_filter *code, size_t count)
{
	size_t i;

	if (count == 0 || count > BPF_MAXINSNS ||
	    code[count - 1].code != (BPF_RET | BPF_K))
		return false;
	for (i = 0; i < count; i++) {
		const struct sock_filter *in = &code[i];

		switch (in->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (in->k % 4 != 0 || in->k / 4 >= DATA_WORDS)
				return false;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
		case BPF_RET | BPF_K:
			break;
		case BPF_JMP | BPF_JA:
			if (in->jt != 0 || in->jf != 0 || !jump_ok(i, count, in->k))
				return false;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
		case BPF_JMP | BPF_JGE | BPF_K:
		case BPF_JMP | BPF_JGT | BPF_K:
		case BPF_JMP | BPF_JSET | BPF_K:
			if (!jump_ok(i, count, in->jt) || !jump_ok(i, count, in->jf))
				return false;
			break;
		default:
			return false;
		}
	}
	return true;
}

static bool test_holds(uint16_t op, uint32_t a, uint32_t k)
{
	switch (BPF_OP(op)) {
	case BPF_JEQ:
		return a == k;
	case BPF_JGE:
		return a >= k;
	case BPF_JGT:
		return a > k;
	default:
		return a & k;
	}
}

/* With `blind` it stops, and returns false, at the first look at an argument. */
static bool run(const struct sock_filter *code, size_t count, const uint32_t *words,
		bool blind, uint32_t *ret, size_t *ret_steps)
{
	size_t at = 0, steps = 0;
	uint32_t a = 0;

	while (at < count) {
		const struct sock_filter *in = &code[at++];

		steps++;
		switch (BPF_CLASS(in->code)) {
		case BPF_LD:
			if (blind &&
			    in->k >= offsetof(struct seccomp_data, instruction_pointer))
				return false;
			a = words[in->k / 4];
			break;
		case BPF_ALU:
			a &= in->k;
			break;
		case BPF_JMP:
			if (in->code == (BPF_JMP | BPF_JA))
				at += in->k;
			else
				at += test_holds(in->code, a, in->k) ? in->jt : in->jf;
			break;
		default:
			*ret = in->k;
			if (ret_steps)
				*ret_steps = steps;
			return true;
		}
	}
	return false;
}

uint32_t bpf_sim_run(const struct sock_filter *code, size_t count,
		     const struct seccomp_data *data, size_t *ret_steps)
{
	uint32_t words[DATA_WORDS], ret = SECCOMP_RET_KILL_PROCESS;

	memcpy(words, data, sizeof(words));
	(void)run(code, count, words, false, &ret, ret_steps);
	return ret;
}

bool bpf_sim_always_allowed(const struct sock_filter *code, size_t count, uint32_t arch,
			    int nr)
{
	const struct seccomp_data data = { .nr = nr, .arch = arch };
	uint32_t words[DATA_WORDS], ret;

	memcpy(words, &data, sizeof(words));
	return run(code, count, words, true, &ret, NULL) && ret == SECCOMP_RET_ALLOW;
}
