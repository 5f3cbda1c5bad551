/* SPDX-License-Identifier: MIT
 * How a zygote's interpreter is started: PYTHON RUNTIME_ARGV... PRELOAD...
 *
 * The interpreter is a stranger's: any CPython from 3.10 on. It loads our extension from
 * a file, without a name in sys.modules, and leaves the fork server armed as
 * sys.__interactivehook__: with -i CPython calls that hook from C once the program of -c
 * has ended. Workers are forked there, so that no frame of ours is beneath the program's
 * (traceback.print_stack(), inspect.stack() and stacklevel= see what they would see in a
 * script).
 *
 * -I isolates (no PYTHON* variables, no user site, no current directory on the path) but
 * keeps a venv's site-packages; -B because nothing here can be written anyway. */
#ifndef SBX_RUNTIME_BOOT_H
#define SBX_RUNTIME_BOOT_H

#include "zygote/messages.h"

#define RUNTIME_CONTROL_FD 3          /* zygote_request in, zygote_report out */
#define RUNTIME_FILTER_FD 4           /* memfd with the zygote's own seccomp filter */
#define RUNTIME_WALLS_ENV "SBX_WALLS" /* WALL_* in hexadecimal */

#define RUNTIME_BOOT_FROM(path)                                               \
	"import sys,_imp\n"                                                   \
	"from importlib.machinery import ModuleSpec\n"                        \
	"try:\n"                                                              \
	" m=_imp.create_dynamic(ModuleSpec('_sbx',None,origin='" path "'))\n" \
	" _imp.exec_dynamic(m)\n"                                             \
	" m.arm(3,sys.argv[1:])\n"                                            \
	"except BaseException:\n"                                             \
	" sys.excepthook(*sys.exc_info())\n"                                  \
	" import os\n"                                                        \
	" os._exit(1)\n"

/* What follows argv[0]; the names of the modules to preload come after it. A name that
 * ends in '?' is skipped where it is not installed. Before them a word that begins with
 * RUNTIME_VIEW is template_spec.view. */
#define RUNTIME_VIEW '='
#define RUNTIME_ARGV "-IBi", "-c", RUNTIME_BOOT_FROM(EXTENSION_PATH)
#define RUNTIME_ARGC 3

#endif
