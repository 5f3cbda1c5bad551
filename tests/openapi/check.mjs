// SPDX-License-Identifier: MIT
// Reads {"document", "answers": [{"method", "path", "status", "type", "body"}]} on stdin and prints one line for each
// thing that is wrong: the document itself, an operation, status or type that it does not name, a body that is not of
// its schema. Exit status 0: nothing is.
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const { document, answers } = JSON.parse(readFileSync(0, "utf8"));
const wrong = [];

const validator = new Validator();
const verdict = await validator.validate(structuredClone(document));
if (!verdict.valid) wrong.push(`document: ${JSON.stringify(verdict.errors)}`);
if (validator.version !== "3.1") wrong.push(`document: version ${validator.version}`);

const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema({ $id: "urn:check:document", ...document });

function schemaOf(pointer) {
	return ajv.compile({ $ref: `urn:check:document#${pointer}` });
}

function escape(part) {
	return part.replaceAll("~", "~0").replaceAll("/", "~1");
}

function* references(node, at) {
	if (node === null || typeof node !== "object") return;
	for (const [key, value] of Object.entries(node)) {
		if (key === "$ref") yield [value, at];
		else yield* references(value, `${at}/${key}`);
	}
}

for (const [reference, at] of references(document, "#")) {
	let node = document;
	for (const part of reference.slice(2).split("/")) node = node?.[part];
	if (node === undefined) wrong.push(`${at}: ${reference} leads nowhere`);
}

for (const a of answers) {
	const name = `${a.method} ${a.path} -> ${a.status} ${a.type}`;
	const base = `/paths/${escape(a.path)}/${a.method.toLowerCase()}/responses`;
	const responses = document.paths[a.path]?.[a.method.toLowerCase()]?.responses;
	if (!responses) {
		wrong.push(`${name}: no such operation`);
		continue;
	}
	let key = String(a.status);
	if (!(key in responses)) key = `${key[0]}XX`;
	let response = responses[key];
	let pointer = `${base}/${key}`;
	if (!response) {
		wrong.push(`${name}: no such answer`);
		continue;
	}
	if (response.$ref) {
		pointer = response.$ref.slice(1);
		response = document.components.responses[pointer.split("/").at(-1)];
	}
	if (a.type === null) {
		if (response.content) wrong.push(`${name}: a body is promised`);
		continue;
	}
	const media = response.content?.[a.type] ?? response.content?.["*/*"];
	if (!media) {
		wrong.push(`${name}: no such type`);
		continue;
	}
	if (!a.type.endsWith("json") || !media.schema) continue;
	const validate = schemaOf(`${pointer}/content/${escape(a.type)}/schema`);
	if (!validate(a.body)) wrong.push(`${name}: ${ajv.errorsText(validate.errors)}`);
}

for (const line of wrong) console.log(line);
process.exit(wrong.length ? 1 : 0);
