/* SPDX-License-Identifier: MIT
 * packages.c: the text of packages.py, with a NUL behind it. PACKAGES_PY names the file. */
	.section .rodata
	.global packages_text
	.hidden packages_text
packages_text:
	.incbin PACKAGES_PY
	.byte 0
	.section .note.GNU-stack, "", @progbits
