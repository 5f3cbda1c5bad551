/* SPDX-License-Identifier: MIT
 * The two programs that the engine carries inside itself, since it sees no file of the
 * installation: the static jailer, and the extension module that the interpreter
 * loads. */
#ifndef SBX_ZYGOTE_EMBED_H
#define SBX_ZYGOTE_EMBED_H

extern const char embed_jailer[], embed_jailer_end[];
extern const char embed_extension[], embed_extension_end[];

#endif
