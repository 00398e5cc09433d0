// Is the file an OpenAPI 3.1 document? Usage: node validate.js FILE, beside node_modules. Prints what is wrong with it.
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";

const document = JSON.parse(readFileSync(process.argv[2], "utf8"));
const validator = new Validator({ strict: false });
const result = await validator.validate(document);

if (!result.valid) {
	console.log(JSON.stringify(result.errors, null, 1));
	process.exit(1);
}
if (validator.version !== "3.1") {
	console.log(`it says to be version ${validator.version}`);
	process.exit(1);
}
validator.resolveRefs(); // throws for one that leads nowhere
