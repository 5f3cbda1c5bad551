/* SPDX-License-Identifier: MIT
 * Secrets that `sandbox serve` reads or makes: tokens, the key of its certificate. The
 * command, with its user's rights. */
#ifndef SBX_CLI_SECRET_H
#define SBX_CLI_SECRET_H

#include <jansson.h>

#define SECRET_TOKEN_CHARS 43 /* 256 bits in base64url */

/* Both: 0, or an exit code after a message. */
int secret_make(char ret[SECRET_TOKEN_CHARS + 1]);
/* The token in a file, which is made (0600) with a new one if it is absent; one that others
 * can read is refused. *ret: malloc. */
int secret_token_file(const char *path, char **ret);
/* {"certificate", "key"} as PEM. *ret: new reference. */
int secret_tls(const char *certificate, const char *key, json_t **ret);

#endif
