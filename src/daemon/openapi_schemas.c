/* SPDX-License-Identifier: MIT
 * Purpose: the schemas that route tables name (openapi.h); the policy's is made of its own
 *   table. Process: the engine. */
#include "daemon/openapi.h"

/* clang-format off */
const struct openapi_schema openapi_schemas[] = {
	{ "Problem",
	  "{\"type\":\"object\",\"required\":[\"type\",\"title\",\"status\","
	  "\"detail\",\"name\"],\"properties\":{\"type\":{\"type\":\"string\","
	  "\"format\":\"uri\"},\"title\":{\"type\":\"string\"},\"status\":{"
	  "\"type\":\"integer\"},\"detail\":{\"type\":\"string\"},\"name\":{"
	  "\"type\":\"string\",\"description\":\"UsageError, PolicyError,"
	  " CeilingExceeded, ...\"},\"field\":{\"type\":[\"string\","
	  "\"null\"]}}}" },
	{ "ExecutionRequest",
	  "{\"type\":\"object\",\"required\":[\"code\"],"
	  "\"additionalProperties\":false,\"properties\":{\"code\":{"
	  "\"type\":\"string\"},\"filename\":{\"type\":\"string\"},\"preset\":{"
	  "\"type\":\"string\"},\"policy\":{\"anyOf\":[{"
	  "\"$ref\":\"#/components/schemas/Policy\"},{\"type\":\"string\","
	  "\"description\":\"The text of a policy file, JSON or YAML.\"}]},"
	  "\"settings\":{\"type\":\"array\",\"items\":{\"type\":\"array\","
	  "\"items\":{\"type\":\"string\"},\"minItems\":2,\"maxItems\":2}},"
	  "\"cwd\":{\"type\":\"string\"},\"stdin\":{\"type\":\"string\"},"
	  "\"files\":{\"type\":\"object\",\"additionalProperties\":{\"anyOf\":["
	  "{\"type\":\"string\"},{\"type\":\"object\",\"required\":["
	  "\"base64\"],\"properties\":{\"base64\":{\"type\":\"string\"}}}]}},"
	  "\"timeout\":{\"type\":\"number\",\"exclusiveMinimum\":0,"
	  "\"description\":\"Seconds; lowers max_execution_time.\"},"
	  "\"template\":{\"type\":\"string\"},\"session\":{"
	  "\"type\":\"string\"},\"detach\":{\"type\":\"boolean\"}}}" },
	{ "Event",
	  "{\"type\":\"object\",\"required\":[\"source\",\"kind\"],"
	  "\"properties\":{\"at_ms\":{\"type\":\"integer\"},\"source\":{"
	  "\"type\":\"string\",\"enum\":[\"kernel\",\"supervisor\","
	  "\"python\"]},\"kind\":{\"type\":\"string\"},\"subject\":{\"type\":["
	  "\"string\",\"null\"]},\"rule\":{\"type\":[\"string\",\"null\"]},"
	  "\"line\":{\"type\":[\"integer\",\"null\"]},\"line_source\":{"
	  "\"type\":[\"string\",\"null\"]},\"remedy\":{\"type\":[\"string\","
	  "\"null\"]},\"change\":{\"type\":[\"object\",\"null\"]},\"count\":{"
	  "\"type\":\"integer\"},\"sent_bytes\":{\"type\":\"integer\"},"
	  "\"received_bytes\":{\"type\":\"integer\"}}}" },
	{ "File",
	  "{\"type\":\"object\",\"required\":[\"path\",\"size\"],"
	  "\"properties\":{\"path\":{\"type\":\"string\"},\"path_bytes\":{"
	  "\"type\":\"string\"},\"size\":{\"type\":\"integer\"},"
	  "\"stored_bytes\":{\"type\":\"integer\"},\"mime\":{\"type\":["
	  "\"string\",\"null\"]},\"stored\":{\"type\":\"boolean\","
	  "\"description\":\"Of a journal: whether its contents are there.\"}}}" },
	{ "Sample",
	  "{\"type\":\"object\",\"required\":[\"at_ms\"],\"properties\":{"
	  "\"at_ms\":{\"type\":\"integer\"},\"memory_bytes\":{"
	  "\"type\":\"integer\"},\"cpu_ms\":{\"type\":\"number\"},"
	  "\"processes\":{\"type\":\"integer\"}}}" },
	{ "Result",
	  "{\"type\":\"object\",\"required\":[\"id\",\"status\",\"stdout\","
	  "\"stderr\",\"usage\",\"events\",\"enforced\",\"policy\"],"
	  "\"properties\":{\"id\":{\"type\":\"string\"},\"status\":{"
	  "\"$ref\":\"#/components/schemas/Status\"},\"result\":{},"
	  "\"result_repr\":{\"type\":[\"string\",\"null\"]},\"result_source\":{"
	  "\"type\":[\"string\",\"null\"]},\"stdout\":{\"type\":\"string\"},"
	  "\"stderr\":{\"type\":\"string\"},\"truncated\":{"
	  "\"type\":\"object\"},\"error\":{\"type\":[\"object\",\"null\"],"
	  "\"properties\":{\"name\":{\"type\":\"string\"},\"value\":{\"type\":["
	  "\"string\",\"null\"]},\"traceback\":{\"type\":[\"string\","
	  "\"null\"]},\"line\":{\"type\":[\"integer\",\"null\"]}}},"
	  "\"displays\":{\"type\":\"array\",\"items\":{"
	  "\"$ref\":\"#/components/schemas/Bundle\"}},\"result_display\":{"
	  "\"type\":[\"integer\",\"null\"],\"description\":\"Which of displays is"
	  " the value of the last expression.\"},"
	  "\"session\":{\"type\":[\"string\",\"null\"]},\"execution_count\":{"
	  "\"type\":[\"integer\",\"null\"]},\"session_ended\":{\"type\":["
	  "\"string\",\"null\"]},\"recorded\":{\"type\":\"boolean\"},"
	  "\"record_error\":{\"type\":\"string\"},"
	  "\"files\":{\"type\":\"array\",\"items\":{"
	  "\"$ref\":\"#/components/schemas/File\"}},\"usage\":{"
	  "\"type\":\"object\"},\"events\":{\"type\":\"array\",\"items\":{"
	  "\"$ref\":\"#/components/schemas/Event\"}},\"recorded\":{\"type\":\"boolean\"},\"record_error\":{\"type\":\"string\"},"
	  "\"enforced\":{"
	  "\"type\":\"object\"},\"policy\":{\"type\":\"object\"},\"template\":{"
	  "\"type\":[\"object\",\"null\"]}}}" },
	{ "Bundle",
	  "{\"type\":\"object\",\"required\":[\"text/plain\"],"
	  "\"properties\":{\"text/plain\":{\"type\":\"string\"}},"
	  "\"additionalProperties\":{},\"description\":\"One object that was shown:"
	  " MIME type to data. Pictures are base64, ...+json is JSON, the rest is"
	  " text.\"}" },
	{ "Status",
	  "{\"type\":\"string\",\"enum\":[\"ok\",\"error\",\"timeout\","
	  "\"memory\",\"cpu\",\"processes\",\"output\",\"disk\",\"denied\","
	  "\"killed\",\"fault\"]}" },
	{ "StreamLine",
	  "{\"type\":\"object\",\"required\":[\"type\"],\"properties\":{"
	  "\"type\":{\"type\":\"string\",\"enum\":[\"start\",\"stdout\","
	  "\"stderr\",\"display\",\"event\",\"sample\",\"result\",\"error\"]},"
	  "\"id\":{\"type\":\"string\"},\"text\":{\"type\":\"string\"},"
	  "\"bundle\":{\"$ref\":\"#/components/schemas/Bundle\"},\"result\":{"
	  "\"$ref\":\"#/components/schemas/Result\"},\"error\":{"
	  "\"$ref\":\"#/components/schemas/Problem\"}}}" },
	{ "Accepted",
	  "{\"type\":\"object\",\"required\":[\"id\",\"status\"],"
	  "\"properties\":{\"id\":{\"type\":\"string\"},\"status\":{"
	  "\"type\":\"string\"}}}" },
	{ "Execution",
	  "{\"type\":\"object\",\"required\":[\"id\",\"status\"],"
	  "\"properties\":{\"id\":{\"type\":\"string\"},\"seq\":{"
	  "\"type\":\"integer\"},\"at\":{\"type\":\"string\","
	  "\"format\":\"date-time\"},\"ended_at\":{\"type\":[\"string\","
	  "\"null\"]},\"status\":{\"anyOf\":[{"
	  "\"$ref\":\"#/components/schemas/Status\"},{\"type\":\"string\","
	  "\"enum\":[\"running\",\"lost\",\"refused\"]}]},\"caller\":{"
	  "\"type\":\"string\"},\"door\":{\"type\":[\"string\",\"null\"]},"
	  "\"session\":{\"type\":[\"string\",\"null\"]},\"filename\":{"
	  "\"type\":[\"string\",\"null\"]},\"template\":{\"type\":"
	  "[\"string\",\"null\"]},\"preset\":{\"type\":[\"string\","
	  "\"null\"]},\"detached\":{\"type\":\"boolean\"},\"wall_ms\":{"
	  "\"type\":[\"number\",\"null\"]},\"cpu_ms\":{\"type\":[\"number\","
	  "\"null\"]},\"memory_peak_bytes\":{\"type\":[\"integer\",\"null\"]},"
	  "\"processes_peak\":{\"type\":[\"integer\",\"null\"]},"
	  "\"event_count\":{\"type\":[\"integer\",\"null\"]},\"code\":{"
	  "\"type\":[\"string\",\"null\"]},\"stdout\":{\"type\":[\"string\","
	  "\"null\"]},\"stderr\":{\"type\":[\"string\",\"null\"]},\"policy\":{"
	  "\"type\":[\"object\",\"null\"]},\"result\":{"
	  "\"description\":\"Once it has ended: the result,"
	  " from a journal without the texts that are members of their own.\","
	  "\"type\":[\"object\",\"null\"]}}}" },
	{ "ExecutionList",
	  "{\"type\":\"object\",\"required\":[\"executions\",\"recorded\","
	  "\"next\"],\"properties\":{\"executions\":{\"type\":\"array\","
	  "\"items\":{\"$ref\":\"#/components/schemas/Execution\"}},\"next\":{"
	  "\"type\":[\"string\",\"null\"],"
	  "\"description\":\"For `before`; null on the last page.\"},"
	  "\"recorded\":{\"type\":\"boolean\",\"description\":\"From a journal,"
	  " else what is remembered.\"}}}" },
	{ "Samples",
	  "{\"type\":\"object\",\"required\":[\"samples\"],\"properties\":{"
	  "\"samples\":{\"type\":\"array\",\"items\":{"
	  "\"$ref\":\"#/components/schemas/Sample\"}}}}" },
	{ "Events",
	  "{\"type\":\"object\",\"required\":[\"events\"],\"properties\":{"
	  "\"events\":{\"type\":\"array\",\"items\":{"
	  "\"$ref\":\"#/components/schemas/Event\"}}}}" },
	{ "Files",
	  "{\"type\":\"object\",\"required\":[\"files\"],\"properties\":{"
	  "\"files\":{\"type\":\"array\",\"items\":{"
	  "\"$ref\":\"#/components/schemas/File\"}}}}" },
	{ "Health",
	  "{\"type\":\"object\",\"required\":[\"status\",\"live\",\"ready\"],"
	  "\"properties\":{\"status\":{\"type\":\"string\",\"enum\":[\"ok\","
	  "\"stopping\"]},\"live\":{\"type\":\"boolean\"},\"ready\":{"
	  "\"type\":\"boolean\"},\"templates\":{\"type\":\"array\",\"items\":{"
	  "\"type\":\"object\"}},\"running\":{\"type\":\"integer\"},"
	  "\"limits\":{\"type\":\"string\"}}}" },
	{ "PolicyTable",
	  "{\"type\":\"object\",\"required\":[\"fields\",\"presets\","
	  "\"templates\"],\"properties\":{\"fields\":{\"type\":\"array\","
	  "\"items\":{\"type\":\"object\"}},\"presets\":{\"type\":\"array\","
	  "\"items\":{\"type\":\"object\"}},\"templates\":{\"type\":\"array\","
	  "\"items\":{\"type\":\"object\"}}}}" },
	{ "Doctor",
	  "{\"type\":\"object\",\"required\":[\"ok\",\"walls\"],"
	  "\"properties\":{\"ok\":{\"type\":\"boolean\"},\"version\":{"
	  "\"type\":\"string\"},\"walls\":{\"type\":\"array\",\"items\":{"
	  "\"type\":\"object\"}},\"limits\":{\"type\":\"string\"},\"root\":{"
	  "\"type\":\"boolean\"}}}" },
	{ "SessionRequest",
	  "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
	  "\"preset\":{\"type\":\"string\"},\"policy\":{\"anyOf\":[{"
	  "\"$ref\":\"#/components/schemas/Policy\"},{\"type\":\"string\"}]},"
	  "\"settings\":{\"type\":\"array\",\"items\":{\"type\":\"array\"}},"
	  "\"cwd\":{\"type\":\"string\"},\"template\":{\"type\":\"string\"},"
	  "\"files\":{\"type\":\"object\"},\"name\":{\"type\":\"string\","
	  "\"pattern\":\"^[A-Za-z0-9._-]{1,64}$\"},\"idle_timeout\":{"
	  "\"type\":\"integer\",\"minimum\":1,\"description\":\"Seconds.\"}}}" },
	{ "CompleteRequest",
	  "{\"type\":\"object\",\"required\":[\"code\"],\"properties\":{"
	  "\"code\":{\"type\":\"string\"},\"cursor\":{\"type\":\"integer\","
	  "\"minimum\":0,\"description\":\"In characters.\"}}}" },
	{ "Session",
	  "{\"type\":\"object\",\"required\":[\"id\",\"state\"],\"properties\":{"
	  "\"id\":{\"type\":\"string\"},\"name\":{\"type\":[\"string\",\"null\"]},"
	  "\"state\":{\"type\":\"string\",\"enum\":["
	  "\"starting\",\"idle\",\"busy\",\"ended\"]},\"created_at\":{"
	  "\"type\":\"string\",\"format\":\"date-time\"},\"used_at\":{"
	  "\"type\":\"string\",\"format\":\"date-time\"},\"executions\":{"
	  "\"type\":\"integer\"},\"idle_timeout_s\":{\"type\":\"integer\"},"
	  "\"policy\":{\"$ref\":\"#/components/schemas/Policy\"},\"template\":{"
	  "\"type\":\"object\"},\"memory_bytes\":{\"type\":\"integer\"}}}" },
	{ "SessionList",
	  "{\"type\":\"object\",\"required\":[\"sessions\"],\"properties\":{"
	  "\"sessions\":{\"type\":\"array\",\"items\":{"
	  "\"$ref\":\"#/components/schemas/Session\"}}}}" },
	{ "Object",
	  "{\"type\":\"object\"}" },
};
/* clang-format on */
const size_t openapi_schema_count = sizeof(openapi_schemas) / sizeof(openapi_schemas[0]);
