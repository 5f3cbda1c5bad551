/* SPDX-License-Identifier: MIT
 * embed.h: the bytes. EMBED_JAILER and EMBED_EXTENSION name the built files. */
	.section .rodata
	.balign 16
	.global embed_jailer, embed_jailer_end, embed_extension, embed_extension_end
embed_jailer:
	.incbin EMBED_JAILER
embed_jailer_end:
	.balign 16
embed_extension:
	.incbin EMBED_EXTENSION
embed_extension_end:
	.byte 0
	.section .note.GNU-stack, "", @progbits
