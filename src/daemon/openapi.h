/* SPDX-License-Identifier: MIT
 * The OpenAPI 3.1 document, made of route tables and the policy's field table. Engine. */
#ifndef SBX_DAEMON_OPENAPI_H
#define SBX_DAEMON_OPENAPI_H

#include <jansson.h>

#include "daemon/route.h"

/* New reference, NULL: no memory. */
json_t *openapi_document(const struct route_table *const *tables);

/* Schemas by name, as JSON text with references "#/components/schemas/NAME". */
struct openapi_schema {
	const char *name, *text;
};
extern const struct openapi_schema openapi_schemas[];
extern const size_t openapi_schema_count;

#endif
